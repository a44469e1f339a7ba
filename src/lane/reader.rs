//! The reader thread of a lane: it keeps a [`session`] with RabbitMQ open, and opens the next one when one is lost. It
//! owns the [`state`](super::state), which outlives the sessions. It decides nothing about messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, after, select, unbounded};

use super::log_throttle::LogThrottle;
use super::pool::{Outcome, Pool};
use super::session::{self, Ended};
use super::state::State;
use super::{Job, Lane};
use crate::backoff;
use crate::message::Task;
use crate::rabbitmq::consumer::AckToken;
use crate::stats::condition::Obstacle;
use crate::systems::{Created, Handler};

/// Between two tries to reach RabbitMQ.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The reader's ends of the pool's channels.
pub struct PoolEnds {
    /// To the pool.
    pub jobs: Sender<Job>,
    /// The other end of `jobs`, to take back what no thread has started.
    pub not_started: Receiver<Job>,
    /// To the pool: recorded tasks.
    pub recorded: Sender<(Task, Created)>,
    /// From the pool.
    pub results: Receiver<Outcome>,
    /// How many threads the pool may have.
    pub threads: usize,
}

/// Runs the lane until the stop signal, and until all that is started is settled.
///
/// # Errors
/// RabbitMQ refuses a session before one has worked (a [`ConnectionError`](crate::rabbitmq::ConnectionError)): the
/// credentials, the virtual host or a permission are wrong. Nothing is started yet, so it is better to end than to
/// wait. An error that can pass by itself is waited for. Or a thread cannot be started.
pub fn run(lane: &Lane, handler: &dyn Handler) -> anyhow::Result<()> {
    let (jobs, not_started) = unbounded();
    let (recorded, to_follow_up) = unbounded();
    let (outcomes, results) = unbounded();
    let threads = lane.config.handler_threads.min(handler.most_at_once());
    let pool = Pool::new(lane.name, not_started.clone(), to_follow_up, outcomes, threads);
    let ends = PoolEnds { jobs, not_started, recorded, results, threads };
    let mut state = State::new(lane);
    let ended = thread::scope(|scope| {
        pool.start(scope, handler)?;
        let result = keep_sessions(lane, &mut state, &ends);
        // The tasks that the pool still works on cannot be settled any more.
        match result {
            Ok(End::Settled) => lane.stats.note_unsettled(&state.at_work()),
            _ => lane.stats.note_unsettled(&state.unsettled()),
        }
        let PoolEnds { jobs, recorded, not_started, .. } = ends;
        // Without senders the pool's threads end when they have finished their call.
        drop((jobs, recorded));
        not_started.try_iter().for_each(drop);
        result
    });
    // The broker delivers the other messages again; the next worker that gets them finds their tasks.
    if let Ok(End::Settled) = ended {
        lane.stats.note_unsettled(&[]);
    }
    ended.map(drop)
}

/// How the last session ended.
enum End {
    /// All tasks that had a delivery are settled.
    Settled,
    /// It was lost, and the worker stops before the next one.
    Lost,
}

fn keep_sessions(lane: &Lane, state: &mut State<AckToken>, pool: &PoolEnds) -> anyhow::Result<End> {
    let mut throttle = LogThrottle::default();
    let mut failures = 0_u32;
    let mut has_worked = false;
    for number in 1.. {
        lane.pulse.beat();
        let started = Instant::now();
        // A panic costs this session, not the lane.
        let ended = catch_unwind(AssertUnwindSafe(|| session::run(lane, state, pool, number)));
        let ended = ended.unwrap_or_else(|_| Ended::Lost {
            worked: Some(started.elapsed()),
            error: anyhow!("the session panicked; worker_errors.log says where"),
        });
        has_worked |= ended.has_worked();
        lane.stats.is_connected.set(0);
        lane.pulse.reads(false);
        lane.stats.condition.waiting.set(0);
        forget_session(lane, state, pool);
        let pause = match ended {
            Ended::Stopped => return Ok(End::Settled),
            Ended::Refresh => continue,
            Ended::Refused(err) if !has_worked => return Err(err),
            Ended::Refused(err) => {
                lane.stats.condition.stands(Obstacle::NoSession, &format!("{err:#}"), Some(LONGEST_PAUSE));
                throttle.say(&format!("{err:#}"), Instant::now()).inspect(|text| {
                    log::error!("{text}; trying again every {LONGEST_PAUSE:?}");
                });
                LONGEST_PAUSE
            }
            Ended::Lost { worked, error } => {
                // A session that worked for longer than the pause before it resets the back-off.
                if worked.is_some_and(|worked| worked > backoff::delay(failures, FIRST_PAUSE, LONGEST_PAUSE)) {
                    failures = 0;
                    throttle.over();
                }
                failures = failures.saturating_add(1);
                let pause = backoff::delay(failures, FIRST_PAUSE, LONGEST_PAUSE);
                lane.stats.condition.stands(Obstacle::NoSession, &format!("{error:#}"), Some(pause));
                throttle.say(&format!("{error:#}"), Instant::now()).inspect(|text| {
                    log::warn!("no session with RabbitMQ, trying again in {pause:?}: {text}");
                });
                pause
            }
        };
        if wait(lane, state, backoff::jittered(pause, number ^ u64::from(std::process::id()))) {
            return Ok(End::Lost);
        }
    }
    Ok(End::Lost)
}

/// Waits for the next try, and carries out commands meanwhile; `true` when it was stopped.
fn wait(lane: &Lane, state: &mut State<AckToken>, pause: Duration) -> bool {
    let over = after(pause);
    loop {
        lane.pulse.beat();
        select! {
            recv(lane.stop.receiver()) -> _ => return true,
            recv(lane.control.commands()) -> command => {
                command.into_iter().for_each(|command| command.carry_out(state, Instant::now()));
            },
            recv(over) -> _ => return false,
            recv(after(lane.pulse.interval())) -> _ => {},
        }
    }
}

/// Without a session nothing can be acknowledged: tasks that are not started are left to the broker, which delivers
/// them again.
fn forget_session(lane: &Lane, state: &mut State<AckToken>, pool: &PoolEnds) {
    state.session_lost();
    pool.not_started.try_iter().for_each(|job| state.take_back(job));
    lane.stats.note_unsettled(&state.unsettled());
}
