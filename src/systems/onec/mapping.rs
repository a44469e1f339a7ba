//! What `ONEC_MAPPING_FILE` says: for each topic what is made in 1C, of which parts of the message, and when it counts
//! as finished. Read and checked once, at the start; what is wrong names its topic and field.
//!
//! It knows no task: what becomes of one is said in [`super::fields`].

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde_json::Value;

use crate::message::given::named;

/// In place of a topic: every other one.
const ANY: &str = "*";

/// What each topic becomes.
#[derive(Clone, Debug)]
pub struct Mapping<T>(BTreeMap<String, T>);

/// What a topic becomes, whatever the mode.
pub trait Topic: DeserializeOwned {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The first error.
    fn check(&self) -> Result<(), String>;
}

impl<T: Topic> Mapping<T> {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// What is wrong with it, for a line about the setting.
    pub fn parse(json: &str) -> Result<Mapping<T>, String> {
        let topics: BTreeMap<String, T> =
            serde_json::from_str(json).map_err(|err| format!("which is no mapping: {err}"))?;
        if topics.is_empty() {
            return Err("which maps no topic".into());
        }
        for (name, topic) in &topics {
            topic.check().map_err(|wrong| format!("in which topic {name:?} {wrong}"))?;
        }
        Ok(Mapping(topics))
    }
}

impl<T> Mapping<T> {
    /// Nothing, where there is no file.
    pub fn empty() -> Mapping<T> {
        Mapping(BTreeMap::new())
    }

    /// What this topic becomes.
    ///
    /// # Errors
    /// It becomes nothing, and which topics do.
    pub fn topic(&self, topic: &str) -> Result<&T, String> {
        self.0.get(topic).or_else(|| self.0.get(ANY)).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            format!("ONEC_MAPPING_FILE has no topic {topic:?} and no \"{ANY}\"; it has {}", known.join(", "))
        })
    }

    /// All of them, with their topics.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, topic)| (name.as_str(), topic))
    }
}

/// The fields of an object or a body, by their names.
pub type Fields = BTreeMap<String, Field>;

/// Where a field's value comes from, and what it becomes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Places in the message, or members of a row: the first that says something counts.
    #[serde(default, deserialize_with = "one_or_several")]
    pub from: Vec<String>,
    /// The value where none of them says anything.
    pub value: Option<Value>,
    /// Its type in 1C.
    #[serde(rename = "type", default)]
    pub kind: Kind,
    /// The most characters of a text.
    pub longest: Option<usize>,
    /// To what a composite reference leads, such as `Catalog_Контрагенты`.
    pub of: Option<String>,
    /// The fields of each row of a tabular part.
    pub fields: Option<Fields>,
    /// Without a value the message is parked.
    #[serde(default)]
    pub required: bool,
}

/// The type of a field in 1C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text.
    #[default]
    String,
    /// A number, with all its digits.
    Number,
    /// Yes or no.
    Boolean,
    /// A date and time.
    Date,
    /// A key; the field's name ends with `_Key`.
    Reference,
    /// A key together with what it leads to.
    Composite,
    /// A tabular part.
    Rows,
}

/// When something is finished: one of its fields has one of these values.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The field, or the JSON pointer to it in an answer.
    pub field: String,
    /// The values, in any spelling that JSON has for them.
    pub values: Vec<Value>,
}

/// Where a person's answer stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The field, or the JSON pointer to it in an answer.
    pub field: String,
    /// The text for Camunda of each value; another value is its own text.
    #[serde(default)]
    pub texts: BTreeMap<String, String>,
}

/// The first error in these fields, which are those of a row or of the whole.
pub fn check(fields: &Fields, is_row: bool) -> Result<(), String> {
    fields
        .iter()
        .try_for_each(|(name, field)| field.check(is_row).map_err(|wrong| format!("has a field {name:?} {wrong}")))
}

impl Field {
    fn check(&self, is_row: bool) -> Result<(), String> {
        let needs = |is_there: bool, kind: Kind, name: &str| match (is_there, self.kind == kind) {
            (false, true) => Err(format!("of type {kind} without {name:?}")),
            (true, false) => Err(format!("with {name:?}, which is for type {kind} only")),
            _ => Ok(()),
        };
        needs(self.of.is_some(), Kind::Composite, "of")?;
        needs(self.fields.is_some(), Kind::Rows, "fields")?;
        if self.longest.is_some() {
            needs(true, Kind::String, "longest")?;
        }
        if self.from.is_empty() && self.value.is_none() {
            return Err("with neither \"from\" nor \"value\"".into());
        }
        if let Some(wrong) = self.from.iter().find(|from| !is_row && !named::exists(from)) {
            return Err(format!("from {wrong:?}, which is no place in a message"));
        }
        match (&self.fields, is_row) {
            (Some(_), true) => Err("with rows in a row".into()),
            (Some(fields), false) => check(fields, true),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Reference => "reference",
            Kind::Composite => "composite",
            Kind::Rows => "rows",
        })
    }
}

impl Condition {
    /// Is this one of the values?
    pub fn is_met(&self, value: Option<&Value>) -> bool {
        let spelt = |value: &Value| crate::message::text(value);
        let Some(value) = value.and_then(spelt) else { return false };
        self.values.iter().any(|known| spelt(known).is_some_and(|known| known == value))
    }
}

impl Answer {
    /// The answer in this value; `None` while nobody has given it.
    pub fn text(&self, value: Option<&Value>) -> Option<String> {
        let given = value.and_then(crate::message::text).filter(|given| given != super::key::EMPTY)?;
        Some(self.texts.get(&given).cloned().unwrap_or(given))
    }
}

/// One, or a list of them.
pub fn one_or_several<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let several = match Value::deserialize(deserializer)? {
        Value::Array(several) => several,
        one => vec![one],
    };
    several.into_iter().map(|one| serde_json::from_value(one).map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests;
