//! The default system in the demo: what belongs to no system is parked. It has no target, so it has no fake and no
//! users.

use serde_json::json;

use super::messages::{Kind, Message, body};
use super::{Fake, FakeEntry, FakeTask, Pace};

const NAME: &str = "default";

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: NAME,
    port: None,
    noun: "task",
    has_users: false,
    about: "",
    start: |_: u16, _: Pace| Ok(Box::new(NoTarget)),
    messages,
};

struct NoTarget;

impl Fake for NoTarget {
    fn place(&self) -> String {
        "no target: what belongs to no system is parked".into()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("DEFAULT_ACTION", "park".into())]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        Vec::new()
    }

    fn finish(&mut self, _: &FakeTask, _: Option<&'static str>) -> bool {
        false
    }

    fn markers(&self) -> Vec<String> {
        Vec::new()
    }
}

fn messages(run: &str) -> Vec<Message> {
    let id = format!("{run}-default-1");
    let fax = body(&id, "send_fax", "fax", json!({"title": "Отправить факс"}), json!({}));
    let fax = Message::task(NAME, &id, "Отправить факс", "its topic is unknown", &fax);
    vec![Message { kind: Kind::Nobodys(id), ..fax }]
}
