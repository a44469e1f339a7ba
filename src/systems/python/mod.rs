//! The Python services: whatever is posted to them they do, at once or as a job.
//!
//! How a service is spoken to over HTTP is written in [`http_jobs`], how Celery is in [`celery`]. Here stands only what
//! these are called, and which of the two is on.
#![doc = include_str!("README.md")]

pub mod celery;

use super::Configured;
use super::http_jobs::{self, Named};
use crate::settings::Variables;

const NAMED: Named = Named {
    system: "python-services",
    what: "Python services",
    prefix: "PYTHON",
    off: "none of PYTHON_URL, PYTHON_TOPIC_URLS and CELERY_QUEUE is set",
};

/// Reads the settings; without an address or a queue the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match celery::Settings::from_variables(&NAMED, variables) {
        Some(celery) => Configured::On(Box::new(celery)),
        None => http_jobs::open(&NAMED, variables),
    }
}

/// The same where nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    match celery::Settings::from_variables(&NAMED, variables) {
        Some(celery) => Configured::On(Box::new(celery)),
        None => http_jobs::open_without_target(&NAMED, variables),
    }
}
