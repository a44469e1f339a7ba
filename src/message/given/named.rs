//! The values of a message by their names in full, as `explain` shows them and settings may name them. It knows every
//! place of a message, and no target.

use serde_json::{Map, Value};

use super::{Place, is_blank};
use crate::message::Task;

/// Those with a name of their own in them.
const PLACES: [(&str, Place); 3] = [
    ("variables.", Place::Variables),
    ("metadata.extensionProperties.", Place::Extensions),
    ("metadata.processProperties.", Place::Process),
];
/// The others.
const OTHERS: [&str; 5] =
    ["task_id", "topic", "process_instance_id", "process_definition_key", "metadata.activityInfo.name"];

/// Is this such a name?
pub fn exists(name: &str) -> bool {
    let is_in = |(place, _): &(&str, Place)| name.strip_prefix(place).is_some_and(|rest| !rest.is_empty());
    OTHERS.contains(&name) || PLACES.iter().any(is_in)
}

/// What the message says there, if it says something.
pub fn value(task: &Task, name: &str) -> Option<Value> {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let value = match name {
        "task_id" => Some(task.id.clone().into()),
        "topic" => Some(task.topic.clone().into()),
        "process_instance_id" => text(&task.process_instance_id),
        "process_definition_key" => text(&task.process_definition_key),
        "metadata.activityInfo.name" => text(&task.activity_name),
        _ => PLACES.iter().find_map(|(prefix, place)| {
            let name = name.strip_prefix(prefix)?;
            member(place.members(task), name).cloned()
        }),
    };
    value.filter(|value| !is_blank(value))
}

/// The member of this name; else, since a variable may be an object, `a.b` is the member `b` of the member `a`.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        member(members.get(first)?.as_object()?, rest)
    })
}
