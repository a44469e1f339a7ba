//! What the portal remembers: its fields, its tasks with their checklists, and the synchronisations. Knows no method
//! and no HTTP.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::SystemTime;

use serde_json::Value;

use super::fields::{ANSWERS, Fields};
use super::reply::{iso, since_epoch};
use super::request::text;

/// Fields by whose value a task is found without looking at every task: the markers against duplicates.
pub(super) const INDEXED: [&str; 2] = ["UF_CAMUNDA_ID_EXTERNAL_TASK", "XML_ID"];

/// A task as tests and the demo see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxTask {
    /// Ids rise in the order of creation.
    pub id: u64,
    /// `UF_CAMUNDA_ID_EXTERNAL_TASK`, or else `XML_ID`.
    pub marker: Option<String>,
    /// `TITLE`.
    pub title: String,
    /// 2 pending, 4 awaiting control, 5 completed.
    pub status: u8,
    /// `UF_RESULT_EXPECTED`: the process waits for "ДА" or "НЕТ".
    pub answer_expected: bool,
    /// In the order of creation.
    pub checklist: Vec<ChecklistItem>,
}

/// A checklist, or an item of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecklistItem {
    /// Unique over all tasks.
    pub id: u64,
    /// The checklist the item belongs to; 0 = this is a checklist itself.
    pub parent: u64,
    /// `TITLE`.
    pub title: String,
}

/// A call of `imena.camunda.sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// `processDefinitionKey`.
    pub process_definition_key: String,
    /// `processInstanceId`.
    pub process_instance_id: String,
}

/// A task as it is kept: only what was sent, and what the portal itself sets.
pub(super) struct Task {
    pub id: u64,
    pub status: u8,
    created: SystemTime,
    changed: SystemTime,
    closed: Option<SystemTime>,
    /// Values by the field's position in [`Fields`].
    values: Vec<(usize, Value)>,
    checklist: Vec<ChecklistItem>,
}

/// The whole memory of the sandbox.
#[derive(Default)]
pub(super) struct Portal {
    pub fields: Fields,
    pub syncs: Vec<Sync>,
    /// Calls by method, those inside batches included.
    pub calls: BTreeMap<String, u64>,
    tasks: BTreeMap<u64, Task>,
    last_task: u64,
    last_item: u64,
    /// Ids by value, one map for each of [`INDEXED`].
    index: [HashMap<String, Vec<u64>>; INDEXED.len()],
}

impl Portal {
    pub fn task(&self, id: u64) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// All tasks, ids rising.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = &Task> {
        self.tasks.values()
    }

    /// The tasks that were created after this one, ids rising.
    pub fn tasks_after(&self, id: u64) -> impl Iterator<Item = &Task> {
        self.tasks.range((Bound::Excluded(id), Bound::Unbounded)).map(|(_, task)| task)
    }

    /// The ids of the tasks whose field has this value; `None` when the field has no index.
    pub fn indexed(&self, name: &str, value: &str) -> Option<&[u64]> {
        let number = INDEXED.iter().position(|indexed| *indexed == name)?;
        Some(self.index[number].get(value).map_or(&[], Vec::as_slice))
    }

    /// Creates a task with status 2 and no values.
    pub fn create(&mut self) -> u64 {
        self.last_task += 1;
        let (id, now) = (self.last_task, SystemTime::now());
        let (values, checklist) = (Vec::new(), Vec::new());
        let task = Task { id, status: 2, created: now, changed: now, closed: None, values, checklist };
        self.tasks.insert(id, task);
        id
    }

    /// Sets a field; null unsets it. A name that is no field is dropped silently, as at the portal.
    pub fn write(&mut self, id: u64, name: &str, written: &Value) {
        let Some((position, field)) = self.fields.find(name) else {
            return;
        };
        let kept = field.keep(written);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.changed = SystemTime::now();
        let place = task.values.iter().position(|(known, _)| *known == position);
        let old = place.map(|place| task.values.swap_remove(place).1);
        if let Some(number) = INDEXED.iter().position(|indexed| *indexed == name) {
            let index = &mut self.index[number];
            forget(index, id, old.as_ref());
            if let Some(value) = kept.as_ref().and_then(text) {
                index.entry(value).or_default().push(id);
            }
        }
        task.values.extend(kept.map(|kept| (position, kept)));
        // Most tasks are never changed again: no spare room for 100,000 of them.
        task.values.shrink_to_fit();
    }

    /// Moves a task to a status; 4 and 5 close it. False when there is no such task.
    pub fn set_status(&mut self, id: u64, status: u8) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else {
            return false;
        };
        task.status = status;
        task.changed = SystemTime::now();
        task.closed = matches!(status, 4 | 5).then_some(task.changed);
        true
    }

    /// Sets the result's answer, given as text. False when the list field has no such text.
    pub fn set_answer(&mut self, id: u64, answer: &str) -> bool {
        let Some((value, _)) = ANSWERS.iter().find(|(_, text)| *text == answer) else {
            return false;
        };
        self.write(id, "UF_RESULT_ANSWER", &Value::from(*value));
        true
    }

    /// False when there is no such task.
    pub fn delete(&mut self, id: u64) -> bool {
        for (number, name) in INDEXED.iter().enumerate() {
            let value = self.task(id).and_then(|task| self.value(task, name));
            forget(&mut self.index[number], id, value.as_ref());
        }
        self.tasks.remove(&id).is_some()
    }

    /// Adds a checklist (parent 0) or an item; `None` when there is no such task.
    pub fn add_checklist_item(&mut self, task: u64, parent: u64, title: String) -> Option<u64> {
        let task = self.tasks.get_mut(&task)?;
        self.last_item += 1;
        task.checklist.push(ChecklistItem { id: self.last_item, parent, title });
        Some(self.last_item)
    }

    /// A field's value as replies carry it; `None` for a name that is no field.
    pub fn value(&self, task: &Task, name: &str) -> Option<Value> {
        let (position, _) = self.fields.find(name)?;
        Some(self.value_at(task, position))
    }

    /// The value of the field at this position.
    pub fn value_at(&self, task: &Task, position: usize) -> Value {
        let field = self.fields.at(position);
        let date = |time: SystemTime| Value::from(iso(since_epoch(time).as_secs()));
        match &*field.name {
            "ID" => task.id.to_string().into(),
            "STATUS" => task.status.to_string().into(),
            "CREATED_DATE" => date(task.created),
            "CHANGED_DATE" => date(task.changed),
            "CLOSED_DATE" => task.closed.map_or(Value::Null, date),
            _ => {
                let kept = task.values.iter().find(|(known, _)| *known == position);
                kept.map_or(&field.unset, |(_, value)| value).clone()
            }
        }
    }

    pub fn snapshot(&self, task: &Task) -> SandboxTask {
        let read = |name| self.value(task, name).as_ref().and_then(text);
        SandboxTask {
            id: task.id,
            marker: INDEXED.into_iter().find_map(read),
            title: read("TITLE").unwrap_or_default(),
            status: task.status,
            answer_expected: read("UF_RESULT_EXPECTED").as_deref() == Some("1"),
            checklist: task.checklist.clone(),
        }
    }
}

fn forget(index: &mut HashMap<String, Vec<u64>>, id: u64, value: Option<&Value>) {
    let Some(value) = value.and_then(text) else {
        return;
    };
    if let Some(ids) = index.get_mut(&value) {
        ids.retain(|known| *known != id);
        if ids.is_empty() {
            index.remove(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_changes_and_deletes() {
        let mut portal = Portal::default();
        let id = portal.create();
        portal.write(id, "XML_ID", &"one".into());
        portal.write(id, "XML_ID", &"two".into());
        assert_eq!(portal.indexed("XML_ID", "one"), Some([].as_slice()));
        assert_eq!(portal.indexed("XML_ID", "two"), Some([id].as_slice()));
        assert_eq!(portal.indexed("TITLE", "two"), None);
        assert!(portal.delete(id));
        assert_eq!(portal.indexed("XML_ID", "two"), Some([].as_slice()));
        assert!(!portal.delete(id));
    }

    #[test]
    fn an_answer_is_kept_as_the_id_of_its_text() {
        let mut portal = Portal::default();
        let id = portal.create();
        assert!(portal.set_answer(id, "НЕТ"));
        assert!(!portal.set_answer(id, "может быть"));
        let task = portal.task(id).expect("just created");
        assert_eq!(portal.value(task, "UF_RESULT_ANSWER"), Some("27".into()));
    }
}
