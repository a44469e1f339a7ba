//! What follows a create that is recorded: the checklists are completed, the process is synchronised, and what the
//! portal has not done is tried again. It creates no task.

use std::time::Duration;

use super::super::checklists::{self, Wanted};
use super::super::client::{Call, Reply};
use super::super::errors::{ApiError, Kind};
use super::super::look_up::Seen;
use super::super::{fields, member};
use super::BitrixHandler;
use crate::backoff;
use crate::message::{Earlier, Task, text};
use crate::systems::{Created, Failure, FollowUp};

/// How often this work is tried again when a call got no clear answer, or when the webhook lacks a right for it: with
/// the pauses between them, a minute.
const MOST_FOLLOW_UPS: u32 = 6;
/// The pause between two of these tries, unless the portal asks for a longer one; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A recorded task, and the work that is left for it.
struct Pending<'a> {
    task: &'a Task,
    created: &'a Created,
    /// The checklists that it should have.
    lists: Vec<fields::Checklist>,
    /// Lists and lines that it will not get.
    missing_parts: u32,
    /// All of it is tried again after this time.
    again: Option<Duration>,
}

impl<'a> Pending<'a> {
    fn new((task, created): &'a (Task, Created)) -> Pending<'a> {
        Pending { task, created, lists: fields::checklists(task), missing_parts: 0, again: None }
    }

    fn wanted(&self) -> Wanted<'_> {
        let Created { target_id, existed, follow_ups, .. } = self.created;
        Wanted {
            task: target_id,
            lists: &self.lists,
            // One that was followed up before has some of them.
            may_have_some: *existed || *follow_ups > 0,
            // Parts that an earlier delivery has started may still come.
            may_get_more: *existed && *follow_ups == 0 && self.task.earlier == Earlier::MayExist,
        }
    }

    fn follow_up(&self) -> FollowUp {
        self.again.map_or(FollowUp::Done, FollowUp::Again)
    }
}

impl BitrixHandler {
    pub(super) fn finish(&self, done: &[(Task, Created)]) -> Vec<FollowUp> {
        let mut pending: Vec<Pending> = done.iter().map(Pending::new).collect();
        self.leave_lost_tasks_alone(&mut pending);
        self.complete_checklists(&mut pending);
        self.synchronise(&mut pending);
        for pending in pending.iter().filter(|pending| pending.again.is_none()) {
            self.counters.missing_parts.add(pending.missing_parts.into());
        }
        pending.iter().map(Pending::follow_up).collect()
    }

    /// Gives no checklists to a task that its id no longer leads to. At the first try the id has just come from the
    /// portal; before a later try the portal may have been set up again, with another task under the id.
    fn leave_lost_tasks_alone(&self, pending: &mut [Pending]) {
        let again = pending.iter_mut().filter(|pending| pending.created.follow_ups > 0 && !pending.lists.is_empty());
        let mut again: Vec<&mut Pending> = again.filter(|_| self.looks_up()).collect();
        if again.is_empty() {
            return;
        }
        // An owner who is no administrator may not see the task.
        let hides = self.owner.may_miss_tasks();
        let looked = self.look_for(&again.iter().map(|pending| pending.task).collect::<Vec<_>>());
        for (pending, looked) in again.iter_mut().zip(looked) {
            let target_id = &pending.created.target_id;
            let is_lost = match looked {
                Ok(Seen::Task(row)) => member(&row, "ID").and_then(text).as_ref() != Some(target_id),
                Ok(Seen::Nothing(_)) => !hides,
                // The next call would get no answer either.
                Err(_) => false,
            };
            if is_lost {
                let id = &pending.task.id;
                log::warn!("checklists not completed: task={id}: the portal no longer has it under the id {target_id}");
                pending.missing_parts = pending.lists.drain(..).map(|list| 1 + list.items.len() as u32).sum();
            }
        }
    }

    fn complete_checklists(&self, pending: &mut [Pending]) {
        let missing = checklists::complete(&self.client, &pending.iter().map(Pending::wanted).collect::<Vec<_>>());
        for (pending, missing) in pending.iter_mut().zip(missing) {
            let Some(checklists::Missing { parts, titles, why }) = missing else { continue };
            let (id, lacking) = (&pending.task.id, format!("checklists lack {parts} ({titles})"));
            pending.again = self.next_try(pending.created, &why);
            match pending.again {
                Some(pause) => log::warn!("{lacking}, trying again in {pause:.0?}: task={id}: {why}"),
                None => {
                    log::warn!("{lacking}, given up: task={id}: {why}");
                    pending.missing_parts = parts;
                }
            }
        }
    }

    /// When a call that failed like this is tried again, if at all.
    fn next_try(&self, created: &Created, why: &ApiError) -> Option<Duration> {
        // Until a moment ago the task could be seen: somebody may just have taken the owner's rights away.
        let may_be_hidden = why.kind == Kind::Refused && self.owner.may_miss_tasks();
        let asked = match why.clone().into_failure().of_create(self.settings.request_timeout) {
            Failure::Transient { .. } => Some(Duration::ZERO),
            Failure::OutcomeUnknown { visible_in, .. } => Some(visible_in),
            Failure::Unavailable { until, .. } => Some(until.unwrap_or_default()),
            Failure::Outdated => Some(Duration::ZERO),
            Failure::Permanent(_) => may_be_hidden.then_some(Duration::ZERO),
            Failure::NoSystem(_) | Failure::TooEarly(_) | Failure::Unseen(_) => None,
        };
        let most = match why.kind {
            Kind::Configuration | Kind::Unknown => MOST_FOLLOW_UPS,
            // The portal is surely to blame here, and no part of this task.
            Kind::TooFast | Kind::CoolingDown | Kind::Blocked | Kind::Unreachable | Kind::Outdated => u32::MAX,
            Kind::Refused if may_be_hidden => MOST_FOLLOW_UPS,
            Kind::Refused => 0,
        };
        let pause = backoff::delay(created.follow_ups + 1, FIRST_PAUSE, LONGEST_PAUSE);
        asked.filter(|_| created.follow_ups < most).map(|asked| asked.max(pause))
    }

    /// Tells the portal which process each task belongs to, where the message says so. Safe to repeat: the portal
    /// starts to synchronise a process that is synchronised already. One whose checklists are tried again is
    /// synchronised then, so that it is counted once.
    fn synchronise(&self, pending: &mut [Pending]) {
        let ready = pending.iter_mut().filter(|pending| pending.again.is_none());
        let mut ready: Vec<(&mut Pending, Call)> =
            ready.filter_map(|pending| Some(sync(pending.task)?).map(|call| (pending, call))).collect();
        let calls = ready.iter().map(|(_, call)| call.clone()).collect();
        for ((pending, call), reply) in ready.iter_mut().zip(self.client.call_to_finish(calls)) {
            self.synchronised(pending, call, reply);
        }
    }

    fn synchronised(&self, pending: &mut Pending, call: &Call, reply: Reply) {
        // In a batch this may be the error of another command.
        let reply = match reply {
            Err(err) if err.in_batch && err.kind == Kind::Refused => self.client.call(call),
            reply => reply,
        };
        let id = &pending.task.id;
        let why = match reply {
            Ok(reply) if fields::is_yes(&reply["result"]["success"]) => return self.counters.synced.count(),
            Ok(reply) => format!("imena.camunda.sync: refused: {}", reply["result"]),
            Err(err) => {
                let may_be_done = matches!(err.kind, Kind::Configuration | Kind::Refused | Kind::Unknown);
                pending.again = if may_be_done { None } else { self.next_try(pending.created, &err) };
                if let Some(pause) = pending.again {
                    return log::warn!("process not synchronised, trying again in {pause:.0?}: task={id}: {err}");
                }
                err.to_string()
            }
        };
        log::warn!("process not synchronised: task={id}: {why}");
        self.counters.unsynced.count();
    }
}

/// The call that names the process of the task, if the message names it.
pub fn sync(task: &Task) -> Option<Call> {
    let key = task.process_definition_key.as_deref()?;
    let instance = task.process_instance_id.as_deref()?;
    let params = vec![("processDefinitionKey", key.into()), ("processInstanceId", instance.into())];
    Some(Call { method: "imena.camunda.sync", params })
}
