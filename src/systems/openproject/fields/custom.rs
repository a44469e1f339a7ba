//! Custom fields that a process model sets as extension properties, by their name in the interface (`customField` and
//! a number) or by the name that people see. Only the schema of project and type knows the latter, and the kind of a
//! field.

use serde_json::{Number, Value, json};

use super::super::schema::{Custom, Kind, Schema};
use super::super::settings::is_custom_field;
use super::{Fields, links};
use crate::message::given::{self, Place, Sourced, shown};
use crate::message::{Task, text, whole};

/// Extension properties with a meaning of their own, for this system or another.
const RESERVED: &[&str] = &[
    "assigneeId",
    "assigneeName",
    "responsibleId",
    "projectId",
    "typeId",
    "checklists",
    "accomplices",
    "taskControl",
    "resultRequired",
];

/// Could an extension property of this name be a custom field?
fn may_be_custom(name: &str) -> bool {
    !name.starts_with("UF_") && !RESERVED.contains(&name)
}

/// Does only the schema say what these extension properties are?
pub fn needs_schema(task: &Task) -> bool {
    task.extension_properties.iter().any(|(name, value)| may_be_custom(name) && !given::is_blank(value))
}

/// Puts the custom fields.
pub fn put(task: &Task, schema: Option<&Schema>, made: &mut Fields) {
    for name in task.extension_properties.keys().filter(|name| may_be_custom(name)) {
        let field = schema.and_then(|schema| schema.find(name));
        if field.is_none() && !is_custom_field(name) {
            continue;
        }
        if field.is_none() && schema.is_some() {
            made.warnings.push(format!("the project and type have no {name}: OpenProject ignores it"));
        }
        let Some(given) = given::value(task, Place::Extensions, name, &mut made.warnings) else { continue };
        let key = field.map_or(name.as_str(), |field| field.key.as_str()).to_owned();
        match field {
            Some(field) => put_known(field, &key, given, made),
            // As it is: OpenProject refuses what it cannot read.
            None => made.put(&key, Some(given.map(Clone::clone))),
        }
    }
}

fn put_known(field: &Custom, key: &str, given: Sourced<&Value>, made: &mut Fields) {
    let value = given.value;
    match read(field, value) {
        Some(read) if field.kind.is_link() => made.link(key, Some(given.map(|_| read))),
        Some(read) => made.put(key, Some(given.map(|_| read))),
        None => {
            let (place, shown, kind) = (given.origin.concat(), shown(value), field.kind.name());
            made.warnings.push(format!("{place} {shown} is no {kind} for {:?}: it is not used", field.name));
        }
    }
}

/// The value as the field takes it.
fn read(field: &Custom, value: &Value) -> Option<Value> {
    let spelt = text(value);
    match field.kind {
        Kind::Text => spelt.map(Value::from),
        Kind::LongText => spelt.map(|raw| json!({"format": "markdown", "raw": raw})),
        Kind::Integer => spelt?.parse::<i64>().ok().map(Value::from),
        Kind::Float => spelt?.replace(',', ".").parse::<Number>().ok().map(Value::from),
        Kind::Boolean => Some(given::is_yes(value).into()),
        Kind::Date => spelt.map(|day| day.chars().take(10).collect::<String>().into()),
        Kind::Link { of, many } => {
            let values = match value {
                Value::Array(values) => values.clone(),
                Value::String(text) if many => text.split(',').map(Value::from).collect(),
                other => vec![other.clone()],
            };
            let linked: Option<Vec<Value>> = values.iter().map(|value| link(field, of, value)).collect();
            let linked = linked.filter(|linked| !linked.is_empty())?;
            if many { Some(linked.into()) } else { linked.into_iter().next() }
        }
    }
}

/// A value that is allowed, by its text; or anything of that kind, by its number.
fn link(field: &Custom, of: &'static str, value: &Value) -> Option<Value> {
    let spelt = text(value)?;
    let allowed = field.allowed.iter().find(|(title, _)| title.eq_ignore_ascii_case(&spelt) || *title == spelt);
    let by_title = allowed.map(|(_, href)| json!({ "href": href }));
    by_title.or_else(|| whole(&spelt).map(|id| links::href(of, id)))
}
