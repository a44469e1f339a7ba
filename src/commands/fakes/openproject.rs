//! OpenProject in the demo: a work package that asks, and a milestone. It answers no request: the fake is
//! [`crate::sandbox::openproject`].

use std::collections::HashSet;

use serde_json::json;

use super::messages::{Message, asks, body};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::message::text;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::openproject::store::CLOSED;
use crate::sandbox::openproject::{ANSWER_FIELD, MARKER_FIELD, PROJECT, Store, TOKEN};

const NAME: &str = "openproject";

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "OpenProject",
    port: Some(8025),
    noun: "work package",
    has_users: true,
    about: "It has the project 2, tasks and milestones, users 1 to 99, and custom fields for the task id and for the \
            answers ДА and НЕТ.",
    start,
    messages,
};

struct Projects {
    fake: HttpFake<Store>,
    /// The markers that its users know.
    known: HashSet<String>,
}

fn start(port: u16, _: Pace) -> anyhow::Result<Box<dyn Fake>> {
    Ok(Box::new(Projects { fake: HttpFake::start(port, Store::default())?, known: HashSet::new() }))
}

impl Fake for Projects {
    fn place(&self) -> String {
        self.fake.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OPENPROJECT_URL", format!("http://{}", self.fake.address())),
            ("OPENPROJECT_TOKEN", TOKEN.into()),
            ("OPENPROJECT_TASK_ID_FIELD", MARKER_FIELD.into()),
            ("OPENPROJECT_ANSWER_FIELD", ANSWER_FIELD.into()),
            ("OPENPROJECT_DEFAULT_PROJECT", PROJECT.to_string()),
        ]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let store = self.fake.target();
        let new = store.markers().into_iter().filter(|marker| self.known.insert(marker.clone()));
        new.filter_map(|marker| shown(&store, marker)).collect()
    }

    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool {
        task.id.parse().is_ok_and(|id| self.fake.target().finish(id, CLOSED, answer))
    }

    fn markers(&self) -> Vec<String> {
        self.fake.target().markers()
    }
}

fn shown(store: &Store, marker: String) -> Option<FakeTask> {
    let id = *store.ids_of(&marker).first()?;
    let description = store.member(id, "description").and_then(|it| text(&it["raw"])).unwrap_or_default();
    Some(FakeTask {
        id: id.to_string(),
        marker,
        title: store.member(id, "subject").as_ref().and_then(text).unwrap_or_default(),
        // A question stands there in bold, on a line of its own.
        needs: Needs::of_task(description.lines().any(|line| line.starts_with("**"))),
    })
}

fn messages(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-openproject-{number}");
    let layout = json!({"title": "Макет буклета"});
    let layout = body(&id(1), "op_create_task", NAME, layout, asks("Макет принят?"));
    let layout = Message::task(NAME, &id(1), "Макет буклета", "asks ДА/НЕТ", &layout);
    let release = body(&id(2), "op_create_milestone", NAME, json!({"title": "Выпуск 2.0"}), json!({}));
    vec![
        layout.clone(),
        layout.again(&id(1), "Макет буклета (again)"),
        Message::task(NAME, &id(2), "Выпуск 2.0", "a milestone", &release),
    ]
}
