//! Random walks over all ways of a task through the ledger.

use std::collections::BTreeSet;

use super::*;

/// Whatever happens, in any order: each delivery is released once for its ack, or its session is lost.
#[test]
fn no_delivery_is_forgotten_and_none_acknowledged_twice() {
    for seed in 1..200 {
        let mut walk = Walk { random: seed, ..Walk::default() };
        (0..400).for_each(|step| walk.step(step < 300));
        walk.finish();
        assert!(walk.unsettled.is_empty(), "seed {seed}: never settled: {:?}", walk.unsettled);
    }
}

/// A ledger and all that is around it, at random.
#[derive(Default)]
struct Walk {
    random: u64,
    ledger: Ledger<u32>,
    unsettled: BTreeSet<u32>,
    pool: Vec<Job>,
    follow_ups: Vec<String>,
    token: u32,
    tag: u64,
}

impl Walk {
    /// The next random number (splitmix64).
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn step(&mut self, with_deliveries: bool) {
        match self.below(if with_deliveries { 7 } else { 6 }) {
            0 => self.pool.extend(self.ledger.next_job()),
            1 if !self.pool.is_empty() => self.work_on_one(),
            2 => drop(self.publish()),
            3 => {
                let tag = self.below(self.tag + 1);
                self.confirm(tag);
            }
            4 if !self.follow_ups.is_empty() => {
                let id = self.follow_ups.remove(0);
                self.ack_followed_up(&id);
            }
            5 if self.below(20) == 0 => {
                self.unsettled.clear();
                self.ledger.session_lost();
            }
            6 => self.deliver(),
            _ => {}
        }
    }

    fn deliver(&mut self) {
        let id = format!("task-{}", self.below(6));
        self.token += 1;
        match self.ledger.admit(&key(&id), self.token, 0, None) {
            Admission::New(token) => {
                self.unsettled.insert(token);
                self.ledger.add(token, job(&id, 0), None);
            }
            Admission::Joined => drop(self.unsettled.insert(self.token)),
            Admission::Later(_) | Admission::Finished(_) => {}
        }
    }

    fn work_on_one(&mut self) {
        let index = self.below(self.pool.len() as u64) as usize;
        let job = self.pool.swap_remove(index);
        let id = job.task.id.clone();
        match self.below(4) {
            0 => self.ledger.settle(&id, outgoing(&id), recorded(&id)),
            1 => self.ledger.settle(&id, outgoing(&id), finished(&id)),
            2 => self.ledger.settle(&id, outgoing(&id), Next::Leave),
            _ => self.ledger.wait_again(job, None),
        }
    }

    fn publish(&mut self) -> Option<String> {
        self.tag += 1;
        publish(&mut self.ledger, self.tag)
    }

    fn confirm(&mut self, tag: u64) {
        match self.ledger.confirmed(tag) {
            Some(Confirmed::Recorded) => {
                let recorded = self.ledger.next_follow_up(false).expect("the follow-up is due");
                self.follow_ups.push(recorded.0.id);
            }
            Some(Confirmed::Finished(_, tokens) | Confirmed::Ack(tokens)) => self.ack(tokens),
            None => {}
        }
    }

    fn ack_followed_up(&mut self, id: &str) {
        let tokens = self.ledger.followed_up(id);
        self.ack(tokens);
    }

    fn ack(&mut self, tokens: Vec<u32>) {
        tokens.into_iter().for_each(|token| assert!(self.unsettled.remove(&token), "{token} acknowledged twice"));
    }

    /// Finishes everything.
    fn finish(&mut self) {
        while let Some(job) = self.ledger.next_job() {
            self.pool.push(job);
        }
        for Job { task: Task { id, .. }, .. } in std::mem::take(&mut self.pool) {
            self.ledger.settle(&id, outgoing(&id), recorded(&id));
        }
        while self.publish().is_some() {}
        (0..=self.tag).for_each(|tag| self.confirm(tag));
        std::mem::take(&mut self.follow_ups).iter().for_each(|id| self.ack_followed_up(id));
    }
}
