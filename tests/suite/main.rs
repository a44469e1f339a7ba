//! The tests of what its users see, in one binary: a module a subject. `tests/with-rabbitmq cargo test --test suite
//! parked::` runs those of one.
//!
//! They run side by side in one process, so none may count on being alone: queues, users and folders are a test's own,
//! and nothing changes the environment, the working directory or the log of this process. What must is a binary of its
//! own.

#[path = "../support/mod.rs"]
mod support;

mod check;
mod closed_loop;
mod commands;
mod contract;
mod demo;
mod docs;
mod email;
mod explain;
mod http;
mod parked;
mod portal;
mod redaction;
mod replay;
mod rooms;
mod settings;
mod start;
mod systems;
mod telegram;
mod tracker;
