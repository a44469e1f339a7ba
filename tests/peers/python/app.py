"""A FastAPI service as the Python services of the field are: a closed model, a bearer token, results and jobs."""

import os
import threading

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

app = FastAPI()
lock = threading.Lock()
done = {}  # Idempotency-Key -> reply of a task that was done at once
jobs = {}  # Idempotency-Key -> job
calls = {"executed": 0}


class Task(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task_id: str
    topic: str
    title: str
    variables: dict
    extension_properties: dict
    process_instance_id: str | None
    process_definition_key: str | None


def signed_in(credentials: HTTPAuthorizationCredentials = Depends(HTTPBearer())):
    if credentials.credentials != os.environ["SERVICE_TOKEN"]:
        raise HTTPException(401, "Not authenticated")


def calculate(task: Task):
    calls["executed"] += 1
    number = task.variables["number"]
    if number < 0:
        raise ValueError("a negative number")
    return {"answer": number % 2 == 0, "half": number / 2}


@app.post("/tasks", dependencies=[Depends(signed_in)])
def tasks(task: Task, request: Request, response: Response, idempotency_key: str = Header()):
    with lock:
        if request.headers.get("prefer") == "respond-async" and task.topic == "job":
            if idempotency_key not in jobs:
                jobs[idempotency_key] = {"id": len(jobs) + 1, "task": task, "polls": 0}
            response.status_code = 202
            response.headers["Location"] = f"/jobs/{jobs[idempotency_key]['id']}"
            response.headers["Retry-After"] = "1"
            response.headers["Preference-Applied"] = "respond-async"
            return {"status": "queued"}
        if idempotency_key not in done:
            try:
                done[idempotency_key] = calculate(task)
            except ValueError as error:
                raise HTTPException(422, str(error))
        return done[idempotency_key]


@app.get("/jobs/{number}", dependencies=[Depends(signed_in)])
def job(number: int, response: Response):
    with lock:
        found = next((job for job in jobs.values() if job["id"] == number), None)
        if found is None:
            raise HTTPException(404, "no such job")
        found["polls"] += 1
        if found["polls"] < 2:
            response.headers["Retry-After"] = "1"
            return {"status": "running"}
        if "outcome" not in found:
            try:
                found["outcome"] = {"status": "succeeded", "result": calculate(found["task"])}
            except ValueError as error:
                found["outcome"] = {"status": "failed", "error": str(error)}
        return found["outcome"]


@app.get("/executed")
def executed():
    return calls
