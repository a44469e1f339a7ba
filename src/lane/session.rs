//! One session of a lane with RabbitMQ: everything for which its reader thread wakes up, and what it does then.
//!
//! The thread owns the session's channels. The lane's input and retry deliveries are settled on this thread only, here and
//! in [`results`](super::results), each after what follows from it is confirmed. It knows no system, and decides neither what
//! is under way (the ledger) nor what a failure leads to (recovery).

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, after, never, select};

use super::feed::{Feed, Prefetch};
use super::ledger::{Admission, Key, Next};
use super::reader::Work;
use super::recovery::Gate;
use super::waits::Wait;
use super::{Job, Lane, letters};
use crate::message::{self, Cause, Claim, Earlier, Parked, Record, Task, Unreadable};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::intake::{Arrival, FIRST, Intake, Token, times_returned};
use crate::rabbitmq::publisher::{CONFIRM_DEADLINE, Publisher};
use crate::rabbitmq::{Blocked, ConsumerMessage, Error, FieldTable, Trouble, queues, rights};
use crate::stats::condition::Obstacle;

/// The reader looks around this often even if nothing wakes it.
const TICK: Duration = Duration::from_secs(30);
/// RabbitMQ takes a delivery back after half an hour unacknowledged; a lane that is paused so long gives all of them back
/// before and takes them anew.
const LONGEST_HOLD: Duration = Duration::from_secs(600);

/// So often a message is published again before it is tried on another channel.
const MOST_REFUSALS: u32 = 60;

/// How a session ended.
pub enum Ended {
    /// The stop signal came, and what was in hand is settled.
    Stopped,
    /// On purpose: the next one may begin at once.
    Refresh,
    /// The broker does not let us in.
    Refused(anyhow::Error),
    /// Something broke, this long after the session began.
    Lost {
        /// How long the session worked.
        after: Duration,
        /// What broke.
        error: anyhow::Error,
    },
}

/// Opens a session and works until it ends. `number` tells it from earlier ones.
pub fn run(lane: &Lane, work: &mut Work, number: u64) -> Ended {
    let begun = Instant::now();
    let lost = |trouble: Trouble| match lane.stats.is_connected.get() == 1 {
        // What is refused while we are at work is told again when the next session begins.
        true => Ended::Lost { after: begun.elapsed(), error: trouble.into() },
        false if trouble.refused => Ended::Refused(trouble.into()),
        false => Ended::Lost { after: Duration::ZERO, error: trouble.into() },
    };
    let connections = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: consume", lane.name))
        // Its own connection, since an alarm at the broker freezes one that publishes, acks included.
        .and_then(|consuming| {
            let publishing = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: publish", lane.name))?;
            Ok((consuming, publishing))
        });
    let (mut consuming, mut publishing) = match connections {
        Ok(connections) => connections,
        Err(trouble) => return lost(trouble),
    };
    let ended = begin(lane, work, number, &mut consuming, &mut publishing);
    // The root cause of a dead connection is told only when it is closed.
    let causes = [consuming.close(), publishing.close()].into_iter().filter_map(Result::err);
    let cause = causes.map(|err| err.to_string()).find(|text| !text.contains("channel"));
    match (ended, cause) {
        (Ok(ended), _) => ended,
        // We are in, so it is a right that lacks.
        (Err(trouble), _) if trouble.refused => {
            let advice = super::rights::advice(&lane.config.rabbitmq, std::slice::from_ref(&lane.queues));
            lost(trouble.with(&advice))
        }
        (Err(trouble), Some(cause)) if trouble.to_string() != cause => lost(trouble.at(&cause)),
        (Err(trouble), _) => lost(trouble),
    }
}

fn begin(
    lane: &Lane,
    work: &mut Work,
    number: u64,
    consuming: &mut Connection,
    publishing: &mut Connection,
) -> Result<Ended, Trouble> {
    let (publisher, blocked) = publishing.within_deadline(|publishing| {
        let blocked = publishing.blocked()?;
        let mut publisher = Publisher::open(publishing)?;
        // What cannot be recorded must not be created.
        rights::may_write(&mut publisher)?;
        Ok::<_, Trouble>((publisher, blocked))
    })?;
    let queues = &lane.queues;
    let names = [&queues.input, &queues.sent, &queues.retry, &queues.errors, &queues.responses];
    consuming.within_deadline(|consuming| {
        queues::ensure(consuming, &names.map(String::as_str))?;
        super::rights::follow(consuming, queues)
    })?;
    // Their bodies may be large and the link slow.
    let deadline = consuming.at_most(LONGEST_HOLD);
    let (intake, first) = open_intake(consuming, [&queues.input, &queues.retry], number)?;
    drop(deadline);
    let returned = first.iter().map(|arrival| times_returned(&arrival.headers)).max().unwrap_or(0);
    let reading = !work.caution.begins(returned);
    let prefetch = Prefetch::new(work.caution.prefetch());
    let (input, retry) = consuming.within_deadline(|_| {
        let open = |queue| match reading {
            true => Feed::open(&intake, queue, prefetch.now()),
            false => Ok(Feed::later(&intake, queue)),
        };
        Ok::<_, Trouble>((open(&queues.input)?, open(&queues.retry)?))
    })?;
    lane.stats.is_connected.set(1);
    let condition = &lane.stats.condition;
    condition.begin();
    [Obstacle::NoSession, Obstacle::Alarm].into_iter().for_each(|obstacle| condition.is_over(obstacle));
    log::info!(
        "reading {}, up to {} deliveries at a time, up to {} handler threads",
        queues.input,
        work.caution.prefetch(),
        lane.config.handler_threads
    );
    if work.caution.prefetch() < lane.config.prefetch {
        log::info!(
            "{}: what comes first was given back {returned} times, by a lane that waits or by one that dies again and \
             again: beginning with one delivery at a time",
            queues.input
        );
    }

    let begun = Instant::now();
    work.ledger.session_begun(begun);
    work.claim = Claim::default();
    let mut session = Session {
        lane,
        work,
        intake: &intake,
        publisher,
        prefetch,
        reading,
        publishing_blocked: false,
        stopping: false,
        begun,
    };
    let (mut input, mut retry) = (input, retry);
    // An alarm that stands already is known by now, and keeps what has come from being begun.
    blocked.try_iter().for_each(|notice| session.blocked(notice));
    let ended = first.into_iter().try_for_each(|arrival| session.take_in(arrival));
    let ended = ended.and_then(|()| session.serve(&mut input, &mut retry, &blocked));
    let Session { work, publisher, .. } = session;
    // At once: what waits for its turn at the target may be another worker's from now on.
    work.claim.lose();
    if let Err(trouble) = &ended {
        lane.learn_largest(&trouble.to_string());
    }
    // What is dropped here asks the broker and waits, so it is done under a deadline.
    let deadlines = (consuming.closing(), publishing.closing());
    drop((input, retry));
    drop((publisher, intake));
    drop(deadlines);
    ended
}

/// Opens the intake, with the first message of each queue: it says how often what comes was given back.
fn open_intake(consuming: &mut Connection, queues: [&str; 2], number: u64) -> Result<(Intake, Vec<Arrival>), Trouble> {
    let intake = Intake::open(consuming, FIRST, number)?;
    match queues.into_iter().map(|queue| intake.first(queue)).collect::<Result<Vec<_>, Error>>() {
        Ok(first) => Ok((intake, first.into_iter().flatten().collect())),
        // A queue that has one active consumer at a time gives nothing to anybody else.
        Err(Error::ServerClosedChannel { code: 405, .. }) => Ok((Intake::open(consuming, FIRST, number)?, Vec::new())),
        Err(err) => Err(err.into()),
    }
}

/// A session while it works.
pub(super) struct Session<'a, 'b> {
    pub(super) lane: &'a Lane<'b>,
    pub(super) work: &'a mut Work,
    pub(super) intake: &'a Intake,
    pub(super) publisher: Publisher,
    prefetch: Prefetch,
    /// Else what has come first was given back often. It may be what the process dies over, so nothing else is taken until it
    /// is settled or waits for a time.
    reading: bool,
    /// An alarm at the broker: it does not read what we publish.
    publishing_blocked: bool,
    pub(super) stopping: bool,
    begun: Instant,
}

impl Session<'_, '_> {
    fn serve<'i>(
        &mut self,
        input: &mut Feed<'i>,
        retry: &mut Feed<'i>,
        blocked: &Receiver<Blocked>,
    ) -> Result<Ended, Trouble> {
        let mut stop = self.lane.stop.receiver().clone();
        let results = self.work.results.clone();
        let confirms = self.publisher.confirms().clone();
        loop {
            self.move_on()?;
            self.fit(input, retry)?;
            if self.stopping && self.note_what_is_in_hand() == 0 {
                return Ok(Ended::Stopped);
            }
            if self.held_too_long() || self.refused_too_long() {
                return Ok(Ended::Refresh);
            }
            select! {
                recv(input.receiver()) -> message => self.arrived(input, message)?,
                recv(retry.receiver()) -> message => self.arrived(retry, message)?,
                recv(results) -> outcome => all(&results, outcome).try_for_each(|outcome| self.done(outcome))?,
                recv(confirms) -> confirm => all(&confirms, confirm).try_for_each(|confirm| self.confirmed(confirm))?,
                recv(blocked) -> notice => self.blocked(notice.map_err(|_| Trouble::new("the publishing connection is gone"))?),
                recv(stop) -> _ => {
                    stop = never();
                    self.stop();
                    // A broker that hangs keeps us here until the process is ended; by now it is known what is in hand.
                    input.close();
                    retry.close();
                },
                recv(after(self.next_tick())) -> _ => {},
            }
        }
    }

    /// Does what can be done without anybody else: publishes letters and hands tasks to the pool.
    fn move_on(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        self.work.ledger.wake(now);
        // A blocked broker does not read; what is written to it all the same, or before it is known, fills the socket and
        // then holds us up.
        while !self.publishing_blocked
            && !self.publisher.is_full()
            && let Some(key) = self.work.ledger.next_to_publish()
            && let Some(letter) = self.work.ledger.letter(&key)
        {
            if letter.body.len() > self.lane.largest.bytes() {
                let letter = letter.clone();
                self.make_small_enough(key, &letter);
                continue;
            }
            let tag = self.publisher.publish(letter)?;
            self.work.ledger.published(key, tag);
        }
        if self.unconfirmed_since().is_some_and(|since| since.elapsed() > CONFIRM_DEADLINE) {
            return Err(Trouble::new(format!("no confirm from RabbitMQ within {CONFIRM_DEADLINE:?}")));
        }
        if self.publishing_blocked || self.work.recovery.paused_for(now).is_some() {
            self.lane.stats.condition.waiting.set(self.work.ledger.waiting() as u64);
        }
        if self.stopping || self.publishing_blocked {
            return Ok(());
        }
        let room = match self.work.recovery.gate(now) {
            Gate::Open(window) => window.saturating_sub(self.work.ledger.in_flight()),
            Gate::Probe => usize::from(self.work.ledger.in_flight() == 0),
            Gate::Shut(_) => 0,
        };
        for _ in 0..room {
            let Some(mut job) = self.work.ledger.next_job() else { break };
            // One that may exist is looked up first, whatever becomes of its record.
            if job.task.earlier == Earlier::None && !letters::can_be_recorded(self.lane, &job.task) {
                let letter = self.park_too_large(&job);
                self.work.ledger.settle(&job.task.id, letter, Next::Leave);
                continue;
            }
            job.task.claim = self.work.claim.clone();
            self.work.jobs.send(job).map_err(|_| Trouble::new("the handler threads are gone"))?;
        }
        while let Some(recorded) = self.work.ledger.next_follow_up(true) {
            self.work.recorded.send(*recorded).map_err(|_| Trouble::new("the handler threads are gone"))?;
        }
        Ok(())
    }

    /// How long nothing happens by itself.
    fn next_tick(&self) -> Duration {
        let gate = match self.work.recovery.gate(Instant::now()) {
            Gate::Shut(until) => Some(until),
            Gate::Open(_) | Gate::Probe => None,
        };
        let confirm = self.unconfirmed_since().map(|since| since + CONFIRM_DEADLINE);
        let next = [self.work.ledger.next_wake(), gate, confirm].into_iter().flatten().min();
        // A moment longer than needed, so that the time has come when we look.
        next.map_or(TICK, |next| next.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).min(TICK)
    }

    /// Since when the oldest letter waits for its confirm; a blocked broker owes none.
    fn unconfirmed_since(&self) -> Option<Instant> {
        self.publisher.waiting_since().filter(|_| !self.publishing_blocked)
    }

    fn held_too_long(&self) -> bool {
        let paused = self.work.recovery.paused_for(Instant::now()).is_some_and(|paused| paused > LONGEST_HOLD);
        let too_long = paused && self.begun.elapsed() > LONGEST_HOLD && self.work.ledger.in_flight() == 0;
        if too_long {
            log::debug!("the lane has been paused for long: giving its deliveries back and taking them anew");
        }
        too_long
    }

    /// RabbitMQ 3.10 does not always tell a channel that a quorum queue has room again, and refuses for it until it is closed.
    fn refused_too_long(&self) -> bool {
        let longest = self.lane.config.retry_delay * MOST_REFUSALS;
        let refused = self.work.refusals.longest(Instant::now()).is_some_and(|refused| refused > longest);
        let too_long = refused && self.begun.elapsed() > longest && self.work.ledger.in_flight() == 0;
        if too_long {
            log::debug!("a queue has refused messages for long: asking it anew, on another channel");
        }
        too_long
    }

    fn blocked(&mut self, notice: Blocked) {
        match notice {
            Blocked::Blocked(why) => {
                self.publishing_blocked = true;
                self.lane.stats.condition.stands(Obstacle::Alarm, &why, None);
                log::warn!("RabbitMQ takes no messages for now ({why}): no new work until it does");
            }
            Blocked::Unblocked => {
                self.publishing_blocked = false;
                self.lane.stats.condition.is_over(Obstacle::Alarm);
                self.publisher.wait_anew();
                log::info!("RabbitMQ takes messages again");
            }
        }
    }

    /// No new work; what no thread has begun stays with the broker.
    fn stop(&mut self) {
        self.stopping = true;
        self.work.not_begun.clone().try_iter().for_each(|job| self.work.ledger.put_back(job, None));
        self.work.ledger.stop_waiting_for_deliveries();
        let (in_hand, waiting) = (self.work.ledger.in_hand().len(), self.work.ledger.waiting());
        self.note_what_is_in_hand();
        log::info!("stopping: finishing {in_hand} in hand, {waiting} go back to RabbitMQ");
    }

    fn note_what_is_in_hand(&self) -> usize {
        let in_hand = self.work.ledger.in_hand();
        self.lane.stats.note_in_hand(&in_hand);
        in_hand.len()
    }
}

/// What `select!` has received, and what else has come to that channel meanwhile.
fn all<T>(channel: &Receiver<T>, first: Result<T, RecvError>) -> impl Iterator<Item = Result<T, RecvError>> {
    std::iter::once(first).chain(channel.try_iter().map(Ok))
}

/// Deliveries.
impl Session<'_, '_> {
    /// Takes in what `select!` has received, and what else has come with it.
    fn arrived(&mut self, feed: &Feed, first: Result<ConsumerMessage, RecvError>) -> Result<(), Trouble> {
        let first = first.map_err(|_| Trouble::new("the connection to RabbitMQ is gone"))?;
        self.take_all_in(feed.queue, std::iter::once(first).chain(feed.receiver().try_iter()))
    }

    fn take_all_in(&mut self, queue: &str, messages: impl IntoIterator<Item = ConsumerMessage>) -> Result<(), Trouble> {
        for message in messages {
            let arrival = self.intake.arrival(message).map_err(|err| Trouble::new(format!("{queue}: {err}")))?;
            self.take_in(arrival)?;
        }
        Ok(())
    }

    fn take_in(&mut self, arrival: Arrival) -> Result<(), Trouble> {
        self.lane.stats.last_message_time.set(message::now_ms());
        self.prefetch.note(arrival.body.len());
        self.admit(arrival)
    }

    /// Lets more deliveries come, or fewer, as they are smaller or larger, and as others were settled before.
    fn fit<'i>(&mut self, input: &mut Feed<'i>, retry: &mut Feed<'i>) -> Result<(), Trouble> {
        self.reading = self.reading || self.work.ledger.is_at_rest();
        if self.work.caution.grows() {
            self.prefetch.allow(self.work.caution.prefetch());
        }
        let change = match (self.stopping || !self.reading, input.is_open()) {
            (true, _) => None,
            (false, false) => Some(self.prefetch.now()),
            (false, true) => self.prefetch.change(self.intake.in_hand()),
        };
        let Some(prefetch) = change else { return Ok(()) };
        for feed in [input, retry] {
            let rest = feed.replace(prefetch)?;
            self.take_all_in(feed.queue, rest)?;
        }
        Ok(())
    }

    pub(super) fn admit(&mut self, arrival: Arrival) -> Result<(), Trouble> {
        let Arrival { body, headers, redelivered, sent, token } = arrival;
        if letters::is_record(&headers) {
            self.put_record_back(body, headers, token);
            return Ok(());
        }
        let task = match Task::parse(body) {
            Ok(task) => task,
            Err(unreadable) => {
                self.park_unreadable(unreadable, token);
                return Ok(());
            }
        };
        let key = Key::Task(task.id.clone());
        match self.work.ledger.admit(&key, token, letters::attempts(&headers)) {
            Admission::New(token) if letters::wears_out(&headers) => {
                log::debug!("publishing anew what its queue would soon delete: task={}", task.id);
                let body = task.message();
                let letter = letters::renewed(&self.lane.queues.input, task.id, body, headers);
                self.work.ledger.add_letter(key, token, letter);
            }
            Admission::New(token) => self.begin(task, headers, redelivered, token),
            // Published anew: somebody may have put the message of a deleted task back, so it is looked up.
            Admission::Finished(token) if !redelivered || letters::replayed(&headers) => {
                self.begin(task, headers, redelivered, token)
            }
            Admission::Joined => log::debug!("received again while at work: task={}", task.id),
            Admission::Later(token) => {
                let body = task.message();
                self.work.held.push(Arrival { body, headers, redelivered, sent, token });
            }
            Admission::Finished(token) => {
                self.lane.stats.duplicates_prevented.count();
                log::info!("received again although finished, nothing to do: task={}", task.id);
                self.intake.ack(token)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, task: Task, headers: FieldTable, redelivered: bool, token: Token) {
        let attempts = letters::attempts(&headers);
        // A message that comes back for another try is the same message.
        self.lane.stats.total_messages.add(u64::from(attempts == 0));
        let (earlier, not_before) = self.patience(&task.id, &headers, redelivered);
        let task = Task { earlier, ..task };
        match (attempts, not_before.map(|until| until.saturating_duration_since(Instant::now()))) {
            (0, None) => log::info!("received: task={} topic={}", task.id, task.topic),
            (_, None) => log::info!("received: task={} topic={} attempts={attempts}", task.id, task.topic),
            (_, Some(wait)) => {
                log::info!("received, waiting {wait:.1?}: task={} topic={} attempts={attempts}", task.id, task.topic);
                self.work.caution.got_over(1);
            }
        }
        let job = Job { task, attempts, headers, arrived: Instant::now() };
        self.work.ledger.add(token, job, not_before);
    }

    /// A record that has waited in the retry queue goes back to the sent queue, as soon as that takes it.
    fn put_record_back(&mut self, body: Vec<u8>, headers: FieldTable, token: Token) {
        self.work.unreadable += 1;
        let key = Key::Unreadable(self.work.unreadable);
        let id = Record::parse(body.clone()).map_or_else(|_| "record".into(), |record| record.task.id);
        log::info!("the record goes back to {}: task={id}", self.lane.queues.sent);
        let back = !letters::wears_out(&headers);
        self.work.ledger.add_letter(key, token, letters::record_on_its_way(self.lane, id, body, headers, back));
    }

    /// What an earlier delivery may have done, and until when the task is left alone. A wait that has begun before goes on:
    /// neither a lost session nor another copy of the message begins it anew, or gets around it.
    fn patience(&mut self, id: &str, headers: &FieldTable, redelivered: bool) -> (Earlier, Option<Instant>) {
        let now = Instant::now();
        let known = self.work.waits.of(id, now);
        let earlier = letters::earlier(headers, redelivered && known.is_none());
        match (earlier, known) {
            // One that exists unseen keeps the others from being created, also right after a restart; it is only looked up.
            (Earlier::Unseen, _) => (earlier, None),
            (_, Some(Wait { until, decides: true })) => (Earlier::None, Some(until)),
            (_, Some(Wait { until, decides: false })) => (earlier, Some(until)),
            (_, None) => {
                let wait = Wait { until: now + letters::wait(headers), decides: false };
                let waits = wait.until > now;
                if waits {
                    self.work.waits.add(id, wait, now);
                }
                (earlier, waits.then_some(wait.until))
            }
        }
    }

    fn park_unreadable(&mut self, unreadable: Unreadable, token: Token) {
        let Unreadable { reason, original } = unreadable;
        self.lane.stats.total_messages.count();
        self.work.unreadable += 1;
        let key = Key::Unreadable(self.work.unreadable);
        let about = Parked {
            cause: Cause::InvalidMessage,
            error: &reason,
            system: self.lane.name,
            source_queue: &self.lane.queues.input,
            attempts: 1,
        };
        // Under this id `parked list` shows it.
        let id = message::fingerprint(original.bytes());
        let (errors, cause) = (&self.lane.queues.errors, about.cause.name());
        log::error!("parking in {errors} as {cause}: task={id}: {reason}");
        let letter = letters::parked(self.lane, id, &about, &original);
        self.count_parked();
        self.work.ledger.add_letter(key, token, letter);
    }

    pub(super) fn count_parked(&self) {
        self.lane.stats.failed_tasks.count();
        self.lane.stats.parked.count();
    }
}
