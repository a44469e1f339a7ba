//! What an operator sees and does from outside, while the worker works. [`hub`] holds a handle to every lane; all faces
//! read it. [`alerts`] tells people what is wrong.
//!
//! It stands on top: no lane and no system knows of it.

pub mod alerts;
pub mod hub;
