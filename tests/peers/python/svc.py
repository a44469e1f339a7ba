"""Celery tasks as those of the field are: JSON in and out, a result for whoever asks, an exception where it cannot be."""

import os

from celery import Celery

app = Celery("svc", broker=os.environ["CELERY_BROKER_URL"], backend="rpc://")
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_persistent=True,
    task_acks_late=True,
    task_default_queue=os.environ["CELERY_QUEUE"],
)


@app.task(name="svc.calculate")
def calculate(task):
    number = task["variables"]["number"]
    if number < 0:
        raise ValueError("a negative number")
    return {"answer": number % 2 == 0, "half": number / 2}
