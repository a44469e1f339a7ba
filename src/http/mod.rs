//! HTTP, both ways: [`Http`] is the one door to targets, [`classify()`] says what their answers mean, and [`server`] is
//! the one server. `client` is the door, `resolver` finds and keeps addresses, `tls` is https, [`text`] makes an answer
//! fit for a line, [`Turns`] limits how many requests are under way.
//!
//! It knows no target and none of our messages: a system reads what a body says.

mod classify;
mod client;
mod resolver;
pub mod server;
pub mod text;
mod tls;
mod turns;

pub use classify::{Class, Failed, class_of, classify, json};
pub use client::{Answer, Http, Method, NoAnswer, Request};
pub use turns::{Turn, Turns};
