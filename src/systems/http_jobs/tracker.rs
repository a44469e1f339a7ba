//! Asks for the jobs that are due, several at a time, each once a sweep and no sooner than its service wants.
//!
//! What becomes of a record is decided in [`crate::lane::checking`].

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::Value;

use super::client::Client;
use super::job::Job;
use super::settings::FailedJob;
use super::{Settings, outcome};
use crate::http::text::plain;
use crate::http::{self, Answer, Failed, Method};
use crate::message::{Record, Task, text};
use crate::stop::Stop;
use crate::systems::{Failure, Progress, Tracker};

/// The job is still at work.
const ACCEPTED: u16 = 202;
const NOT_FOUND: u16 = 404;
const GONE: u16 = 410;
/// No further job is asked for after this time, so that a slow service does not hold up a sweep; the next sweep starts
/// with those that have waited longest.
const LONGEST_ROUND: Duration = Duration::from_secs(120);
/// Jobs whose time is remembered; of others it is what their record says.
const MOST_REMEMBERED: usize = 100_000;
/// When a service does not show so many jobs in a row, it shows none to this account.
const MOST_REFUSED: usize = 3;
/// What services call a job that is still at work.
const AT_WORK: [&str; 10] =
    ["accepted", "created", "in_progress", "new", "pending", "processing", "queued", "running", "started", "waiting"];
/// Other states that are logged, each once.
const MOST_STATES: usize = 20;

/// The tracker; one thread uses it.
pub struct JobTracker {
    settings: Settings,
    client: Arc<Client>,
    stop: Stop,
    /// When a job that was asked for is due again, by the id of its task.
    due: HashMap<String, Instant>,
    /// States that were logged because no setting names them. All threads of a round share it.
    states: Mutex<HashSet<String>>,
}

impl JobTracker {
    /// A tracker for the service of these settings.
    pub fn new(settings: Settings, client: Arc<Client>, stop: &Stop) -> JobTracker {
        JobTracker { settings, client, stop: stop.clone(), due: HashMap::new(), states: Mutex::default() }
    }
}

/// A job that is due.
struct Due<'a> {
    /// The place of its record among those that are checked.
    index: usize,
    record: &'a Record,
    job: Job,
    /// How long it has been due.
    waited: Duration,
}

/// Why a job was not seen.
enum Unseen {
    /// Its service is not there, or wants to be left alone.
    Away(Failure),
    /// Its service does not show it, as where the signature in its URL is too old.
    Refused(Failure),
    /// This says nothing of other jobs.
    Unclear(Failure),
}

/// What is known of the services in this round, by their origins. All threads of the round share it.
type Services = Mutex<HashMap<String, Service>>;

/// What is known of a service.
#[derive(Default)]
struct Service {
    /// Jobs in a row that it did not show.
    refused: usize,
    /// Why it is not asked any more.
    away: Option<String>,
}

impl Service {
    fn note(&mut self, seen: &Result<Seen, Unseen>) {
        self.refused = if matches!(seen, Err(Unseen::Refused(_))) { self.refused + 1 } else { 0 };
        match seen {
            Err(Unseen::Away(failure)) => self.away = Some(failure.to_string()),
            Err(Unseen::Refused(failure)) if self.refused >= MOST_REFUSED => self.away = Some(failure.to_string()),
            Ok(_) | Err(Unseen::Refused(_) | Unseen::Unclear(_)) => {}
        }
    }
}

/// How a job is doing, and when it wants to be asked for again.
struct Seen {
    progress: Progress,
    again_in: Duration,
}

impl Tracker for JobTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let mut results = Vec::with_capacity(records.len());
        let mut due = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let job = Job::in_record(record).map_err(Failure::Permanent);
            results.push(job.map(|job| match (job.elsewhere(&self.settings), self.waited(record, &job)) {
                (Some(why), _) => Progress::Foreign(why),
                (None, Some(waited)) => {
                    due.push(Due { index, record, job, waited });
                    Progress::Open
                }
                (None, None) => Progress::Open,
            }));
        }
        due.sort_by_key(|due| Reverse(due.waited));
        let seen = self.ask_for_all(&due);
        let anybody_answers = seen.iter().any(|(_, seen)| seen.is_ok());
        for (index, seen) in seen {
            results[index] = match seen {
                Ok(Seen { progress, again_in }) => {
                    self.note(&records[index].task.id, &progress, again_in);
                    Ok(progress)
                }
                Err(failure) => {
                    // It goes behind the others, which may have an answer.
                    self.note(&records[index].task.id, &Progress::Open, Duration::ZERO);
                    Err(match failure {
                        // One of several services is no reason to end the sweep.
                        Failure::Unavailable { error, .. } if anybody_answers => Failure::Transient { error },
                        failure => failure,
                    })
                }
            };
        }
        results
    }
}

/// When to ask.
impl JobTracker {
    fn waited(&self, record: &Record, job: &Job) -> Option<Duration> {
        match self.due.get(&record.task.id) {
            Some(due) => Instant::now().checked_duration_since(*due),
            None => job.waited(),
        }
    }

    fn note(&mut self, task_id: &str, progress: &Progress, again_in: Duration) {
        if !matches!(progress, Progress::Open) {
            self.due.remove(task_id);
            return;
        }
        if self.due.len() >= MOST_REMEMBERED {
            self.due.clear();
        }
        self.due.insert(task_id.to_owned(), Instant::now() + again_in);
    }
}

/// Asking. The threads share what is left to ask, and what is not there.
impl JobTracker {
    fn ask_for_all(&self, due: &[Due]) -> Vec<(usize, Result<Seen, Failure>)> {
        let (next, services, until) = (AtomicUsize::new(0), Services::default(), Instant::now() + LONGEST_ROUND);
        let work = || {
            let mut seen = Vec::new();
            while Instant::now() < until && !self.stop.raised() {
                let Some(due) = due.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                seen.push((due.index, self.ask_unless_away(due, &services)));
            }
            seen
        };
        thread::scope(|scope| {
            let others = 1..self.settings.parallel.min(due.len());
            let others = others.filter_map(|number| {
                let name = format!("{}/tracker/{number}", self.settings.named.system);
                // With fewer threads it takes longer.
                thread::Builder::new().name(name).spawn_scoped(scope, work).ok()
            });
            let others: Vec<_> = others.collect();
            let own = work();
            // Those of a thread that panicked stay open until the next sweep.
            own.into_iter().chain(others.into_iter().flat_map(|thread| thread.join().unwrap_or_default())).collect()
        })
    }

    /// Of several services one that is not there is asked once a round, and one that refuses all a few times.
    fn ask_unless_away(&self, due: &Due, services: &Services) -> Result<Seen, Failure> {
        let origin = due.job.url.origin().ascii_serialization();
        let services = || services.lock().unwrap_or_else(PoisonError::into_inner);
        let known = services().get(&origin).and_then(|service| service.away.clone());
        if let Some(why) = known {
            return Err(Failure::Unavailable { error: anyhow!(why), until: None });
        }
        let seen = self.ask(due);
        services().entry(origin).or_default().note(&seen);
        seen.map_err(|unseen| match unseen {
            Unseen::Away(failure) | Unseen::Refused(failure) | Unseen::Unclear(failure) => failure,
        })
    }

    fn ask(&self, Due { record, job, .. }: &Due) -> Result<Seen, Unseen> {
        let answer = self.client.ask(Method::GET, &job.url);
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let again_in = answer.as_ref().ok().and_then(Answer::retry_after).unwrap_or_default();
        let progress = match status {
            NOT_FOUND | GONE => Progress::Gone,
            // Whatever it says, mostly nothing.
            ACCEPTED => Progress::Open,
            _ => self.progress(&record.task, job, &http::json(answer).map_err(unseen)?)?,
        };
        Ok(Seen { progress, again_in })
    }

    /// A job whose end is called otherwise than the settings say would be waited for without an end.
    fn note_state(&self, state: String, job: &Job) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if AT_WORK.contains(&&*state.to_lowercase()) || states.len() >= MOST_STATES || states.contains(&state) {
            return;
        }
        let setting = |name| self.settings.named.setting(name);
        log::warn!(
            "{} is {:?}, which neither {} nor {} names: it counts as at work",
            job.id(),
            plain(&state),
            setting("COMPLETED_STATUSES"),
            setting("FAILED_STATUSES")
        );
        states.insert(state);
    }

    fn progress(&self, task: &Task, job: &Job, reply: &Value) -> Result<Progress, Unseen> {
        let Some(status) = text(&reply["status"]) else {
            let error = anyhow!("{}: the answer has no status", job.id());
            return Err(Unseen::Unclear(Failure::Transient { error }));
        };
        Ok(if self.settings.says_completed(reply) {
            let result = reply.get("result").unwrap_or(reply);
            match outcome::done(task, job.id(), reply, result, &self.settings.answer) {
                Ok(told) => Progress::Finished(told),
                Err(err) => Progress::Failed(err),
            }
        } else if self.settings.says_failed(reply) {
            match self.settings.failed_job {
                FailedJob::Answer => Progress::Finished(outcome::failed(task, job.id(), reply)),
                FailedJob::Park => Progress::Failed(anyhow!("the job has failed: {}", outcome::words_of(reply))),
            }
        } else {
            self.note_state(status, job);
            Progress::Open
        })
    }
}

/// A refused question says nothing about the job: its record stays and is asked about again.
fn unseen(failed: Failed) -> Unseen {
    let status = failed.status;
    match (Failure::from(failed), status) {
        (failure @ Failure::Unavailable { until: None, .. }, Some(300..=403)) => Unseen::Refused(failure),
        (failure @ Failure::Unavailable { .. }, _) => Unseen::Away(failure),
        (Failure::Permanent(error), _) => Unseen::Unclear(Failure::Transient { error }),
        (failure, _) => Unseen::Unclear(failure),
    }
}
