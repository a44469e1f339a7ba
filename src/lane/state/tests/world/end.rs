//! How a walk ends: all goes well until nothing is left, or the lane is stopped.

use super::*;

impl World<'_> {
    /// From now on all goes well, until nothing is left.
    pub fn bring_to_its_end(&mut self) {
        for _ in 0..MOST_ROUNDS {
            self.calm();
            self.state.resume();
            self.deliver_as_allowed();
            if !self.all_goes_well() {
                self.now = self.state.next_wake(self.now).unwrap_or(self.now + Duration::from_secs(1));
            }
            self.carry_out();
            if self.is_over() {
                let lost: Vec<_> = self.published.difference(&self.arrived).collect();
                return assert!(lost.is_empty(), "lost: {lost:?}");
            }
        }
        panic!("not over: {:?} unsettled, next wake {:?}", self.delivered.keys(), self.state.next_wake(self.now));
    }

    /// The pool and the broker do what they have; `false` when they have nothing.
    pub(super) fn all_goes_well(&mut self) -> bool {
        self.started.extend(self.queued.drain(..));
        let jobs = std::mem::take(&mut self.started);
        let tags: Vec<u64> = self.unconfirmed.keys().copied().collect();
        let any = !jobs.is_empty() || !tags.is_empty() || !self.follow_ups.is_empty();
        jobs.into_iter().for_each(|job| self.finish(job, Ok(())));
        (0..self.follow_ups.len()).for_each(|_| self.follow_up(FollowUp::Done));
        tags.into_iter().for_each(|tag| self.confirm(tag));
        any
    }

    fn is_over(&self) -> bool {
        self.delivered.is_empty() && self.queues.iter().all(VecDeque::is_empty) && self.state.unsettled().is_empty()
    }

    pub(super) fn start_to_stop(&mut self) {
        self.stopping = true;
        self.prefetch = None;
        for job in &self.queued {
            self.in_pool.remove(&job.task.id);
        }
        self.state.stop(std::mem::take(&mut self.queued).into_iter());
        self.carry_out();
    }

    /// Stops the lane, whose threads end as they may.
    pub fn stop(&mut self) {
        self.calm();
        self.start_to_stop();
        for _ in 0..MOST_ROUNDS {
            if self.settled {
                return;
            }
            match self.once_in(2) {
                true => drop(self.all_goes_well()),
                false => self.finish_a_job(),
            }
            self.now += Duration::from_secs(1);
            self.carry_out();
        }
        panic!("it does not stop: {:?}", self.state.unsettled());
    }

    /// Another process goes on.
    pub fn restart(&mut self) {
        self.end_session();
        assert!(self.queued.is_empty() && self.started.is_empty(), "a task is still at work");
        self.in_pool.clear();
        self.follow_ups.clear();
        (self.stopping, self.settled) = (false, false);
        self.state = State::new(self.lane);
        self.open_session();
    }
}
