//! Is 1C ready for the worker? For `task-creator check`; asks with the worker's own client, and changes nothing.

use std::collections::BTreeMap;

use super::{Topic, requests};
use crate::http::Class;
use crate::report::Report;
use crate::systems::onec::client::Client;
use crate::systems::onec::mapping::Mapping;

/// Looks at every entity of the mapping, with the fields that the mapping names.
pub fn run(mapping: &Mapping<Topic>, client: &Client, report: &mut Report) {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (_, topic) in mapping.topics() {
        fields.entry(&topic.entity).or_default().extend(named(topic));
    }
    for (entity, mut names) in fields {
        names.sort();
        names.dedup();
        let names: Vec<&str> = ["Ref_Key"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let call = requests::first(entity, &names);
        match client.turn().and_then(|turn| turn.send(&call)) {
            Ok(_) => report.ok(format!("1c: {entity} can be read, with its {} fields of the mapping", names.len())),
            Err(err) => {
                report.fail(format!("1c: {entity}: {err}"));
                if err.class == Class::Unavailable {
                    return;
                }
            }
        }
    }
}

/// The fields of a topic as they are read.
fn named(topic: &Topic) -> impl Iterator<Item = String> {
    let conditions = topic.conditions().into_iter().map(|condition| condition.field);
    let answer = topic.answer.as_ref().map(|answer| answer.field.clone());
    topic.fields.keys().cloned().chain(conditions).chain(answer).chain(topic.title.clone()).chain(topic.by.clone())
}
