//! The sessions of the world: they carry out what the lane says, and check at each step what must stay true.

use super::*;

impl World<'_> {
    pub(super) fn open_session(&mut self) {
        self.session += 1;
        let session = self.session;
        if self.alarm {
            self.prefetch = None;
            self.state.session_opened_in_alarm(self.now);
            return self.state.alarm(Some("memory"));
        }
        let first: Vec<_> = (0..2).filter_map(|queue| Some((queue, self.queues[queue].pop_front()?))).collect();
        let first: Vec<_> = first.into_iter().map(|(queue, message)| self.take(queue, message)).collect();
        let requeued = first.iter().map(|delivery| times_requeued(&delivery.headers)).max().unwrap_or(0);
        self.prefetch = self.state.session_opened(requeued, self.now);
        first.into_iter().for_each(|delivery| self.state.delivered(delivery, self.now));
        assert_eq!(self.session, session);
    }

    /// The broker requeues what was not acknowledged. It has taken some of the messages that it has not confirmed.
    pub fn lose_session(&mut self) {
        self.end_session();
        let queue = if self.steady { usize::MAX } else { self.below(6) };
        if let Some(message) = self.queues.get_mut(queue).and_then(VecDeque::pop_front) {
            // Another worker gets one of the messages, and finishes it.
            self.arrived.insert(message.label);
        }
        self.open_session();
    }

    pub(super) fn end_session(&mut self) {
        self.state.session_lost();
        assert!(!self.started.iter().any(|job| job.task.claim.is_held()), "of a session that is lost");
        while let Some(job) = self.queued.pop_front() {
            assert!(self.in_pool.remove(&job.task.id));
            self.state.take_back(job);
        }
        for (_, Delivered { mut message, queue, .. }) in std::mem::take(&mut self.delivered).into_iter().rev() {
            message.requeued += 1;
            self.queues[queue].push_front(message);
        }
        for (_, outgoing) in std::mem::take(&mut self.unconfirmed).into_values() {
            if self.once_in(2) {
                self.enqueue(outgoing);
            }
        }
    }

    /// Does what the lane says until nothing is to be done; the connection may break meanwhile.
    pub fn carry_out(&mut self) {
        let breaks_after = if !self.steady && self.once_in(40) && !self.stopping { self.below(4) } else { usize::MAX };
        for _ in 0..breaks_after {
            if !self.carry_out_one() {
                return self.assert_consistent();
            }
        }
        self.lose_session();
    }

    fn carry_out_one(&mut self) -> bool {
        let bytes = self.delivered.values().map(|delivered| delivered.message.body.len()).sum();
        let unsettled = Unsettled { count: self.delivered.len(), bytes };
        let sight = Sight { now: self.now, publisher_is_full: self.full, unsettled };
        let (alarm, paused) = (self.state.in_alarm(), self.state.paused.clone());
        match self.state.next(sight) {
            None => return false,
            Some(Action::Ack(token)) => self.acknowledge(token),
            Some(Action::Publish(key, outgoing)) => {
                assert!(!alarm && !self.full, "published although nobody reads");
                let outgoing = outgoing.clone();
                self.tag += 1;
                self.unconfirmed.insert(self.tag, (matches!(key, Key::Task(_)), outgoing.clone()));
                self.state.publishing(key, self.tag);
                self.assert_may_leave(&outgoing);
            }
            Some(Action::Handle(job)) => {
                assert!(!alarm && !self.stopping && paused.is_none_or(|pause| pause.is_over(self.now)), "started");
                self.assert_room();
                assert!(job.task.claim.is_held(), "of a session that is lost");
                assert!(!job.task.id.starts_with("other-"), "worked on although it belongs to another system");
                assert!(self.in_pool.insert(job.task.id.clone()), "twice in the pool: {}", job.task.id);
                self.queued.push_back(job);
            }
            Some(Action::FollowUp(recorded)) => {
                assert!(self.recorded.contains(&recorded.0.id), "followed up before its record is safe");
                assert!(self.in_pool.insert(recorded.0.id.clone()), "twice in the pool: {}", recorded.0.id);
                self.follow_ups.push(*recorded);
            }
            Some(Action::TakeBack) => {
                for job in std::mem::take(&mut self.queued) {
                    assert!(self.in_pool.remove(&job.task.id));
                    self.state.take_back(job);
                }
            }
            Some(Action::Consume(prefetch)) => {
                assert!(!self.stopping && (1..=self.lane.config.prefetch).contains(&prefetch));
                self.prefetch = Some(prefetch);
            }
            Some(Action::End(End::Settled)) => {
                assert!(self.stopping, "nobody has asked for it");
                self.settled = true;
                return false;
            }
            Some(Action::End(End::Refresh | End::QueueGone(_))) => self.reopen_session(),
        }
        true
    }

    fn reopen_session(&mut self) {
        let stopping = std::mem::take(&mut self.stopping);
        self.lose_session();
        if stopping {
            self.start_to_stop();
        }
    }

    fn acknowledge(&mut self, token: AckToken) {
        assert_eq!(token.0, self.session, "the session that it came from is lost");
        let delivered = self.delivered.remove(&token).expect("a delivery that is not settled yet");
        let Message { label, body, headers, .. } = delivered.message;
        let is_task = !outgoing::is_record(&headers) && Task::parse(body).is_ok();
        let is_done = is_task && self.followed_up.contains(&label);
        let moved = self.moved.get(&(is_task, label.clone())).is_some_and(|moved| *moved > delivered.step);
        assert!(is_done || moved, "settled too early: {label}");
    }
}

/// What must be true.
impl World<'_> {
    fn assert_room(&self) {
        let in_flight = self.state.ledger.in_flight();
        match self.state.breaker.state(self.now) {
            BreakerState::Closed(window) => assert!(in_flight <= window, "{in_flight} of {window}"),
            BreakerState::HalfOpen => assert_eq!(in_flight, 1),
            BreakerState::Open(_) => panic!("the target is away"),
        }
    }

    fn assert_consistent(&self) {
        let state = &self.state;
        state.ledger.assert_consistent();
        let held = state.session.held.iter().map(|delivery| &delivery.token);
        let mut tokens: Vec<AckToken> = state.ledger.tokens().chain(held).copied().collect();
        tokens.sort_unstable();
        assert!(tokens.iter().eq(self.delivered.keys()), "{tokens:?} are not the unsettled deliveries");
        let mut at_work = state.at_work();
        at_work.sort_unstable();
        assert!(at_work.into_iter().eq(self.in_pool.iter()), "not what the pool has: {:?}", self.in_pool);
        assert!((1..=self.lane.config.prefetch).contains(&state.most_deliveries()));
        self.assert_wakes(&tokens);
    }

    /// A lane at rest wakes up by itself.
    fn assert_wakes(&self, tokens: &[AckToken]) {
        let others = !self.in_pool.is_empty() || !self.unconfirmed.is_empty() || self.full || self.state.in_alarm();
        let paused = self.state.paused.as_ref().is_some_and(|pause| pause.until.is_none());
        let wakes = self.state.next_wake(self.now).is_some_and(|wake| wake > self.now);
        let wakes = others || paused || self.stopping || wakes;
        assert!(wakes || tokens.is_empty(), "asleep with {tokens:?}");
        assert!(wakes || self.state.unsettled().is_empty(), "asleep with results without a delivery");
        assert!(wakes || self.prefetch.is_some(), "asleep and reads nothing");
    }
}
