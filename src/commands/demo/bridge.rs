//! Camunda's side of the demo, in place of the real bridge: it publishes the messages and takes the answers. It also
//! makes the demo's own queues before, and deletes them after.
//!
//! It knows no fake and no screen, and does not count.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, never};
use serde_json::Value;

use crate::config::{Config, RabbitMq};
use crate::message::text;
use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::Consumer;
use crate::rabbitmq::publisher::{OutgoingMessage, PublishOutcome, Publisher};
use crate::rabbitmq::{Confirmation, ConnectionError, Incoming, queues};
use crate::terminal;

/// The start of RabbitMQ's error 403.
const ACCESS_REFUSED: &str = "ACCESS_REFUSED";
/// The script that starts a RabbitMQ.
const WITH_RABBITMQ: &str = "tests/with-rabbitmq";
/// If the demo is killed, RabbitMQ deletes its queues after this time without use.
pub const UNUSED: Duration = Duration::from_secs(600);
/// More than the demo publishes, so that no answer waits for an ack.
const PREFETCH: u16 = 100;

/// The demo's queues. Dropping this deletes them, unless they are deleted already.
pub struct OwnQueues<'a> {
    config: &'a Config,
    /// Those of each system of the demo, with its name. There is at least one.
    systems: Vec<(&'static str, Queues)>,
    removed: bool,
}

impl OwnQueues<'_> {
    /// Makes the queues of these systems.
    ///
    /// # Errors
    /// RabbitMQ is not there, refuses the login, or refuses a right that the demo needs; the text says what to do.
    pub fn make<'a>(config: &'a Config, systems: &[&'static str]) -> anyhow::Result<OwnQueues<'a>> {
        let mut connection = Connection::open(&config.rabbitmq, "task-creator demo: queues").map_err(advised)?;
        // From here on the queues are deleted, whatever happens.
        let systems = systems.iter().map(|system| (*system, Queues::of(system, config))).collect();
        let own = OwnQueues { config, systems, removed: false };
        let made = connection.within_deadline(|connection| {
            queues::make_passing(connection, &own.all(), UNUSED)?;
            queues::peek(connection, &config.error_queue)
        });
        let made = made.and_then(|()| connection.within_deadline(Publisher::open));
        // A message without a queue shows whether we may publish, before anything is started.
        let nowhere = OutgoingMessage::new(format!("{}nobody", config.queue_prefix), "demo".into(), Vec::new());
        let made = made.map_err(anyhow::Error::from);
        let made = made.and_then(|mut publisher| publisher.try_deliver(&nowhere).map(drop));
        let _ = connection.close();
        made.map_err(|err| without_rights(config, err))?;
        Ok(own)
    }

    /// How many messages wait in all queues together.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn waiting(&self) -> anyhow::Result<u32> {
        let mut connection = Connection::open(&self.config.rabbitmq, "task-creator demo: queues")?;
        let waiting = connection.within_deadline(|connection| {
            let counts = self.all().into_iter().map(|name| queues::ready(connection, name));
            counts.map(|count| count.map(Option::unwrap_or_default)).sum::<Result<u32, _>>()
        });
        let _ = connection.close();
        Ok(waiting?)
    }

    /// Deletes the queues.
    ///
    /// # Errors
    /// They may still be there.
    pub fn remove(mut self) -> anyhow::Result<()> {
        self.delete().with_context(|| {
            let minutes = UNUSED.as_secs() / 60;
            let prefix = &self.config.queue_prefix;
            format!("the queues {prefix}* are not deleted; RabbitMQ deletes them in {minutes} minutes")
        })
    }

    fn delete(&mut self) -> anyhow::Result<()> {
        self.removed = true;
        let mut connection = Connection::open(&self.config.rabbitmq, "task-creator demo: queues")?;
        let deleted = connection.within_deadline(|connection| queues::delete(connection, &self.all()));
        let _ = connection.close();
        Ok(deleted?)
    }

    /// All but the sweep locks, which end with the connections that hold them.
    fn all(&self) -> Vec<&str> {
        let common = [self.config.error_queue.as_str(), self.config.responses_queue.as_str()];
        let own = self.systems.iter().flat_map(|(_, queues)| [&*queues.input, &*queues.sent, &*queues.retry]);
        own.chain(common).collect()
    }
}

impl Drop for OwnQueues<'_> {
    fn drop(&mut self) {
        if !self.removed
            && let Err(err) = self.delete()
        {
            log::error!("the demo's queues are not deleted: {err:#}");
        }
    }
}

fn advised(error: ConnectionError) -> anyhow::Error {
    let advice = match error.refused {
        true => "RabbitMQ does not let the demo in; correct RABBITMQ_USERNAME, RABBITMQ_PASSWORD or RABBITMQ_VHOST",
        // In the source folder this works without preparation.
        false if Path::new(WITH_RABBITMQ).is_file() => {
            "the demo needs a RabbitMQ: `tests/with-rabbitmq cargo run --release -- demo` starts one; RABBITMQ_HOST \
             names another"
        }
        false => {
            "the demo needs a RabbitMQ: install one on this machine (`apt-get install rabbitmq-server`), or name \
             another in RABBITMQ_HOST and RABBITMQ_PORT"
        }
    };
    anyhow::Error::new(error).context(advice)
}

/// The error, with advice if RabbitMQ accepts the login and refuses a right.
fn without_rights(config: &Config, err: anyhow::Error) -> anyhow::Error {
    if !format!("{err:#}").contains(ACCESS_REFUSED) {
        return err;
    }
    let RabbitMq { username, vhost, .. } = &config.rabbitmq;
    let place = terminal::shell_word(vhost);
    let demo = terminal::command(&["demo"]);
    err.context(format!(
        "{username} lacks rights on the demo's queues, demo-*, in virtual host {vhost}. Give them to a user of the \
         demo's own, since set_permissions replaces the rights that a user has: `rabbitmqctl add_user demo`, which asks \
         for a password, then `rabbitmqctl set_permissions -p {place} demo '^demo-' '^amq\\.default$' '^demo-'`, then \
         `RABBITMQ_USERNAME=demo RABBITMQ_PASSWORD=… {demo}`"
    ))
}

/// A message that the worker has published for Camunda or parked.
#[derive(Debug)]
pub enum Outcome {
    /// A response for Camunda.
    Response {
        /// The task's id.
        task_id: String,
        /// The person's answer; empty when none was asked for.
        answer: String,
    },
    /// A parked task.
    Parked {
        /// The task's id.
        task_id: String,
        /// Why.
        cause: String,
    },
    /// A parked message that is no task.
    ParkedUnreadable {
        /// The message as it was published.
        body: Vec<u8>,
        /// Why.
        cause: String,
    },
}

/// What the bridge does with parked messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It takes them.
    Taken,
    /// They stay in the error queue.
    Left,
}

/// The open bridge.
pub struct Bridge<'a> {
    publisher: Publisher,
    consumer: &'a Consumer,
    queues: &'a OwnQueues<'a>,
    /// The deliveries of the responses queue and of the error queue. They outlive their consumers, see
    /// [`Consumer::consume`].
    deliveries: [Receiver<Incoming>; 2],
}

impl OwnQueues<'_> {
    /// Opens the bridge while `work` runs, with the parked messages or without them. Returns the result of `work`, and
    /// the outcomes that came after it.
    ///
    /// # Errors
    /// The connection is gone, or `work` fails.
    pub fn bridge<T>(
        &self,
        parked: Parked,
        work: impl FnOnce(&mut Bridge) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Vec<Outcome>)> {
        let mut connection = Connection::open(&self.config.rabbitmq, "task-creator demo: Camunda's side")?;
        let (publisher, consumer) = connection.within_deadline(|connection| {
            Ok::<_, ConnectionError>((Publisher::open(connection)?, Consumer::open(connection, PREFETCH, 1)?))
        })?;
        let subscriptions = connection.within_deadline(|_| {
            let Config { responses_queue, error_queue, .. } = self.config;
            let mut subscriptions = vec![consumer.consume(responses_queue)?];
            if parked == Parked::Taken {
                subscriptions.push(consumer.consume(error_queue)?);
            }
            Ok::<_, ConnectionError>(subscriptions)
        })?;
        let of = |index: usize| subscriptions.get(index).map_or_else(never, |one| one.receiver().clone());
        let deliveries = [of(0), of(1)];
        let mut bridge = Bridge { publisher, consumer: &consumer, queues: self, deliveries };
        let done = work(&mut bridge);
        // Cancelling and dropping wait for the broker, so they get a deadline.
        let deadline = connection.closing();
        // Deliveries under way arrive before the answer to the cancel.
        subscriptions.iter().for_each(|subscription| drop(subscription.cancel()));
        let last = bridge.last_outcomes();
        // Kept until the channel is closed, see `Consumer::consume`.
        let deliveries = bridge.deliveries.clone();
        drop(bridge);
        drop(subscriptions);
        drop((consumer, deliveries, deadline));
        let _ = connection.close();
        Ok((done?, last))
    }
}

impl Bridge<'_> {
    /// Publishes a message for this system when the one before is confirmed. It does not wait for the confirm, so a
    /// frozen broker blocks nobody: [`Bridge::confirmed`] says when it has come.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn publish(&mut self, system: &str, body: &[u8]) -> anyhow::Result<()> {
        let queues = self.queues.systems.iter().find(|(name, _)| *name == system).map(|(_, queues)| queues);
        let input = &queues.with_context(|| format!("the demo has no queue for {system}"))?.input;
        // One message at a time is unconfirmed, so all can have the same id.
        let (queue, message_id) = (input.clone(), "demo".to_owned());
        self.publisher.publish(&OutgoingMessage::new(queue, message_id, body.to_vec()))?;
        Ok(())
    }

    /// For `select!`: the broker's confirms, for [`Bridge::confirmed`].
    pub fn confirms(&self) -> &Receiver<Confirmation> {
        self.publisher.confirms()
    }

    /// Is everything confirmed that was published?
    ///
    /// # Errors
    /// It has refused a message.
    pub fn confirmed(&mut self, confirm: Confirmation) -> anyhow::Result<bool> {
        for (_, outcome) in self.publisher.outcomes(confirm) {
            if let PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) = outcome {
                bail!("a queue of the demo did not take a message: {why}");
            }
        }
        Ok(self.publisher.unconfirmed() == 0)
    }

    /// For `select!`: the deliveries, for [`Bridge::outcome`]; responses first, parked messages second.
    pub fn deliveries(&self) -> &[Receiver<Incoming>; 2] {
        &self.deliveries
    }

    /// Acknowledges a delivery and reads it.
    ///
    /// # Errors
    /// The connection is gone, or the worker publishes no such message.
    pub fn outcome(&self, message: Incoming) -> anyhow::Result<Outcome> {
        let delivery = self.consumer.delivery(message)?;
        self.consumer.ack(delivery.token)?;
        let body: Value = serde_json::from_slice(&delivery.body).context("a message of the worker is not JSON")?;
        read(&body).context("a message of the worker has an unknown form")
    }

    fn last_outcomes(&self) -> Vec<Outcome> {
        let messages = self.deliveries.iter().flat_map(|queue| queue.try_iter());
        // The last item of a cancelled consumer is no delivery.
        messages.filter_map(|message| self.outcome(message).ok()).collect()
    }
}

fn read(body: &Value) -> Option<Outcome> {
    let task_id = text(&body["original_message"]["task_id"]);
    let Some(cause) = text(&body["error_type"]) else {
        let task = &body["response_data"]["result"]["task"];
        let completed = body["processing_status"] == "completed_by_tracker";
        let answer = text(&task["ufResultAnswer_text"]).unwrap_or_default();
        return Some(Outcome::Response { task_id: task_id.filter(|_| completed)?, answer });
    };
    match task_id {
        Some(task_id) => Some(Outcome::Parked { task_id, cause }),
        None => {
            let body = STANDARD.decode(body["original_body_base64"].as_str()?).ok()?;
            Some(Outcome::ParkedUnreadable { body, cause })
        }
    }
}
