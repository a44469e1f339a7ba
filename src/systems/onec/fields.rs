//! A task → the fields of 1C's object, or of a body, as the mapping says. Pure: nothing is sent.
//!
//! What the message says and cannot be used is left out with a warning, and parks the message where the field is
//! required. Each value remembers where it came from, for `explain`.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, Local, Utc};
use serde_json::{Map, Number, Value, json};

use super::key;
use super::mapping::{Field, Fields, Kind};
use crate::message::given::dates::{self, Moment};
use crate::message::given::{is_blank, is_java, is_no, is_yes, named, shown};
use crate::message::{Task, text};

/// How 1C writes a moment: without a zone.
const MOMENT: &str = "%Y-%m-%dT%H:%M:%S";
/// Before the name of what a composite reference leads to.
const TYPES: &str = "StandardODATA.";
/// In place of a date: the time at which the object is created.
const NOW: &str = "now";

/// What a task becomes.
#[derive(Debug, Default)]
pub struct Made {
    /// The fields.
    pub fields: Map<String, Value>,
    /// Where each came from.
    pub origins: BTreeMap<String, Vec<String>>,
    /// What the message says and could not be used, a sentence each.
    pub warnings: Vec<String>,
    /// The required fields without a value, a sentence each.
    pub missing: Vec<String>,
}

/// The fields of this task. `offset` is that of 1C's clock, if it is known.
pub fn made(fields: &Fields, task: &Task, offset: Option<FixedOffset>) -> Made {
    let mut made = Made::default();
    for (name, field) in fields {
        put(name, field, &|place| named::value(task, place), offset, &mut made);
    }
    made
}

/// Puts one field in, from what `said` finds at its places.
fn put(name: &str, field: &Field, said: &dyn Fn(&str) -> Option<Value>, offset: Option<FixedOffset>, made: &mut Made) {
    let found = field.from.iter().find_map(|place| Some((place.clone(), said(place)?)));
    let constant = || Some(("ONEC_MAPPING_FILE".to_owned(), field.value.clone()?));
    let Some((origin, value)) = found.or_else(constant) else {
        if field.required {
            made.missing.push(format!("{name} is required, and {} is absent or blank", field.from.join(", ")));
        }
        return;
    };
    match converted(name, field, &value, offset, made) {
        Ok(values) => {
            for (name, value) in values {
                made.origins.insert(name.clone(), vec![origin.clone()]);
                made.fields.insert(name, value);
            }
        }
        Err(wrong) => {
            let what = format!("{origin} {} {wrong}", shown(&value));
            match field.required {
                true => made.missing.push(format!("{name} is required, and {what}")),
                false => made.warnings.push(format!("{what}: {name} is not set")),
            }
        }
    }
}

type Converted = Result<Vec<(String, Value)>, &'static str>;

/// The field, or both fields, that a value becomes.
fn converted(name: &str, field: &Field, value: &Value, offset: Option<FixedOffset>, made: &mut Made) -> Converted {
    if is_java(value) {
        return Err("is a serialised Java object");
    }
    let one = |value: Value| vec![(name.to_owned(), value)];
    match field.kind {
        Kind::String => Ok(one(string(value, field.longest).into())),
        Kind::Number => number(value).map(one).ok_or("is not a number"),
        Kind::Boolean => match (is_yes(value), is_no(value)) {
            (false, false) => Err("is neither yes nor no"),
            (yes, _) => Ok(one(yes.into())),
        },
        Kind::Date => moment(value, offset).map(|moment| one(moment.into())).ok_or("is not a date"),
        Kind::Reference => reference(value).map(|key| one(key.into())).ok_or("is not a key of 1C"),
        Kind::Composite => {
            let key = reference(value).ok_or("is not a key of 1C")?;
            let leads_to = format!("{TYPES}{}", field.of.as_deref().unwrap_or_default());
            Ok(vec![(name.to_owned(), key.into()), (format!("{name}_Type"), leads_to.into())])
        }
        Kind::Rows => {
            let rows = value.as_array().ok_or("is not a list")?;
            Ok(one(table(name, field, rows, offset, made)))
        }
    }
}

/// A tabular part. Rows need their numbers, which 1C writes as texts. What is no object has no members that a row
/// could be made of.
fn table(name: &str, field: &Field, rows: &[Value], offset: Option<FixedOffset>, made: &mut Made) -> Value {
    let fields = field.fields.iter().flatten();
    let mut table: Vec<Value> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let in_row = |told: String| format!("{name}, row {}: {told}", index + 1);
        if !row.is_object() {
            let wrong = in_row(format!("{} is no object: the row is left out", shown(row)));
            let is_required = fields.clone().any(|(_, field)| field.required);
            if is_required { &mut made.missing } else { &mut made.warnings }.push(wrong);
            continue;
        }
        let mut of_row = Made::default();
        let said = |name: &str| row.get(name).filter(|value| !is_blank(value)).cloned();
        fields.clone().for_each(|(name, field)| put(name, field, &said, offset, &mut of_row));
        made.warnings.extend(of_row.warnings.into_iter().map(in_row));
        made.missing.extend(of_row.missing.into_iter().map(in_row));
        of_row.fields.insert("LineNumber".into(), (table.len() + 1).to_string().into());
        table.push(Value::Object(of_row.fields));
    }
    Value::Array(table)
}

/// A list or an object as its JSON.
fn string(value: &Value, longest: Option<usize>) -> String {
    let whole = text(value).unwrap_or_else(|| value.to_string());
    match longest.and_then(|longest| whole.char_indices().nth(longest).map(|_| longest)) {
        Some(longest) => whole.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
        None => whole,
    }
}

/// With all its digits, however long.
fn number(value: &Value) -> Option<Value> {
    let spelt = text(value).filter(|_| !value.is_boolean())?;
    spelt.parse::<Number>().ok().map(Value::Number)
}

/// In the time of 1C's clock where that is known, else as it is written.
fn moment(value: &Value, offset: Option<FixedOffset>) -> Option<String> {
    if value == NOW {
        return Some(match offset {
            Some(offset) => Utc::now().with_timezone(&offset).format(MOMENT).to_string(),
            None => Local::now().format(MOMENT).to_string(),
        });
    }
    let (Some(Moment { iso8601, offset: has_offset }), _) = dates::read(value) else { return None };
    let there = offset.filter(|_| has_offset).and_then(|offset| {
        let moment = DateTime::parse_from_rfc3339(&iso8601).ok()?;
        Some(moment.with_timezone(&offset).format(MOMENT).to_string())
    });
    // Without a fraction and an offset a moment has 19 characters.
    there.or_else(|| iso8601.get(..19).map(str::to_owned))
}

fn reference(value: &Value) -> Option<String> {
    key::parse(&text(value)?)
}

/// The body that says this much of an object of its own key.
pub fn with_key(fields: &Map<String, Value>, key: &str) -> Value {
    let mut fields = fields.clone();
    fields.insert("Ref_Key".into(), json!(key));
    Value::Object(fields)
}

#[cfg(test)]
mod tests;
