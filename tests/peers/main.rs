//! Each lane from end to end against something that nobody here wrote. `tests/peers/run` gets what that needs; without it,
//! as in a plain `cargo test`, each test says aloud that it is skipped.

#[path = "../support/mod.rs"]
mod support;

mod mail;
mod openproject;
mod prism;
mod program;
mod python;
mod telegram;
