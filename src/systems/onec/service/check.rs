//! Is an HTTP service of 1C ready for the worker? Asks for a task that nobody has, and changes nothing.

use super::Topic;
use crate::report::Report;
use crate::systems::onec::client::Client;
use crate::systems::onec::mapping::Mapping;

/// A task that nobody has.
const NOBODYS: &str = "00000000-0000-0000-0000-000000000000";

/// Looks for that task by every topic that can be looked up.
pub fn run(mapping: &Mapping<Topic>, client: &Client, report: &mut Report) {
    for (name, topic) in mapping.topics() {
        let Some(call) = topic.find_call(NOBODYS) else {
            report.warn(format!(
                "1c: {name} has no \"find\": what comes twice may be created twice, and it is not looked at"
            ));
            continue;
        };
        match client.turn().and_then(|turn| turn.send(&call)) {
            Ok(answer) => match topic.id_in(&answer) {
                Some(id) => report.fail(format!("1c: {name}: \"find\" finds {id} for a task that nobody has")),
                None => report.ok(format!("1c: {name}: \"find\" answers")),
            },
            Err(err) if err.is_told_not_found() => report.ok(format!("1c: {name}: \"find\" answers")),
            Err(err) => report.fail(format!("1c: {name}: {err}")),
        }
    }
}
