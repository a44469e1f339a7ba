//! What a sweep publishes, and what the outcome leads to: the record leaves the sent queue, or stays.
//!
//! A record is acknowledged after the message that follows from it is confirmed. [`tracking`](super::tracking) decides
//! what is to follow.

use anyhow::{Context as _, bail};
use crossbeam_channel::select;

use super::checking::MISSED;
use super::outgoing;
use super::sweep::{Answer, Sent, Sweep};
use super::tracking::{Answered, LONGEST_SWEEP, SLACK, Tracking};
use crate::message::{Cause, Original, Parked, Record, Unreadable, fingerprint, now, now_ms};
use crate::rabbitmq::connection::{Connection, Watch};
use crate::rabbitmq::consumer::{AckToken, Delivery};
use crate::rabbitmq::publisher::{CONFIRM_DEADLINE, OutgoingMessage, PublishOutcome, Publisher};
use crate::rabbitmq::queues;
use crate::stats::span;

impl Tracking<'_, '_> {
    /// After outgoing messages that were not confirmed: makes sure that RabbitMQ takes messages again, before anything
    /// is read. Otherwise each sweep would publish the same answers once more, and would requeue the records once more,
    /// which a quorum queue allows only a number of times.
    pub(super) fn probe(&mut self, sweep: &mut Sweep) -> anyhow::Result<()> {
        if !self.unconfirmed {
            return Ok(());
        }
        // With a body: in an alarm RabbitMQ stops reading before the first body, and still takes a message without one.
        let probe = OutgoingMessage::new(self.lane.queues.sweep_lock.clone(), "probe".into(), b"probe".to_vec());
        let publisher = self.publisher(sweep)?;
        publisher.publish(&probe)?;
        let confirm = select! {
            recv(publisher.confirms()) -> confirm => confirm.context("the connection to RabbitMQ is gone")?,
            // On stop nothing is read either.
            recv(self.lane.stop.receiver()) -> _ => return Ok(()),
            default(CONFIRM_DEADLINE) => bail!("RabbitMQ takes no messages, so none is read"),
        };
        // Whether its queue has taken it does not matter.
        publisher.outcomes(confirm);
        self.unconfirmed = false;
        Ok(())
    }

    /// Publishes the records that their queue would soon delete again, to its tail, where the next sweep checks them.
    /// Returns the others.
    pub(super) fn republish(&mut self, sweep: &mut Sweep, deliveries: Vec<Delivery>) -> anyhow::Result<Vec<Delivery>> {
        let (worn_out, others): (Vec<Delivery>, Vec<Delivery>) =
            deliveries.into_iter().partition(|delivery| outgoing::wears_out(&delivery.headers));
        // They are not checked, so they count as open.
        sweep.open += worn_out.len() as u64;
        sweep.unclear |= !worn_out.is_empty();
        sweep.not_shown += worn_out.len();
        for Delivery { body, headers, token, .. } in worn_out {
            let id = Record::parse(body.clone()).map_or_else(|_| nameless(sweep), |record| record.task.id);
            let message = outgoing::republished(&self.lane.queues.sent, id, body, headers);
            let (sent, record) = (Sent::Republished(Box::new(message.clone())), message.body.clone());
            self.publish(sweep, message, sent, token, || record)?;
            self.make_room(sweep)?;
        }
        self.await_confirms(sweep)?;
        Ok(others)
    }

    pub(super) fn park_unreadable(
        &mut self,
        sweep: &mut Sweep,
        unreadable: Unreadable,
        token: AckToken,
    ) -> anyhow::Result<()> {
        // `parked list` shows it under this id.
        let id = fingerprint(unreadable.original.bytes());
        self.park(sweep, &id, Cause::InvalidRecord, &unreadable.reason, &unreadable.original, token).map(drop)
    }

    pub(super) fn park(
        &mut self,
        sweep: &mut Sweep,
        id: &str,
        cause: Cause,
        error: &str,
        original: &Original,
        token: AckToken,
    ) -> anyhow::Result<Option<u64>> {
        let lane = self.lane;
        log::error!("parking in {} as {}: task={id}: {error}", lane.queues.errors, cause.name());
        let over = Some(id.to_owned());
        let (source_queue, attempts, over) = match cause {
            // A person who replays the message wants the task created again.
            Cause::TaskNotFound => (&lane.queues.input, MISSED, over),
            Cause::TaskFailed => (&lane.queues.input, 1, over),
            _ => (&lane.queues.sent, 1, None),
        };
        let about = Parked { cause, error, system: lane.name, source_queue, attempts };
        let message = outgoing::parked(lane, id.to_owned(), &about, original);
        let record = message.body.clone();
        self.publish(sweep, message, Sent::Parked(cause, over), token, || record)
    }

    /// Returns the tag under which the outgoing message, shortened if need be, is on its way. A record stays when no
    /// message of a size that RabbitMQ takes can be made from it.
    pub(super) fn publish(
        &mut self,
        sweep: &mut Sweep,
        message: OutgoingMessage,
        sent: Sent,
        token: AckToken,
        record: impl FnOnce() -> Vec<u8>,
    ) -> anyhow::Result<Option<u64>> {
        let fits = message.body.len() <= self.lane.largest.bytes();
        let fitted = if fits { Some((message, sent)) } else { self.small_enough(&message, sent, &record()) };
        let Some((message, sent)) = fitted else { return Ok(None) };
        let tag = self.publisher(sweep)?.publish(&message)?;
        if matches!(sent, Sent::Parked(..)) {
            sweep.notices.extend(self.lane.notices.task_in(&message).map(|task| (tag, task)));
        }
        sweep.unconfirmed.insert(tag, (sent, vec![token]));
        Ok(Some(tag))
    }

    fn publisher<'s>(&self, sweep: &'s mut Sweep) -> anyhow::Result<&'s mut Publisher> {
        Ok(match &mut sweep.publisher {
            Some((_, publisher, _)) => publisher,
            none => &mut none.insert(self.open_publisher()?).1,
        })
    }

    fn open_publisher(&self) -> anyhow::Result<(Connection, Publisher, Watch)> {
        let lane = self.lane;
        let mut connection = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: answer", lane.name))?;
        let queues = &lane.queues;
        let publisher = connection.within_deadline(|connection| {
            queues::ensure(connection, &[&queues.responses, &queues.errors, &queues.sent, &queues.retry])?;
            Publisher::open(connection)
        });
        let watch = connection.at_most(LONGEST_SWEEP + SLACK);
        Ok((connection, publisher?, watch))
    }

    /// To be called after each outgoing message: when many are unconfirmed, waits for their confirms.
    pub(super) fn make_room(&mut self, sweep: &mut Sweep) -> anyhow::Result<()> {
        if sweep.is_full() { self.await_confirms(sweep) } else { Ok(()) }
    }

    /// Waits until the broker has confirmed what was published, and acknowledges its records. When that fails, the
    /// confirmed ones are noted all the same, so that the next sweep does not publish them again.
    pub(super) fn await_confirms(&mut self, sweep: &mut Sweep) -> anyhow::Result<()> {
        let settled = self.settle_all(sweep);
        let (answered, parked) = (std::mem::take(&mut sweep.answered), std::mem::take(&mut sweep.parked));
        if !answered.is_empty() {
            self.tracker.answered(&answered.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if !parked.is_empty() {
            self.tracker.parked(&parked.iter().map(String::as_str).collect::<Vec<_>>());
        }
        settled
    }

    fn settle_all(&mut self, sweep: &mut Sweep) -> anyhow::Result<()> {
        let mut settled = Ok(());
        while let Some((_, publisher, _)) = sweep.publisher.as_mut().filter(|_| !sweep.unconfirmed.is_empty()) {
            for (tag, outcome) in publisher.next_outcomes().context("answering Camunda")? {
                let Some((sent, tokens)) = sweep.unconfirmed.remove(&tag) else { continue };
                let notice = sweep.notices.remove(&tag).filter(|_| matches!(outcome, PublishOutcome::Confirmed));
                notice.into_iter().for_each(|task| self.lane.notices.tell(task));
                settled = settled.and(self.settle(sweep, sent, tokens, outcome));
            }
        }
        sweep.answering.clear();
        settled
    }

    fn settle(
        &mut self,
        sweep: &mut Sweep,
        sent: Sent,
        tokens: Vec<AckToken>,
        outcome: PublishOutcome,
    ) -> anyhow::Result<()> {
        let stats = self.lane.stats;
        stats.unroutable_messages.add(u64::from(matches!(outcome, PublishOutcome::NoQueue(_))));
        if let PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) = outcome {
            stats.failed_messages.count();
            stats.tracker.failed_moves.add(u64::from(matches!(sent, Sent::Response(_))));
            return self.refused(sweep, sent, tokens, &why);
        }
        stats.sent_messages.count();
        match sent {
            Sent::Response(Answer { task: id, message, age }) => {
                stats.tracker.moved_to_responses.count();
                self.answered.add(&id, Answered { at: now(), message });
                self.unanswered.remove(&id);
                let after = age.map(|age| format!(" {} after it was created", span(age))).unwrap_or_default();
                log::info!("answered to Camunda{after}: task={id}");
                sweep.answered.push(id);
            }
            Sent::Parked(cause, over) => {
                stats.parked.count(cause);
                over.iter().for_each(|id| self.lane.control.parked(id));
                sweep.over.extend(over.clone());
                sweep.parked.extend(over);
            }
            Sent::Republished(_) | Sent::PutAside(_) => {}
        }
        Ok(tokens.into_iter().try_for_each(|token| sweep.consumer.ack(token))?)
    }

    /// The record stays in the sent queue, so the next sweep tries again. A record that its queue would soon delete
    /// waits in the retry queue instead; if that does not take it either, it is parked.
    fn refused(&mut self, sweep: &mut Sweep, sent: Sent, tokens: Vec<AckToken>, why: &str) -> anyhow::Result<()> {
        match sent {
            Sent::Response(_) | Sent::Parked(..) => {
                let (refused, _) = sweep.refused.get_or_insert_with(|| (0, why.to_owned()));
                *refused += 1;
                Ok(())
            }
            Sent::Republished(message) => {
                log::debug!(
                    "{} does not take the record again, it waits aside: task={}",
                    message.queue,
                    message.message_id
                );
                let OutgoingMessage { message_id, body, headers, .. } = *message;
                let aside = outgoing::record_on_its_way(self.lane, message_id, body, headers, false);
                sweep.put_aside += 1;
                tokens.into_iter().try_for_each(|token| {
                    let (sent, record) = (Sent::PutAside(Box::new(aside.clone())), aside.body.clone());
                    self.publish(sweep, aside.clone(), sent, token, || record).map(drop)
                })
            }
            Sent::PutAside(message) => {
                let (sent, retry) = (&self.lane.queues.sent, &self.lane.queues.retry);
                let error =
                    format!("{sent} would soon delete the record, and neither it nor {retry} takes it again: {why}");
                let original =
                    serde_json::from_slice(&message.body).map_or(Original::Bytes(message.body), Original::Json);
                tokens.into_iter().try_for_each(|token| {
                    let parked =
                        self.park(sweep, &message.message_id, Cause::RetryLimitExceeded, &error, &original, token);
                    parked.map(drop)
                })
            }
        }
    }

    /// One log line for all that was refused in a sweep.
    pub(super) fn note_refused(&mut self, sweep: &Sweep) {
        let now = std::time::Instant::now();
        if sweep.put_aside > 0 {
            let (sent, retry) = (&self.lane.queues.sent, &self.lane.queues.retry);
            let told = self
                .put_aside
                .say(&format!("{sent} takes no messages; worn records wait in {retry} until it does"), now);
            told.inspect(|told| log::warn!("{told}, now {}", sweep.put_aside));
        }
        match &sweep.refused {
            Some((refused, why)) => {
                let told =
                    self.refusal.say(&format!("a queue does not take what follows from finished tasks: {why}"), now);
                if let Some(told) = told {
                    log::error!("{told}; {refused} records stay until the next sweep");
                }
            }
            None => self.refusal.over(),
        }
    }
}

/// A name for a record without an id, unlike any other that is on the way.
fn nameless(sweep: &Sweep) -> String {
    format!("record-{}-{}", now_ms(), sweep.unconfirmed.len())
}
