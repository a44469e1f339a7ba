//! The tasks that the lanes know of, as one list over all systems: in hand, retrying, open, unanswered; oldest first.
//!
//! It reads what the lanes and their last sweeps tell, and no queue. Parked tasks are in the error queue: they are
//! listed only for whoever asks for them alone. A list says since when it is known, and whether it has all.

use std::borrow::Cow;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::hub::Hub;
use super::parked::shelf::{FRESH, Fitting, KEPT};
use super::problem::Problem;
use super::time;
use crate::lane::tasks::{Tracked, UnderWay};
use crate::parked::summary::Summary;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// The lane has it: it waits for its start, or is being worked on.
    InHand,
    /// It failed before, and waits.
    Retrying,
    /// It exists at the target, and nobody has finished it.
    Open,
    /// It is finished, and Camunda has no answer.
    Unanswered,
    /// It is parked.
    Parked,
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct TaskLine {
    pub task_id: String,
    pub process_id: Option<String>,
    pub title: Option<String>,
    pub system: Cow<'static, str>,
    pub state: TaskState,
    pub since: Option<String>,
    pub age_seconds: Option<u64>,
    pub attempts: u32,
    pub next_try_in_seconds: Option<u64>,
    pub error: Option<String>,
    pub target_id: Option<String>,
    pub link: Option<String>,
    pub step: Option<&'static str>,
    /// By which the list is sorted, in milliseconds since 1970.
    #[serde(skip)]
    created: i64,
}

/// Which tasks are asked for.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only in this state.
    pub state: Option<TaskState>,
    /// Only of this system.
    pub system: Option<String>,
    /// Only older ones, in seconds.
    pub older_than: Option<u64>,
    /// Only those that have this text in the id, the process, the title or the error.
    pub q: Option<String>,
}

/// A page of a list, as `GET /api/v1/tasks` has it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct TaskPage {
    pub snapshot_at: String,
    pub items: Vec<TaskLine>,
    /// The place behind the last item, for `cursor` in `query`.
    pub next_cursor: Option<String>,
    pub total: usize,
    pub complete: bool,
}

/// All tasks that the lanes know of, and whether these are all: a lane may be busy, and of many open tasks only the
/// oldest are known.
#[derive(Debug, Default)]
pub struct Known {
    /// They, in no order.
    pub tasks: Vec<TaskLine>,
    /// None is left out.
    pub complete: bool,
    /// When the oldest sweep ended of which there is a list, in milliseconds since 1970; `None`: they are of now.
    pub swept_at: Option<u64>,
}

impl TaskState {
    /// The state of this name.
    pub fn named(name: &str) -> Option<TaskState> {
        let all = [TaskState::InHand, TaskState::Retrying, TaskState::Open, TaskState::Unanswered, TaskState::Parked];
        all.into_iter().find(|state| state.name() == name)
    }

    /// As the API calls it.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::InHand => "in_hand",
            TaskState::Retrying => "retrying",
            TaskState::Open => "open",
            TaskState::Unanswered => "unanswered",
            TaskState::Parked => "parked",
        }
    }

    fn is_of_a_sweep(self) -> bool {
        matches!(self, TaskState::Open | TaskState::Unanswered)
    }
}

/// What the lanes know of now. Lanes are asked for what they have in hand only where the filter lets it through.
pub fn known(hub: &Hub, filter: &Filter) -> Known {
    let now = Moment::of(hub.started, hub.started_at);
    let mut known = Known { complete: true, ..Known::default() };
    if !filter.state.is_some_and(TaskState::is_of_a_sweep) {
        for (lane, tasks) in hub.lanes.iter().zip(hub.tasks()) {
            known.complete &= tasks.is_some();
            known.tasks.extend(tasks.into_iter().flatten().map(|task| now.under_way(lane.name, task)));
        }
    }
    if filter.state.is_none_or(TaskState::is_of_a_sweep) {
        for lane in &hub.lanes {
            let swept = lane.control.swept();
            known.complete &= swept.is_complete && swept.is_current;
            known.swept_at = [known.swept_at, Some(swept.at).filter(|at| *at > 0)].into_iter().flatten().min();
            let line = |state, task: &Tracked| {
                let (within, host) = (task.within.as_deref(), task.host.as_deref());
                let link = task.target_id.as_deref().and_then(|id| lane.handler.link_to(id, within, host));
                TaskLine { link, ..now.tracked(lane.name, state, task) }
            };
            let open = swept.open.iter().map(|task| line(TaskState::Open, task));
            let unanswered = swept.unanswered.iter().map(|task| line(TaskState::Unanswered, task));
            known.tasks.extend(open.chain(unanswered));
        }
    }
    known
}

/// The parked tasks. Reads the error queue, unless this is a further page of a list.
///
/// # Errors
/// It cannot be read now.
pub fn parked(hub: &Hub, is_first_page: bool) -> Result<Known, Problem> {
    let now = Moment::of(hub.started, hub.started_at);
    let Fitting { messages, complete } =
        hub.parked.fitting((&hub.config, &hub.stop), |_| true, usize::MAX, if is_first_page { FRESH } else { KEPT })?;
    let tasks = messages.into_iter().map(|message| now.parked(message));
    Ok(Known { tasks: tasks.collect(), complete, swept_at: None })
}

/// Of these the oldest that pass the filter, behind the place `cursor`.
pub fn page(known: Known, filter: &Filter, cursor: Option<&str>, limit: usize) -> TaskPage {
    let Known { mut tasks, complete, swept_at } = known;
    tasks.retain(|task| filter.passes(task));
    tasks.sort_by_cached_key(TaskLine::place);
    let total = tasks.len();
    let start = cursor.map_or(0, |cursor| tasks.partition_point(|task| task.place().as_str() <= cursor));
    let items: Vec<TaskLine> = tasks.into_iter().skip(start).take(limit).collect();
    let has_more = start + items.len() < total;
    let next_cursor = items.last().filter(|_| has_more).map(TaskLine::place);
    let snapshot_at = swept_at.and_then(time::of_ms).unwrap_or_else(time::now);
    TaskPage { snapshot_at, items, next_cursor, total, complete }
}

impl Filter {
    fn passes(&self, task: &TaskLine) -> bool {
        let by_age = self.older_than.is_none_or(|least| task.age_seconds.is_some_and(|age| age >= least));
        let by_system = self.system.as_deref().is_none_or(|system| system == task.system);
        let by_state = self.state.is_none_or(|state| state == task.state);
        by_state && by_system && by_age && self.q.as_deref().is_none_or(|text| task.has(text))
    }
}

impl TaskLine {
    /// Does one of the texts that people search by hold this one, in small or capital letters?
    fn has(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let texts = [Some(&self.task_id), self.process_id.as_ref(), self.title.as_ref(), self.error.as_ref()];
        texts.into_iter().flatten().any(|own| own.to_lowercase().contains(&text))
    }

    /// Its place in the list: the same however the list changes around it.
    fn place(&self) -> String {
        format!("{:020} {} {} {}", self.created.max(0), self.system, self.state.name(), self.task_id)
    }
}

/// The present, and one moment by both clocks: so the time of a task is the same text in every list.
struct Moment {
    now: Instant,
    start: Instant,
    start_at: DateTime<Utc>,
}

impl Moment {
    fn of(start: Instant, start_at: DateTime<Utc>) -> Moment {
        Moment { now: Instant::now(), start, start_at }
    }

    fn wall_clock(&self, instant: Instant) -> DateTime<Utc> {
        match instant.checked_duration_since(self.start) {
            Some(after) => self.start_at + after,
            None => self.start_at - self.start.saturating_duration_since(instant),
        }
    }

    fn under_way(&self, system: &'static str, task: UnderWay) -> TaskLine {
        let since = task.since.map(|since| self.wall_clock(since));
        let left = task.next_try.map(|next| next.saturating_duration_since(self.now).as_secs());
        let state = if task.is_retrying { TaskState::Retrying } else { TaskState::InHand };
        TaskLine {
            process_id: task.about.process,
            title: task.about.title,
            attempts: task.attempts,
            next_try_in_seconds: left,
            error: task.error,
            step: Some(task.step.text()),
            ..self.line(task.id, system, state, since)
        }
    }

    fn tracked(&self, system: &'static str, state: TaskState, task: &Tracked) -> TaskLine {
        let created_at = task.created_at.and_then(|ms| DateTime::from_timestamp_millis(i64::try_from(ms).ok()?));
        TaskLine {
            process_id: task.about.process.clone(),
            title: task.about.title.clone(),
            error: task.why.clone(),
            target_id: task.target_id.clone(),
            ..self.line(task.id.clone(), system, state, created_at)
        }
    }

    fn parked(&self, message: Summary) -> TaskLine {
        let Summary { id, parked_at, cause, error, system, attempts, title, process_id, .. } = message;
        let since = parked_at.and_then(|at| DateTime::parse_from_rfc3339(&at).ok()).map(|at| at.to_utc());
        let error = [cause, error].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let system = Cow::Owned(system.unwrap_or_default());
        TaskLine {
            process_id,
            title,
            attempts: attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or_default(),
            error: Some(error).filter(|error| !error.is_empty()),
            ..self.line(id, system, TaskState::Parked, since)
        }
    }

    fn line(
        &self,
        task_id: String,
        system: impl Into<Cow<'static, str>>,
        state: TaskState,
        since: Option<DateTime<Utc>>,
    ) -> TaskLine {
        let age = since.map(|since| u64::try_from((self.wall_clock(self.now) - since).num_seconds()).unwrap_or(0));
        TaskLine {
            task_id,
            process_id: None,
            title: None,
            system: system.into(),
            state,
            since: since.map(time::text),
            age_seconds: age,
            attempts: 0,
            next_try_in_seconds: None,
            error: None,
            target_id: None,
            link: None,
            step: None,
            created: since.map_or(i64::MAX, |since| since.timestamp_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lane::tasks::{About, Step};

    fn under_way(id: &str, seconds: u64, is_retrying: bool) -> TaskLine {
        let now = Moment::of(Instant::now(), Utc::now());
        let about = About { title: Some(format!("Счёт {id}")), process: Some(format!("process-{id}")) };
        let step = if is_retrying { Step::WaitingForTry } else { Step::Handling };
        let task = UnderWay {
            id: id.into(),
            about,
            since: now.now.checked_sub(Duration::from_secs(seconds)),
            attempts: is_retrying.into(),
            is_retrying,
            step,
            next_try: is_retrying.then(|| now.now + Duration::from_secs(60)),
            error: is_retrying.then(|| "503 Service Unavailable".into()),
        };
        now.under_way("bitrix24", task)
    }

    fn open(id: usize, seconds: u64) -> TaskLine {
        let now = Moment::of(Instant::now(), Utc::now());
        let created_at = u64::try_from(now.start_at.timestamp_millis()).expect("after 1970") - seconds * 1000;
        let task = Tracked {
            id: format!("open-{id}"),
            about: About::default(),
            created_at: Some(created_at),
            target_id: Some("8017".into()),
            within: None,
            host: None,
            why: None,
        };
        now.tracked("1c", TaskState::Open, &task)
    }

    fn ids(tasks: Vec<TaskLine>, filter: &Filter) -> Vec<String> {
        let page = page(Known { tasks, complete: true, swept_at: None }, filter, None, 10);
        page.items.into_iter().map(|task| task.task_id).collect()
    }

    #[test]
    fn the_oldest_come_first_and_the_filters_go_together() {
        let tasks = || vec![under_way("new", 1, false), open(1, 100), under_way("again", 50, true)];
        let filter =
            |state, older_than, q: Option<&str>| Filter { state, older_than, q: q.map(Into::into), system: None };
        assert_eq!(ids(tasks(), &Filter::default()), ["open-1", "again", "new"]);
        assert_eq!(ids(tasks(), &filter(Some(TaskState::Retrying), None, None)), ["again"]);
        assert_eq!(ids(tasks(), &filter(None, Some(40), None)), ["open-1", "again"]);
        for text in ["service unavailable", "СЧЁТ AG", "process-AGAIN", "agai"] {
            assert_eq!(ids(tasks(), &filter(None, None, Some(text))), ["again"], "{text}");
        }
        let of_1c = Filter { system: Some("1c".into()), ..filter(None, None, Some("open")) };
        assert_eq!(ids(tasks(), &of_1c), ["open-1"]);
        let again = under_way("again", 50, true);
        assert_eq!((again.step, again.attempts), (Some("waiting for another try"), 1));
        assert!(again.next_try_in_seconds.is_some_and(|left| (58..=60).contains(&left)), "{again:?}");
    }

    #[test]
    fn pages_go_on_behind_the_last_item_although_others_have_gone() {
        // Made once: the ages of those made later would differ by a moment.
        let all: Vec<TaskLine> = (0..250).map(|id| open(id, 1000 - id as u64)).collect();
        let tasks = |skipped: usize| all[skipped..].to_vec();
        let known = |skipped, complete| Known { tasks: tasks(skipped), complete, swept_at: None };
        let first = page(known(0, false), &Filter::default(), None, 100);
        assert_eq!((first.items.len(), first.total, first.complete), (100, 250, false));
        // Those of the first page are finished meanwhile.
        let cursor = first.next_cursor.as_deref();
        let second = page(known(90, false), &Filter::default(), cursor, 100);
        let [first_id, last_id] =
            [second.items.first(), second.items.last()].map(|task| task.expect("100").task_id.clone());
        assert_eq!((first_id.as_str(), last_id.as_str()), ("open-100", "open-199"));
        let third = page(known(200, true), &Filter::default(), second.next_cursor.as_deref(), 100);
        assert_eq!((third.items.len(), third.next_cursor), (50, None));
    }
}
