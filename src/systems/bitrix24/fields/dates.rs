//! The deadline, in the forms in which process models, Java and people write a moment.

use super::given::{self, Place};
use super::{Fields, Sourced};
use crate::message::Task;
use crate::systems::dates::{self, Moment};

/// The deadline, from the first name that says something.
pub fn deadline(task: &Task, made: &mut Fields) -> Option<Sourced<String>> {
    let names = ["deadline", "due_date", "end_date", "finish_date"];
    let Sourced { value, origin } = names.iter().find_map(|name| given::value(task, Place::Variables, name, made))?;
    let (moment, zone) = dates::read(value);
    match (&moment, zone) {
        (None, _) => {
            made.warnings.push(format!("the deadline {} is not a date; the task has none", given::shown(value)));
        }
        (Some(Moment { offset: false, .. }), Some(zone)) => made.warnings.push(format!(
            "the deadline {} has no offset, and zone {zone:?} is not looked up: it counts in the portal's own zone",
            given::shown(value)
        )),
        (Some(_), _) => {}
    }
    Some(Sourced { value: moment?.iso8601, origin })
}

#[cfg(test)]
mod tests;
