//! What a call over HTTP that did not succeed leads to, for every system that has no finer rule.

use anyhow::anyhow;

use super::Failure;
use crate::http::{Class, Failed};

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        let error = anyhow!("{failed}");
        match failed.class {
            Class::Transient => Failure::Transient { error },
            Class::Unavailable => Failure::Unavailable { error, until: failed.until },
            Class::Permanent => Failure::Permanent(error),
        }
    }
}
