//! The checklists of tasks: lists, their items, and the place of a new one; the methods for them, and what people do.
//! It knows no HTTP.

use serde_json::{Value, json};

use super::portal::Portal;
use super::reply::{Outcome, Refusal};
use super::request::{integer, text};
use super::tasks::task_id;
use super::users::OWNER;

/// A checklist, or an item of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecklistItem {
    /// Unique over all tasks.
    pub id: u64,
    /// The checklist that the item belongs to; 0: this is a checklist itself.
    pub parent: u64,
    /// `TITLE`.
    pub title: String,
    /// Its place among its siblings; equal ones are in the order of their ids.
    pub sort_index: i64,
    /// Ticked off.
    pub complete: bool,
    /// The user who made it.
    pub created_by: u64,
}

/// Where a new item is put among its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Last,
    /// A parent that is written as text leads to this.
    First,
    At(i64),
}

impl Portal {
    /// The lists and items of a task, in the order in which they are read.
    pub fn checklist(&self, task: u64) -> Vec<ChecklistItem> {
        let mut items = self.task(task).map(|task| task.checklist.clone()).unwrap_or_default();
        items.sort_by_key(|item| (item.sort_index, item.id));
        items
    }

    /// Adds a checklist (parent 0) or an item; `None` when there is no such task.
    pub fn add_item(&mut self, task: u64, parent: u64, title: String, place: Place, by: u64) -> Option<u64> {
        let id = self.next_item();
        let items = &mut self.task_mut(task)?.checklist;
        let siblings = items.iter_mut().filter(|item| item.parent == parent);
        let sort_index = match place {
            Place::At(index) => index,
            Place::Last => siblings.map(|item| item.sort_index + 1).max().unwrap_or(0),
            Place::First => {
                siblings.for_each(|item| item.sort_index += 1);
                0
            }
        };
        items.push(ChecklistItem { id, parent, title, sort_index, complete: false, created_by: by });
        Some(id)
    }

    /// False when the task or the item does not exist.
    pub fn change_item(&mut self, task: u64, item: u64, change: impl FnOnce(&mut ChecklistItem)) -> bool {
        let item = self.task_mut(task).and_then(|task| task.checklist.iter_mut().find(|known| known.id == item));
        item.map(change).is_some()
    }

    /// Deletes an item; a list with all its items. False when the task or the item does not exist.
    pub fn delete_item(&mut self, task: u64, item: u64) -> bool {
        let Some(task) = self.task_mut(task) else { return false };
        let before = task.checklist.len();
        task.checklist.retain(|known| known.id != item && known.parent != item);
        task.checklist.len() < before
    }
}

pub(super) fn add(portal: &mut Portal, params: &Value) -> Outcome {
    let (task, fields) = (visible(portal, params)?, &params["FIELDS"]);
    let title = title(fields)?.ok_or_else(no_title)?;
    let parent = integer(&fields["PARENT_ID"]).and_then(|parent| u64::try_from(parent).ok()).unwrap_or(0);
    let place = match (integer(&fields["SORT_INDEX"]), &fields["PARENT_ID"]) {
        (Some(index), _) => Place::At(index),
        (None, Value::String(_)) => Place::First,
        (None, _) => Place::Last,
    };
    let item = portal.add_item(task, parent, title, place, OWNER).ok_or_else(no_task)?;
    if let Some(complete) = complete(fields) {
        portal.change_item(task, item, |item| item.complete = complete);
    }
    Ok(Value::from(item).into())
}

pub(super) fn get_list(portal: &mut Portal, params: &Value) -> Outcome {
    let task = visible(portal, params)?;
    let items = portal.checklist(task);
    let rows = items.iter().map(|item| {
        json!({
            "ID": item.id.to_string(),
            "TASK_ID": task.to_string(),
            "PARENT_ID": item.parent.to_string(),
            "CREATED_BY": item.created_by.to_string(),
            "TITLE": item.title,
            "SORT_INDEX": item.sort_index.to_string(),
            "IS_COMPLETE": if item.complete { "Y" } else { "N" },
            "IS_IMPORTANT": "N",
            "TOGGLED_BY": null,
            "TOGGLED_DATE": null,
            "MEMBERS": [],
            "ATTACHMENTS": [],
        })
    });
    Ok(rows.collect::<Value>().into())
}

pub(super) fn update(portal: &mut Portal, params: &Value) -> Outcome {
    let fields = &params["FIELDS"];
    let title = title(fields)?;
    change(portal, params, |item| {
        item.title = title.unwrap_or_else(|| std::mem::take(&mut item.title));
        item.complete = complete(fields).unwrap_or(item.complete);
        item.sort_index = integer(&fields["SORT_INDEX"]).unwrap_or(item.sort_index);
    })
}

pub(super) fn tick(portal: &mut Portal, params: &Value) -> Outcome {
    change(portal, params, |item| item.complete = true)
}

pub(super) fn untick(portal: &mut Portal, params: &Value) -> Outcome {
    change(portal, params, |item| item.complete = false)
}

pub(super) fn delete(portal: &mut Portal, params: &Value) -> Outcome {
    let task = visible(portal, params)?;
    if portal.delete_item(task, item_id(params)?) { Ok(Value::from(true).into()) } else { Err(no_task()) }
}

fn change(portal: &mut Portal, params: &Value, change: impl FnOnce(&mut ChecklistItem)) -> Outcome {
    let task = visible(portal, params)?;
    if portal.change_item(task, item_id(params)?, change) { Ok(Value::from(true).into()) } else { Err(no_task()) }
}

/// The task with this id, when it exists and the webhook's owner may see it.
fn visible(portal: &Portal, params: &Value) -> Result<u64, Refusal> {
    let id = task_id(&params["TASKID"])?;
    portal.visible_task(id).map(|task| task.id).ok_or_else(no_task)
}

fn item_id(params: &Value) -> Result<u64, Refusal> {
    task_id(&params["ITEMID"])
}

fn no_task() -> Refusal {
    Refusal::new(400, "ERROR_CORE", "TASKS_ERROR_EXCEPTION_#8; Action failed; 8/TE/ACTION_FAILED")
}

fn no_title() -> Refusal {
    Refusal::core("Не указано название пункта чек-листа")
}

/// Trimmed; `None` without one.
fn title(fields: &Value) -> Result<Option<String>, Refusal> {
    match text(&fields["TITLE"]).map(|title| title.trim().to_owned()) {
        Some(title) if title.is_empty() => Err(no_title()),
        title => Ok(title),
    }
}

fn complete(fields: &Value) -> Option<bool> {
    text(&fields["IS_COMPLETE"]).map(|text| text == "Y")
}

#[cfg(test)]
mod tests {
    use super::super::methods::tests::{refused, result};
    use super::*;

    fn portal() -> (Portal, u64) {
        let mut portal = Portal::default();
        let added = result(&mut portal, "tasks.task.add", json!({"fields": {"TITLE": "t", "RESPONSIBLE_ID": 1}}));
        let id = integer(&added["task"]["id"]).and_then(|id| u64::try_from(id).ok());
        (portal, id.expect("an id"))
    }

    /// Adds an item of these fields and returns its id.
    fn add(portal: &mut Portal, task: u64, fields: Value) -> u64 {
        let id = result(portal, "task.checklistitem.add", json!({"TASKID": task, "FIELDS": fields}));
        id.as_u64().expect("a bare integer")
    }

    fn titles(portal: &mut Portal, task: u64) -> Vec<String> {
        let rows = result(portal, "task.checklistitem.getlist", json!({"TASKID": task.to_string()}));
        rows.as_array().into_iter().flatten().filter_map(|row| text(&row["TITLE"])).collect()
    }

    #[test]
    fn a_parent_as_a_number_appends_and_as_text_puts_on_top() {
        for (parent, order) in [(json!(0), ["one", "two", "three"]), (json!("0"), ["three", "two", "one"])] {
            let (mut portal, task) = portal();
            for title in ["one", "two", "three"] {
                add(&mut portal, task, json!({"TITLE": title, "PARENT_ID": parent}));
            }
            assert_eq!(titles(&mut portal, task), order, "{parent}");
        }
    }

    #[test]
    fn an_explicit_index_is_kept_and_equal_ones_are_ordered_by_id() {
        let (mut portal, task) = portal();
        for (title, index) in [("c", "30"), ("a", "10"), ("d", "30"), ("b", "20")] {
            add(&mut portal, task, json!({"TITLE": title, "PARENT_ID": "0", "SORT_INDEX": index}));
        }
        assert_eq!(titles(&mut portal, task), ["a", "b", "c", "d"]);
    }

    #[test]
    fn rows_are_texts_and_lists_have_the_parent_0() {
        let (mut portal, task) = portal();
        let list = add(&mut portal, task, json!({"TITLE": " <Documents> & ", "PARENT_ID": 0}));
        let item = add(&mut portal, task, json!({"TITLE": "one", "PARENT_ID": list, "IS_COMPLETE": "Y"}));
        let rows = result(&mut portal, "task.checklistitem.getlist", json!({"TASKID": task}));
        assert_eq!((&rows[0]["TITLE"], &rows[0]["PARENT_ID"]), (&json!("<Documents> &"), &json!("0")));
        let expected = (json!(item.to_string()), json!(list.to_string()), json!("Y"), json!(task.to_string()));
        let row = &rows[1];
        assert_eq!((&row["ID"], &row["PARENT_ID"]), (&expected.0, &expected.1));
        assert_eq!((&row["IS_COMPLETE"], &row["TASK_ID"]), (&expected.2, &expected.3));
        assert_eq!((&rows[0]["IS_COMPLETE"], &rows[0]["CREATED_BY"]), (&json!("N"), &json!("1")));
    }

    #[test]
    fn items_can_be_renamed_ticked_and_deleted_with_their_list() {
        let (mut portal, task) = portal();
        let list = add(&mut portal, task, json!({"TITLE": "list", "PARENT_ID": 0}));
        let item = add(&mut portal, task, json!({"TITLE": "item", "PARENT_ID": list}));
        let of = |item: u64| json!({"TASKID": task, "ITEMID": item, "FIELDS": {"TITLE": "new"}});
        assert_eq!(result(&mut portal, "task.checklistitem.update", of(item)), true);
        assert_eq!(result(&mut portal, "task.checklistitem.complete", of(item)), true);
        let items = portal.checklist(task);
        assert!(items[1].title == "new" && items[1].complete && !items[0].complete, "{items:?}");
        assert_eq!(result(&mut portal, "task.checklistitem.delete", of(list)), true);
        assert_eq!(titles(&mut portal, task), [""; 0]);
        assert_eq!(refused(&mut portal, "task.checklistitem.complete", of(item)), (400, "ERROR_CORE".into()));
    }

    #[test]
    fn a_missing_task_has_no_checklist() {
        let portal = &mut Portal::default();
        for method in ["add", "getlist"] {
            let item = json!({"TASKID": 5, "FIELDS": {"TITLE": "t"}});
            let refusal = refused(portal, &format!("task.checklistitem.{method}"), item);
            assert_eq!(refusal, (400, "ERROR_CORE".into()));
        }
    }
}
