//! The Python services: whatever is posted to them they do, at once or as a job.
//!
//! How a service is spoken to is written in [`http_jobs`]; here stands only what these are called.
#![doc = include_str!("README.md")]

use super::Configured;
use super::http_jobs::{self, Named};
use crate::settings::Variables;

const NAMED: Named = Named {
    system: "python-services",
    what: "Python services",
    prefix: "PYTHON",
    off: "neither PYTHON_URL nor PYTHON_TOPIC_URLS is set",
};

/// Reads the settings; without an address the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    http_jobs::open(&NAMED, variables)
}

/// The same where nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    http_jobs::open_without_target(&NAMED, variables)
}
