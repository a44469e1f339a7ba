//! HTTP, both ways: [`Http`] is the one door to targets, [`server`] answers for stand-ins.
//!
//! It knows no target: what a body means is a system's business.

mod client;
mod resolver;
pub mod server;
mod tls;

pub use client::{Answer, Http, NoAnswer};
