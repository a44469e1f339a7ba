//! `order`, `start` and `select` of task lists, and the page that they lead to. It knows no method and no HTTP.

use serde_json::{Map, Value};

use super::fields::{Field, Fields};
use super::filter::conditions;
use super::portal::{Portal, Task};
use super::reply::Refusal;
use super::request::{integer, texts};

/// Rows of a page; the portal has no setting for it.
const PAGE: usize = 50;

/// What `tasks.task.list` found.
pub(super) struct Page<'a> {
    pub tasks: Vec<&'a Task>,
    /// `None` when counting was switched off.
    pub total: Option<u64>,
    pub next: Option<u64>,
}

/// The page that `filter`, `order` and `start` ask for. Rows are ordered by id, rising or falling; other keys are
/// accepted and ignored.
///
/// # Errors
/// An unknown key in `order`.
pub(super) fn page<'a>(portal: &'a Portal, params: &Value) -> Result<Page<'a>, Refusal> {
    let conditions = conditions(portal, &params["filter"]);
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
    let tasks = tasks.filter(|task| portal.is_visible(task));
    let matching = tasks.filter(|task| conditions.iter().all(|condition| condition.holds(portal, task)));
    let Ok(start) = usize::try_from(integer(&params["start"]).unwrap_or(0)) else {
        // A negative start skips counting, so that nothing after the page is read.
        return Ok(Page { tasks: matching.take(PAGE).collect(), total: None, next: None });
    };
    let matching: Vec<&Task> = matching.collect();
    let next = Some(start + PAGE).filter(|next| *next < matching.len());
    let tasks = matching.iter().copied().skip(start).take(PAGE).collect();
    Ok(Page { tasks, total: Some(matching.len() as u64), next: next.map(|next| next as u64) })
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

/// The positions of the fields that `select` asks for, always with the id; unknown names are dropped. An empty `select`
/// and `*` mean all standard fields, `UF_*` all custom ones.
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
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// 120 tasks; task n has the markers "m<n>" and the title "task n".
    pub fn portal() -> Portal {
        let mut portal = Portal::numbered_from(1);
        for number in 1..=120 {
            let id = portal.create();
            portal.write(id, "TITLE", &format!("task {number}").into());
            portal.write(id, "UF_CAMUNDA_ID_EXTERNAL_TASK", &format!("m{number}").into());
            portal.write(id, "XML_ID", &format!("m{number}").into());
        }
        portal
    }

    pub fn found(portal: &Portal, params: &Value) -> Vec<u64> {
        let page = page(portal, params).expect("a valid order");
        page.tasks.iter().map(|task| task.id).collect()
    }

    #[test]
    fn pages_have_fifty_rows_and_the_last_one_no_next() {
        let portal = portal();
        let pages = [0, 50, 100].map(|start| page(&portal, &json!({"start": start})).expect("valid"));
        assert_eq!(pages.each_ref().map(|page| page.tasks.len()), [50, 50, 20]);
        assert_eq!(pages.each_ref().map(|page| page.next), [Some(50), Some(100), None]);
        assert!(pages.iter().all(|page| page.total == Some(120)));
    }

    #[test]
    fn without_counting_there_is_no_total_and_no_next() {
        let portal = portal();
        let page = page(&portal, &json!({"start": "-1"})).expect("valid");
        assert_eq!((page.tasks.len(), page.total, page.next), (50, None, None));
    }

    #[test]
    fn a_deleted_task_is_gone() {
        let mut portal = portal();
        assert!(portal.delete(9) && !portal.delete(9));
        for filter in [json!({"ID": 9}), json!({"XML_ID": "m9"}), json!({"TITLE": "task 9"})] {
            assert_eq!(found(&portal, &json!({"filter": filter})), [0_u64; 0]);
        }
    }

    #[test]
    fn an_unknown_order_is_refused() {
        let refusal = page(&portal(), &json!({"order": {"NO_KEY": "asc"}})).err().expect("refused");
        assert_eq!(refusal.code, "0");
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
