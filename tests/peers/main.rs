//! Lanes against targets that nobody here wrote, end to end: `tests/peers/run` installs what they need into
//! `target/peers` and runs them. Where that cannot be had they say so and pass, or fail with `PEERS=required`.

#[path = "../support/mod.rs"]
mod support;

mod python;
