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
use super::repeated::Repeated;
use super::session::{self, Ended};
use super::{Job, Lane};
use crate::backoff;
use crate::message::Task;
use crate::rabbitmq::intake::{Arrival, Token};
use crate::stats::condition::Obstacle;
use crate::systems::{Done, Handler};

/// Between two tries to reach RabbitMQ.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a lane has in hand, whatever becomes of its sessions.
pub struct Work {
    /// Which tasks are where.
    pub ledger: Ledger<Token>,
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
    pub recorded: Sender<(Task, Done)>,
    /// From the pool.
    pub results: Receiver<Outcome>,
    /// Counts messages without a readable id.
    pub unreadable: u64,
    /// How often the pause of the lane was said.
    pub pause_news: Repeated,
}

/// Runs the lane until the stop signal and until what it has in hand is settled.
///
/// # Errors
/// RabbitMQ refuses the very first session (a [`Trouble`](crate::rabbitmq::Trouble)): the credentials, the virtual host or
/// a permission are wrong. Or a thread cannot be started.
pub fn run(lane: &Lane, handler: &dyn Handler) -> anyhow::Result<()> {
    let (jobs, not_begun) = unbounded();
    let (recorded, to_follow_up) = unbounded();
    let (outcomes, results) = unbounded();
    let pool = Pool::new(lane.name, not_begun.clone(), to_follow_up, outcomes, lane.config.handler_threads);
    let mut work = Work {
        ledger: Ledger::default(),
        caution: Caution::new(lane.config.prefetch),
        recovery: Recovery::new(lane.config.retry_attempts, lane.config.retry_delay),
        held: Vec::new(),
        jobs,
        not_begun,
        recorded,
        results,
        unreadable: 0,
        pause_news: Repeated::default(),
    };
    thread::scope(|scope| {
        pool.start(scope, handler)?;
        let result = keep_sessions(lane, &mut work);
        // Without a session nothing more can be settled, whatever the pool is still at.
        lane.stats.note_in_hand(&work.ledger.in_the_air());
        let Work { jobs, recorded, not_begun, .. } = work;
        // Without senders the pool's threads end when they have finished what they are at.
        drop((jobs, recorded));
        not_begun.try_iter().for_each(drop);
        result
    })
}

fn keep_sessions(lane: &Lane, work: &mut Work) -> anyhow::Result<()> {
    let mut trouble = Repeated::default();
    let mut failures = 0_u32;
    for number in 1.. {
        let begun = Instant::now();
        // A panic costs this session, not the lane.
        let ended = catch_unwind(AssertUnwindSafe(|| session::run(lane, work, number)));
        let ended = ended.unwrap_or_else(|_| Ended::Lost {
            after: begun.elapsed(),
            error: anyhow!("the session panicked; worker_errors.log says where"),
        });
        lane.stats.is_connected.set(0);
        lane.stats.condition.waiting.set(0);
        forget_session(lane, work);
        let pause = match ended {
            Ended::Stopped => return Ok(()),
            Ended::Refresh => continue,
            Ended::Refused(err) if number == 1 => return Err(err),
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
            return Ok(());
        }
    }
    Ok(())
}

/// Without a session nothing can be acknowledged: what is not begun is left to the broker, which delivers it again.
fn forget_session(lane: &Lane, work: &mut Work) {
    work.held.clear();
    work.ledger.session_lost();
    work.not_begun.try_iter().for_each(|job| work.ledger.put_back(job, None));
    lane.stats.note_in_hand(&work.ledger.in_the_air());
}
