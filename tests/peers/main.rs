//! Each lane from end to end against something that nobody here wrote. `tests/peers/run` gets what that needs and runs
//! the tests; a plain `cargo test` lists them as ignored.

#[path = "../support/mod.rs"]
mod support;

mod mail;
mod onec;
mod openproject;
mod prism;
mod program;
mod python;
mod telegram;
