//! What an operator sees and does from outside, while the worker works. [`hub`] holds a handle to every lane; all faces
//! read it.
//!
//! [`watch`] looks at the queues, [`history`] is the last hour of a lane. From these follow [`lanes`], [`status`] with
//! what needs [`attention`], [`tasks`] and [`health`], as data.
//!
//! [`api`] is the server: [`access`] says who may ask, [`routes`] who answers. [`faces`] are the answers that change
//! nothing, [`actions`] those that do, [`parked`] and [`replays`] those about parked messages; [`page`] has the files for
//! a browser. [`events`] is what happened lately, [`problem`] how errors are told.
//!
//! It stands on top: no lane and no system knows of it.

pub mod access;
pub mod actions;
pub mod api;
pub mod attention;
pub mod events;
pub mod faces;
pub mod health;
pub mod history;
pub mod hub;
pub mod lanes;
pub mod page;
pub mod parked;
pub mod problem;
pub mod query;
pub mod replays;
pub mod routes;
pub mod status;
pub mod tasks;
pub mod time;
pub mod watch;

pub use api::start;

#[cfg(test)]
mod tests;
