//! The tools of every integration test: a real RabbitMQ with queues of its own, a scripted Bitrix24, a TCP relay that
//! cuts and freezes, the built worker as a child process, and the account that shows whether anything was lost.
//!
//! Nothing here knows the inside of the worker: it sees only queues, HTTP requests, signals and log files.
//!
//! ```text
//! let queues = Queues::new("a kill after the create loses nothing");
//! let tasks = Tasks::new();
//! let portal = Portal::of(&tasks);
//! let mut worker = Worker::start(&queues, &portal.webhook(), &[]);
//! queues.publish_task(&field_message("task-1"));
//! portal.await_call("tasks.task.add", 1, PATIENCE);
//! worker.kill();
//! Account::take(&queues, tasks.markers()).after_faults(1).assert_holds();
//! ```

// Each test file compiles this module for itself, and none uses all of it.
#![allow(dead_code, unused_imports)]

pub mod api;
pub mod broker;
pub mod certificates;
pub mod command;
pub mod gate;
pub mod http;
pub mod message;
pub mod node;
pub mod oracle;
pub mod parked;
pub mod portal;
pub mod pump;
pub mod queues;
pub mod relay;
pub mod secrets;
pub mod tasks;
pub mod text_file;
pub mod tls_front;
pub mod traffic;
pub mod wait;
pub mod wire;
pub mod worker;

pub use broker::{Broker, Message, RabbitMq, rabbitmqctl};
pub use certificates::{Authority, Identity, PemFile};
pub use command::{Ended, changed, run, run_with};
pub use gate::Gate;
pub use http::{Reply, Request};
pub use message::{field_message, field_text, seed_message};
pub use node::Node;
pub use oracle::Audit;
pub use portal::{Answer, Call, Portal, is_sweep};
pub use queues::Queues;
pub use relay::{CONFIRM, Direction, Relay, Seen, Then, publish_to};
pub use tasks::{Tasks, creates, looks_up};
pub use text_file::TextFile;
pub use tls_front::TlsFront;
pub use wait::{PATIENCE, eventually, eventually_ok, eventually_some};
pub use wire::Wire;
pub use worker::Worker;
