//! The server of the monitor: takes a request through the rules of [`access`](super::access) to its route, and dresses
//! the answer with the headers that every answer has.
//!
//! It does not know what the routes do.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::access::{Caller, Rules};
use super::hub::Hub;
use super::problem::Problem;
use super::query::Query;
use super::routes;
use super::status;
use crate::config::Monitor;
use crate::http::server::{Limits, Page, Reply, Request, Respond, Server};
use crate::redact::clean_json;

/// What one client may use. A page that is open in a browser has a few connections.
const LIMITS: Limits = Limits {
    head: 8 << 10,
    body: 64 << 10,
    connections: 16,
    give_way: Some(Duration::from_millis(250)),
    idle: Duration::from_secs(75),
    head_time: Duration::from_secs(5),
    body_time: Duration::from_secs(10),
    reply_time: Duration::from_secs(10),
};

/// What every answer says to browsers: nothing of somebody else's in the page, the page in nobody else's, nothing kept.
const HEADERS: &[(&str, &str)] = &[
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
];

/// What answers the requests of one monitor.
#[derive(Debug)]
pub struct Api {
    rules: Rules,
    hub: Arc<Hub>,
}

/// A request on its way to its route.
pub struct Call<'a> {
    /// The lanes.
    pub hub: &'a Arc<Hub>,
    /// The request itself.
    pub request: &'a Request<'a>,
    /// What stands for the names in the path, in their order.
    pub path: Vec<String>,
    /// Its query.
    pub query: Query,
    /// Who asks.
    pub caller: Caller,
}

/// Starts the monitor. It ends when this is dropped.
///
/// # Errors
/// Its port is taken, or no thread can be started.
pub fn start(settings: &Monitor, hub: Arc<Hub>) -> anyhow::Result<Server> {
    let api = Api::new(settings, hub);
    let server = Server::start("monitor", settings.address, LIMITS, |_| api)?;
    log::info!("monitor at http://{}: {}", settings.address, settings.rules());
    Ok(server)
}

impl Respond for Api {
    fn respond(&self, request: &Request<'_>) -> Reply {
        Reply::Page(dressed(self.answer(request).unwrap_or_else(|problem| problem.page(None))))
    }

    fn refusal(&self, status: u16, why: &'static str) -> Page {
        dressed(Problem::of_status(status, why).page(Some(status)))
    }
}

impl Api {
    /// What answers by these settings.
    pub fn new(settings: &Monitor, hub: Arc<Hub>) -> Api {
        Api { rules: Rules::of(settings), hub }
    }

    fn answer(&self, request: &Request<'_>) -> Result<Page, Problem> {
        let caller = self.rules.admit(request)?;
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let (route, path) = routes::find(request.method, path)?;
        self.rules.allow(caller, route.access, request)?;
        let query = Query::read(query, route.query)?;
        (route.answer)(&Call { hub: &self.hub, request, path, query, caller })
    }
}

fn dressed(page: Page) -> Page {
    HEADERS.iter().fold(page, |page, (name, value)| page.with(*name, *value))
}

/// This as JSON, without secrets.
pub fn json(status: u16, value: &impl Serialize) -> Page {
    // Only a map with keys that are no texts could fail.
    let text = serde_json::to_string(value).unwrap_or_else(|err| Value::from(err.to_string()).to_string());
    Page::new(status, "application/json", clean_json(&text))
}

impl Call<'_> {
    /// The same with an ETag, or 304 when the client has it. The times of the snapshot and of the look at the queues
    /// are not part of what is compared.
    pub fn json_with_etag(&self, value: &Value) -> Page {
        let lasting = status::lasting(value.clone());
        let mut hasher = DefaultHasher::new();
        lasting.to_string().hash(&mut hasher);
        let etag = format!("W/\"{:016x}\"", hasher.finish());
        let has_it = self.request.header("if-none-match").is_some_and(|known| matches(known, &etag));
        let page = if has_it { Page::new(304, "", Vec::new()) } else { json(200, value) };
        page.with("ETag", etag)
    }
}

/// Whether a list of ETags, or `*`, has this one; for reading, weak ones count too.
fn matches(list: &str, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|known| strong(known) == strong(etag))
}
