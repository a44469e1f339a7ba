//! Changes an existing work package. It reads the work package, and changes it only if nobody has changed it in
//! between; otherwise it reads it again.
//!
//! The same change twice is one change, so a repeat after a lost answer needs no look-up.

use anyhow::anyhow;
use serde_json::Value;

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use crate::message::Task;
use crate::message::given::{self, Place, Sourced};
use crate::systems::Failure;

/// It is read again so often. If that is not enough, somebody is working on it.
const TRIES: u32 = 5;

/// Where a message names the work package.
const NAMES: [&str; 4] = ["workPackageId", "work_package_id", "op_task_id", "openproject_task_id"];

/// The number of the work package that is to be changed, if the message names it.
pub fn named(task: &Task) -> Option<Sourced<u64>> {
    let places = [Place::Variables, Place::Extensions].map(|place| NAMES.map(|name| (place, name)));
    given::first_id(task, places.as_flattened(), "it is not used", &mut Vec::new())
}

/// The same.
///
/// # Errors
/// The message does not name it.
pub fn target(task: &Task) -> Result<u64, Failure> {
    named(task).map(|named| named.value).ok_or_else(|| {
        Failure::Permanent(anyhow!("op_update_task needs the number of a work package in variables.workPackageId"))
    })
}

/// The path of this work package.
pub fn path(id: u64) -> String {
    format!("/work_packages/{id}")
}

/// Changes it; what it is then.
///
/// # Errors
/// It was not changed, or nobody knows.
pub fn run(client: &Client, id: u64, body: &Value, may_go: impl Fn() -> bool) -> Result<Value, ApiError> {
    for left in (0..TRIES).rev() {
        let row = client.call(&Call::get(path(id)))?;
        let mut body = body.clone();
        body["lockVersion"] = row["lockVersion"].clone();
        match client.call_while(&Call::patch(path(id), body), &may_go) {
            Err(err) if err.kind == Kind::Conflict && left > 0 => {
                log::info!("work package {id} was changed by somebody else, reading it again");
            }
            changed => return changed,
        }
    }
    unreachable!("the loop ends by returning")
}
