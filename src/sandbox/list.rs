//! `filter`, `order`, `start` and `select` of task lists. Knows no method and no HTTP.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::fields::{Field, Fields};
use super::portal::{Portal, Task};
use super::reply::Refusal;
use super::request::{integer, texts};

/// Rows of a page; the portal has no setting for it.
const PAGE: usize = 50;

/// Filter keys and the fields they look at; all custom fields can be filtered as well.
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

/// Prefixes of filter keys, longer ones first. `@` is none of them: the portal ignores such a key.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", |own, asked| compare(own, asked).is_ge()),
    ("<=", |own, asked| compare(own, asked).is_le()),
    (">", |own, asked| compare(own, asked).is_gt()),
    ("<", |own, asked| compare(own, asked).is_lt()),
    ("%", |own, asked| own.to_lowercase().contains(&asked.to_lowercase())),
];

fn equal(own: &str, asked: &str) -> bool {
    own == asked
}

/// Numbers by value, all else as text; dates of one offset sort right as text.
fn compare(own: &str, asked: &str) -> Ordering {
    match (own.parse::<i64>(), asked.parse::<i64>()) {
        (Ok(own), Ok(asked)) => own.cmp(&asked),
        _ => own.cmp(asked),
    }
}

/// One entry of a filter.
struct Condition<'a> {
    position: usize,
    field: &'a Field,
    negated: bool,
    /// `None` = equal to one of the values.
    operator: Option<Operator>,
    values: Vec<String>,
}

impl Condition<'_> {
    fn holds(&self, portal: &Portal, task: &Task) -> bool {
        let mut own = texts(&portal.value_at(task, self.position));
        if own.is_empty() {
            own.push(String::new());
        }
        let operator = self.operator.unwrap_or(equal);
        let found = self.values.iter().any(|asked| own.iter().any(|own| operator(own, asked)));
        found != self.negated
    }

    /// The only tasks that can hold this condition, when that is known without looking at all of them.
    fn candidates(&self, portal: &Portal) -> Option<Vec<u64>> {
        // An empty value asks for tasks without one, and those are in no index.
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

/// Reads a filter. Unknown keys and empty lists are dropped silently: the call then returns more than was asked for.
fn conditions<'a>(fields: &'a Fields, filter: &Value) -> Vec<Condition<'a>> {
    let condition = |(key, value): (&String, &Value)| {
        let (key, negated) = key.strip_prefix('!').map_or((key.as_str(), false), |key| (key, true));
        let prefixed = |(prefix, operator): &(&str, Operator)| Some((key.strip_prefix(prefix)?, *operator));
        let (key, operator) = match OPERATORS.iter().find_map(prefixed) {
            Some((key, operator)) => (key, Some(operator)),
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

/// What `tasks.task.list` found.
pub(super) struct Page<'a> {
    pub tasks: Vec<&'a Task>,
    /// 0 when counting was switched off.
    pub total: usize,
    pub next: Option<usize>,
}

/// The page that `filter`, `order` and `start` ask for. Rows are ordered by id, rising or falling; other keys are
/// accepted and leave the order as it is.
///
/// # Errors
/// An unknown key in `order`.
pub(super) fn page<'a>(portal: &'a Portal, params: &Value) -> Result<Page<'a>, Refusal> {
    let conditions = conditions(&portal.fields, &params["filter"]);
    let candidates = conditions.iter().find_map(|condition| condition.candidates(portal));
    let tasks: Box<dyn DoubleEndedIterator<Item = &Task>> = match candidates {
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            Box::new(ids.into_iter().filter_map(|id| portal.task(id)))
        }
        None => Box::new(portal.tasks()),
    };
    let tasks: Box<dyn Iterator<Item = &Task>> =
        if descending(&portal.fields, &params["order"])? { Box::new(tasks.rev()) } else { tasks };
    let matching = tasks.filter(|task| conditions.iter().all(|condition| condition.holds(portal, task)));
    let Ok(start) = usize::try_from(integer(&params["start"]).unwrap_or(0)) else {
        // A negative start skips counting, so that nothing behind the page is looked at.
        return Ok(Page { tasks: matching.take(PAGE).collect(), total: 0, next: None });
    };
    let matching: Vec<&Task> = matching.collect();
    let next = Some(start + PAGE).filter(|next| *next < matching.len());
    let tasks = matching.iter().copied().skip(start).take(PAGE).collect();
    Ok(Page { tasks, total: matching.len(), next })
}

fn descending(fields: &Fields, order: &Value) -> Result<bool, Refusal> {
    let mut falling = false;
    for (key, direction) in order.as_object().into_iter().flatten() {
        if fields.find(key).is_none() {
            return Err(Refusal::new(400, "0", format!("Could not order by {key}")));
        }
        falling |= key == "ID" && direction.as_str().is_some_and(|text| text.eq_ignore_ascii_case("desc"));
    }
    Ok(falling)
}

/// The positions of the fields that `select` asks for. The id is always among them; unknown names are dropped. An empty
/// `select` and `*` mean all standard fields, `UF_*` all custom ones.
pub(super) fn selected(fields: &Fields, select: &Value) -> Vec<usize> {
    let names = texts(select);
    let named = |wanted: &str| names.iter().any(|name| name == wanted);
    let (all_standard, all_custom) = (names.is_empty() || named("*"), named("UF_*"));
    let wanted = |field: &Field| {
        let all = if field.is_custom() { all_custom } else { all_standard };
        all || &*field.name == "ID" || named(&field.name)
    };
    fields.iter().filter(|(_, field)| wanted(field)).map(|(position, _)| position).collect()
}

/// A task as replies carry it, with the fields at these positions.
pub(super) fn row(portal: &Portal, task: &Task, positions: &[usize]) -> Map<String, Value> {
    let member = |position: &usize| {
        let name = portal.fields.at(*position).reply_name.clone();
        (name, portal.value_at(task, *position))
    };
    positions.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 120 tasks; task n has the marker "m<n>" and the title "task n".
    fn portal() -> Portal {
        let mut portal = Portal::default();
        for number in 1..=120 {
            let id = portal.create();
            portal.write(id, "TITLE", &format!("task {number}").into());
            portal.write(id, "UF_CAMUNDA_ID_EXTERNAL_TASK", &format!("m{number}").into());
        }
        portal
    }

    fn found(portal: &Portal, params: &Value) -> Vec<u64> {
        let page = page(portal, params).expect("a valid order");
        page.tasks.iter().map(|task| task.id).collect()
    }

    #[test]
    fn ids_and_markers_are_found_exactly() {
        let portal = portal();
        assert_eq!(found(&portal, &json!({"filter": {"ID": [7, "3", 999]}})), [3, 7]);
        assert_eq!(found(&portal, &json!({"filter": {"=ID": 5}})), [5]);
        for key in ["UF_CAMUNDA_ID_EXTERNAL_TASK", "=UF_CAMUNDA_ID_EXTERNAL_TASK"] {
            assert_eq!(found(&portal, &json!({"filter": {key: "m9"}})), [9]);
            assert_eq!(found(&portal, &json!({"filter": {key: "nobody"}})), [0_u64; 0]);
        }
    }

    #[test]
    fn ids_and_markers_are_found_without_looking_at_every_task() {
        let portal = portal();
        let candidates = |filter: Value| {
            let conditions = conditions(&portal.fields, &filter);
            conditions.first().and_then(|condition| condition.candidates(&portal))
        };
        assert_eq!(candidates(json!({"ID": [7, 3]})), Some(vec![7, 3]));
        assert_eq!(candidates(json!({"=UF_CAMUNDA_ID_EXTERNAL_TASK": "m9"})), Some(vec![9]));
        assert_eq!(candidates(json!({"!ID": 1})), None);
        assert_eq!(candidates(json!({"XML_ID": ""})), None);
        assert_eq!(candidates(json!({"TITLE": "task 1"})), None);
    }

    #[test]
    fn an_ignored_filter_returns_everything() {
        let portal = portal();
        for filter in [json!({"NO_KEY": 1}), json!({"@ID": [1]}), json!({"ID": []}), json!({"UF_NONE": "x"})] {
            assert_eq!(page(&portal, &json!({"filter": filter})).expect("valid").total, 120, "{filter}");
        }
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

    #[test]
    fn pages_have_fifty_rows_and_the_last_one_no_next() {
        let portal = portal();
        let pages = [0, 50, 100].map(|start| page(&portal, &json!({"start": start})).expect("valid"));
        assert_eq!(pages.each_ref().map(|page| page.tasks.len()), [50, 50, 20]);
        assert_eq!(pages.each_ref().map(|page| page.next), [Some(50), Some(100), None]);
        assert!(pages.iter().all(|page| page.total == 120));
    }

    #[test]
    fn without_counting_there_is_no_total_and_no_next() {
        let portal = portal();
        let page = page(&portal, &json!({"start": "-1"})).expect("valid");
        assert_eq!((page.tasks.len(), page.total, page.next), (50, 0, None));
    }

    #[test]
    fn an_unknown_order_is_refused() {
        assert_eq!(page(&portal(), &json!({"order": {"NO_KEY": "asc"}})).err().map(|err| err.code), Some("0"));
    }

    #[test]
    fn select_drops_unknown_names_and_brings_custom_fields_only_when_asked() {
        let portal = portal();
        let names = |select: Value| -> Vec<String> {
            let positions = selected(&portal.fields, &select);
            positions.iter().map(|position| portal.fields.at(*position).reply_name.clone()).collect()
        };
        assert_eq!(names(json!(["STATUS", "NO_FIELD"])), ["id", "status"]);
        assert!(!names(json!([])).contains(&"ufCrmTask".into()));
        assert!(names(json!(["*", "UF_*"])).contains(&"ufCamundaIdExternalTask".into()));
    }
}
