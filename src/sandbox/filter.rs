//! The `filter` of task lists: which keys the portal knows and how it compares. It knows no method and no HTTP.

use std::cmp::Ordering;

use serde_json::Value;

use super::fields::Field;
use super::index::collated;
use super::portal::{Portal, Task};
use super::request::texts;

/// Filter keys and their fields; all custom fields can be filtered as well.
const FILTER_KEYS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("PARENT_ID", "PARENT_ID"),
    ("GROUP_ID", "GROUP_ID"),
    ("CREATED_BY", "CREATED_BY"),
    ("RESPONSIBLE_ID", "RESPONSIBLE_ID"),
    ("TITLE", "TITLE"),
    ("TAG", "TAGS"),
    ("REAL_STATUS", "STATUS"),
    ("STATUS", "STATUS"),
    ("PRIORITY", "PRIORITY"),
    ("DEADLINE", "DEADLINE"),
    ("CREATED_DATE", "CREATED_DATE"),
    ("CLOSED_DATE", "CLOSED_DATE"),
    ("CHANGED_DATE", "CHANGED_DATE"),
    ("STAGE_ID", "STAGE_ID"),
    ("XML_ID", "XML_ID"),
];

/// Compares a task's value with the filter's.
type Operator = fn(&str, &str) -> bool;

/// Prefixes of filter keys, longer ones first.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", |own, asked| compare(own, asked).is_ge()),
    ("<=", |own, asked| compare(own, asked).is_le()),
    (">", |own, asked| compare(own, asked).is_gt()),
    ("<", |own, asked| compare(own, asked).is_lt()),
    ("%", |own, asked| own.to_lowercase().contains(&asked.to_lowercase())),
];

/// As the database compares, see [`collated`].
fn equal(own: &str, asked: &str) -> bool {
    own == asked || collated(own) == collated(asked)
}

/// Numbers by value, all other values as text; dates of one offset sort right as text.
fn compare(own: &str, asked: &str) -> Ordering {
    match (own.parse::<i64>(), asked.parse::<i64>()) {
        (Ok(own), Ok(asked)) => own.cmp(&asked),
        _ => own.cmp(asked),
    }
}

/// One entry of a filter.
pub(super) struct Condition<'a> {
    position: usize,
    field: &'a Field,
    negated: bool,
    /// `None`: equal to one of the values.
    operator: Option<Operator>,
    values: Vec<String>,
}

impl Condition<'_> {
    pub fn holds(&self, portal: &Portal, task: &Task) -> bool {
        let mut own = texts(&portal.value_at(task, self.position));
        if own.is_empty() {
            own.push(String::new());
        }
        let operator = self.operator.unwrap_or(equal);
        let found = self.values.iter().any(|asked| own.iter().any(|own| operator(own, asked)));
        found != self.negated
    }

    /// The only tasks that can meet this condition, when an index knows them.
    pub fn candidates(&self, portal: &Portal) -> Option<Vec<u64>> {
        // An empty value asks for tasks without one, and no index has those.
        if self.negated || self.operator.is_some() || self.values.iter().any(String::is_empty) {
            return None;
        }
        if &*self.field.name == "ID" {
            return Some(self.values.iter().filter_map(|id| id.parse().ok()).collect());
        }
        let found = self.values.iter().map(|value| portal.indexed(&self.field.name, value));
        Some(found.collect::<Option<Vec<_>>>()?.concat())
    }
}

/// Reads a filter. Unknown keys and empty lists are dropped silently: the call then returns more than it asked for.
pub(super) fn conditions<'a>(portal: &'a Portal, filter: &Value) -> Vec<Condition<'a>> {
    let fields = &portal.fields;
    let condition = |(key, value): (&String, &Value)| {
        let (key, negated) = key.strip_prefix('!').map_or((key.as_str(), false), |key| (key, true));
        let prefixed = |(prefix, operator): &(&str, Operator)| Some((key.strip_prefix(prefix)?, *operator));
        let (key, operator) = match OPERATORS.iter().find_map(prefixed) {
            Some((key, operator)) => (key, Some(operator)),
            None if portal.rules.knows_at => (key.strip_prefix(['=', '@']).unwrap_or(key), None),
            None => (key.strip_prefix('=').unwrap_or(key), None),
        };
        let standard = FILTER_KEYS.iter().find(|(known, _)| *known == key);
        let (position, field) = match standard {
            Some((_, name)) => fields.find(name)?,
            None => fields.find(key).filter(|(_, field)| field.is_custom())?,
        };
        let values: Vec<String> = texts(value).into_iter().map(|text| field.as_kept(text)).collect();
        (!values.is_empty()).then_some(Condition { position, field, negated, operator, values })
    };
    filter.as_object().into_iter().flatten().filter_map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::{found, portal};
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_and_markers_are_found_one_by_one_and_many_at_once() {
        let portal = portal();
        assert_eq!(found(&portal, &json!({"filter": {"ID": [7, "3", 999]}})), [3, 7]);
        assert_eq!(found(&portal, &json!({"filter": {"=ID": 5}})), [5]);
        for key in ["UF_CAMUNDA_ID_EXTERNAL_TASK", "=UF_CAMUNDA_ID_EXTERNAL_TASK", "XML_ID", "=XML_ID"] {
            assert_eq!(found(&portal, &json!({"filter": {key: "m9"}})), [9]);
            assert_eq!(found(&portal, &json!({"filter": {key: ["m9", "nobody", "m7"]}})), [7, 9]);
            assert_eq!(found(&portal, &json!({"filter": {key: "nobody"}})), [0_u64; 0]);
        }
    }

    #[test]
    fn letter_case_and_trailing_blanks_make_no_difference() {
        let mut portal = portal();
        portal.write(5, "TITLE", &"Счёт".into());
        for key in ["UF_CAMUNDA_ID_EXTERNAL_TASK", "XML_ID"] {
            assert_eq!(found(&portal, &json!({"filter": {key: "M9  "}})), [9]);
            assert_eq!(found(&portal, &json!({"filter": {key: " m9"}})), [0_u64; 0]);
        }
        assert_eq!(found(&portal, &json!({"filter": {"TITLE": "сЧЁТ "}})), [5]);
    }

    #[test]
    fn ids_and_markers_are_found_without_reading_every_task() {
        let portal = portal();
        let candidates = |filter: Value| {
            let conditions = conditions(&portal, &filter);
            conditions.first().and_then(|condition| condition.candidates(&portal))
        };
        assert_eq!(candidates(json!({"ID": [7, 3]})), Some(vec![7, 3]));
        assert_eq!(candidates(json!({"=UF_CAMUNDA_ID_EXTERNAL_TASK": ["m9", "m3"]})), Some(vec![9, 3]));
        assert_eq!(candidates(json!({"!ID": 1})), None);
        assert_eq!(candidates(json!({"XML_ID": ""})), None);
        assert_eq!(candidates(json!({"TITLE": "task 1"})), None);
    }

    #[test]
    fn an_ignored_filter_returns_everything() {
        let mut portal = portal();
        let total = |portal: &Portal, filter: &Value| conditions(portal, filter).len();
        for filter in
            [json!({"NO_KEY": 1}), json!({"id": 1}), json!({"@ID": [1]}), json!({"ID": []}), json!({"UF_NONE": "x"})]
        {
            assert_eq!(total(&portal, &filter), 0, "{filter}");
        }
        portal.rules.knows_at = true;
        assert_eq!(found(&portal, &json!({"filter": {"@ID": [1, 2]}})), [1, 2]);
    }

    #[test]
    fn conditions_are_combined_and_compared_by_value() {
        let mut portal = portal();
        portal.set_status(100, 5);
        portal.set_status(3, 5);
        assert_eq!(found(&portal, &json!({"filter": {">ID": "9", "REAL_STATUS": 5}})), [100]);
        assert_eq!(found(&portal, &json!({"filter": {"!REAL_STATUS": 2}, "order": {"ID": "DESC"}})), [100, 3]);
        assert_eq!(found(&portal, &json!({"filter": {"%TITLE": "TASK 11", "<ID": 100}})), [11]);
    }
}
