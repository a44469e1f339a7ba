//! Camunda's side of the queues, as its bridge would be: it publishes the messages and takes the answers. And the
//! queues themselves, which only the demo uses: made before, removed after.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::Receiver;
use serde_json::Value;

use crate::config::{Config, RabbitMq};
use crate::message::text;
use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::Consumer;
use crate::rabbitmq::publisher::{OutgoingMessage, PublishOutcome, Publisher};
use crate::rabbitmq::{Confirmation, ConnectionError, Incoming, queues};
use crate::terminal;

/// The system whose queues are used.
const SYSTEM: &str = "bitrix24";
/// How the broker's refusal starts, 403.
const ACCESS_REFUSED: &str = "ACCESS_REFUSED";
/// Brings a RabbitMQ along.
const WITH_RABBITMQ: &str = "tests/with-rabbitmq";
/// The broker removes the queues by itself after this time, should the demo be killed.
pub const UNUSED: Duration = Duration::from_secs(600);
/// More than the demo publishes, so that no answer waits for an ack.
const PREFETCH: u16 = 100;

/// The demo's queues. They are removed when this is dropped, if they were not before.
pub struct OwnQueues<'a> {
    config: &'a Config,
    names: Queues,
    removed: bool,
}

impl OwnQueues<'_> {
    /// Makes the queues.
    ///
    /// # Errors
    /// RabbitMQ is not there, does not let us in, or lacks a right that the demo needs; the text says what to do.
    pub fn make(config: &Config) -> anyhow::Result<OwnQueues<'_>> {
        let mut connection = Connection::open(&config.rabbitmq, "task-creator demo: queues").map_err(advised)?;
        // From here on what was made is removed, whatever happens.
        let own = OwnQueues { config, names: Queues::of(SYSTEM, config), removed: false };
        let made = connection.within_deadline(|connection| {
            queues::make_passing(connection, &own.all(), UNUSED)?;
            queues::peek(connection, &own.names.errors)
        });
        let made = made.and_then(|()| connection.within_deadline(Publisher::open));
        // Before anything is started: a message without a queue shows whether we may publish at all.
        let nowhere = OutgoingMessage::new(format!("{}nobody", config.queue_prefix), "demo".into(), Vec::new());
        let made = made.map_err(anyhow::Error::from);
        let made = made.and_then(|mut publisher| publisher.try_deliver(&nowhere).map(drop));
        let _ = connection.close();
        made.map_err(|err| without_rights(config, err))?;
        Ok(own)
    }

    /// How many messages lie in the queues, together.
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

    /// Removes the queues.
    ///
    /// # Errors
    /// They may still be there.
    pub fn remove(mut self) -> anyhow::Result<()> {
        self.delete().with_context(|| {
            let minutes = UNUSED.as_secs() / 60;
            format!("the queues {}* are not removed; RabbitMQ does so in {minutes} minutes", self.config.queue_prefix)
        })
    }

    fn delete(&mut self) -> anyhow::Result<()> {
        self.removed = true;
        let mut connection = Connection::open(&self.config.rabbitmq, "task-creator demo: queues")?;
        let deleted = connection.within_deadline(|connection| queues::delete(connection, &self.all()));
        let _ = connection.close();
        Ok(deleted?)
    }

    /// All but the lock of the sweep, which goes with the connection that holds it.
    fn all(&self) -> [&str; 5] {
        let Queues { input, sent, retry, errors, responses, sweep_lock: _ } = &self.names;
        [input, sent, retry, errors, responses]
    }
}

impl Drop for OwnQueues<'_> {
    fn drop(&mut self) {
        if !self.removed
            && let Err(err) = self.delete()
        {
            log::error!("the demo's queues are not removed: {err:#}");
        }
    }
}

fn advised(error: ConnectionError) -> anyhow::Error {
    let advice = match error.refused {
        true => {
            "RabbitMQ does not let the demo in; RABBITMQ_USERNAME, RABBITMQ_PASSWORD and RABBITMQ_VHOST say who it is"
        }
        // In the folder of the source there is a way that needs no preparation.
        false if Path::new(WITH_RABBITMQ).is_file() => {
            "the demo needs a RabbitMQ: `tests/with-rabbitmq cargo run --release -- demo` brings one along, \
             RABBITMQ_HOST names another"
        }
        false => {
            "the demo needs a RabbitMQ: install one on this machine (`apt-get install rabbitmq-server`), or name another \
             in RABBITMQ_HOST and RABBITMQ_PORT"
        }
    };
    anyhow::Error::new(error).context(advice)
}

/// What to do where RabbitMQ lets us in and refuses a queue.
fn without_rights(config: &Config, err: anyhow::Error) -> anyhow::Error {
    if !format!("{err:#}").contains(ACCESS_REFUSED) {
        return err;
    }
    let RabbitMq { username, vhost, .. } = &config.rabbitmq;
    let place = terminal::shell_word(vhost);
    let demo = terminal::command(&["demo"]);
    err.context(format!(
        "{username} lacks rights on the demo's queues, demo-*, in virtual host {vhost}. Give them to a user of the demo's \
         own, since a second set_permissions takes away what the first has given: `rabbitmqctl add_user demo`, which asks \
         for a password, then `rabbitmqctl set_permissions -p {place} demo '^demo-' '^amq\\.default$' '^demo-'`, then \
         `RABBITMQ_USERNAME=demo RABBITMQ_PASSWORD=… {demo}`"
    ))
}

/// A message that came out at the far end.
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

/// The bridge at work.
pub struct Bridge<'a> {
    publisher: Publisher,
    consumer: &'a Consumer,
    input: &'a str,
    /// Both queues at the far end; they outlive their consumers, see [`Consumer::consume`].
    far_ends: [Receiver<Incoming>; 2],
}

impl OwnQueues<'_> {
    /// Opens the bridge for as long as `work` runs. `work` is given the bridge; what it returns runs when no more can
    /// come out, with what came out last.
    ///
    /// # Errors
    /// The connection is gone, or `work` fails.
    pub fn bridge<T>(&self, work: impl FnOnce(&mut Bridge) -> anyhow::Result<T>) -> anyhow::Result<(T, Vec<Outcome>)> {
        let mut connection = Connection::open(&self.config.rabbitmq, "task-creator demo: Camunda's side")?;
        let (publisher, consumer) = connection.within_deadline(|connection| {
            Ok::<_, ConnectionError>((Publisher::open(connection)?, Consumer::open(connection, PREFETCH, 1)?))
        })?;
        let subscriptions = connection.within_deadline(|_| {
            Ok::<_, ConnectionError>([consumer.consume(&self.names.responses)?, consumer.consume(&self.names.errors)?])
        })?;
        let far_ends = [subscriptions[0].receiver().clone(), subscriptions[1].receiver().clone()];
        let mut bridge = Bridge { publisher, consumer: &consumer, input: &self.names.input, far_ends };
        let done = work(&mut bridge);
        // What drops and cancels here asks the broker and waits, so it is done under a deadline.
        let deadline = connection.closing();
        // What was on its way to the consumers comes before the answer to their cancellation.
        subscriptions.iter().for_each(|subscription| drop(subscription.cancel()));
        let last = bridge.last_outcomes();
        // Until the channel is closed, see `Consumer::consume`.
        let far_ends = bridge.far_ends.clone();
        drop(bridge);
        drop(subscriptions);
        drop((consumer, far_ends, deadline));
        let _ = connection.close();
        Ok((done?, last))
    }
}

impl Bridge<'_> {
    /// Sends a message off, when the one before is there. [`Bridge::taken`] says when the broker has it: a broker that
    /// is frozen holds up nobody here.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn publish(&mut self, body: &[u8]) -> anyhow::Result<()> {
        // Only told apart from others on the way, and there are none.
        let (queue, message_id) = (self.input.to_owned(), "demo".to_owned());
        let outgoing = OutgoingMessage::new(queue, message_id, body.to_vec());
        self.publisher.publish(&outgoing)?;
        Ok(())
    }

    /// For `select!`: what the broker says about published messages, to be given to [`Bridge::taken`].
    pub fn confirms(&self) -> &Receiver<Confirmation> {
        self.publisher.confirms()
    }

    /// Does the broker have everything that was published?
    ///
    /// # Errors
    /// It has refused a message.
    pub fn taken(&mut self, confirm: Confirmation) -> anyhow::Result<bool> {
        for (_, outcome) in self.publisher.outcomes(confirm) {
            if let PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) = outcome {
                bail!("{} did not take a message: {why}", self.input);
            }
        }
        Ok(self.publisher.unconfirmed() == 0)
    }

    /// For `select!`: what comes out, to be given to [`Bridge::outcome`]; the responses first, the parked second.
    pub fn far_ends(&self) -> &[Receiver<Incoming>; 2] {
        &self.far_ends
    }

    /// Acknowledges what came out and reads it.
    ///
    /// # Errors
    /// The connection is gone, or it is nothing that the worker may publish.
    pub fn outcome(&self, message: Incoming) -> anyhow::Result<Outcome> {
        let delivery = self.consumer.delivery(message)?;
        self.consumer.ack(delivery.token)?;
        let body: Value = serde_json::from_slice(&delivery.body).context("a message of the worker is not JSON")?;
        read(&body).context("a message of the worker has an unknown form")
    }

    fn last_outcomes(&self) -> Vec<Outcome> {
        let messages = self.far_ends.iter().flat_map(|far_end| far_end.try_iter());
        // The last message of a cancelled consumer is no delivery.
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
