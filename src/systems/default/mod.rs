//! The default system: what becomes of the messages in `default.queue` that belong to no system that is on.
//!
//! Messages of systems that are on never come here: the lane has moved them. It is off until `DEFAULT_ACTION` says what
//! becomes of the rest. [`park`] leaves them to a person, [`record`] finishes them at once, and a service of its own
//! gets them as [`http_jobs`] describes. This file knows only which of the three it is.
#![doc = include_str!("README.md")]

pub mod park;
pub mod record;

use super::http_jobs::{self, Named};
use super::{Configured, Failure, Progress, Tracker};
use crate::message::Record;
use crate::settings::Variables;

const NAMED: Named = Named {
    system: "default",
    what: "default services",
    prefix: "DEFAULT",
    off: "neither DEFAULT_URL nor DEFAULT_TOPIC_URLS is set",
};

/// The setting that switches the system on.
const ACTION: &str = "DEFAULT_ACTION";

/// What becomes of the messages.
enum Action {
    Park,
    Record,
    Http,
}

/// Reads the settings; without `DEFAULT_ACTION` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    let service = http_jobs::open(&NAMED, variables);
    let configured = of(action(variables), service);
    let no_address = matches!(configured, Configured::Off(why) if why == NAMED.off);
    // A wrong address has its error already.
    if no_address && variables.text(&NAMED.setting("TOPIC_URLS")).is_none() {
        let url = NAMED.setting("URL");
        let example = format!("{url}=https://services.example/tasks");
        variables.error(&url, "is not set, but DEFAULT_ACTION=http needs it", &example);
    }
    configured
}

/// The same where nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    let service = http_jobs::open_without_target(&NAMED, variables);
    of(action(variables), service)
}

fn of(action: Option<Action>, service: Configured) -> Configured {
    match action {
        Some(Action::Park) => Configured::On(Box::new(park::Park)),
        Some(Action::Record) => Configured::On(Box::new(record::RecordOnly)),
        Some(Action::Http) => service,
        None => Configured::Off("DEFAULT_ACTION is not set"),
    }
}

fn action(variables: &mut Variables) -> Option<Action> {
    let known = |action: &str| match action {
        "park" => Ok(Action::Park),
        "record" => Ok(Action::Record),
        "http" => Ok(Action::Http),
        other => Err(format!("is {other:?}, none of park, record and http")),
    };
    variables.parsed(ACTION, &format!("{ACTION}=park"), known)
}

/// The tracker of the two actions without a target.
struct NothingToTrack;

impl Tracker for NothingToTrack {
    /// Jobs of a service that was posted to under another setting: nothing may answer or lose them.
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let why = || "it was posted to a service, which is asked for its job only with DEFAULT_ACTION=http".to_owned();
        records.iter().map(|_| Ok(Progress::Foreign(why()))).collect()
    }
}
