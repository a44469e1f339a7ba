//! Bitrix24 tasks: how a task is found by its markers, how it is created, and what is completed once it is recorded.
//!
//! [`create`](crate::systems::create) decides when a task is looked up and when it may be created; [`Client`] decides
//! how calls are sent. This file knows no queues and no attempts.

mod follow_up;
mod look;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
pub use follow_up::sync;
use serde_json::{Map, Value, json};

use super::client::{Call, Client, MayGo, Pace, Reply};
use super::counters::{self, Counters};
use super::errors::{ApiError, Kind};
use super::fields::{self, Fields};
use super::look_up::{self, LookUp, NotAnswered, Seen};
use super::owner::Owner;
use super::{Settings, member};
use crate::message::{Earlier, Task, text};
use crate::stats::Declared;
use crate::systems::seen::Looked;
use crate::systems::{Batch, Created, Failure, FollowUp, Found, Handler, Missing};

/// The handler. Several threads use it at once.
pub struct BitrixHandler {
    settings: Settings,
    client: Arc<Client>,
    look_up: LookUp,
    /// The portal's host.
    host: String,
    /// The id of a task that was created and is not shown to us. While it cannot be seen, nothing is created: the next
    /// task could not be seen either. The lock guards one id and is never held during a call.
    unseen: Mutex<Option<String>>,
    owner: Owner,
    counters: Counters,
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
        BitrixHandler {
            settings,
            client,
            look_up,
            host,
            unseen: Mutex::default(),
            owner,
            counters: Counters::default(),
        }
    }
}

impl Handler for BitrixHandler {
    fn next_batch(&self) -> Batch {
        if self.client.is_fast() { Batch::Nagle(look_up::MOST) } else { Batch::FairShare(look_up::MOST) }
    }

    fn preflight(&self) -> Result<(), Failure> {
        if self.looks_up() { self.look_up.probe().map_err(|err| not_looked_up(&err)) } else { Ok(()) }
    }

    fn visible_within(&self) -> Option<Duration> {
        self.looks_up().then_some(self.settings.request_timeout)
    }

    fn link_to(&self, target_id: &str, _: Option<&str>, host: Option<&str>) -> Option<String> {
        host.is_none_or(|host| host == self.host).then(|| self.settings.webhook.link(target_id))
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        // Before the look-up: an owner who was no administrator then may not see the task.
        let is_asked = tasks.iter().any(|task| self.may_hide(task));
        let sees_all = if is_asked { self.owner.sees_all() } else { Ok(None) };
        tasks.iter().zip(self.look_for(tasks)).map(|(task, looked)| self.found(task, looked, &sees_all)).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        if let Some(why) = self.still_unseen() {
            return missing.iter().map(|_| Err(away(anyhow!("{why:#}")))).collect();
        }
        let pending: Vec<(&Missing, Fields)> = missing.iter().map(|missing| (missing, self.fields(missing))).collect();
        let calls = pending.iter().map(|(missing, fields)| (add(&fields.fields), may_go(missing))).collect();
        let pace = missing.first().map_or(Pace::Queued, pace);
        let result = |((missing, fields), reply): (&(&Missing, Fields), Reply)| match reply {
            Err(err) if err.kind == Kind::Refused => self.create_again(missing, fields, err),
            reply => self.created(missing.task, reply),
        };
        pending.iter().zip(self.client.call_all_while(calls, pace)).map(result).collect()
    }

    fn follow_up(&self, done: &[(Task, Created)]) -> Vec<FollowUp> {
        self.finish(done)
    }

    fn look(&self, task_ids: &[&str]) -> Vec<Looked> {
        self.show(task_ids)
    }

    fn rests(&self) -> Option<String> {
        let (method, rest) = self.client.cool_downs().into_iter().max_by_key(|(_, rest)| *rest)?;
        (!rest.is_zero()).then(|| format!("{method} has used up its running time and is not called for {rest:.0?}"))
    }

    fn counters(&self) -> Vec<Declared> {
        [self.counters.declared(), counters::of_client(&self.client)].concat()
    }
}

/// Looking tasks up.
impl BitrixHandler {
    /// Whether tasks are looked up before they are created.
    fn looks_up(&self) -> bool {
        self.settings.marker_field.is_some()
    }

    fn look_for(&self, tasks: &[&Task]) -> Vec<look_up::Looked> {
        if !self.looks_up() && tasks.iter().all(|task| task.earlier != Earlier::Unseen) {
            return tasks.iter().map(|_| Ok(Seen::Nothing(Instant::now()))).collect();
        }
        self.look_up.find(tasks.iter().map(|task| task.id.as_str()))
    }

    /// What a look-up says about a task. `sees_all`: whether the webhook's owner was an administrator before it.
    fn found(&self, task: &Task, looked: look_up::Looked, sees_all: &SeesAll) -> Result<Found, Failure> {
        match looked {
            Ok(Seen::Task(row)) => self.there(task, row).map(Found::There),
            Ok(Seen::Nothing(asked)) => match self.hidden(task, sees_all) {
                Some(failure) => Err(failure),
                None => Ok(Found::Nothing(asked)),
            },
            Err(err) => Err(not_looked_up(&err)),
        }
    }

    fn there(&self, task: &Task, row: Value) -> Result<Created, Failure> {
        self.was_seen(&task.id);
        let target_id = member(&row, "ID")
            .and_then(text)
            .ok_or_else(|| Failure::Transient { error: anyhow!("tasks.task.list: the row of the task has no ID") })?;
        let link = self.settings.webhook.link(&target_id);
        Ok(Created::new(json!({"result": {"task": row}}), target_id).at(&self.host, link))
    }

    /// Whether a look-up that does not find the task decides nothing unless the webhook's owner sees all tasks.
    fn may_hide(&self, task: &Task) -> bool {
        match task.earlier {
            Earlier::None => false,
            Earlier::MayExist | Earlier::WouldShow => self.looks_up(),
            Earlier::Unseen => true,
        }
    }

    /// An owner who is no administrator does not see all tasks, so a task that cannot be found may still exist: what
    /// happens then to a task that was perhaps created before.
    fn hidden(&self, task: &Task, sees_all: &SeesAll) -> Option<Failure> {
        match (task.earlier, sees_all) {
            _ if !self.may_hide(task) => None,
            // Somebody has deleted it.
            (Earlier::Unseen, Ok(Some(true))) => {
                self.was_seen(&task.id);
                None
            }
            (Earlier::Unseen, _) => {
                self.note_unseen(&task.id);
                Some(unseen(&task.id))
            }
            (_, Ok(Some(false))) => Some(away(anyhow!(
                "an earlier try may have created task {}, and the webhook's owner does not see all tasks: make the \
                 owner an administrator, so that it is not created twice",
                task.id
            ))),
            (_, Ok(Some(true) | None)) => None,
            (_, Err(err)) => Some(away(anyhow!("{err}"))),
        }
    }
}

/// Whether the webhook's owner sees all tasks; see [`Owner::sees_all`].
type SeesAll = Result<Option<bool>, ApiError>;

/// Not an attempt, however often it happens.
fn away(error: anyhow::Error) -> Failure {
    Failure::Unavailable { error, until: Some(Duration::ZERO) }
}

/// A look-up has no effect, so the next one need not wait. A refused look-up says nothing about the task: the portal
/// does not take the question. No message can make every look-up fail, so then the portal is to blame.
pub fn not_looked_up(err: &NotAnswered) -> Failure {
    let NotAnswered::Failed { err, everywhere } = err else {
        return Failure::Unavailable { error: err.error(), until: None };
    };
    match err.clone().into_failure() {
        Failure::Permanent(error) => Failure::Unavailable { error, until: None },
        Failure::Transient { error } if *everywhere => Failure::Unavailable { error, until: None },
        failure => failure,
    }
}

/// Creating tasks.
impl BitrixHandler {
    /// The fields of the task. Values that cannot be used are logged once for each message: a late one was logged
    /// before.
    fn fields(&self, missing: &Missing) -> Fields {
        let fields = fields::fields(missing.task, &self.settings);
        for warning in fields.warnings.iter().filter(|_| !missing.is_late) {
            log::warn!("{warning}: task={}", missing.task.id);
        }
        fields
    }

    /// Tries a refused task again. A portal may refuse a task that it has just created: one of its own programs, which
    /// is told of each task, may fail, and in a batch it may show the error of another command. So the task is looked
    /// up before each try, and each try is a request of its own.
    fn create_again(&self, missing: &Missing, fields: &Fields, refusal: ApiError) -> Result<Created, Failure> {
        let task = missing.task;
        let as_it_is = refusal.in_batch.then(|| ("alone".to_owned(), fields.fields.clone()));
        let concessions = fields::concessions(fields, &self.settings).into_iter();
        let tries = as_it_is.into_iter().chain(concessions.map(|concession| (concession.what, concession.fields)));
        let mut refusal = refusal;
        for (what, fields) in tries {
            log::warn!("refused, trying again {what}: task={}: {refusal}", task.id);
            let missing = match self.look_for(&[task]).pop() {
                Some(Ok(Seen::Task(row))) => {
                    return self.there(task, row).map(|created| Created { existed: true, ..created });
                }
                // It was decided already that this task is created, unless it shows up.
                Some(Ok(Seen::Nothing(asked))) => missing.asked_again(asked),
                Some(Err(err)) => return Err(not_looked_up(&err)),
                None => *missing,
            };
            match self.client.call_while(&add(&fields), may_go(&missing), pace(&missing)) {
                Err(err) if err.kind == Kind::Refused => refusal = err,
                reply => return self.created(task, reply),
            }
        }
        Err(refusal.into_failure())
    }

    fn created(&self, task: &Task, reply: Reply) -> Result<Created, Failure> {
        let visible_in = self.settings.request_timeout;
        // A create without a clear answer may have happened, and may still be under way.
        let reply = reply.map_err(|err| err.into_failure().of_create(visible_in))?;
        let made = &reply["result"]["task"];
        let marker = self.settings.marker_field.as_deref().unwrap_or(fields::XML_ID);
        if look_up::carries(made, marker, &task.id) == Some(false) {
            let error = anyhow!(
                "tasks.task.add: the reply is about another task, so it is not known whether this one is there"
            );
            return Err(Failure::OutcomeUnknown { error, visible_in });
        }
        if let Some(target_id) = member(made, "ID").and_then(text) {
            let link = self.settings.webhook.link(&target_id);
            return Ok(Created::new(reply, target_id).at(&self.host, link));
        }
        if reply["result"].as_array().is_none_or(|rows| !rows.is_empty()) {
            let error = anyhow!("tasks.task.add: the reply names no task, so it is not known whether there is one");
            return Err(Failure::OutcomeUnknown { error, visible_in });
        }
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

/// The portal may create a task that the webhook's owner may not see; it answers with nothing.
impl BitrixHandler {
    /// Why nothing is created, while a created task cannot be seen.
    fn still_unseen(&self) -> Option<anyhow::Error> {
        let id = self.lock_unseen().clone()?;
        let sees_all = matches!(self.owner.sees_all(), Ok(Some(true)));
        match self.look_up.find([id.as_str()]).pop() {
            Some(Err(err)) => Some(err.error()),
            Some(Ok(Seen::Nothing(_))) | None if !sees_all => Some(anyhow!("{}", unseen(&id))),
            // It can be seen, or somebody has deleted it.
            Some(Ok(_)) | None => {
                self.was_seen(&id);
                None
            }
        }
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

/// A create may be sent while its message is ours and the look-up is fresh.
fn may_go(missing: &Missing) -> MayGo {
    let claim = missing.claim();
    Arc::new(move || claim.is_held())
}

fn pace(missing: &Missing) -> Pace {
    if missing.is_late { Pace::AtOnce } else { Pace::Queued }
}

/// Creates the task.
pub fn add(fields: &Map<String, Value>) -> Call {
    Call { method: "tasks.task.add", params: vec![("fields", fields.clone().into())] }
}
