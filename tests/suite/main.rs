//! Tests of what users see, in one binary with a module for each subject. `tests/with-rabbitmq cargo test --test suite
//! parked::` runs those of one subject.
//!
//! They run in parallel in one process. So each test has queues, users and folders of its own, and none changes the
//! environment, the working directory or the log of this process. A test that must do so is a binary of its own.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod camunda;
mod celery;
mod check;
mod closed_loop;
mod commands;
mod contract;
mod default;
mod demo;
mod docs;
mod email;
mod explain;
mod http;
mod init;
mod metrics;
mod monitor;
mod monitor_lanes;
mod monitor_parked;
mod onec;
mod openproject;
mod parked;
mod portal;
mod printed;
mod python;
mod reconcile;
mod redaction;
mod releases;
mod replay;
mod rooms;
mod routing;
mod sample_process;
// Only Linux has systemd.
#[cfg(target_os = "linux")]
mod service;
mod settings;
mod start;
mod steering;
mod systems;
mod telegram;
mod trace;
mod tracker;
