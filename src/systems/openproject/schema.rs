//! The custom fields of a project and type, with names and kinds, as the form of a new work package shows them. The
//! form is asked for once for each project and type, and again after a while. It creates nothing and knows no message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Call, Client};
use super::errors::ApiError;
use super::fields::links::href;
use super::settings::is_custom_field;

/// After this time a new or renamed field is known.
const KEPT: Duration = Duration::from_secs(600);
/// OpenProject answers few forms in a second, so a form that failed is not asked for again at once.
const FAILED: Duration = Duration::from_secs(5);
/// The most forms that are kept. If there are more, all are asked for again.
const MOST: usize = 200;

/// The custom fields of a project's work packages of one type.
#[derive(Clone, Debug, Default)]
pub struct Schema(Vec<Custom>);

/// A custom field.
#[derive(Clone, Debug)]
pub struct Custom {
    /// `customField` and its number.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Texts and addresses of the values that it may have, where these are listed.
    pub allowed: Vec<(String, String)>,
    /// A work package without it is refused.
    pub required: bool,
}

/// What a custom field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line.
    Text,
    /// Markdown.
    LongText,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// Yes or no.
    Boolean,
    /// A day.
    Date,
    /// One of a list, or several, of these things.
    Link {
        /// How their addresses start.
        of: &'static str,
        /// Several.
        many: bool,
    },
}

impl Kind {
    fn of(name: &str) -> Kind {
        let (many, one) = name.strip_prefix("[]").map_or((false, name), |one| (true, one));
        match one {
            "Formattable" => Kind::LongText,
            "Integer" => Kind::Integer,
            "Float" => Kind::Float,
            "Boolean" => Kind::Boolean,
            "Date" => Kind::Date,
            "CustomOption" => Kind::Link { of: "custom_options", many },
            "User" => Kind::Link { of: "users", many },
            "Version" => Kind::Link { of: "versions", many },
            _ => Kind::Text,
        }
    }

    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text | Kind::LongText => "text",
            Kind::Integer => "whole number",
            Kind::Float => "number",
            Kind::Boolean => "yes or no",
            Kind::Date => "date",
            Kind::Link { .. } => "value",
        }
    }

    /// Does it belong among the links?
    pub fn is_link(self) -> bool {
        matches!(self, Kind::Link { .. })
    }
}

impl Schema {
    /// The field that is called so, by people or by the interface.
    pub fn find(&self, name: &str) -> Option<&Custom> {
        let lower = name.trim().to_lowercase();
        self.0.iter().find(|field| field.key == name || field.name.to_lowercase() == lower)
    }

    /// All of them.
    pub fn all(&self) -> &[Custom] {
        &self.0
    }

    /// Reads the reply of a form.
    pub fn read(form: &Value) -> Schema {
        let members = form["_embedded"]["schema"].as_object().into_iter().flatten();
        let custom = members.filter(|(key, _)| is_custom_field(key)).map(|(key, told)| Custom {
            key: key.clone(),
            name: told["name"].as_str().unwrap_or_default().to_owned(),
            kind: Kind::of(told["type"].as_str().unwrap_or_default()),
            allowed: allowed(told),
            required: told["required"] == true,
        });
        Schema(custom.collect())
    }
}

/// They are embedded, or linked with their titles; of long lists there is only an address.
fn allowed(told: &Value) -> Vec<(String, String)> {
    let embedded = told["_embedded"]["allowedValues"].as_array().into_iter().flatten().map(|value| {
        let title = value["value"].as_str().or_else(|| value["name"].as_str());
        (title, value["_links"]["self"]["href"].as_str())
    });
    let linked = told["_links"]["allowedValues"].as_array().into_iter().flatten();
    let linked = linked.map(|value| (value["title"].as_str(), value["href"].as_str()));
    embedded.chain(linked).filter_map(|(title, href)| Some((title?.to_owned(), href?.to_owned()))).collect()
}

/// The schemas that are known, and why others are not. Shared by the threads of the handler.
#[derive(Default)]
pub struct Schemas {
    known: Mutex<HashMap<Place, (Instant, Known)>>,
    /// The thread that asks holds it. The others wait for its answer, which has a deadline, and need not ask.
    asking: Mutex<()>,
}

/// A project and a type.
type Place = (u64, u64);
type Known = Result<Arc<Schema>, ApiError>;

impl Schemas {
    /// The schema of work packages of this type in this project.
    ///
    /// # Errors
    /// OpenProject does not tell it.
    pub fn of(&self, client: &Client, project: u64, kind: u64) -> Known {
        let place = (project, kind);
        if let Some(known) = self.kept(place) {
            return known;
        }
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.kept(place) {
            return known;
        }
        let told = client.call(&form(project, kind)).map(|form| Arc::new(Schema::read(&form)));
        let mut all = self.lock();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(place, (Instant::now(), told.clone()));
        told
    }

    fn kept(&self, place: Place) -> Option<Known> {
        let known = self.lock().get(&place).cloned();
        let is_fresh = |(since, known): &(Instant, Known)| since.elapsed() < if known.is_ok() { KEPT } else { FAILED };
        known.filter(is_fresh).map(|(_, known)| known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (Instant, Known)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for the form of a new work package; makes nothing.
pub fn form(project: u64, kind: u64) -> Call {
    let links = json!({"project": href("projects", project), "type": href("types", kind)});
    Call::post("/work_packages/form", json!({ "_links": links }))
}
