//! Creates Bitrix24 tasks: looks each one up by its marker, creates what is not there, and once it is recorded adds the
//! checklists and synchronises the process.
//!
//! One task or fifty go the same way; [`Client::call_all`] decides how they travel. It knows no queues and no attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::fields::{self, Checklist, Fields};
use super::{Settings, custom_fields, member, rows};
use crate::message::{Task, now_ms, text};
use crate::systems::{Batch, Done, Failure, FollowUp, Handler};

/// A page of `tasks.task.list`. A full one means that the filter was ignored.
const PAGE: usize = 50;

/// The handler. Several threads use it at once.
pub struct BitrixHandler {
    settings: Settings,
    client: Arc<Client>,
    /// The portal has shown that it can search for the marker.
    marker_works: AtomicBool,
}

impl BitrixHandler {
    /// A handler for the portal of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> BitrixHandler {
        if settings.marker_field.is_none() {
            log::warn!(
                "BITRIX_TASK_ID_FIELD=none: tasks are not looked up, a message that comes twice creates two tasks"
            );
        }
        BitrixHandler { settings, client, marker_works: AtomicBool::new(false) }
    }
}

impl Handler for BitrixHandler {
    fn ready(&self) -> Batch {
        self.client.ready()
    }

    fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
        let found = match &self.settings.marker_field {
            Some(marker) => self.look_up(&tasks.iter().collect::<Vec<_>>(), marker),
            None => tasks.iter().map(|_| Ok(None)).collect(),
        };
        let mut results: Vec<Option<Result<Done, Failure>>> =
            found.into_iter().zip(tasks).map(|(found, task)| self.known(task, found)).collect();
        let missing: Vec<&Task> =
            tasks.iter().zip(&results).filter(|(_, r)| r.is_none()).map(|(task, _)| task).collect();
        let mut created = self.create(&missing).into_iter();
        results.iter_mut().for_each(|result| {
            if result.is_none() {
                *result = created.next();
            }
        });
        results.into_iter().map(|result| result.expect("each task was found, failed or created")).collect()
    }

    fn preflight(&self) -> Result<(), Failure> {
        self.settings.marker_field.as_deref().map_or(Ok(()), |marker| self.probe(marker))
    }

    fn follow_up(&self, done: &[(Task, Done)]) -> Vec<FollowUp> {
        let missing_parts = self.add_checklists(done);
        let synced = self.synchronise(done);
        let parts = synced.into_iter().zip(missing_parts);
        parts.map(|(synced, missing_parts)| FollowUp { synced, missing_parts }).collect()
    }
}

/// Looking up.
impl BitrixHandler {
    /// For each task: the row of the task that carries its marker, if there is one.
    fn look_up(&self, tasks: &[&Task], marker: &str) -> Vec<Result<Option<Value>, Failure>> {
        if let Err(failure) = self.probe(marker) {
            // One request decided for all of them.
            let until = if let Failure::Unavailable { until, .. } = failure { until } else { None };
            let same = |_| Err(Failure::Unavailable { error: anyhow!("{failure}"), until });
            return tasks.iter().map(same).collect();
        }
        let calls: Vec<Call> = tasks.iter().map(|task| look_up(marker, &task.id)).collect();
        let replies = self.client.call_all(&calls);
        // No message makes every look-up fail: then it is the portal.
        let down = replies.iter().all(Result::is_err);
        let found = replies.into_iter().zip(tasks).map(|(reply, task)| {
            let reply = reply.map_err(|err| not_looked_up(err, down))?;
            row_of(&reply, marker, &task.id).map_err(|error| Failure::Unavailable { error, until: None })
        });
        found.collect()
    }

    /// Makes sure, once, that the portal can search for the marker.
    fn probe(&self, marker: &str) -> Result<(), Failure> {
        if !self.marker_works.load(Ordering::Relaxed) {
            probe(&self.client, marker)?;
            self.marker_works.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The result for a task that was found or may not be created; `None` when it is to be created.
    fn known(&self, task: &Task, found: Result<Option<Value>, Failure>) -> Option<Result<Done, Failure>> {
        match found {
            Ok(Some(row)) => Some(match member(&row, "ID").and_then(text) {
                Some(target_id) => Ok(Done { reply: json!({"result": {"task": row}}), target_id, existed: true }),
                None => Err(Failure::Transient {
                    error: anyhow!("tasks.task.list: the row of the task has no ID"),
                    after: Duration::ZERO,
                }),
            }),
            Ok(None) if task.may_exist && self.settings.marker_field.is_some() => {
                Some(Err(Failure::Unsettled(self.settings.request_timeout)))
            }
            Ok(None) => None,
            Err(failure) => Some(Err(failure)),
        }
    }
}

/// Looking has no effect, so there is nothing to wait for before the next look. A refused one says nothing about the task:
/// the portal does not take the question. `down`: none of the look-ups has succeeded.
fn not_looked_up(err: ApiError, down: bool) -> Failure {
    match err.into_failure(Duration::ZERO) {
        Failure::Permanent(error) => Failure::Unavailable { error, until: None },
        Failure::Transient { error, .. } if down => Failure::Unavailable { error, until: None },
        failure => failure,
    }
}

/// Asks for a marker that nobody has: a portal that cannot search for it returns rows all the same. One that shows no task
/// at all cannot be told by that, so it is also asked whether it has the field.
///
/// # Errors
/// The portal cannot search for the marker, or gave no usable answer.
pub fn probe(client: &Client, marker: &str) -> Result<(), Failure> {
    let nobody = format!("nobody-{}-{}", std::process::id(), now_ms());
    let reply = client.call(&look_up(marker, &nobody)).map_err(|err| not_looked_up(err, true))?;
    row_of(&reply, marker, &nobody).map_err(|error| Failure::Unavailable { error, until: None })?;
    if !fields::is_custom_field(marker) || shows_tasks(client)? {
        return Ok(());
    }
    match custom_fields::list(client, json!({"FIELD_NAME": [marker]})) {
        Ok(rows) if custom_fields::named(&rows, marker).is_none() => {
            Err(Failure::Unavailable { error: no_search(marker), until: None })
        }
        // One that does not tell is believed.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn shows_tasks(client: &Client) -> Result<bool, Failure> {
    let params = vec![("select", json!(["ID"])), ("start", (-1).into())];
    let reply = client.call(&Call { method: "tasks.task.list", params }).map_err(|err| not_looked_up(err, true))?;
    Ok(rows(&reply).is_some_and(|rows| !rows.is_empty()))
}

fn no_search(marker: &str) -> anyhow::Error {
    anyhow!(
        "the portal cannot search tasks by {marker}, so doubles could not be prevented: make the field with \
         `task-creator check --create-field`, or set BITRIX_TASK_ID_FIELD=XML_ID, or none"
    )
}

/// Asks for the task with this marker.
pub fn look_up(marker: &str, id: &str) -> Call {
    let filter = Map::from_iter([(marker.to_owned(), id.into())]);
    let params = vec![
        ("filter", filter.into()),
        ("select", json!(["ID", "TITLE", "STATUS", "RESPONSIBLE_ID", "CREATED_DATE", marker])),
        // Without counting: minutes against milliseconds on a large portal.
        ("start", (-1).into()),
    ];
    Call { method: "tasks.task.list", params }
}

/// The row that carries exactly this marker. Any other row shows that the portal ignored the filter and answered with
/// whatever it has: then nothing is known, least of all that the task does not exist.
fn row_of(reply: &Value, marker: &str, id: &str) -> anyhow::Result<Option<Value>> {
    let rows = rows(reply).ok_or_else(|| anyhow!("tasks.task.list: the reply has no list of tasks"))?;
    let carries = |row: &&Value| member(row, marker).and_then(text).as_deref() == Some(id.trim());
    if rows.len() >= PAGE || !rows.iter().all(|row| carries(&row)) {
        return Err(no_search(marker));
    }
    Ok(rows.first().cloned())
}

/// Creating.
impl BitrixHandler {
    fn create(&self, tasks: &[&Task]) -> Vec<Result<Done, Failure>> {
        let mut all_fields: Vec<Fields> = tasks.iter().map(|task| fields::fields(task, &self.settings)).collect();
        for (task, fields) in tasks.iter().zip(&all_fields) {
            fields.warnings.iter().for_each(|warning| log::warn!("{warning}: task={}", task.id));
        }
        let replies = self.client.call_all(&all_fields.iter().map(add).collect::<Vec<Call>>());
        let again = self.for_default_responsible(tasks, &mut all_fields, &replies);
        let mut results: Vec<_> = replies.into_iter().map(|reply| self.created(reply)).collect();
        self.create_again(tasks, again, &mut results);
        results
    }

    /// What was refused although its responsible was not the default gets one more try with the default.
    fn for_default_responsible(
        &self,
        tasks: &[&Task],
        all_fields: &mut [Fields],
        replies: &[Result<Value, ApiError>],
    ) -> Vec<(usize, Call)> {
        let default: Value = self.settings.default_responsible.into();
        let mut again = Vec::new();
        for (index, (fields, reply)) in all_fields.iter_mut().zip(replies).enumerate() {
            let Err(err) = reply else { continue };
            let responsible = &mut fields.fields["RESPONSIBLE_ID"];
            if err.kind == Kind::Refused && *responsible != default {
                log::warn!(
                    "refused, trying with responsible {default} instead of {responsible}: task={}: {err}",
                    tasks[index].id
                );
                *responsible = default.clone();
                again.push((index, add(fields)));
            }
        }
        again
    }

    /// Tries refused tasks once more. A portal may refuse a task that it has just created, as when a program of its own
    /// that is told of each task fails, so they are looked up first.
    fn create_again(&self, tasks: &[&Task], mut again: Vec<(usize, Call)>, results: &mut [Result<Done, Failure>]) {
        if let Some(marker) = self.settings.marker_field.as_deref().filter(|_| !again.is_empty()) {
            let refused: Vec<&Task> = again.iter().map(|(index, _)| tasks[*index]).collect();
            let mut found = self.look_up(&refused, marker).into_iter();
            again.retain(|(index, _)| match found.next().and_then(|found| self.known(tasks[*index], found)) {
                Some(result) => {
                    results[*index] = result;
                    false
                }
                None => true,
            });
        }
        let calls: Vec<Call> = again.iter().map(|(_, call)| call.clone()).collect();
        for ((index, _), reply) in again.into_iter().zip(self.client.call_all(&calls)) {
            results[index] = self.created(reply);
        }
    }

    fn created(&self, reply: Result<Value, ApiError>) -> Result<Done, Failure> {
        // A create without a clear answer may have happened, and may still be under way.
        let settle = self.settings.request_timeout;
        let reply = reply.map_err(|err| err.into_failure(settle))?;
        match member(&reply["result"]["task"], "ID").and_then(text) {
            Some(target_id) => Ok(Done { reply, target_id, existed: false }),
            None => Err(Failure::Transient {
                error: anyhow!("tasks.task.add: the reply names no task, so it is not known whether there is one"),
                after: settle,
            }),
        }
    }
}

/// Creates the task.
pub fn add(fields: &Fields) -> Call {
    Call { method: "tasks.task.add", params: vec![("fields", fields.fields.clone().into())] }
}

/// Following up.
impl BitrixHandler {
    /// Adds the checklists of the tasks that were created just now; how many parts each lacks in the end.
    fn add_checklists(&self, done: &[(Task, Done)]) -> Vec<u32> {
        let mut missing = vec![0; done.len()];
        let mut lists: Vec<(usize, Checklist)> = Vec::new();
        for (index, (task, done)) in done.iter().enumerate() {
            let wanted = fields::checklists(task);
            if done.existed && !wanted.is_empty() {
                // Adding them again could double them.
                log::warn!("the task existed, so its checklists are left as they are: look at it: task={}", task.id);
            } else {
                lists.extend(wanted.into_iter().map(|list| (index, list)));
            }
        }
        let target = |index: usize| done[index].1.target_id.as_str();
        let calls: Vec<Call> =
            lists.iter().map(|(index, list)| checklist_item(target(*index), &list.name, "0")).collect();
        let mut items: Vec<(usize, Call)> = Vec::new();
        for ((index, list), reply) in lists.iter().zip(self.client.call_all(&calls)) {
            match reply.and_then(|reply| text(&reply["result"]).ok_or_else(no_id)) {
                Ok(parent) => {
                    let calls = list.items.iter().map(|item| (*index, checklist_item(target(*index), item, &parent)));
                    items.extend(calls);
                }
                Err(err) => {
                    log::warn!("checklist {:?} is missing: task={}: {err}", list.name, done[*index].0.id);
                    missing[*index] += 1 + list.items.len() as u32;
                }
            }
        }
        let calls: Vec<Call> = items.iter().map(|(_, call)| call.clone()).collect();
        for ((index, _), reply) in items.iter().zip(self.client.call_all(&calls)) {
            if let Err(err) = reply {
                log::warn!("an item of a checklist is missing: task={}: {err}", done[*index].0.id);
                missing[*index] += 1;
            }
        }
        missing
    }

    /// Tells the portal which process each task belongs to; `None` where the message does not say.
    fn synchronise(&self, done: &[(Task, Done)]) -> Vec<Option<bool>> {
        let calls: Vec<Option<Call>> = done.iter().map(|(task, _)| sync(task)).collect();
        let mut replies = self.client.call_all(&calls.iter().flatten().cloned().collect::<Vec<Call>>()).into_iter();
        let outcomes = calls.iter().zip(done).map(|(call, (task, _))| {
            call.as_ref()?;
            let refused = |reply: Value| format!("imena.camunda.sync: refused: {}", reply["result"]);
            let outcome = match replies.next()? {
                Ok(reply) if fields::is_yes(&reply["result"]["success"]) => Ok(()),
                Ok(reply) => Err(refused(reply)),
                Err(err) => Err(err.to_string()),
            };
            outcome.as_ref().err().inspect(|err| log::warn!("process not synchronised: task={}: {err}", task.id));
            Some(outcome.is_ok())
        });
        outcomes.collect()
    }
}

/// Adds to a task a line of the checklist `parent`, or with `0` a checklist.
pub fn checklist_item(task_id: &str, title: &str, parent: &str) -> Call {
    let params = vec![("TASKID", task_id.into()), ("FIELDS", json!({"TITLE": title, "PARENT_ID": parent}))];
    Call { method: "task.checklistitem.add", params }
}

fn no_id() -> ApiError {
    ApiError::new(Kind::Unknown, "the reply names no checklist".into())
}

/// Tells which process the task belongs to, if the message says so.
pub fn sync(task: &Task) -> Option<Call> {
    let key = task.process_definition_key.as_deref()?;
    let instance = task.process_instance_id.as_deref()?;
    let params = vec![("processDefinitionKey", key.into()), ("processInstanceId", instance.into())];
    Some(Call { method: "imena.camunda.sync", params })
}
