//! The tracker of a system whose tasks are finished as soon as they are created. It knows no target.

use anyhow::anyhow;

use super::{Failure, Progress, Tracker};
use crate::message::Record;

/// Follows nothing.
#[derive(Debug)]
pub struct Untracked;

impl Tracker for Untracked {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let none = || Failure::Permanent(anyhow!("this system answers at once, so nothing of it is to be followed"));
        records.iter().map(|_| Err(none())).collect()
    }
}
