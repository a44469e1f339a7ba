//! 1C in the demo: a document that asks, and a counterparty that is finished as soon as it is there. By the standard
//! OData interface, with the example of a mapping. It answers no request: the fake is [`crate::sandbox::onec`].

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::messages::{Message, asks, body};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::message::text;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::onec::{self, Onec, PASSWORD, USER};
use crate::systems::question::YES;

const NAME: &str = "1c";
const MAPPING: &str = include_str!("../../systems/onec/mapping.example.json");

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "1C",
    port: Some(8026),
    noun: "object",
    has_users: true,
    about: "It is an infobase with the standard OData interface, and with the documents, tasks and catalogs that the \
            mapping in ONEC_MAPPING_FILE names.",
    start,
    messages,
};

struct Infobase {
    fake: HttpFake<Onec>,
    mapping: MappingFile,
    /// The markers that its users know.
    known: HashSet<String>,
}

fn start(port: u16, _: Pace) -> anyhow::Result<Box<dyn Fake>> {
    let fake = HttpFake::start(port, Onec::default())?;
    let mapping = MappingFile::write(fake.address().port())?;
    Ok(Box::new(Infobase { fake, mapping, known: HashSet::new() }))
}

impl Fake for Infobase {
    fn place(&self) -> String {
        self.fake.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ONEC_URL", onec::url(self.fake.address())),
            ("ONEC_USERNAME", USER.into()),
            ("ONEC_PASSWORD", PASSWORD.into()),
            ("ONEC_MAPPING_FILE", self.mapping.0.display().to_string()),
        ]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let infobase = self.fake.target();
        let new = infobase.tasks().into_iter().filter(|marker| self.known.insert(marker.clone()));
        new.filter_map(|marker| infobase.of_task(&marker).map(|object| shown(&marker, object))).collect()
    }

    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool {
        // The words that the mapping knows.
        let words = answer.map_or("", |answer| if answer == YES { "Согласовано" } else { "Отклонено" });
        self.fake.target().finish(&task.marker, words)
    }

    fn markers(&self) -> Vec<String> {
        self.fake.target().tasks()
    }
}

fn shown(marker: &str, object: &Map<String, Value>) -> FakeTask {
    let first = |names: &[&str]| names.iter().find_map(|name| object.get(*name).and_then(text)).unwrap_or_default();
    let waits = ["Posted", "Executed", "Completed"].iter().any(|name| object.contains_key(*name));
    FakeTask {
        // 1C fills a number up with zeros.
        id: first(&["Number", "Code"]).trim_start_matches('0').to_owned(),
        marker: marker.to_owned(),
        title: first(&["Тема", "Description", "Наименование"]),
        needs: if waits { Needs::of_task(!first(&["Вопрос"]).is_empty()) } else { Needs::Nothing },
    }
}

/// The mapping as a file, which the worker reads. Dropping this removes it.
struct MappingFile(PathBuf);

impl MappingFile {
    /// Named after the port, so that a `.env` stays valid from run to run.
    fn write(port: u16) -> anyhow::Result<MappingFile> {
        let path = env::temp_dir().join(format!("task-creator-1c-{port}.json"));
        // One that was killed has left it.
        let _ = fs::remove_file(&path);
        let written = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = written.and_then(|mut file| file.write_all(MAPPING.as_bytes()));
        written.with_context(|| format!("writing {}", path.display()))?;
        Ok(MappingFile(path))
    }
}

impl Drop for MappingFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn messages(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-1c-{number}");
    let request = body(
        &id(1),
        "1c_create_document",
        NAME,
        json!({"title": "Заявка на ноутбук", "amount": 84_990.5, "urgent": true}),
        asks("Заявка согласована?"),
    );
    let request = Message::task(NAME, &id(1), "Заявка на ноутбук", "a document, asks ДА/НЕТ", &request);
    let counterparty = json!({"name": "ООО «Ромашка»", "inn": "7701234567"});
    let counterparty = body(&id(2), "1c_create_counterparty", NAME, counterparty, json!({}));
    vec![
        request.clone(),
        request.again(&id(1), "Заявка на ноутбук (again)"),
        Message::task(NAME, &id(2), "Контрагент «Ромашка»", "a counterparty, at once", &counterparty),
    ]
}
