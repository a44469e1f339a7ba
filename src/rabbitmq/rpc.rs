//! Requests to a queue of another program, and its replies in a queue of ours: for a target that is spoken to through
//! RabbitMQ.
//!
//! Each call opens a connection of its own and ends it, so that nothing has to be kept alive or opened again between
//! two of them. What a request or a reply says is not known here.

use std::collections::BTreeMap;

use super::connection::{Connection, SETUP_DEADLINE, Watch};
use super::consumer::{AckToken, Consumer};
use super::publisher::{CONFIRM_DEADLINE, OutgoingMessage, PublishOutcome, Publisher};
use super::{ConnectionError, Headers, RabbitMq, queues};

/// The most replies that are read at once.
const MOST: u16 = 10_000;

/// Between whom requests and replies go.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where both queues are.
    pub broker: RabbitMq,
    /// What RabbitMQ's own lists show.
    pub name: String,
    /// The other program's queue.
    pub queue: String,
    /// Ours; made if it is missing.
    pub replies: String,
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Comes back as the correlation id.
    pub id: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Posted {
    /// It is in the other program's queue, on disk.
    Confirmed,
    /// It is not, and why.
    NotPosted(String),
    /// It may be there.
    Unknown(String),
}

impl Peer {
    /// Posts these, one result for each, in order.
    ///
    /// # Errors
    /// None was posted: the broker is not there, or does not let us in.
    pub fn post(&self, requests: Vec<Request>) -> Result<Vec<Posted>, ConnectionError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = Connection::open(&self.broker, &self.name)?;
        let mut publisher = connection.within_deadline(|connection| {
            // What is replied to a queue that is not there is lost.
            queues::ensure_classic(connection, &self.replies)?;
            Publisher::open(connection)
        })?;
        let watch = connection.at_most(CONFIRM_DEADLINE + SETUP_DEADLINE);
        let posted = self.publish_all(&mut publisher, requests);
        drop(watch);
        connection.close_with(publisher);
        Ok(posted)
    }

    fn publish_all(&self, publisher: &mut Publisher, requests: Vec<Request>) -> Vec<Posted> {
        let mut posted = vec![Posted::Unknown("the connection to RabbitMQ is gone".into()); requests.len()];
        let mut under_way = BTreeMap::new();
        for (index, Request { id, headers, body }) in requests.into_iter().enumerate() {
            let outgoing = OutgoingMessage { queue: self.queue.clone(), message_id: id, body, headers };
            match publisher.publish_request(&outgoing, &self.replies) {
                Ok(tag) => drop(under_way.insert(tag, index)),
                // Whatever came before it is asked for all the same.
                Err(err) => {
                    posted[index..].fill(Posted::Unknown(err.to_string()));
                    break;
                }
            }
        }
        while !under_way.is_empty() {
            match publisher.next_outcomes() {
                Ok(outcomes) => {
                    for (tag, outcome) in outcomes {
                        let Some(index) = under_way.remove(&tag) else { continue };
                        posted[index] = outcome.into();
                    }
                }
                Err(err) => {
                    under_way.values().for_each(|index| posted[*index] = Posted::Unknown(format!("{err:#}")));
                    break;
                }
            }
        }
        posted
    }

    /// Reads the replies that are there, and holds them.
    ///
    /// # Errors
    /// The broker is not there, or does not let us in.
    pub fn read(&self) -> anyhow::Result<Replies> {
        let mut connection = Connection::open(&self.broker, &self.name)?;
        let opened = connection.within_deadline(|connection| {
            queues::ensure_classic(connection, &self.replies)?;
            let ready = queues::ready(connection, &self.replies)?.unwrap_or(0);
            Ok::<_, ConnectionError>((Consumer::open(connection, MOST, 0)?, ready))
        });
        let (consumer, ready) = opened?;
        let watch = connection.at_most(CONFIRM_DEADLINE);
        let most = u16::try_from(ready).unwrap_or(MOST).min(MOST);
        let taken = consumer.take(&self.replies, most);
        drop(watch);
        let deliveries = match taken {
            Ok(deliveries) => deliveries,
            Err(err) => {
                connection.close_with(consumer);
                return Err(err);
            }
        };
        let (bodies, tokens) = deliveries.into_iter().map(|delivery| (delivery.body, Some(delivery.token))).unzip();
        Ok(Replies { bodies, tokens, consumer: Some(consumer), connection: Some(connection) })
    }

    /// Is the other program's queue there, and how many take from it?
    ///
    /// # Errors
    /// The broker is not there, or does not let us in.
    pub fn takers(&self) -> Result<Option<u32>, ConnectionError> {
        let mut connection = Connection::open(&self.broker, &self.name)?;
        let found = connection.within_deadline(|connection| queues::look(connection, &self.queue))?;
        connection.close()?;
        Ok(found.map(|found| found.consumers))
    }
}

impl From<PublishOutcome> for Posted {
    fn from(outcome: PublishOutcome) -> Posted {
        match outcome {
            PublishOutcome::Confirmed => Posted::Confirmed,
            PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) => Posted::NotPosted(why),
        }
    }
}

/// Replies in hand. When this goes, those that are not acknowledged go back to their queue.
pub struct Replies {
    /// Their bodies, in the order of the queue. What was looked at may be taken out.
    pub bodies: Vec<Vec<u8>>,
    /// For each, until it is acknowledged.
    tokens: Vec<Option<AckToken>>,
    /// Goes before its connection.
    consumer: Option<Consumer>,
    connection: Option<Connection>,
}

impl Replies {
    /// The id of the request to which the reply of this number belongs, if it says so.
    pub fn request_of(&self, number: usize) -> Option<&str> {
        self.tokens.get(number)?.as_ref()?.correlation_id()
    }

    /// Acknowledges the reply of this number, once.
    ///
    /// # Errors
    /// The connection is gone: the reply comes again.
    pub fn ack(&mut self, number: usize) -> Result<(), ConnectionError> {
        let token = self.tokens.get_mut(number).and_then(Option::take);
        match token.zip(self.consumer.as_ref()) {
            Some((token, consumer)) => consumer.ack(token),
            None => Ok(()),
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        let Some((consumer, connection)) = self.consumer.take().zip(self.connection.take()) else { return };
        let watch: Watch = connection.at_most(SETUP_DEADLINE);
        // A broker that does not hear it takes them back when the connection ends.
        let _ = consumer.requeue_all();
        drop(watch);
        connection.close_with(consumer);
    }
}
