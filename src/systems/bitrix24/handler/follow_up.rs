//! What follows a create that is recorded: the checklists are completed, the process is synchronised, and what the portal has
//! not done is tried again. It creates no task.

use std::time::Duration;

use super::super::checklists::{self, Wanted};
use super::super::client::{Call, Reply};
use super::super::errors::{ApiError, Kind};
use super::super::look_up::{Looked, Seen};
use super::super::{fields, member};
use super::BitrixHandler;
use crate::backoff;
use crate::message::{Earlier, Task, text};
use crate::systems::{Created, Failure, FollowUp};

/// How often what follows a create is tried again when a call got no clear answer, or when the portal says that it may not be
/// called like that: with the pauses between them, a minute.
const MOST_FOLLOW_UPS: u32 = 6;
/// Between two of these tries, where the portal asks for no longer time; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl BitrixHandler {
    pub(super) fn complete_checklists(&self, done: &[(Task, Created)]) -> Vec<FollowUp> {
        let lists: Vec<Vec<fields::Checklist>> = done.iter().map(|(task, _)| fields::checklists(task)).collect();
        let lost = self.lost(done, &lists);
        let wanted = done.iter().zip(&lists).map(|((task, done), lists)| Wanted {
            task: &done.target_id,
            lists: if lost.contains(&task.id.as_str()) { &[] } else { lists },
            // One that was followed up before has some of them.
            may_have_some: done.existed || done.follow_ups > 0,
            // What an earlier delivery had begun may be under way at the portal.
            may_get_more: done.existed && done.follow_ups == 0 && task.earlier == Earlier::MayExist,
        });
        let missing = checklists::complete(&self.client, &wanted.collect::<Vec<_>>());
        let outcomes = done.iter().zip(&lists).zip(missing).map(|(((task, done), lists), missing)| {
            if lost.contains(&task.id.as_str()) {
                left_alone(task, done, lists)
            } else {
                self.lacks(task, done, missing)
            }
        });
        outcomes.collect()
    }

    /// The tasks that their ids do not lead to any more. At the first try an id has just come from the portal; before a later
    /// one the portal may have been set up anew, with another task under the id.
    fn lost<'a>(&self, done: &'a [(Task, Created)], lists: &[Vec<fields::Checklist>]) -> Vec<&'a str> {
        let again = done.iter().zip(lists).filter(|((_, done), lists)| done.follow_ups > 0 && !lists.is_empty());
        let again: Vec<&(Task, Created)> = again.map(|(done, _)| done).filter(|_| self.looks_up()).collect();
        let found = self.look(&again.iter().map(|(task, _)| task).collect::<Vec<_>>());
        let is_lost = |((_, done), found): &(&(Task, Created), Looked)| match found {
            Ok(Seen::Task(row)) => member(row, "ID").and_then(text).as_deref() != Some(done.target_id.as_str()),
            Ok(Seen::Nothing(_)) => true,
            // The next call finds no answer either.
            Err(_) => false,
        };
        again.into_iter().zip(found).filter(is_lost).map(|((task, _), _)| task.id.as_str()).collect()
    }

    /// What follows from the checklists that a task lacks.
    fn lacks(&self, task: &Task, done: &Created, missing: Option<checklists::Missing>) -> FollowUp {
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
    fn next_try(&self, done: &Created, why: &ApiError) -> Option<Duration> {
        let asked = match why.clone().into_failure().of_create(self.settings.request_timeout) {
            Failure::Transient { .. } => Some(Duration::ZERO),
            Failure::OutcomeUnknown { visible_in, .. } => Some(visible_in),
            Failure::Unavailable { until, .. } => Some(until.unwrap_or_default()),
            Failure::Outdated => Some(Duration::ZERO),
            Failure::Permanent(_) | Failure::Unsettled(_) | Failure::Unseen(_) => None,
        };
        let most = match why.kind {
            Kind::Configuration | Kind::Unknown => MOST_FOLLOW_UPS,
            // That it was the portal, and no part of this task, is known for sure.
            Kind::TooFast | Kind::MethodHeld | Kind::Blocked | Kind::Unreachable | Kind::Outdated => u32::MAX,
            Kind::Refused => 0,
        };
        let pause = backoff::delay(done.follow_ups + 1, FIRST_PAUSE, LONGEST_PAUSE);
        asked.filter(|_| done.follow_ups < most).map(|asked| asked.max(pause))
    }

    /// Tells the portal which process each task belongs to: whether that worked, `None` where the message does not say, and when
    /// to try again what the portal has certainly not done. Safe to repeat: the portal begins to synchronise a process that is
    /// synchronised already.
    pub(super) fn synchronise(&self, tasks: Vec<&(Task, Created)>) -> Vec<(Option<bool>, Option<Duration>)> {
        let calls: Vec<Option<Call>> = tasks.iter().map(|(task, _)| sync(task)).collect();
        let mut replies = self.client.call_to_finish(calls.iter().flatten().cloned().collect()).into_iter();
        let outcomes = calls.iter().zip(tasks).map(|(call, (task, done))| {
            let reply = call.as_ref().and_then(|call| Some((call, replies.next()?)));
            reply.map_or((None, None), |(call, reply)| self.synchronised(task, done, call, reply))
        });
        outcomes.collect()
    }

    fn synchronised(&self, task: &Task, done: &Created, call: &Call, reply: Reply) -> (Option<bool>, Option<Duration>) {
        // In a batch it may be the error of another command.
        let reply = match reply {
            Err(err) if err.in_batch && err.kind == Kind::Refused => self.client.call(call),
            reply => reply,
        };
        let why = match reply {
            Ok(reply) if fields::is_yes(&reply["result"]["success"]) => return (Some(true), None),
            Ok(reply) => format!("imena.camunda.sync: refused: {}", reply["result"]),
            Err(err) => {
                let may_be_done = matches!(err.kind, Kind::Configuration | Kind::Refused | Kind::Unknown);
                if let Some(pause) = self.next_try(done, &err).filter(|_| !may_be_done) {
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

/// What follows when the task that lacks checklists is not there any more.
fn left_alone(task: &Task, done: &Created, lists: &[fields::Checklist]) -> FollowUp {
    let missing_parts = lists.iter().map(|list| 1 + list.items.len() as u32).sum();
    log::warn!("checklists not completed: task={}: the portal has it under the id {} no more", task.id, done.target_id);
    FollowUp { missing_parts, ..FollowUp::default() }
}

/// Tells which process the task belongs to, if the message says so.
pub fn sync(task: &Task) -> Option<Call> {
    let key = task.process_definition_key.as_deref()?;
    let instance = task.process_instance_id.as_deref()?;
    let params = vec![("processDefinitionKey", key.into()), ("processInstanceId", instance.into())];
    Some(Call { method: "imena.camunda.sync", params })
}
