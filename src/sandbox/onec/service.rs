//! An HTTP service as an integrator writes one into a configuration: JSON both ways, and a form of its own. It creates
//! whatever it is told to create, also twice, and a byte order mark stands before its answers, as 1C may write them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::server::Page;
use crate::sandbox::http_fake::Asked;

/// Where it is published.
pub(super) const BASE: &str = "/base/hs/camunda";

/// The address for `ONEC_URL` at a server with this address, which may be a relay's.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}{BASE}")
}

fn page(status: u16, body: &Value) -> Page {
    Page::new(status, "application/json; charset=utf-8", format!("\u{feff}{body}"))
}

/// What it has created, in order.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task>);

struct Task {
    /// Camunda's.
    id: String,
    body: Value,
    state: &'static str,
    answer: String,
}

impl Tasks {
    pub fn answer(&mut self, asked: &Asked, rest: &str) -> Page {
        match (asked.method.as_str(), rest) {
            ("POST", "/tasks") => {
                let body = asked.json();
                let Some(id) = body["task_id"].as_str().map(str::to_owned) else {
                    return page(400, &json!({"error": {"text": "Не указан task_id"}}));
                };
                self.0.push(Task { id, body, state: "new", answer: String::new() });
                page(200, &self.shown(self.0.len()))
            }
            ("GET", rest) => {
                let of_task = rest.strip_prefix("/tasks/by-task/");
                let number = match of_task {
                    Some(id) => self.0.iter().position(|task| task.id == id).map(|index| index + 1),
                    None => rest.strip_prefix("/tasks/").and_then(|number| number.parse().ok()),
                };
                match number.filter(|number| (1..=self.0.len()).contains(number)) {
                    Some(number) => page(200, &self.shown(number)),
                    None => page(404, &json!({"error": {"text": "Не найдено"}})),
                }
            }
            _ => page(405, &json!({"error": {"text": "Метод не поддерживается"}})),
        }
    }

    fn shown(&self, number: usize) -> Value {
        let Task { body, state, answer, .. } = &self.0[number - 1];
        json!({"result": {"number": number, "title": body["title"], "state": state, "answer": answer}})
    }

    pub fn tasks(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|task| task.id.clone())
    }

    pub fn finish(&mut self, id: &str, answer: &str) -> bool {
        self.set(id, "done", answer)
    }

    pub fn delete(&mut self, id: &str) -> bool {
        self.set(id, "cancelled", "")
    }

    fn set(&mut self, id: &str, state: &'static str, answer: &str) -> bool {
        let Some(task) = self.0.iter_mut().find(|task| task.id == id) else { return false };
        (task.state, task.answer) = (state, answer.to_owned());
        true
    }
}
