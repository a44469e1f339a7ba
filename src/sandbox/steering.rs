//! Steps by hand on a running fake: a command on the command line sends a step as a request that no portal knows, and
//! the portal in memory does it.
//!
//! The server listens on loopback only. Only JSON is accepted, which no page in a browser may send here.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Memory;
use super::faults::{ANY_CALL, Fault, What};
use super::methods;
use super::reply::json_page;
use super::request::is_json;
use crate::http::server::{Reply, Request};
use crate::nearest::did_you_mean;

/// The path of steps; the paths of a portal start with `/rest/`.
pub const PATH: &str = "/sandbox/step";
/// The status in which people leave a task.
const COMPLETED: u8 = 5;

/// A refusal that can be ordered.
pub struct Ordered {
    /// The status of a call that is a request of its own.
    pub status: u16,
    code: &'static str,
    text: &'static str,
}

/// All of them, the most usual one first.
pub const REFUSALS: [Ordered; 6] = [
    Ordered { status: 400, code: "ERROR_CORE", text: "Refused by hand<br>" },
    Ordered { status: 401, code: "INVALID_CREDENTIALS", text: "Invalid request credentials" },
    Ordered { status: 403, code: "ACCESS_DENIED", text: "Access denied" },
    Ordered { status: 429, code: "OPERATION_TIME_LIMIT", text: "Method is blocked due to operation time limit" },
    Ordered { status: 500, code: "INTERNAL_SERVER_ERROR", text: "Internal server error" },
    Ordered { status: 503, code: "QUERY_LIMIT_EXCEEDED", text: "Too many requests" },
];

/// A step by hand. A task is named by its number, or by its id in Camunda.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Finish a task, as a person would.
    Finish {
        /// The task.
        task: String,
        /// The answer.
        answer: Option<String>,
    },
    /// Answer, without finishing the task.
    Answer {
        /// The task.
        task: String,
        /// The answer.
        answer: String,
    },
    /// Delete a task.
    Delete {
        /// The task.
        task: String,
    },
    /// Refuse calls.
    Refuse {
        /// The method; `*` for all.
        method: String,
        /// The status: one of [`REFUSALS`].
        status: u16,
        /// How many calls; without a number until [`Step::Allow`].
        times: Option<u64>,
    },
    /// Refuse nothing any more.
    Allow,
}

/// The reply to a request that is a step; `None` for all others.
pub(super) fn hear(memory: &Memory, request: &Request<'_>) -> Option<Reply> {
    if request.target != PATH || !is_json(request.content_type()) {
        return None;
    }
    let done = match serde_json::from_slice(request.body) {
        Ok(step) => take(memory, &step),
        Err(err) => Err(format!("not a step: {err}")),
    };
    Some(Reply::Page(match done {
        Ok(done) => json_page(200, &json!({ "done": done })),
        Err(wrong) => json_page(400, &json!({ "wrong": wrong })),
    }))
}

fn take(memory: &Memory, step: &Step) -> Result<String, String> {
    match step {
        Step::Finish { task, answer } => {
            let id = find(memory, task)?;
            let answer = answer.as_deref();
            if !memory.finish(id, COMPLETED, answer) {
                return Err(format!("task {id} was not finished: it is gone, or the answer is not ДА or НЕТ"));
            }
            Ok(answer
                .map_or_else(|| format!("task {id} finished"), |answer| format!("task {id} finished, answer {answer}")))
        }
        Step::Answer { task, answer } => {
            let id = find(memory, task)?;
            match memory.answer(id, answer) {
                true => Ok(format!("task {id} answered: {answer}")),
                false => Err(format!("task {id} was not answered: it is gone, or {answer:?} is not ДА or НЕТ")),
            }
        }
        Step::Delete { task } => {
            let id = find(memory, task)?;
            memory.delete(id).then(|| format!("task {id} deleted")).ok_or_else(|| format!("task {id} is gone"))
        }
        Step::Refuse { method, status, times } => refuse(memory, method, *status, *times),
        Step::Allow => {
            memory.clear_all();
            Ok("nothing is refused any more".into())
        }
    }
}

fn refuse(memory: &Memory, method: &str, status: u16, times: Option<u64>) -> Result<String, String> {
    let known = method == ANY_CALL || method.eq_ignore_ascii_case("batch") || methods::find(method).is_some();
    if !known {
        return Err(format!("there is no method {method:?} here{}", did_you_mean(method, methods::names())));
    }
    let ordered = REFUSALS.iter().find(|ordered| ordered.status == status).ok_or("there is no such status")?;
    let fault = Fault::before(method.to_owned(), What::refuse(status, ordered.code, ordered.text));
    memory.order(times.into_iter().fold(fault, Fault::times));
    let calls = if method == ANY_CALL { "all calls".to_owned() } else { format!("calls of {method}") };
    let how_long = times.map_or_else(|| "until they are allowed".to_owned(), |times| format!("{times} time(s)"));
    Ok(format!("{calls} are refused with {status} {}, {how_long}", ordered.code))
}

/// The number of the task with this name.
fn find(memory: &Memory, task: &str) -> Result<u64, String> {
    if let Some(id) = task.parse().ok().filter(|id| memory.task(*id).is_some()) {
        return Ok(id);
    }
    match memory.ids_of(task).as_slice() {
        [id] => Ok(*id),
        [] => Err(format!("there is no task {task} here")),
        several => Err(format!("{task} is in several tasks: {several:?}; say which by its number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server::Header;
    use serde_json::Value;

    fn portal_with_a_task() -> (Memory, u64) {
        let memory = Memory::new();
        let fields = json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "XML_ID": "camunda-1", "UF_RESULT_EXPECTED": "Y"});
        assert!(matches!(memory.call("tasks.task.add", json!({"fields": fields})), Ok(Ok(_))));
        let id = memory.tasks()[0].id;
        (memory, id)
    }

    fn done(memory: &Memory, step: Value) -> Result<String, String> {
        take(memory, &serde_json::from_value(step).expect("a step"))
    }

    #[test]
    fn a_task_is_named_by_its_number_or_by_its_id_in_camunda() {
        let (memory, id) = portal_with_a_task();
        let answered = done(&memory, json!({"step": "answer", "task": "camunda-1", "answer": "НЕТ"}));
        assert_eq!(answered, Ok(format!("task {id} answered: НЕТ")));
        assert_eq!((memory.tasks()[0].status, memory.field(id, "UF_RESULT_ANSWER")), (2, Some("27".into())));
        let finished = done(&memory, json!({"step": "finish", "task": id.to_string(), "answer": "ДА"}));
        assert_eq!(finished, Ok(format!("task {id} finished, answer ДА")));
        assert_eq!((memory.tasks()[0].status, memory.field(id, "UF_RESULT_ANSWER")), (5, Some("26".into())));
        assert!(done(&memory, json!({"step": "delete", "task": "camunda-1"})).is_ok());
        assert!(done(&memory, json!({"step": "finish", "task": "camunda-1"})).is_err());
    }

    #[test]
    fn a_method_is_refused_so_often_or_until_it_is_allowed() {
        let (memory, _) = portal_with_a_task();
        let refused = || matches!(memory.call("tasks.task.list", json!({})), Ok(Err(_)));
        let refuse =
            |times: Value| json!({"step": "refuse", "method": "tasks.task.list", "status": 503, "times": times});
        assert!(done(&memory, refuse(json!(1))).is_ok());
        assert_eq!([refused(), refused()], [true, false]);
        assert!(done(&memory, refuse(Value::Null)).is_ok());
        assert_eq!([refused(), refused()], [true, true]);
        assert!(done(&memory, json!({"step": "allow"})).is_ok() && !refused());
        let unknown = done(&memory, json!({"step": "refuse", "method": "tasks.task.ad", "status": 400}));
        assert!(unknown.is_err_and(|wrong| wrong.contains("did you mean tasks.task.add?")));
    }

    #[test]
    fn a_step_from_a_page_in_a_browser_is_not_accepted() {
        let (memory, _) = portal_with_a_task();
        let step = |content_type: &str, target: &str| {
            let headers = [Header { name: "Content-Type", value: content_type.as_bytes() }];
            hear(&memory, &Request { method: "POST", target, headers: &headers, body: br#"{"step":"allow"}"# })
        };
        assert!(step("text/plain", PATH).is_none() && step("application/json", "/rest/1/x/scope").is_none());
        assert!(step("application/json", PATH).is_some());
    }
}
