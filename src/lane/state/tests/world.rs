//! All that is around the lane: queues, a session, threads that work, time.

mod end;
mod messages;
mod session;

use super::*;
use crate::message::Earlier;

/// Enough to settle what a walk leaves.
const MOST_ROUNDS: usize = 5000;
const TASKS: u64 = 6;

/// The right to acknowledge: its session, and its number.
type AckToken = (u64, u64);

/// A message in a queue. Its label is the message id of its outgoing messages.
#[derive(Clone)]
struct Message {
    label: String,
    body: Vec<u8>,
    headers: Headers,
    requeued: u32,
}

/// A delivery that is not acknowledged.
struct Delivered {
    message: Message,
    queue: usize,
    step: u64,
}

/// All that is around a lane, at random.
pub struct World<'a> {
    random: u64,
    pub now: Instant,
    step: u64,
    lane: &'a Lane<'a>,
    pub state: State<'a, AckToken>,
    pub session: u64,
    /// The prefetch with which the session consumes.
    prefetch: Option<u16>,
    full: bool,
    alarm: bool,
    /// No connection breaks by chance, and there is no other worker.
    pub steady: bool,
    stopping: bool,
    settled: bool,
    /// Input and retry.
    queues: [VecDeque<Message>; 2],
    delivered: BTreeMap<AckToken, Delivered>,
    /// Outgoing messages without a confirm, and whether they are of tasks.
    unconfirmed: BTreeMap<u64, (bool, OutgoingMessage)>,
    tag: u64,
    /// What no thread has started.
    queued: VecDeque<Job>,
    started: Vec<Job>,
    follow_ups: Vec<(Task, Created)>,
    /// The ids of all three.
    in_pool: BTreeSet<String>,
    exists: BTreeSet<String>,
    /// All messages, and those that have come to the sent or the error queue.
    published: BTreeSet<String>,
    arrived: BTreeSet<String>,
    /// Tasks whose record is confirmed, and those that are followed up.
    recorded: BTreeSet<String>,
    followed_up: BTreeSet<String>,
    /// What has moved to another system, and whether it may have moved before.
    elsewhere: Vec<(String, bool)>,
    /// For tasks (or not): when the last outgoing message that moves the message to another queue was confirmed.
    moved: BTreeMap<(bool, String), u64>,
}

impl<'a> World<'a> {
    pub fn new(lane: &'a Lane<'a>, random: u64) -> World<'a> {
        let mut world = World {
            random,
            now: Instant::now(),
            step: 0,
            lane,
            state: State::new(lane),
            session: 0,
            prefetch: None,
            full: false,
            alarm: false,
            steady: false,
            stopping: false,
            settled: false,
            queues: Default::default(),
            delivered: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            tag: 0,
            queued: VecDeque::new(),
            started: Vec::new(),
            follow_ups: Vec::new(),
            in_pool: BTreeSet::new(),
            exists: BTreeSet::new(),
            published: BTreeSet::new(),
            arrived: BTreeSet::new(),
            recorded: BTreeSet::new(),
            followed_up: BTreeSet::new(),
            elsewhere: Vec::new(),
            moved: BTreeMap::new(),
        };
        world.open_session();
        world
    }

    /// The next random number (splitmix64).
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Events.
impl World<'_> {
    /// Something happens, and the lane does what it says.
    pub fn step(&mut self) {
        self.step += 1;
        match self.below(12) {
            0 => self.publish_any(),
            1 | 2 => self.deliver(),
            3 => self.start_a_job(),
            4 | 5 => self.finish_a_job(),
            6 => self.finish_a_follow_up(),
            7 | 8 => self.answer_a_message(),
            9 => {
                let seconds = self.below(20) as u64;
                self.now += Duration::from_secs(seconds);
            }
            10 => {
                self.ask();
                self.look();
            }
            _ => match self.below(6) {
                0 => self.lose_session(),
                1 => self.start_alarm(),
                2 => self.full = !self.full,
                3 => self.park_any(),
                _ => self.calm(),
            },
        }
        self.carry_out();
    }

    /// It lasts longer than a session.
    pub fn start_alarm(&mut self) {
        self.alarm = true;
        self.state.alarm(Some("memory"));
    }

    fn calm(&mut self) {
        if std::mem::take(&mut self.alarm) {
            self.state.alarm(None);
        }
        self.full = false;
    }

    /// The next message of one of the queues, if the session may have another one.
    fn deliver(&mut self) {
        let queue = self.below(2);
        let unsettled = self.delivered.values().filter(|delivered| delivered.queue == queue).count();
        if self.prefetch.is_some_and(|prefetch| unsettled < prefetch.into()) {
            self.deliver_from(queue);
        }
    }

    fn deliver_from(&mut self, queue: usize) {
        let Some(message) = self.queues[queue].pop_front() else { return };
        let delivery = self.take(queue, message);
        self.state.delivered(delivery, self.now);
    }

    /// Delivers as many as the session may have.
    pub fn deliver_as_allowed(&mut self) {
        (0..8).for_each(|_| self.deliver());
        self.carry_out();
    }

    pub fn deliver_all(&mut self) {
        self.deliver_from(0);
        self.deliver_from(1);
        self.carry_out();
    }

    fn take(&mut self, queue: usize, message: Message) -> Delivery<AckToken> {
        self.step += 1;
        let token = (self.session, self.step);
        let mut headers = message.headers.clone();
        headers.set(DELIVERY_COUNT, i64::from(message.requeued));
        let (body, redelivered) = (message.body.clone(), message.requeued > 0);
        self.delivered.insert(token, Delivered { message, queue, step: self.step });
        Delivery { body, headers, redelivered, sent: None, token }
    }

    fn start_a_job(&mut self) {
        self.started.extend(self.queued.pop_front());
    }

    fn finish_a_job(&mut self) {
        if self.started.is_empty() {
            return;
        }
        let index = self.below(self.started.len());
        let job = self.started.swap_remove(index);
        let error = anyhow!("no answer");
        let result = match self.below(14) {
            0 => Err(Failure::Transient { error }),
            1 => Err(Failure::OutcomeUnknown { error, visible_in: Duration::from_secs(30) }),
            2 => Err(Failure::Unavailable { error, until: None }),
            3 => Err(Failure::Unavailable { error, until: Some(Duration::from_secs(40)) }),
            4 => Err(Failure::Permanent(error)),
            5 => Err(Failure::TooEarly(Duration::from_secs(30))),
            6 => Err(Failure::Unseen(error)),
            7 => Err(Failure::Outdated),
            _ => Ok(()),
        };
        self.finish(job, result);
    }

    fn finish(&mut self, job: Job, result: Result<(), Failure>) {
        assert!(self.in_pool.remove(&job.task.id));
        let at_once = self.once_in(4);
        let result = result.map(|()| match self.exists.insert(job.task.id.clone()) {
            true if at_once => Created::finished(json!({}), "1".into()),
            true => Created::new(json!({}), "1".into()),
            false => Created { existed: true, ..Created::new(json!({}), "1".into()) },
        });
        self.state.done(Outcome::Handled(vec![(job, result)]), self.now);
    }

    fn finish_a_follow_up(&mut self) {
        let again = self.once_in(3);
        self.follow_up(if again { FollowUp::Again(Duration::from_secs(20)) } else { FollowUp::Done });
    }

    fn follow_up(&mut self, follow_up: FollowUp) {
        if let Some(recorded) = self.follow_ups.pop() {
            assert!(self.in_pool.remove(&recorded.0.id));
            if follow_up == FollowUp::Done {
                self.followed_up.insert(recorded.0.id.clone());
            }
            self.state.done(Outcome::FollowedUp(vec![(recorded, follow_up)]), self.now);
        }
    }

    fn answer_a_message(&mut self) {
        let (last, unknown) = (self.tag as usize + 1, self.once_in(30));
        let tags: Vec<u64> = self.unconfirmed.keys().copied().collect();
        let tag = match tags.is_empty() || unknown {
            true => self.below(last) as u64,
            false => tags[self.below(tags.len())],
        };
        match self.below(20) {
            0 | 1 => self.refuse(tag, PublishOutcome::Refused("full".into())),
            2 => self.refuse(tag, PublishOutcome::NoQueue("312 NO_ROUTE".into())),
            _ => self.confirm(tag),
        }
    }

    /// What is published and not confirmed.
    pub fn outgoing(&self) -> Vec<OutgoingMessage> {
        self.unconfirmed.values().map(|(_, outgoing)| outgoing.clone()).collect()
    }

    /// RabbitMQ confirms what is published.
    pub fn confirm_all(&mut self) {
        let tags: Vec<u64> = self.unconfirmed.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.confirm(tag));
        self.carry_out();
    }

    /// No queue has taken what is published.
    pub fn return_all(&mut self, why: &str) {
        let tags: Vec<u64> = self.unconfirmed.keys().copied().collect();
        tags.into_iter().for_each(|tag| self.refuse(tag, PublishOutcome::NoQueue(why.into())));
        self.carry_out();
    }

    /// This queue is full, and all others take what comes.
    pub fn refuse_what_goes_to(&mut self, full: &str) {
        let tags: Vec<(u64, bool)> =
            self.unconfirmed.iter().map(|(tag, (_, outgoing))| (*tag, outgoing.queue == full)).collect();
        for (tag, is_full) in tags {
            match is_full {
                true => self.refuse(tag, PublishOutcome::Refused("full".into())),
                false => self.confirm(tag),
            }
        }
        self.carry_out();
    }

    fn refuse(&mut self, tag: u64, outcome: PublishOutcome) {
        if self.unconfirmed.remove(&tag).is_some() {
            self.state.answered(tag, outcome, self.now);
        }
    }

    fn confirm(&mut self, tag: u64) {
        let Some((is_task, outgoing)) = self.unconfirmed.remove(&tag) else { return };
        self.step += 1;
        let (queues, id) = (&self.lane.queues, outgoing.message_id.clone());
        match is_task {
            true if outgoing.queue == queues.sent => drop(self.recorded.insert(id)),
            // It was finished at once, so that nothing follows.
            true if outgoing.queue == queues.responses => drop(self.followed_up.insert(id)),
            _ => drop(self.moved.insert((is_task, id), self.step)),
        }
        self.enqueue(outgoing);
        self.state.answered(tag, PublishOutcome::Confirmed, self.now);
    }

    /// The broker takes the outgoing message.
    fn enqueue(&mut self, outgoing: OutgoingMessage) {
        let OutgoingMessage { queue, message_id: label, body, headers } = outgoing;
        let queues = &self.lane.queues;
        match [&queues.input, &queues.retry].iter().position(|own| **own == queue) {
            Some(index) => self.queues[index].push_back(Message { label, body, headers, requeued: 0 }),
            None => {
                if !queues.include(&queue) {
                    self.elsewhere.push((label.clone(), headers.is_set("x-may-exist")));
                }
                self.arrived.insert(label);
            }
        }
    }

    /// All that has moved to another system, and whether it may have moved before.
    pub fn moved_elsewhere(&self) -> Vec<(String, bool)> {
        self.elsewhere.clone()
    }

    /// The target refuses what it has been given.
    pub fn fail_for_good(&mut self) {
        let jobs = std::mem::take(&mut self.queued);
        jobs.into_iter().for_each(|job| self.finish(job, Err(Failure::Permanent(anyhow!("refused")))));
        self.carry_out();
    }

    /// The target gives no answer to what it has been given.
    pub fn fail_without_answer(&mut self) {
        let visible_in = Duration::from_secs(30);
        for job in std::mem::take(&mut self.queued) {
            self.finish(job, Err(Failure::OutcomeUnknown { error: anyhow!("no answer"), visible_in }));
        }
        self.carry_out();
    }

    /// What earlier tries of the tasks that the target has been given may have done.
    pub fn earlier(&self) -> Vec<Earlier> {
        self.queued.iter().map(|job| job.task.earlier).collect()
    }

    /// All goes well until a follow-up is under way.
    pub fn await_follow_up(&mut self) {
        while self.follow_ups.is_empty() {
            assert!(!self.delivered.is_empty(), "it was finished at once");
            self.all_goes_well();
            self.carry_out();
        }
    }

    /// All goes well until there is something to acknowledge.
    pub fn finish_without_ack(&mut self) {
        while self.state.session.acks.is_empty() {
            self.carry_out();
            self.all_goes_well();
        }
    }

    /// How many deliveries are not acknowledged.
    pub fn unsettled(&self) -> usize {
        self.delivered.len()
    }

    fn ask(&mut self) {
        match self.below(4) {
            0 => self.pause("a walk", Some(Duration::from_secs(30))),
            1 => self.pause("a walk", None),
            _ => self.state.resume(),
        }
    }

    /// What is told of the tasks fits their numbers.
    fn look(&self) {
        let (tasks, numbers) = (self.state.under_way(self.now), self.state.snapshot(self.now).numbers);
        let retrying = tasks.iter().filter(|task| task.is_retrying).count();
        assert_eq!((tasks.len(), retrying), (numbers.taken + numbers.retrying + numbers.in_hand, numbers.retrying));
        let ids: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids.len(), tasks.len());
    }

    pub fn pause(&mut self, reason: &str, lasts: Option<Duration>) {
        let (reason, since, until) = (reason.to_owned(), self.now, lasts.map(|lasts| self.now + lasts));
        self.state.pause(Pause { by: "test".into(), reason, since, until }, self.now);
        self.carry_out();
    }

    /// Only time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.carry_out();
    }

    /// The highest number of requeues of a message.
    pub fn most_requeued(&self) -> u32 {
        let delivered = self.delivered.values().map(|delivered| &delivered.message);
        delivered.chain(self.queues.iter().flatten()).map(|message| message.requeued).max().unwrap_or(0)
    }

    pub fn handed_out(&self) -> usize {
        self.queued.len()
    }
}
