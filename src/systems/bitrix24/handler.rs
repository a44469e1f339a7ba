//! Creates Bitrix24 tasks: looks each one up by its markers, creates what is not there, and once it is recorded completes
//! its checklists and synchronises the process.
//!
//! One task or fifty go the same way; [`Client`] decides how calls travel. It knows no queues and no attempts.

mod follow_up;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
pub use follow_up::sync;
use serde_json::{Map, Value, json};

use super::client::{Call, Client, MayGo, Pace, Reply};
use super::errors::{ApiError, Kind};
use super::fields::{self, Fields};
use super::look_up::{self, Found, LookUp, NotAnswered, Seen};
use super::owner::Owner;
use super::{Settings, member};
use crate::message::{Earlier, Task, text};
use crate::systems::{Batch, Done, Failure, FollowUp, Handler};

/// So long after it was not found a task may be created. It bounds what may have happened to it since, elsewhere or while
/// this process stood still; mostly its turn comes within it.
const FRESH: Duration = Duration::from_secs(10);

/// The handler. Several threads use it at once.
pub struct BitrixHandler {
    settings: Settings,
    client: Arc<Client>,
    look_up: LookUp,
    /// The portal's.
    host: String,
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
        let host = settings.webhook.host();
        BitrixHandler { settings, client, look_up, host, unseen: Mutex::default(), owner }
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
        let mut results = self.find_or_create(&tasks.iter().collect::<Vec<_>>(), Pace::InTurn);
        // Where requests are scarce a turn may take longer than a look-up is good for: then the create follows it at once.
        let is_late =
            |(task, result): &(&Task, &mut _)| matches!(result, Err(Failure::Outdated)) && task.claim.is_held();
        let (late, outdated): (Vec<&Task>, Vec<_>) = tasks.iter().zip(&mut results).filter(is_late).unzip();
        if !late.is_empty() {
            outdated.into_iter().zip(self.find_or_create(&late, Pace::AtOnce)).for_each(|(old, new)| *old = new);
        }
        results
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
    fn find_or_create(&self, tasks: &[&Task], pace: Pace) -> Vec<Result<Done, Failure>> {
        let saw_all = self.owner.saw_all();
        let mut missing = Vec::new();
        let mut results: Vec<Option<Result<Done, Failure>>> = Vec::with_capacity(tasks.len());
        for (task, found) in tasks.iter().copied().zip(self.find(tasks)) {
            let asked = if let Ok(Seen::Nothing(asked)) = found { Some(asked) } else { None };
            let known = self.known(task, found, saw_all);
            if let (None, Some(asked)) = (&known, asked) {
                missing.push(Missing { task, asked, pace });
            }
            results.push(known);
        }
        let mut created = self.create(&missing).into_iter();
        let empty = results.iter_mut().filter(|result| result.is_none());
        empty.for_each(|result| *result = created.next());
        results.into_iter().map(|result| result.expect("each task was found, failed or created")).collect()
    }

    /// Are tasks looked up before they are created?
    fn looks_up(&self) -> bool {
        self.settings.marker_field.is_some()
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Found> {
        if !self.looks_up() && tasks.iter().all(|task| task.earlier != Earlier::Unseen) {
            return tasks.iter().map(|_| Ok(Seen::Nothing(Instant::now()))).collect();
        }
        self.look_up.find(tasks.iter().map(|task| task.id.as_str()))
    }

    /// The result for a task that was found or may not be created; `None` when it is to be created.
    fn known(&self, task: &Task, found: Found, saw_all: bool) -> Option<Result<Done, Failure>> {
        match found {
            Ok(Seen::Task(row)) => {
                self.was_seen(&task.id);
                Some(match member(&row, "ID").and_then(text) {
                    Some(target_id) => {
                        let link = self.settings.webhook.link(&target_id);
                        Ok(Done::found(json!({"result": {"task": row}}), target_id).at(&self.host, link))
                    }
                    None => Err(Failure::Transient {
                        error: anyhow!("tasks.task.list: the row of the task has no ID"),
                        after: Duration::ZERO,
                    }),
                })
            }
            Ok(Seen::Nothing(_)) => self.not_found(task, saw_all).map(Err),
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
    fn create(&self, missing: &[Missing]) -> Vec<Result<Done, Failure>> {
        if let Some(failure) = self.still_unseen(missing) {
            return failure;
        }
        let Some(&Missing { pace, .. }) = missing.first() else { return Vec::new() };
        let all_fields: Vec<Fields> = missing.iter().map(|one| fields::fields(one.task, &self.settings)).collect();
        // Once for each message: at once means once more.
        for (Missing { task, .. }, fields) in missing.iter().zip(&all_fields).filter(|_| pace == Pace::InTurn) {
            fields.warnings.iter().for_each(|warning| log::warn!("{warning}: task={}", task.id));
        }
        let calls = missing.iter().zip(&all_fields).map(|(one, made)| (add(&made.fields), self.may_go(one)));
        let replies = self.client.call_all_while(calls.collect(), pace);
        let result = |((one, fields), reply): ((&Missing, &Fields), Reply)| match reply {
            Err(err) if err.kind == Kind::Refused => self.create_again(one, fields, err),
            reply => self.created(one.task, reply),
        };
        missing.iter().zip(&all_fields).zip(replies).map(result).collect()
    }

    /// A create may go while the message is ours and what was seen is fresh. What is sent at once may be as old as another
    /// worker would wait before it creates what it got from this one: a slow look-up must not be made for ever.
    fn may_go(&self, missing: &Missing) -> MayGo {
        let fresh = match missing.pace {
            Pace::InTurn => FRESH.min(self.settings.request_timeout),
            Pace::AtOnce => self.settings.request_timeout,
        };
        let (claim, asked) = (missing.task.claim.clone(), missing.asked);
        Arc::new(move || claim.is_held() && asked.elapsed() < fresh)
    }

    /// Tries a refused task again. A portal may refuse a task that it has just created, as when a program of its own that is
    /// told of each task fails, and in a batch it may show the error of another command. So the task is looked up before
    /// each try, and each try goes alone.
    fn create_again(&self, missing: &Missing, fields: &Fields, refusal: ApiError) -> Result<Done, Failure> {
        let task = missing.task;
        let as_it_is = refusal.in_batch.then(|| ("alone".to_owned(), fields.fields.clone()));
        let concessions = fields::concessions(fields, &self.settings).into_iter();
        let tries = as_it_is.into_iter().chain(concessions.map(|concession| (concession.what, concession.fields)));
        let mut refusal = refusal;
        for (what, fields) in tries {
            log::warn!("refused, trying again {what}: task={}: {refusal}", task.id);
            // It was decided already that this task is to be created, unless it shows up.
            let found = self.find(&[task]).into_iter().next();
            let asked = if let Some(Ok(Seen::Nothing(asked))) = found { asked } else { missing.asked };
            if let Some(known) = found.and_then(|found| self.known(task, found, true)) {
                return known;
            }
            let may_go = self.may_go(&Missing { asked, ..*missing });
            match self.client.call_while(&add(&fields), may_go, missing.pace) {
                Err(err) if err.kind == Kind::Refused => refusal = err,
                reply => return self.created(task, reply),
            }
        }
        Err(refusal.into_failure(Duration::ZERO))
    }

    fn created(&self, task: &Task, reply: Reply) -> Result<Done, Failure> {
        // A create without a clear answer may have happened, and may still be under way.
        let reply = reply.map_err(|err| err.into_failure(self.settings.request_timeout))?;
        let made = &reply["result"]["task"];
        let marker = self.settings.marker_field.as_deref().unwrap_or(fields::XML_ID);
        if look_up::carries(made, marker, &task.id) == Some(false) {
            return Err(Failure::Transient {
                error: anyhow!(
                    "tasks.task.add: the reply is about another task, so it is not known whether this one is there"
                ),
                after: self.settings.request_timeout,
            });
        }
        if let Some(target_id) = member(made, "ID").and_then(text) {
            let link = self.settings.webhook.link(&target_id);
            return Ok(Done::created(reply, target_id).at(&self.host, link));
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
    fn still_unseen(&self, missing: &[Missing]) -> Option<Vec<Result<Done, Failure>>> {
        let id = self.lock_unseen().clone()?;
        let error = match self.look_up.find([id.as_str()]).into_iter().next() {
            Some(Err(err)) => err.error(),
            Some(Ok(Seen::Nothing(_))) | None if !matches!(self.owner.sees_all(), Ok(Some(true))) => {
                anyhow!("{}", unseen(&id))
            }
            // It is there, or somebody has deleted it.
            Some(Ok(_)) | None => {
                self.was_seen(&id);
                return None;
            }
        };
        Some(missing.iter().map(|_| Err(away(anyhow!("{error:#}")))).collect())
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

/// A task that was looked up and is not there.
struct Missing<'a> {
    task: &'a Task,
    /// When the portal was asked.
    asked: Instant,
    pace: Pace,
}

/// Creates the task.
pub fn add(fields: &Map<String, Value>) -> Call {
    Call { method: "tasks.task.add", params: vec![("fields", fields.clone().into())] }
}
