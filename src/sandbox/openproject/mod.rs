//! An OpenProject fake, see [`super::http_fake`]: work packages, projects, states, types and custom fields in memory,
//! as unkindly as the real one answers.
//!
//! One id that is missing in a filter makes the whole request 400; without a filter only what is open shows; a page
//! holds fewer rows than were asked for; unknown members, and custom fields that the project or type does not have, are
//! ignored without a word; a stale `lockVersion` is 409; texts of errors are localised. It is a model of what is known
//! of OpenProject, not an OpenProject. It knows nothing of the worker.
//!
//! Reading order: [`store`] (what is remembered), routes (what can be asked), filters, write (bodies), show (answers).

mod answer;
mod filters;
mod routes;
mod show;
pub mod store;
mod write;

use std::collections::BTreeMap;

use super::http_fake::{Asked, HttpFake, Target};
use crate::http::server::Page;
use answer::{Refusal, page};
pub use store::{ANSWER_FIELD, MARKER_FIELD, Rules, Store};

/// The token of its only user. Fixed, so that a `.env` stays valid from run to run.
pub const TOKEN: &str = "sandbox-openproject-token";
/// The project in which work packages may be created.
pub const PROJECT: u64 = 2;

impl Target for Store {
    fn answer(&mut self, request: &Asked) -> Page {
        page(&routes::answer(self, request).unwrap_or_else(Refusal::into_answer))
    }

    fn refusal(status: u16, code: &str, text: &str) -> Page {
        page(&Refusal::new(status, code, text.to_owned()).into_answer())
    }
}

/// Requests so far by what they asked for, such as `GET work_packages` and `GET work_packages/{id}`.
pub fn counts(fake: &HttpFake<Store>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for asked in fake.asked() {
        *counts.entry(routes::name(&asked)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
