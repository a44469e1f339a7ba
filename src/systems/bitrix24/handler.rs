//! Creates Bitrix24 tasks: looks each one up by its markers, creates what is not there, and once it is recorded completes
//! its checklists and synchronises the process.
//!
//! One task or fifty go the same way; [`Client`] decides how calls travel. It knows no queues and no attempts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::checklists::{self, Wanted};
use super::client::{Call, Client, Reply};
use super::errors::{ApiError, Kind};
use super::fields::{self, Fields};
use super::look_up::{self, Found, LookUp, NotAnswered};
use super::owner::Owner;
use super::{Settings, member};
use crate::backoff;
use crate::message::{Earlier, Task, text};
use crate::systems::{Batch, Done, Failure, FollowUp, Handler};

/// How often what follows a create is tried again when a call got no clear answer, or when the portal says that it may not be
/// called like that: with the pauses between them, a minute.
const MOST_FOLLOW_UPS: u32 = 6;
/// Between two of these tries, where the portal asks for no longer time; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The handler. Several threads use it at once.
pub struct BitrixHandler {
    settings: Settings,
    client: Arc<Client>,
    look_up: LookUp,
    /// The id of a task that was created and not shown to us. While it cannot be seen nothing is created: the next one could
    /// not be seen either. One lock for one id, held for no call.
    unseen: Mutex<Option<String>>,
    owner: Owner,
}

impl BitrixHandler {
    /// A handler for the portal of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> BitrixHandler {
        if settings.marker_field.is_none() {
            log::warn!(
                "BITRIX_TASK_ID_FIELD=none: tasks are not looked up, a message that comes twice creates two tasks"
            );
        }
        let marker = settings.marker_field.as_deref().unwrap_or(fields::XML_ID);
        let look_up = LookUp::new(Arc::clone(&client), marker);
        let owner = Owner::new(Arc::clone(&client));
        BitrixHandler { settings, client, look_up, unseen: Mutex::default(), owner }
    }
}

impl Handler for BitrixHandler {
    fn next_batch(&self) -> Batch {
        if self.client.is_fast() { Batch::Gathered(look_up::MOST) } else { Batch::Spread(look_up::MOST) }
    }

    fn preflight(&self) -> Result<(), Failure> {
        if self.looks_up() { self.look_up.probe().map_err(|err| not_looked_up(&err)) } else { Ok(()) }
    }

    fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
        let saw_all = self.owner.saw_all();
        let found = self.find(&tasks.iter().collect::<Vec<_>>());
        let mut results: Vec<Option<Result<Done, Failure>>> =
            tasks.iter().zip(found).map(|(task, found)| self.known(task, found, saw_all)).collect();
        let missing: Vec<&Task> =
            tasks.iter().zip(&results).filter(|(_, r)| r.is_none()).map(|(task, _)| task).collect();
        let mut created = self.create(&missing).into_iter();
        let empty = results.iter_mut().filter(|result| result.is_none());
        empty.for_each(|result| *result = created.next());
        results.into_iter().map(|result| result.expect("each task was found, failed or created")).collect()
    }

    fn follow_up(&self, done: &[(Task, Done)]) -> Vec<FollowUp> {
        let mut outcomes = self.complete_checklists(done);
        // One that comes back is synchronised then, so that it is counted once.
        let ready: Vec<usize> = (0..done.len()).filter(|index| outcomes[*index].again.is_none()).collect();
        let synced = self.synchronise(ready.iter().map(|index| &done[*index]).collect());
        for (index, (synced, again)) in ready.into_iter().zip(synced) {
            outcomes[index] = FollowUp { synced, again, ..outcomes[index] };
        }
        outcomes
    }
}

/// Looking up.
impl BitrixHandler {
    /// Are tasks looked up before they are created?
    fn looks_up(&self) -> bool {
        self.settings.marker_field.is_some()
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Found> {
        if !self.looks_up() && tasks.iter().all(|task| task.earlier != Earlier::Unseen) {
            return tasks.iter().map(|_| Ok(None)).collect();
        }
        self.look_up.find(tasks.iter().map(|task| task.id.as_str()))
    }

    /// The result for a task that was found or may not be created; `None` when it is to be created.
    fn known(&self, task: &Task, found: Found, saw_all: bool) -> Option<Result<Done, Failure>> {
        match found {
            Ok(Some(row)) => {
                self.was_seen(&task.id);
                Some(match member(&row, "ID").and_then(text) {
                    Some(target_id) => {
                        let link = self.settings.webhook.link(&target_id);
                        Ok(Done::found(json!({"result": {"task": row}}), target_id).at(link))
                    }
                    None => Err(Failure::Transient {
                        error: anyhow!("tasks.task.list: the row of the task has no ID"),
                        after: Duration::ZERO,
                    }),
                })
            }
            Ok(None) => self.not_found(task, saw_all).map(Err),
            Err(err) => Some(Err(not_looked_up(&err))),
        }
    }

    /// Why a task that was not found is not to be created, if it is not. To an owner who is no administrator it says nothing
    /// that a task cannot be found. `saw_all`: the owner was one before the look.
    fn not_found(&self, task: &Task, saw_all: bool) -> Option<Failure> {
        match task.earlier {
            Earlier::None => None,
            Earlier::MayExist if !self.looks_up() => None,
            Earlier::MayExist => Some(match self.owner.sees_all() {
                Ok(Some(false)) => away(anyhow!(
                    "an earlier try may have created task {}, and the webhook's owner does not see all tasks: make the \
                     owner an administrator, so that it is not created twice",
                    task.id
                )),
                Ok(Some(true) | None) => Failure::Unsettled(self.settings.request_timeout),
                Err(err) => away(anyhow!("{err}")),
            }),
            // Somebody has deleted it.
            Earlier::Unseen if saw_all => {
                self.was_seen(&task.id);
                None
            }
            Earlier::Unseen => {
                self.note_unseen(&task.id);
                // For the next look: this one may have been made before the owner became an administrator.
                let _ = self.owner.sees_all();
                Some(unseen(&task.id))
            }
        }
    }
}

/// Nobody's attempt, however often.
fn away(error: anyhow::Error) -> Failure {
    Failure::Unavailable { error, until: Some(Duration::ZERO) }
}

/// Looking has no effect, so there is nothing to wait for before the next look. A refused one says nothing about the task:
/// the portal does not take the question. No message makes every look-up fail: then it is the portal.
pub fn not_looked_up(err: &NotAnswered) -> Failure {
    let NotAnswered::Failed { err, everywhere } = err else {
        return Failure::Unavailable { error: err.error(), until: None };
    };
    match err.clone().into_failure(Duration::ZERO) {
        Failure::Permanent(error) => Failure::Unavailable { error, until: None },
        Failure::Transient { error, .. } if *everywhere => Failure::Unavailable { error, until: None },
        failure => failure,
    }
}

/// Creating.
impl BitrixHandler {
    fn create(&self, tasks: &[&Task]) -> Vec<Result<Done, Failure>> {
        if let Some(failure) = self.still_unseen(tasks) {
            return failure;
        }
        let all_fields: Vec<Fields> = tasks.iter().map(|task| fields::fields(task, &self.settings)).collect();
        for (task, fields) in tasks.iter().zip(&all_fields) {
            fields.warnings.iter().for_each(|warning| log::warn!("{warning}: task={}", task.id));
        }
        let replies = self.client.call_all(all_fields.iter().map(|made| add(&made.fields)).collect());
        let replies = tasks.iter().zip(&all_fields).zip(replies);
        let result = |((task, fields), reply): ((&&Task, &Fields), Reply)| match reply {
            Err(err) if err.kind == Kind::Refused => self.create_again(task, fields, err),
            reply => self.created(task, reply),
        };
        replies.map(result).collect()
    }

    /// Tries a refused task again. A portal may refuse a task that it has just created, as when a program of its own that is
    /// told of each task fails, and in a batch it may show the error of another command. So the task is looked up before
    /// each try, and each try goes alone.
    fn create_again(&self, task: &Task, fields: &Fields, refusal: ApiError) -> Result<Done, Failure> {
        let as_it_is = refusal.in_batch.then(|| ("alone".to_owned(), fields.fields.clone()));
        let concessions = fields::concessions(fields, &self.settings).into_iter();
        let tries = as_it_is.into_iter().chain(concessions.map(|concession| (concession.what, concession.fields)));
        let mut refusal = refusal;
        for (what, fields) in tries {
            log::warn!("refused, trying again {what}: task={}: {refusal}", task.id);
            // It was decided already that this task is to be created, unless it shows up.
            let found = self.find(&[task]).into_iter().next().and_then(|found| self.known(task, found, true));
            if let Some(known) = found {
                return known;
            }
            match self.client.call(&add(&fields)) {
                Err(err) if err.kind == Kind::Refused => refusal = err,
                reply => return self.created(task, reply),
            }
        }
        Err(refusal.into_failure(Duration::ZERO))
    }

    fn created(&self, task: &Task, reply: Reply) -> Result<Done, Failure> {
        // A create without a clear answer may have happened, and may still be under way.
        let reply = reply.map_err(|err| err.into_failure(self.settings.request_timeout))?;
        if let Some(target_id) = member(&reply["result"]["task"], "ID").and_then(text) {
            let link = self.settings.webhook.link(&target_id);
            return Ok(Done::created(reply, target_id).at(link));
        }
        if reply["result"].as_array().is_none_or(|rows| !rows.is_empty()) {
            return Err(Failure::Transient {
                error: anyhow!("tasks.task.add: the reply names no task, so it is not known whether there is one"),
                after: self.settings.request_timeout,
            });
        }
        self.owner.forget();
        let for_ever = match task.earlier {
            Earlier::Unseen => Some("it was created once before, and could not be found either"),
            _ if !self.looks_up() && fields::xml_id(&task.id).is_none() => Some("its id is too long to be found again"),
            _ => None,
        };
        if let Some(why) = for_ever {
            return Err(Failure::Permanent(anyhow!("{}; {why}", unseen(&task.id))));
        }
        self.note_unseen(&task.id);
        Err(unseen(&task.id))
    }
}

/// The portal creates a task that the webhook's owner may not see, and answers with nothing.
impl BitrixHandler {
    /// While a created task cannot be seen: why nothing is created.
    fn still_unseen(&self, tasks: &[&Task]) -> Option<Vec<Result<Done, Failure>>> {
        let id = self.lock_unseen().clone()?;
        let error = match self.look_up.find([id.as_str()]).into_iter().next() {
            Some(Err(err)) => err.error(),
            Some(Ok(None)) | None if !matches!(self.owner.sees_all(), Ok(Some(true))) => anyhow!("{}", unseen(&id)),
            // It is there, or somebody has deleted it.
            Some(Ok(_)) | None => {
                self.was_seen(&id);
                return None;
            }
        };
        Some(tasks.iter().map(|_| Err(away(anyhow!("{error:#}")))).collect())
    }

    fn note_unseen(&self, id: &str) {
        self.lock_unseen().get_or_insert_with(|| id.to_owned());
    }

    fn was_seen(&self, id: &str) {
        let mut unseen = self.lock_unseen();
        if unseen.as_deref() == Some(id) {
            *unseen = None;
        }
    }

    fn lock_unseen(&self) -> MutexGuard<'_, Option<String>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unseen(id: &str) -> Failure {
    Failure::Unseen(anyhow!(
        "the portal has created task {id} and does not show it to the webhook's owner: make the owner an administrator; \
         until then nothing is created"
    ))
}

/// Creates the task.
pub fn add(fields: &Map<String, Value>) -> Call {
    Call { method: "tasks.task.add", params: vec![("fields", fields.clone().into())] }
}

/// Following up.
impl BitrixHandler {
    fn complete_checklists(&self, done: &[(Task, Done)]) -> Vec<FollowUp> {
        let lists: Vec<Vec<fields::Checklist>> = done.iter().map(|(task, _)| fields::checklists(task)).collect();
        let wanted = done.iter().zip(&lists).map(|((task, done), lists)| Wanted {
            task: &done.target_id,
            lists,
            // One that was followed up before has some of them.
            may_have_some: done.existed || done.follow_ups > 0,
            // What an earlier delivery had begun may be under way at the portal.
            may_get_more: done.existed && done.follow_ups == 0 && task.earlier == Earlier::MayExist,
        });
        let missing = checklists::complete(&self.client, &wanted.collect::<Vec<_>>());
        done.iter().zip(missing).map(|((task, done), missing)| self.lacks(task, done, missing)).collect()
    }

    /// What follows from the checklists that a task lacks.
    fn lacks(&self, task: &Task, done: &Done, missing: Option<checklists::Missing>) -> FollowUp {
        let Some(checklists::Missing { parts, titles, why }) = missing else { return FollowUp::default() };
        let lacking = format!("checklists lack {parts} ({titles})");
        let again = self.next_try(done, &why);
        match again {
            Some(pause) => {
                log::warn!("{lacking}, trying again in {pause:.0?}: task={}: {why}", task.id);
                FollowUp { again, ..FollowUp::default() }
            }
            None => {
                log::warn!("{lacking}, left so: task={}: {why}", task.id);
                FollowUp { missing_parts: parts, ..FollowUp::default() }
            }
        }
    }

    /// When what failed like this is tried again, if it is.
    fn next_try(&self, done: &Done, why: &ApiError) -> Option<Duration> {
        let asked = match why.clone().into_failure(self.settings.request_timeout) {
            Failure::Transient { after, .. } => Some(after),
            Failure::Unavailable { until, .. } => Some(until.unwrap_or_default()),
            Failure::Permanent(_) | Failure::Unsettled(_) | Failure::Unseen(_) => None,
        };
        let most = match why.kind {
            Kind::Configuration | Kind::Unknown => MOST_FOLLOW_UPS,
            // That it was the portal, and no part of this task, is known for sure.
            Kind::TooFast | Kind::MethodHeld | Kind::Blocked | Kind::Unreachable => u32::MAX,
            Kind::Refused => 0,
        };
        let pause = backoff::delay(done.follow_ups + 1, FIRST_PAUSE, LONGEST_PAUSE);
        asked.filter(|_| done.follow_ups < most).map(|asked| asked.max(pause))
    }

    /// Tells the portal which process each task belongs to: whether that worked, `None` where the message does not say, and when
    /// to try again what the portal has certainly not done. Safe to repeat: the portal begins to synchronise a process that is
    /// synchronised already.
    fn synchronise(&self, tasks: Vec<&(Task, Done)>) -> Vec<(Option<bool>, Option<Duration>)> {
        let calls: Vec<Option<Call>> = tasks.iter().map(|(task, _)| sync(task)).collect();
        let mut replies = self.client.call_to_finish(calls.iter().flatten().cloned().collect()).into_iter();
        let outcomes = calls.iter().zip(tasks).map(|(call, (task, done))| {
            let reply = call.as_ref().and_then(|call| Some((call, replies.next()?)));
            reply.map_or((None, None), |(call, reply)| self.synchronised(task, done, call, reply))
        });
        outcomes.collect()
    }

    fn synchronised(&self, task: &Task, done: &Done, call: &Call, reply: Reply) -> (Option<bool>, Option<Duration>) {
        // In a batch it may be the error of another command.
        let reply = match reply {
            Err(err) if err.in_batch && err.kind == Kind::Refused => self.client.call(call),
            reply => reply,
        };
        let why = match reply {
            Ok(reply) if fields::is_yes(&reply["result"]["success"]) => return (Some(true), None),
            Ok(reply) => format!("imena.camunda.sync: refused: {}", reply["result"]),
            Err(err) => {
                let not_done = matches!(err.kind, Kind::TooFast | Kind::MethodHeld | Kind::Blocked | Kind::Unreachable);
                if let Some(pause) = self.next_try(done, &err).filter(|_| not_done) {
                    log::warn!("process not synchronised, trying again in {pause:.0?}: task={}: {err}", task.id);
                    return (None, Some(pause));
                }
                err.to_string()
            }
        };
        log::warn!("process not synchronised: task={}: {why}", task.id);
        (Some(false), None)
    }
}

/// Tells which process the task belongs to, if the message says so.
pub fn sync(task: &Task) -> Option<Call> {
    let key = task.process_definition_key.as_deref()?;
    let instance = task.process_instance_id.as_deref()?;
    let params = vec![("processDefinitionKey", key.into()), ("processInstanceId", instance.into())];
    Some(Call { method: "imena.camunda.sync", params })
}
