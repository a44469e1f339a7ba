//! What can be read: each function answers one route with what the cores say. It changes nothing.

use serde::Serialize;

use super::api::{Call, json};
use super::events::Excerpt;
use super::problem::Problem;
use super::time;
use crate::http::server::Page;

const OPENAPI: &str = include_str!("openapi.json");

/// The process is there and answers.
pub fn livez(_: &Call<'_>) -> Result<Page, Problem> {
    Ok(Page::new(200, "text/plain; charset=utf-8", "alive\n"))
}

/// The description of this API.
pub fn openapi(_: &Call<'_>) -> Result<Page, Problem> {
    Ok(Page::new(200, "application/json", OPENAPI))
}

/// What happened lately.
pub fn events(call: &Call<'_>) -> Result<Page, Problem> {
    #[derive(Serialize)]
    struct Shown {
        snapshot_at: String,
        #[serde(flatten)]
        excerpt: Excerpt,
    }
    let excerpt = call.hub.events.after(call.query.number("after", 0..=u64::MAX)?, call.query.limit()?);
    Ok(json(200, &Shown { snapshot_at: time::now(), excerpt }))
}
