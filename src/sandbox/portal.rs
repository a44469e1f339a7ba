//! What the portal remembers: its rules, its fields, its tasks, and the synchronisations. It knows no method and no
//! HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Bound;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};

use super::checklists::ChecklistItem;
use super::fields::{ANSWERS, Fields};
use super::index::{INDEXED, Index};
use super::reply::{iso, since_epoch};
use super::request::{text, texts};
use super::rules::{CustomFields, Rules};
use super::users::OWNER;

/// A task as tests and the demo see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxTask {
    /// Ids rise in the order of creation, from a random number on.
    pub id: u64,
    /// `UF_CAMUNDA_ID_EXTERNAL_TASK`, or else `XML_ID`.
    pub marker: Option<String>,
    /// `TITLE`.
    pub title: String,
    /// 2 pending, 4 awaiting control, 5 completed.
    pub status: u8,
    /// `UF_RESULT_EXPECTED`: the process waits for "ДА" or "НЕТ".
    pub answer_expected: bool,
    /// When it was created.
    pub created: SystemTime,
    /// As it is read: by index, then by id; lists and items together.
    pub checklist: Vec<ChecklistItem>,
}

/// A call of `imena.camunda.sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// `processDefinitionKey`.
    pub process_definition_key: String,
    /// `processInstanceId`.
    pub process_instance_id: String,
}

/// A task as it is kept: only the fields that were sent, and those that the portal sets itself.
pub(super) struct Task {
    pub id: u64,
    pub status: u8,
    pub checklist: Vec<ChecklistItem>,
    created: SystemTime,
    changed: SystemTime,
    closed: Option<SystemTime>,
    /// Values by the field's position in [`Fields`].
    values: Vec<(usize, Value)>,
}

/// The whole memory of the sandbox.
pub(super) struct Portal {
    pub rules: Rules,
    pub fields: Fields,
    pub syncs: Vec<Sync>,
    /// Calls by method, those inside batches included.
    pub calls: BTreeMap<String, u64>,
    tasks: BTreeMap<u64, Task>,
    last_task: u64,
    last_item: u64,
    index: Index,
    /// Custom fields that will be written later, and when.
    late: Vec<(Instant, u64, Map<String, Value>)>,
    /// Tasks that exist and are not shown.
    concealed: BTreeSet<u64>,
    concealing: bool,
}

impl Default for Portal {
    /// Ids start anywhere: then a test notices a client that mixes them up with positions or with other ids.
    fn default() -> Portal {
        let random = RandomState::new();
        let anywhere = |what: &str| 1_000 + random.hash_one(what) % 900_000;
        Portal { last_item: anywhere("item"), ..Portal::numbered_from(anywhere("task")) }
    }
}

impl Portal {
    /// A portal whose first task has this id.
    pub fn numbered_from(first: u64) -> Portal {
        Portal {
            rules: Rules::default(),
            fields: Fields::default(),
            syncs: Vec::new(),
            calls: BTreeMap::new(),
            tasks: BTreeMap::new(),
            last_task: first - 1,
            last_item: 0,
            index: Index::default(),
            late: Vec::new(),
            concealed: BTreeSet::new(),
            concealing: false,
        }
    }

    pub fn task(&self, id: u64) -> Option<&Task> {
        self.tasks.get(&id)
    }

    pub fn task_mut(&mut self, id: u64) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }

    /// The task with this id, if the webhook's owner may see it.
    pub fn visible_task(&self, id: u64) -> Option<&Task> {
        self.task(id).filter(|task| self.is_visible(task))
    }

    /// Nobody sees a concealed task, and an owner who is no administrator sees only the own tasks.
    pub fn is_visible(&self, task: &Task) -> bool {
        !self.concealed.contains(&task.id) && self.is_own(task)
    }

    /// Whether the webhook's owner has a right to it.
    pub fn is_own(&self, task: &Task) -> bool {
        let names_owner = |name| {
            let value = self.value(task, name).unwrap_or_default();
            texts(&value).iter().any(|user| *user == OWNER.to_string())
        };
        self.rules.owner_is_admin
            || ["CREATED_BY", "RESPONSIBLE_ID", "AUDITORS", "ACCOMPLICES"].into_iter().any(names_owner)
    }

    /// From now on new tasks exist, but no search and no read shows them.
    pub fn conceal_new(&mut self) {
        self.concealing = true;
    }

    /// Shows everything again.
    pub fn reveal(&mut self) {
        self.concealing = false;
        self.concealed.clear();
    }

    /// All tasks, ids rising.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = &Task> + ExactSizeIterator {
        self.tasks.values()
    }

    /// The tasks that were created after this one, ids rising.
    pub fn tasks_after(&self, id: u64) -> impl Iterator<Item = &Task> {
        self.tasks.range((Bound::Excluded(id), Bound::Unbounded)).map(|(_, task)| task)
    }

    /// The ids of the tasks whose field has this value; `None` when the field has no index.
    pub fn indexed(&self, name: &str, value: &str) -> Option<&[u64]> {
        self.index.find(name, value)
    }

    /// Creates a task with status 2 and no values.
    pub fn create(&mut self) -> u64 {
        self.last_task += 1;
        let (id, now) = (self.last_task, SystemTime::now());
        let (values, checklist) = (Vec::new(), Vec::new());
        self.tasks.insert(id, Task { id, status: 2, checklist, created: now, changed: now, closed: None, values });
        if self.concealing {
            self.concealed.insert(id);
        }
        id
    }

    /// Writes the fields of a new task; the custom ones when the rules say so.
    pub fn write_new(&mut self, id: u64, mut fields: Map<String, Value>, now: Instant) {
        let custom: Vec<String> = fields.keys().filter(|name| name.starts_with("UF_")).cloned().collect();
        let custom: Map<String, Value> =
            custom.into_iter().filter_map(|name| fields.remove(&name).map(|value| (name, value))).collect();
        self.write_all(id, &fields);
        match self.rules.custom_fields {
            CustomFields::AtOnce => self.write_all(id, &custom),
            CustomFields::After(delay) => self.late.push((now + delay, id, custom)),
            CustomFields::Never => {}
        }
    }

    /// Writes the custom fields that are due.
    pub fn settle(&mut self, now: Instant) {
        if self.late.is_empty() {
            return;
        }
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _, _)| *at <= now);
        self.late = late;
        let due: Vec<_> = due;
        for (_, id, fields) in due {
            self.write_all(id, &fields);
        }
    }

    pub fn write_all(&mut self, id: u64, fields: &Map<String, Value>) {
        fields.iter().for_each(|(name, value)| self.write(id, name, value));
    }

    /// Sets a field; null unsets it. An unknown name is dropped silently, as at the portal.
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
        self.index.change(name, id, old.as_ref(), kept.as_ref());
        task.values.extend(kept.map(|kept| (position, kept)));
        // Most tasks are never changed again: no spare room for 100,000 of them.
        task.values.shrink_to_fit();
    }

    /// Moves a task to a status; 4 and 5 close it. False when the task does not exist.
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

    /// False when the task does not exist.
    pub fn delete(&mut self, id: u64) -> bool {
        for name in INDEXED {
            let value = self.task(id).and_then(|task| self.value(task, name));
            self.index.change(name, id, value.as_ref(), None);
        }
        self.tasks.remove(&id).is_some()
    }

    /// An id for a checklist or an item.
    pub fn next_item(&mut self) -> u64 {
        self.last_item += 1;
        self.last_item
    }

    /// A field's value as replies carry it; `None` for an unknown name.
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
            created: task.created,
            checklist: self.checklist(task.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ids_start_anywhere_and_rise() {
        let mut portals = [Portal::default(), Portal::default()];
        let [first, other] = portals.each_mut().map(Portal::create);
        assert!(first != other && first >= 1_000);
        assert_eq!(portals[0].create(), first + 1);
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

    #[test]
    fn custom_fields_come_late_or_never_and_the_rest_at_once() {
        let now = Instant::now();
        let fields = Map::from_iter(INDEXED.map(|name| (name.to_owned(), "m".into())));
        for (rule, later, much_later) in [
            (CustomFields::AtOnce, true, true),
            (CustomFields::After(Duration::from_secs(9)), false, true),
            (CustomFields::Never, false, false),
        ] {
            let mut portal = Portal::default();
            portal.rules.custom_fields = rule;
            let id = portal.create();
            portal.write_new(id, fields.clone(), now);
            for (seconds, written) in [(0, later), (8, later), (9, much_later)] {
                portal.settle(now + Duration::from_secs(seconds));
                let found = |name| portal.indexed(name, "m") == Some([id].as_slice());
                assert_eq!((found("XML_ID"), found(INDEXED[0])), (true, written), "{rule:?} after {seconds} s");
            }
        }
    }
}
