//! What else to try when the portal refuses a task: the same task with a little less of what the message asked for.
//!
//! It does not know why a task was refused, since the portal does not say. It decides nothing: the caller looks the
//! task up before each try.

use serde_json::{Map, Value};

use super::super::Settings;
use super::{Fields, PARENT, RESPONSIBLE};

/// A change to the fields that may make the portal take the task.
#[derive(Debug, PartialEq)]
pub struct Concession {
    /// The change, for the log: "with responsible 1 instead of 77".
    pub what: String,
    /// The changed `fields` of `tasks.task.add`.
    pub fields: Map<String, Value>,
}

/// What to try, in this order, when the portal refuses these fields: with the default responsible if it is another one,
/// without the parent if there is one, with both changes if both apply. If neither applies, nothing is left to try.
pub fn concessions(fields: &Fields, settings: &Settings) -> Vec<Concession> {
    let fields = &fields.fields;
    let by_default = with_default_responsible(fields, settings.default_responsible);
    let alone = without_parent(fields);
    let both = by_default.as_ref().and_then(|first| {
        let Concession { what, fields } = without_parent(&first.fields)?;
        Some(Concession { what: format!("{} and {what}", first.what), fields })
    });
    [by_default, alone, both].into_iter().flatten().collect()
}

fn with_default_responsible(fields: &Map<String, Value>, default: u64) -> Option<Concession> {
    let refused = fields.get(RESPONSIBLE).filter(|responsible| **responsible != default)?;
    let what = format!("with responsible {default} instead of {refused}");
    Some(Concession { what, fields: changed(fields, |fields| drop(fields.insert(RESPONSIBLE.into(), default.into()))) })
}

fn without_parent(fields: &Map<String, Value>) -> Option<Concession> {
    let what = format!("without {PARENT} {}", fields.get(PARENT)?);
    Some(Concession { what, fields: changed(fields, |fields| drop(fields.remove(PARENT))) })
}

fn changed(fields: &Map<String, Value>, change: impl FnOnce(&mut Map<String, Value>)) -> Map<String, Value> {
    let mut fields = fields.clone();
    change(&mut fields);
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::tests::settings;
    use super::super::tests::task;
    use super::*;

    fn tried(assignee: Value, parent: Value) -> Vec<Concession> {
        let message = json!({
            "variables": {"parentTaskId": parent, "title": "Счёт"},
            "metadata": {"extensionProperties": {"assigneeId": assignee}},
        });
        let settings = settings(&[("BITRIX_DEFAULT_RESPONSIBLE_ID", "9")]);
        let given = super::super::fields(&task(message), &settings);
        let tried = concessions(&given, &settings);
        // Nothing else is changed.
        for Concession { what, fields } in &tried {
            let (mut fields, mut given) = (fields.clone(), given.fields.clone());
            for name in [RESPONSIBLE, PARENT] {
                fields.remove(name);
                given.remove(name);
            }
            assert_eq!(fields, given, "{what}");
        }
        tried
    }

    fn changes(tried: &[Concession]) -> Vec<(&str, &Value, Option<&Value>)> {
        tried.iter().map(|one| (one.what.as_str(), &one.fields[RESPONSIBLE], one.fields.get(PARENT))).collect()
    }

    #[test]
    fn a_refused_task_is_tried_with_the_default_responsible_then_without_its_parent_then_with_both() {
        let tried = tried(json!("77"), json!("5"));
        let expected = [
            ("with responsible 9 instead of 77", &json!(9), Some(&json!(5))),
            ("without PARENT_ID 5", &json!(77), None),
            ("with responsible 9 instead of 77 and without PARENT_ID 5", &json!(9), None),
        ];
        assert_eq!(changes(&tried), expected);
    }

    #[test]
    fn a_default_responsible_and_an_absent_parent_change_nothing() {
        assert_eq!(changes(&tried(json!("77"), json!(null))), [("with responsible 9 instead of 77", &json!(9), None)]);
        assert_eq!(changes(&tried(json!("9"), json!(5))), [("without PARENT_ID 5", &json!(9), None)]);
        assert_eq!(tried(json!(null), json!("none")), []);
        assert_eq!(tried(json!("boss"), json!("0")), []);
    }
}
