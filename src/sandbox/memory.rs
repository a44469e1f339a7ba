//! The portal without its server: it runs calls, remembers tasks, and fails as ordered. Clones are the same portal.
//! Tests and the sandbox's own server call it alike; of HTTP it knows only the status of an error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crossbeam_channel::{Receiver, never};
use serde_json::{Map, Value};

use super::batch::Batch;
use super::checklists::Place;
use super::faults::{Fault, Order, Scope, What};
use super::index::INDEXED;
use super::lock;
use super::methods;
use super::operating::Operating;
use super::portal::{Portal, SandboxTask, Sync};
use super::reply::{Broken, Outcome, Refusal};
use super::request::{Call, text};
use super::rules::Rules;
use super::strikes::Strikes;
use super::users::COLLEAGUE;

/// A portal in memory. It answers at once, apart from the delays that are ordered.
#[derive(Clone, Default)]
pub struct Memory {
    // Shared by the threads of the server's connections and by the test or command that watches them.
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    portal: Mutex<Portal>,
    strikes: Strikes,
    operating: Mutex<Operating>,
}

/// Calling.
impl Memory {
    /// A portal that remembers nothing yet.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Calls a method as a plain request would.
    ///
    /// # Errors
    /// A fault that was ordered has struck the whole request.
    pub fn call(&self, method: &str, params: Value) -> Result<Outcome, Broken> {
        self.ask(&Call::plain(method, params))
    }

    /// Makes one call, plain or batched.
    ///
    /// # Errors
    /// As [`Memory::call`].
    pub fn ask(&self, call: &Call) -> Result<Outcome, Broken> {
        self.execute(call, || Ok(()), &never())
    }

    /// Runs a whole batch.
    ///
    /// # Errors
    /// As [`Memory::call`]; the commands before have had their effect.
    pub fn run(&self, batch: &Batch) -> Result<Outcome, Broken> {
        self.run_batch(&never(), || batch.run(|command| self.ask(command)).map(Ok))
    }

    /// Runs a batch; `run` is called for each of its commands.
    pub(super) fn run_batch(
        &self,
        stopped: &Receiver<()>,
        run: impl FnOnce() -> Result<Outcome, Broken>,
    ) -> Result<Outcome, Broken> {
        self.count("batch");
        self.struck(Scope::Call, &Call::plain("batch", Value::Null), stopped, run)
    }

    /// Makes one call; `pause` is the shortest time that the portal takes for it.
    pub(super) fn execute(
        &self,
        call: &Call,
        pause: impl FnOnce() -> Result<(), Broken>,
        stopped: &Receiver<()>,
    ) -> Result<Outcome, Broken> {
        let started = Instant::now();
        let (limit, self_hosted) = {
            let rules = &self.portal().rules;
            (rules.operating, rules.self_hosted)
        };
        let account = methods::find(&call.method).map(|method| (method.name, call.batched));
        if let Some(account) = account {
            self.count(account.0);
            if let Err(refusal) = lock(&self.shared.operating).admit(account, &limit, started) {
                return Ok(Err(refusal));
            }
        }
        pause()?;
        let outcome = self.struck(Scope::Call, call, stopped, || Ok(methods::call(&mut self.portal(), call)));
        let Some(account) = account else { return outcome };
        let mut used = lock(&self.shared.operating).charge(account, &limit, started.elapsed(), Instant::now());
        used.reset_at = used.reset_at.filter(|_| !self_hosted);
        outcome.map(|outcome| {
            outcome.map(|mut answer| {
                answer.operating = Some(used);
                answer
            })
        })
    }

    fn count(&self, method: &str) {
        *self.portal().calls.entry(method.to_owned()).or_default() += 1;
    }

    fn portal(&self) -> MutexGuard<'_, Portal> {
        lock(&self.shared.portal)
    }
}

/// Faults.
impl Memory {
    /// Orders a fault. It strikes until it has struck often enough, or is cleared.
    pub fn order(&self, fault: Fault) -> Order {
        self.shared.strikes.order(fault)
    }

    /// Cancels one order.
    pub fn clear(&self, order: &Order) {
        self.shared.strikes.clear(order);
    }

    /// Cancels all orders.
    pub fn clear_all(&self) {
        self.shared.strikes.clear_all();
    }

    /// Ends everything that hangs or is delayed by order at this moment.
    pub fn release(&self) {
        self.shared.strikes.release();
    }

    /// Runs `run`, unless or until a fault strikes.
    pub(super) fn struck(
        &self,
        scope: Scope,
        call: &Call,
        stopped: &Receiver<()>,
        run: impl FnOnce() -> Result<Outcome, Broken>,
    ) -> Result<Outcome, Broken> {
        let instead = |what| match what {
            What::Refuse { status, code, text } => Some(Err(Refusal::new(status, code, text))),
            What::Result(result) => Some(Ok(result.into())),
            _ => None,
        };
        self.shared.strikes.struck(scope, call, stopped, instead, run)
    }
}

/// The state of the portal, whatever the webhook's owner may see.
impl Memory {
    /// All tasks, in the order of creation.
    pub fn tasks(&self) -> Vec<SandboxTask> {
        let portal = self.portal();
        portal.tasks().map(|task| portal.snapshot(task)).collect()
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.portal().tasks().len()
    }

    /// The tasks that were created after the one with this id, in the order of creation.
    pub fn tasks_after(&self, id: u64) -> Vec<SandboxTask> {
        let portal = self.portal();
        portal.tasks_after(id).map(|task| portal.snapshot(task)).collect()
    }

    /// One task, if it exists.
    pub fn task(&self, id: u64) -> Option<SandboxTask> {
        let portal = self.portal();
        portal.task(id).map(|task| portal.snapshot(task))
    }

    /// The tasks with exactly this marker, in either of the fields for it.
    pub fn ids_of(&self, marker: &str) -> Vec<u64> {
        let portal = self.portal();
        let mut ids: Vec<u64> =
            INDEXED.iter().filter_map(|name| portal.indexed(name, marker)).flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let carries = |id: &u64| {
            portal.task(*id).is_some_and(|task| {
                INDEXED.iter().any(|name| portal.value(task, name).as_ref().and_then(text).as_deref() == Some(marker))
            })
        };
        ids.retain(carries);
        ids
    }

    /// The value of a task's field as replies carry it, by the field's name in requests.
    pub fn field(&self, id: u64, name: &str) -> Option<Value> {
        let portal = self.portal();
        portal.task(id).and_then(|task| portal.value(task, name))
    }

    /// All fields of a task that are set, by their names in requests.
    pub fn fields(&self, id: u64) -> Option<Map<String, Value>> {
        let portal = self.portal();
        let task = portal.task(id)?;
        let value = |(position, name): (usize, String)| (name, portal.value_at(task, position));
        let all = portal.fields.iter().map(|(position, field)| (position, field.name.to_string()));
        Some(all.map(value).filter(|(_, value)| !value.is_null()).collect())
    }

    /// All calls of `imena.camunda.sync`, in order.
    pub fn syncs(&self) -> Vec<Sync> {
        self.portal().syncs.clone()
    }

    /// Calls by method so far, those inside batches included.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.portal().calls.clone()
    }

    pub(super) fn sync_count(&self) -> u64 {
        self.portal().syncs.len() as u64
    }
}

/// What people and administrators do.
impl Memory {
    /// Changes how the portal is set up.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.portal().rules);
    }

    /// Creates a task with these fields, as a person would, and returns its id.
    pub fn put(&self, fields: &Map<String, Value>) -> u64 {
        let mut portal = self.portal();
        let id = portal.create();
        portal.write_all(id, fields);
        id
    }

    /// Sets a field of a task; null unsets it.
    pub fn write(&self, id: u64, name: &str, value: &Value) {
        self.portal().write(id, name, value);
    }

    /// Moves a task to a status (4 awaiting control, 5 completed), as a person would. With an answer, "ДА" or "НЕТ", it
    /// also sets `UF_RESULT_ANSWER`. False, and nothing changes, when the task or the answer does not exist.
    pub fn finish(&self, id: u64, status: u8, answer: Option<&str>) -> bool {
        let mut portal = self.portal();
        portal.task(id).is_some()
            && answer.is_none_or(|answer| portal.set_answer(id, answer))
            && portal.set_status(id, status)
    }

    /// Sets `UF_RESULT_ANSWER` and leaves the status. False when the task or the answer does not exist.
    pub fn answer(&self, id: u64, answer: &str) -> bool {
        let mut portal = self.portal();
        portal.task(id).is_some() && portal.set_answer(id, answer)
    }

    /// Deletes a task. False when it does not exist.
    pub fn delete(&self, id: u64) -> bool {
        self.portal().delete(id)
    }

    /// From now on new tasks exist, but no search and no read shows them: the portal is still busy with them.
    pub fn conceal_new(&self) {
        self.portal().conceal_new();
    }

    /// Shows everything again.
    pub fn reveal(&self) {
        self.portal().reveal();
    }

    /// Makes a custom field. False when the name is taken.
    pub fn make_field(&self, name: &str, user_type: &str) -> bool {
        self.portal().fields.add_custom(name, user_type).is_ok()
    }

    /// Removes a custom field; a filter by it is ignored from now on.
    pub fn forget_field(&self, name: &str) {
        self.portal().fields.forget(name);
    }

    /// Adds a checklist (parent 0) or an item at the end, as a person would. `None` when the task does not exist.
    pub fn add_checklist_item(&self, task: u64, parent: u64, title: &str) -> Option<u64> {
        self.portal().add_item(task, parent, title.to_owned(), Place::Last, COLLEAGUE)
    }

    /// False when the task or the item does not exist.
    pub fn rename_checklist_item(&self, task: u64, item: u64, title: &str) -> bool {
        self.portal().change_item(task, item, |item| item.title = title.to_owned())
    }

    /// Ticks an item off. False when the task or the item does not exist.
    pub fn tick_checklist_item(&self, task: u64, item: u64) -> bool {
        self.portal().change_item(task, item, |item| item.complete = true)
    }

    /// Deletes an item; a list with all its items. False when the task or the item does not exist.
    pub fn delete_checklist_item(&self, task: u64, item: u64) -> bool {
        self.portal().delete_item(task, item)
    }
}

#[cfg(test)]
mod tests;
