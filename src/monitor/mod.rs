//! What an operator sees and does from outside, while the worker works. [`hub`] holds a handle to every lane; all faces
//! read it.
//!
//! [`api`] is the server: [`access`] says who may ask, [`routes`] who answers. [`faces`] are the answers that change
//! nothing, [`actions`] those that do, [`parked`] and [`replays`] those about parked messages. [`events`] is what happened lately, [`problem`] how errors are told.
//!
//! It stands on top: no lane and no system knows of it.

pub mod access;
pub mod actions;
pub mod api;
pub mod events;
pub mod faces;
pub mod hub;
pub mod parked;
pub mod problem;
pub mod query;
pub mod replays;
pub mod routes;
pub mod time;

pub use api::start;
