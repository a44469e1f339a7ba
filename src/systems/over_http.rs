//! What a call over HTTP that did not succeed leads to, for every system that has no finer rule.

use std::time::Duration;

use anyhow::anyhow;

use super::Failure;
use crate::http::{Class, Failed};

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let error = anyhow!("{failed}");
        match failed.class {
            Class::Transient => Failure::Transient { error, after: Duration::ZERO },
            Class::Unavailable => Failure::Unavailable { error, until: failed.until },
            Class::Permanent => Failure::Permanent(error),
        }
    }
}
