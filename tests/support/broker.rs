//! The tests' own connection to the real RabbitMQ. It knows AMQP, and neither the worker's queues nor its messages.
//!
//! A test may cut every connection or restart the node, which ends this connection too. So each question opens a
//! channel of its own, and is asked once more on a new connection when the old one is dead.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amiquip::{
    AmqpProperties, AmqpValue, Auth, Channel, Confirm, ConfirmSmoother, Connection, ConnectionOptions,
    ConnectionTuning, Error, FieldTable, Get, Publish, QueueDeclareOptions, QueueDeleteOptions, Return,
};
use crossbeam_channel::Receiver;
use serde_json::Value;
use task_creator::message::document;

use super::wait::{PATIENCE, eventually_ok};

/// Where RabbitMQ is, and how we sign in.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    pub host: String,
    pub port: u16,
    pub username: String,
    pub password: String,
    pub vhost: String,
}

impl RabbitMq {
    /// Read from the variables that `tests/with-rabbitmq` sets.
    pub fn from_env() -> RabbitMq {
        let variable = |name: &str| {
            env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set, and this test needs a RabbitMQ: run `tests/with-rabbitmq cargo test`")
            })
        };
        RabbitMq {
            host: variable("RABBITMQ_HOST"),
            port: variable("RABBITMQ_PORT").parse().expect("RABBITMQ_PORT is a port number"),
            username: variable("RABBITMQ_USERNAME"),
            password: variable("RABBITMQ_PASSWORD"),
            vhost: env::var("RABBITMQ_VHOST").unwrap_or_else(|_| "/".into()),
        }
    }

    /// The address for [`Relay::to`](super::Relay::to).
    pub fn address(&self) -> SocketAddr {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().expect("RABBITMQ_HOST resolves");
        // IPv4 first: a node for tests listens on 127.0.0.1 only, while `localhost` may be ::1 first.
        addresses.min_by_key(SocketAddr::is_ipv6).expect("RABBITMQ_HOST has an address")
    }

    /// One try.
    pub fn connect(&self) -> Result<Connection, String> {
        let stream = mio::net::TcpStream::connect(&self.address()).map_err(|err| err.to_string())?;
        // Without it the three writes of a publish wait for each other's acknowledgement: 40 ms a message.
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        let auth = Auth::Plain { username: self.username.clone(), password: self.password.clone() };
        let options = ConnectionOptions::default()
            .auth(auth)
            .virtual_host(self.vhost.clone())
            .heartbeat(10)
            .connection_timeout(Some(Duration::from_secs(5)));
        Connection::insecure_open_stream(stream, options, ConnectionTuning::default()).map_err(|err| err.to_string())
    }
}

/// Runs `rabbitmqctl` for the node that `tests/with-rabbitmq` started, and returns its output. `None` when the broker
/// is not ours: then the test has nothing to prove, and ends.
#[track_caller]
pub fn rabbitmqctl(arguments: &[&str]) -> Option<String> {
    let program = env::var_os("TEST_RABBITMQCTL")?;
    let done = Command::new(program).args(arguments).output().expect("TEST_RABBITMQCTL names a program");
    let (output, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "rabbitmqctl {}: {output}{errors}", arguments.join(" "));
    Some(output.into_owned())
}

/// A message as it was in a queue.
#[derive(Clone, Debug)]
pub struct Message {
    pub body: Vec<u8>,
    pub headers: FieldTable,
    pub properties: AmqpProperties,
    pub redelivered: bool,
}

impl Message {
    /// The body as Python reads it, half a character included; `null` when it is not JSON.
    pub fn json(&self) -> Value {
        document::read(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn from_get(get: Get) -> Message {
        let delivery = get.delivery;
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        Message { body: delivery.body, headers, properties: delivery.properties, redelivered: delivery.redelivered }
    }
}

/// The broker's reply to a queue declare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueState {
    pub ready: usize,
    pub consumers: usize,
}

/// May be shared by the threads of a test.
pub struct Broker {
    rabbitmq: RabbitMq,
    // Opening a channel needs the connection exclusively, and a dead one is replaced; both for the length of one call.
    connection: Mutex<Connection>,
}

impl Broker {
    pub fn connect() -> Broker {
        Broker::connect_to(RabbitMq::from_env())
    }

    pub fn connect_to(rabbitmq: RabbitMq) -> Broker {
        let connection = Mutex::new(connected(&rabbitmq));
        Broker { rabbitmq, connection }
    }

    pub fn rabbitmq(&self) -> &RabbitMq {
        &self.rabbitmq
    }

    /// Durable; fails with the broker's own text when the queue exists with other arguments.
    pub fn declare(&self, queue: &str, arguments: &FieldTable) -> Result<(), String> {
        self.ask(|channel| {
            let options = QueueDeclareOptions { durable: true, arguments: arguments.clone(), ..Default::default() };
            channel.queue_declare(queue, options).map(|_| ())
        })
        .map_err(|err| err.to_string())
    }

    /// `None`: there is no such queue. Locked or otherwise unreadable queues panic.
    pub fn state(&self, queue: &str) -> Option<QueueState> {
        let asked = self.ask(|channel| {
            let found = channel.queue_declare_passive(queue)?;
            Ok((found.declared_message_count(), found.declared_consumer_count()))
        });
        match asked {
            Ok((ready, consumers)) => Some(QueueState {
                ready: ready.expect("a synchronous declare counts") as usize,
                consumers: consumers.expect("a synchronous declare counts") as usize,
            }),
            Err(Error::ServerClosedChannel { code: 404, .. }) => None,
            Err(err) => panic!("state of {queue}: {err}"),
        }
    }

    /// Confirmed and mandatory, pipelined; `Err` says what went wrong. It repeats nothing: a second try could double.
    pub fn publish(&self, queue: &str, messages: &[(Vec<u8>, AmqpProperties)]) -> Result<(), String> {
        let told = |err: Error| format!("publish to {queue}: {err}");
        // Nothing is published yet, so here a dead connection may be replaced.
        let (channel, returns, confirms) =
            self.publishing_channel().or_else(|_| self.publishing_channel()).map_err(told)?;
        for (body, properties) in messages {
            let publish = Publish { mandatory: true, ..Publish::with_properties(body, queue, properties.clone()) };
            channel.basic_publish("", publish).map_err(told)?;
        }
        await_confirms(queue, messages.len(), &confirms)?;
        // The broker returns a message before it confirms it, so all returned messages are here by now.
        match returns.try_iter().count() {
            0 => Ok(()),
            returned => Err(format!("publish to {queue}: {returned} messages returned, no such queue")),
        }
    }

    /// Every ready message; they are requeued together, in their places. The broker marks them all as redelivered.
    pub fn peek_all(&self, queue: &str) -> Vec<Message> {
        self.get_all(queue, |channel| channel.nack_all(true))
    }

    /// Every ready message, acknowledged.
    pub fn take_all(&self, queue: &str) -> Vec<Message> {
        self.get_all(queue, Channel::ack_all)
    }

    /// Returns how many messages were dropped.
    pub fn purge(&self, queue: &str) -> usize {
        let purged = self.ask(|channel| channel.queue_purge(queue));
        purged.unwrap_or_else(|err| panic!("purge {queue}: {err}")) as usize
    }

    /// A missing queue counts as deleted; for a queue that another connection has locked this returns an error.
    pub fn delete(&self, queue: &str) -> Result<(), String> {
        self.ask(|channel| channel.queue_delete(queue, QueueDeleteOptions::default()))
            .map(|_| ())
            .map_err(|err| err.to_string())
    }

    fn get_all(&self, queue: &str, settle: impl Fn(&Channel) -> amiquip::Result<()>) -> Vec<Message> {
        let gotten = self.ask(|channel| {
            let mut messages = Vec::new();
            while let Some(get) = channel.basic_get(queue, false)? {
                messages.push(Message::from_get(get));
            }
            if !messages.is_empty() {
                settle(channel)?;
            }
            Ok(messages)
        });
        match gotten {
            Ok(messages) => messages,
            Err(Error::ServerClosedChannel { code: 404, .. }) => Vec::new(),
            Err(err) => panic!("read {queue}: {err}"),
        }
    }

    /// Runs `question` on a channel of its own; once more on a new connection when this one is dead.
    fn ask<T>(&self, question: impl Fn(&Channel) -> amiquip::Result<T>) -> amiquip::Result<T> {
        let channel = self.channel()?;
        match question(&channel) {
            Ok(answer) => {
                // Closing waits for the broker, so an asynchronous ack or nack has arrived before we return.
                channel.close()?;
                Ok(answer)
            }
            Err(err @ Error::ServerClosedChannel { .. }) => Err(err),
            Err(_) => {
                drop(channel);
                question(&self.channel()?)
            }
        }
    }

    fn publishing_channel(&self) -> amiquip::Result<(Channel, Receiver<Return>, Receiver<Confirm>)> {
        let channel = self.channel()?;
        let returns = channel.listen_for_returns()?;
        let confirms = channel.listen_for_publisher_confirms()?;
        channel.enable_publisher_confirms()?;
        Ok((channel, returns, confirms))
    }

    fn channel(&self) -> amiquip::Result<Channel> {
        let mut connection = self.connection();
        if let Ok(channel) = connection.open_channel(None) {
            return Ok(channel);
        }
        *connection = connected(&self.rabbitmq);
        connection.open_channel(None)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `text` as a header value.
pub fn header(text: &str) -> AmqpValue {
    AmqpValue::LongString(text.into())
}

fn connected(rabbitmq: &RabbitMq) -> Connection {
    eventually_ok("a connection to RabbitMQ", PATIENCE, || rabbitmq.connect())
}

fn await_confirms(queue: &str, count: usize, confirms: &Receiver<Confirm>) -> Result<(), String> {
    let mut smoother = ConfirmSmoother::new();
    let mut confirmed = 0;
    while confirmed < count {
        let confirm = confirms
            .recv_timeout(PATIENCE)
            .map_err(|err| format!("publish to {queue}: {confirmed} of {count} confirmed, then {err}"))?;
        for single in smoother.process(confirm) {
            match single {
                Confirm::Ack(_) => confirmed += 1,
                Confirm::Nack(_) => return Err(format!("publish to {queue}: refused by the broker")),
            }
        }
    }
    Ok(())
}
