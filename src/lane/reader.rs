//! The reader thread of a lane: it keeps a [`session`] with RabbitMQ open, opens the next one when one is lost, and keeps
//! what outlives them all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::caution::Caution;
use super::ledger::Ledger;
use super::pool::{Outcome, Pool};
use super::recovery::Recovery;
use super::refusals::Refusals;
use super::repeated::Repeated;
use super::session::{self, Ended};
use super::waits::Waits;
use super::{Job, Lane};
use crate::backoff;
use crate::message::{Claim, Task};
use crate::rabbitmq::intake::{Arrival, Token};
use crate::stats::condition::Obstacle;
use crate::systems::{Created, Handler};

/// Between two tries to reach RabbitMQ.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a lane has in hand, whatever becomes of its sessions.
pub struct Work {
    /// Which tasks are where.
    pub ledger: Ledger<Token>,
    /// Which tasks are to be left alone for a while.
    pub waits: Waits,
    /// To what the session of now has delivered.
    pub claim: Claim,
    /// How many deliveries to take.
    pub caution: Caution,
    /// Whether the target is trusted.
    pub recovery: Recovery,
    /// Deliveries that may continue a message which is just moving; see [`super::ledger::Admission::Later`].
    pub held: Vec<Arrival>,
    /// To the pool.
    pub jobs: Sender<Job>,
    /// The other end of `jobs`, to take back what no thread has begun.
    pub not_begun: Receiver<Job>,
    /// To the pool: recorded tasks.
    pub recorded: Sender<(Task, Created)>,
    /// From the pool.
    pub results: Receiver<Outcome>,
    /// Counts messages without a readable id.
    pub unreadable: u64,
    /// How often the pause of the lane was said.
    pub pause_news: Repeated,
    /// Queues that do not take messages.
    pub refusals: Refusals,
}

/// Runs the lane until the stop signal and until what it has in hand is settled.
///
/// # Errors
/// RabbitMQ refuses a session before one has worked (a [`Trouble`](crate::rabbitmq::Trouble)): the credentials, the virtual
/// host or a permission are wrong, and with nobody's work in hand it is better to end than to wait. What can pass by itself
/// is waited for. Or a thread cannot be started.
pub fn run(lane: &Lane, handler: &dyn Handler) -> anyhow::Result<()> {
    let (jobs, not_begun) = unbounded();
    let (recorded, to_follow_up) = unbounded();
    let (outcomes, results) = unbounded();
    let pool = Pool::new(lane.name, not_begun.clone(), to_follow_up, outcomes, lane.config.handler_threads);
    let mut work = Work {
        ledger: Ledger::default(),
        waits: Waits::default(),
        claim: Claim::default(),
        caution: Caution::new(lane.config.prefetch),
        recovery: Recovery::new(lane.config.retry_attempts, lane.config.retry_delay),
        held: Vec::new(),
        jobs,
        not_begun,
        recorded,
        results,
        unreadable: 0,
        pause_news: Repeated::default(),
        refusals: Refusals::default(),
    };
    let ended = thread::scope(|scope| {
        pool.start(scope, handler)?;
        let result = keep_sessions(lane, &mut work);
        // What the pool is still at cannot be settled any more.
        match result {
            Ok(End::Settled) => lane.stats.note_in_hand(&work.ledger.at_work()),
            _ => lane.stats.note_in_hand(&work.ledger.in_the_air()),
        }
        let Work { jobs, recorded, not_begun, .. } = work;
        // Without senders the pool's threads end when they have finished what they are at.
        drop((jobs, recorded));
        not_begun.try_iter().for_each(drop);
        result
    });
    // Whoever has the messages of the rest by now finds their tasks.
    if let Ok(End::Settled) = ended {
        lane.stats.note_in_hand(&[]);
    }
    ended.map(drop)
}

/// How the last session ended.
enum End {
    /// All that it had deliveries of is settled.
    Settled,
    /// It was lost, and there was no time for another one.
    Lost,
}

fn keep_sessions(lane: &Lane, work: &mut Work) -> anyhow::Result<End> {
    let mut trouble = Repeated::default();
    let mut failures = 0_u32;
    let mut has_worked = false;
    for number in 1.. {
        let begun = Instant::now();
        // A panic costs this session, not the lane.
        let ended = catch_unwind(AssertUnwindSafe(|| session::run(lane, work, number)));
        let ended = ended.unwrap_or_else(|_| Ended::Lost {
            after: begun.elapsed(),
            error: anyhow!("the session panicked; worker_errors.log says where"),
        });
        has_worked |= lane.stats.is_connected.get() == 1;
        lane.stats.is_connected.set(0);
        lane.stats.condition.waiting.set(0);
        forget_session(lane, work);
        let pause = match ended {
            Ended::Stopped => return Ok(End::Settled),
            Ended::Refresh => continue,
            Ended::Refused(err) if !has_worked => return Err(err),
            Ended::Refused(err) => {
                lane.stats.condition.stands(Obstacle::NoSession, &format!("{err:#}"), Some(LONGEST_PAUSE));
                trouble.say(&format!("{err:#}"), Instant::now()).inspect(|text| {
                    log::error!("{text}; trying again every {LONGEST_PAUSE:?}");
                });
                LONGEST_PAUSE
            }
            Ended::Lost { after, error } => {
                // A session that worked for longer than it was waited for is a new beginning.
                if after > backoff::delay(failures, FIRST_PAUSE, LONGEST_PAUSE) {
                    failures = 0;
                    trouble.over();
                }
                failures = failures.saturating_add(1);
                let pause = backoff::delay(failures, FIRST_PAUSE, LONGEST_PAUSE);
                lane.stats.condition.stands(Obstacle::NoSession, &format!("{error:#}"), Some(pause));
                trouble.say(&format!("{error:#}"), Instant::now()).inspect(|text| {
                    log::warn!("no session with RabbitMQ, trying again in {pause:?}: {text}");
                });
                pause
            }
        };
        if lane.stop.pause(backoff::jittered(pause, number ^ u64::from(std::process::id()))) {
            return Ok(End::Lost);
        }
    }
    Ok(End::Lost)
}

/// Without a session nothing can be acknowledged: what is not begun is left to the broker, which delivers it again.
fn forget_session(lane: &Lane, work: &mut Work) {
    work.claim.lose();
    work.held.clear();
    work.ledger.session_lost();
    work.not_begun.try_iter().for_each(|job| work.ledger.put_back(job, None));
    lane.stats.note_in_hand(&work.ledger.in_the_air());
}
