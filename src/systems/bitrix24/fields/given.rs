//! What a message says at some place, as a text, a number, or a yes or no; and the warning where it says something that
//! is none. It knows places and forms, and no field of the portal.
//!
//! What is null, blank or empty says nothing, and nobody is warned of it.

use serde_json::Value;

use super::{Fields, Sourced};
use crate::message::{Task, text, whole};
use crate::systems::given::is_no;
pub use crate::systems::given::{Place, is_blank, is_java, is_yes, shown};

/// The value of this name, if it says something that can be read.
pub fn value<'a>(task: &'a Task, place: Place, name: &str, made: &mut Fields) -> Option<Sourced<&'a Value>> {
    let value = place.members(task).get(name).filter(|value| !is_blank(value))?;
    if is_java(value) {
        made.warnings.push(format!(
            "{} is a serialised Java object ({}): it is not used; let the process set it as a text or as JSON",
            place.of(name),
            shown(value)
        ));
        return None;
    }
    Some(Sourced::new(value, place.of(name)))
}

/// The first of these that is a text; a number or a boolean counts as its own spelling.
pub fn first_text(task: &Task, place: Place, names: &[&str], made: &mut Fields) -> Option<Sourced<String>> {
    names.iter().find_map(|name| {
        let Sourced { value, origin } = value(task, place, name, made)?;
        let text = text(value);
        if text.is_none() {
            made.warnings.push(format!("{} is {}, not a text: it is not used", origin.concat(), shown(value)));
        }
        Some(Sourced { value: text?, origin })
    })
}

/// The first of these that is a positive whole number; `otherwise` says what one that is none leads to.
pub fn first_id(task: &Task, named: &[(Place, &str)], otherwise: &str, made: &mut Fields) -> Option<Sourced<u64>> {
    named.iter().find_map(|(place, name)| {
        let Sourced { value, origin } = value(task, *place, name, made)?;
        let id = positive(value);
        if id.is_none() {
            let what = "is not a positive whole number";
            made.warnings.push(format!("{} {} {what}: {otherwise}", origin.concat(), shown(value)));
        }
        Some(Sourced { value: id?, origin })
    })
}

/// The positive whole number that a number or a text is.
pub fn positive(value: &Value) -> Option<u64> {
    let spelt = text(value).filter(|_| !value.is_boolean())?;
    whole(&spelt).filter(|number| *number > 0)
}

/// The yes or no of an extension property; blank is a no.
pub fn answer(task: &Task, name: &str, made: &mut Fields) -> Option<Sourced<bool>> {
    let given = Place::Extensions.members(task).get(name).filter(|value| !value.is_null())?;
    let yes = is_yes(given);
    if !yes && !is_no(given) {
        let (place, shown) = (Place::Extensions.of(name), shown(given));
        made.warnings.push(format!("{place} {shown} is neither yes nor no: it counts as no"));
    }
    Some(Sourced::new(yes, Place::Extensions.of(name)))
}
