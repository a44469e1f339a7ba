//! 1C by its standard OData interface: what a topic becomes, and when that counts as finished.
//!
//! [`requests`] are the addresses, [`handler`] creates and changes objects, [`tracker`] finds out how they are doing,
//! [`look`] shows one to whoever asks, [`check`] looks whether 1C is ready, [`explain`] says what would be sent.

pub mod check;
pub mod explain;
pub mod handler;
pub mod look;
pub mod requests;
pub mod tracker;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::mapping::{self, Answer, Condition, Fields, Mapping, one_or_several};
use super::{Settings, key};
use crate::message::given::named;
use crate::message::{Task, text};
use crate::systems::Connected;

/// The kinds of objects that have a key, and the field that says that one is finished, where the kind has one.
const KINDS: [(&str, Option<&str>); 7] = [
    ("Document_", Some("Posted")),
    ("Task_", Some("Executed")),
    ("BusinessProcess_", Some("Completed")),
    ("Catalog_", None),
    ("ChartOfCharacteristicTypes_", None),
    ("ChartOfAccounts_", None),
    ("ExchangePlan_", None),
];
/// What is never written: 1C keeps them, or we do.
const NOT_WRITTEN: [&str; 4] = ["Ref_Key", "Posted", "Executed", "DataVersion"];

/// What a topic becomes in 1C.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The entity set, such as `Document_Заявка`.
    pub entity: String,
    /// Where the message names the object that is changed; none: an object is created.
    #[serde(default, deserialize_with = "one_or_several")]
    pub update: Vec<String>,
    /// The text field that has that name; none: it is the object's key.
    pub by: Option<String>,
    /// What is written.
    pub fields: Fields,
    /// What is done once it is written.
    pub then: Option<Then>,
    /// When the object is finished, if otherwise than its kind is; of several all must be met.
    #[serde(default, deserialize_with = "one_or_several")]
    pub finished: Vec<Condition>,
    /// It is finished as soon as all this is done.
    #[serde(default)]
    pub at_once: bool,
    /// Where a person's answer stands.
    pub answer: Option<Answer>,
    /// The field that people know it by.
    pub title: Option<String>,
}

/// What can be done with an object besides writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Then {
    /// A document is posted.
    Post,
    /// A document's posting is undone.
    Unpost,
    /// A business process is started.
    Start,
    /// A task is executed.
    ExecuteTask,
}

impl Then {
    /// Its name in 1C.
    pub fn name(self) -> &'static str {
        match self {
            Then::Post => "Post",
            Then::Unpost => "Unpost",
            Then::Start => "Start",
            Then::ExecuteTask => "ExecuteTask",
        }
    }

    /// Does the object show that it is done?
    fn is_done(self, object: &Value) -> bool {
        let (field, value) = match self {
            Then::Post => ("Posted", true),
            Then::Unpost => ("Posted", false),
            Then::Start => ("Started", true),
            Then::ExecuteTask => ("Executed", true),
        };
        object[field] == value
    }
}

impl Topic {
    /// What its objects are finished by; nothing: they are at once.
    pub fn conditions(&self) -> Vec<Condition> {
        let of_kind = || {
            let (_, field) = KINDS.iter().find(|(kind, _)| self.entity.starts_with(kind))?;
            let field = field.filter(|_| self.update.is_empty())?.to_owned();
            Some(Condition { field, values: vec![true.into()] })
        };
        match (self.at_once, &self.finished[..]) {
            (true, _) => Vec::new(),
            (false, []) => of_kind().into_iter().collect(),
            (false, finished) => finished.to_vec(),
        }
    }

    /// Is it finished as soon as it is there?
    pub fn is_at_once(&self) -> bool {
        self.conditions().is_empty()
    }

    /// Does the object show that it is finished?
    fn is_finished(&self, object: &Value) -> bool {
        self.conditions().iter().all(|condition| condition.is_met(object.get(&condition.field)))
    }

    /// Why a process would wait for its answer for ever, if it would.
    fn unanswerable(&self, task: &Task, settings: &Settings) -> Option<&'static str> {
        super::unanswerable(task, settings, self.is_at_once(), self.answer.is_some())
    }

    /// Is there nothing left to do?
    fn is_whole(&self, object: &Value) -> bool {
        self.then.is_none_or(|then| then.is_done(object))
    }

    /// The object as Camunda is told of it: all its fields, with those that the bridge reads and what finds it again.
    fn shown(&self, object: &Value) -> Value {
        let mut task = object.as_object().cloned().unwrap_or_default();
        let field = |name: &str| text(&object[name]);
        let title = self.title.as_deref().and_then(field).or_else(|| field("Description")).or_else(|| field("Number"));
        let status = self.conditions().first().and_then(|condition| field(&condition.field));
        task.remove("odata.metadata");
        for (name, value) in [("id", field("Ref_Key")), ("title", title), ("status", status)] {
            task.insert(name.into(), value.unwrap_or_default().into());
        }
        task.insert("entity".into(), self.entity.clone().into());
        Value::Object(task)
    }
}

impl mapping::Topic for Topic {
    fn check(&self) -> Result<(), String> {
        if !is_entity(&self.entity) {
            let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            return Err(format!(
                "has an entity {:?}, which does not start with one of {}",
                self.entity,
                kinds.join(" ")
            ));
        }
        if let Some(wrong) = self.update.iter().find(|place| !named::exists(place)) {
            return Err(format!("updates what is named in {wrong:?}, which is no place in a message"));
        }
        if self.by.is_some() && self.update.is_empty() {
            return Err("has \"by\" without \"update\"".into());
        }
        if self.at_once && !(self.finished.is_empty() && self.answer.is_none()) {
            return Err("has \"at_once\", so there is nothing to wait for: neither \"finished\" nor \"answer\"".into());
        }
        let named =
            self.finished.iter().map(|condition| &condition.field).chain(self.answer.iter().map(|it| &it.field));
        if let Some(wrong) =
            named.chain(&self.title).chain(&self.by).chain(self.fields.keys()).find(|name| !is_name(name))
        {
            return Err(format!("names a field {wrong:?}, which no field is called"));
        }
        if let Some(wrong) = NOT_WRITTEN.iter().find(|name| self.fields.contains_key(**name)) {
            return Err(format!("writes {wrong}, which 1C keeps itself; \"then\" posts and executes"));
        }
        mapping::check(&self.fields, false)
    }
}

/// A set of objects of a kind that has keys.
fn is_entity(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| name.starts_with(kind)) && is_name(name)
}

/// Letters of any alphabet, digits and `_`: it gets into addresses.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Where people see this object, in the web client of the infobase.
fn link(settings: &Settings, entity: &str, key: &str) -> String {
    let (kind, name) = entity.split_once('_').unwrap_or_default();
    // A configuration in Russian calls its kinds in Russian.
    let kind = match (name.is_ascii(), kind) {
        (false, "Document") => "Документ",
        (false, "Task") => "Задача",
        (false, "BusinessProcess") => "БизнесПроцесс",
        (false, "Catalog") => "Справочник",
        (_, kind) => kind,
    };
    format!("{}#e1cib/data/{kind}.{name}?ref={}", settings.address.publication(), key::in_link(key))
}

/// What the lane works with.
pub fn connect(settings: &Settings, mapping: &Mapping<Topic>, client: Arc<Client>) -> Connected {
    Connected {
        handler: Arc::new(handler::OdataHandler::new(settings.clone(), mapping.clone(), Arc::clone(&client))),
        tracker: Box::new(tracker::OdataTracker::new(settings.clone(), mapping.clone(), client)),
    }
}
