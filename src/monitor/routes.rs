//! Every route of the monitor, in one table: method, path, what it needs, what its query may have, who answers it.
//!
//! `openapi.json` describes them, and a test compares the two. This file answers nothing itself.

use percent_encoding::percent_decode_str;

use super::access::Access::{self, Control, Free, Read};
use super::api::Call;
use super::problem::{NO_SUCH_PATH, Problem, WRONG_METHOD, WRONG_PATH};
use super::{actions, faces, page, parked, reconciliations, replays, trace};
use crate::http::server::Page;

/// Answers a request.
pub type Answer = fn(&Call<'_>) -> Result<Page, Problem>;

/// A line of [`ROUTES`].
pub struct Route {
    /// The HTTP method; one with GET answers HEAD too.
    pub method: &'static str,
    /// The path; `{name}` stands for one part of it.
    pub path: &'static str,
    /// Its `operationId` in `openapi.json`.
    pub name: &'static str,
    /// What the caller needs.
    pub access: Access,
    /// The parameters that its query may have.
    pub query: &'static [&'static str],
    /// Who answers.
    pub answer: Answer,
}

const fn route(
    method: &'static str,
    path: &'static str,
    name: &'static str,
    access: Access,
    query: &'static [&'static str],
    answer: Answer,
) -> Route {
    Route { method, path, name, access, query, answer }
}

/// Every route there is.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("GET", "/livez", "livez", Free, &[], faces::livez),
    route("GET", "/readyz", "readyz", Free, &["verbose"], faces::readyz),
    route("GET", "/metrics", "metrics", Read, &[], faces::metrics),
    route("GET", "/", "page", Free, &[], page::index),
    route("GET", "/{file}", "pageFile", Free, &[], page::file),
    route("GET", "/api/v1/openapi.json", "openapi", Read, &[], faces::openapi),
    route("GET", "/api/v1/status", "status", Read, &[], faces::status),
    route("GET", "/api/v1/lanes", "lanes", Read, &[], faces::lanes),
    route("GET", "/api/v1/lanes/{system}", "lane", Read, &[], faces::lane),
    route("PUT", "/api/v1/lanes/{system}/state", "setLaneState", Control, &[], actions::set_state),
    route("GET", "/api/v1/tasks", "tasks", Read, &["state", "system", "older_than", "q", "limit", "cursor"], faces::tasks),
    route("GET", "/api/v1/events", "events", Read, &["after", "limit"], faces::events),
    route("GET", "/api/v1/tasks/{task_id}", "task", Read, &["browse"], trace::task),
    route("POST", "/api/v1/lanes/{system}/sweeps", "sweepLane", Control, &[], actions::sweep),
    route("POST", "/api/v1/reconciliations", "startReconciliation", Control, &[], reconciliations::start),
    route("GET", "/api/v1/reconciliations/{id}", "reconciliation", Read, &[], reconciliations::show),
    route("DELETE", "/api/v1/reconciliations/{id}", "stopReconciliation", Control, &[], reconciliations::stop),
    route("GET", "/api/v1/parked", "parked", Read, &["cause", "q", "system", "limit", "cursor"], parked::list),
    route("GET", "/api/v1/parked/causes", "parkedCauses", Read, &[], parked::causes),
    route("GET", "/api/v1/parked/{id}", "parkedMessage", Read, &[], parked::one),
    route("DELETE", "/api/v1/parked/{id}", "discardParked", Control, &[], parked::discard),
    route("POST", "/api/v1/parked/{id}/replay", "replayParked", Control, &[], replays::one),
    route("POST", "/api/v1/replays", "startReplay", Control, &[], replays::start),
    route("GET", "/api/v1/replays/{id}", "replay", Read, &[], replays::show),
    route("DELETE", "/api/v1/replays/{id}", "stopReplay", Control, &[], replays::stop),
    route("PUT", "/api/v1/log-level", "setLogLevel", Control, &[], actions::log_level),
];

/// The route to which a request leads, and the parts of the path that its names stand for, decoded.
///
/// # Errors
/// [`NO_SUCH_PATH`], [`WRONG_METHOD`] or [`WRONG_PATH`].
pub fn find(method: &str, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let here: Vec<(&Route, Vec<&str>)> =
        ROUTES.iter().filter_map(|route| Some((route, parts(route.path, path)?))).collect();
    let asked = if method == "HEAD" { "GET" } else { method };
    // A path without names counts before one with them.
    let fewest = here.iter().map(|(_, parts)| parts.len()).min();
    let mut fitting = here.iter().filter(|(_, parts)| Some(parts.len()) == fewest);
    if fewest.is_none() {
        return Err(Problem::new(NO_SUCH_PATH, "the manual lists the paths; /api/v1/openapi.json does too"));
    }
    let Some((route, parts)) = fitting.clone().find(|(route, _)| route.method == asked) else {
        let methods: Vec<&str> = fitting.by_ref().flat_map(|(route, _)| with_head(route.method)).copied().collect();
        let allowed = methods.join(", ");
        return Err(Problem::new(WRONG_METHOD, format!("it has {allowed}")).with("Allow", allowed));
    };
    let decoded: Result<Vec<String>, _> =
        parts.iter().map(|part| Ok(percent_decode_str(part).decode_utf8()?.into_owned())).collect();
    let decoded = decoded.map_err(|_: std::str::Utf8Error| Problem::new(WRONG_PATH, "it is not UTF-8"))?;
    Ok((route, decoded))
}

fn with_head(method: &'static str) -> &'static [&'static str] {
    match method {
        "GET" => &["GET", "HEAD"],
        "PUT" => &["PUT"],
        "POST" => &["POST"],
        _ => &["DELETE"],
    }
}

/// What stands for the names in the pattern, if the path fits it.
fn parts<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut expected, mut given, mut named) = (pattern.split('/'), path.split('/'), Vec::new());
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(named),
            (Some(name), Some(part)) if name.starts_with('{') && !part.is_empty() => named.push(part),
            (Some(fixed), Some(part)) if fixed == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_path_leads_to_its_route_and_its_parts_are_decoded() {
        let found = |method: &str, path: &str| find(method, path).map(|(route, parts)| (route.name, parts));
        assert_eq!(found("HEAD", "/livez").ok(), Some(("livez", vec![])));
        let (name, parts) = found("POST", "/api/v1/lanes/a%2Fb%20%D0%81/sweeps").expect("it is there");
        assert_eq!((name, parts), ("sweepLane", vec!["a/b Ё".to_owned()]));
        for nowhere in ["/api/v1/Events", "/livez/", "//livez", "/api/v1/lanes//sweeps", "/../livez", ""] {
            assert_eq!(found("GET", nowhere).expect_err(nowhere).kind(), NO_SUCH_PATH, "{nowhere}");
        }
        assert_eq!(found("POST", "/api/v1/lanes/%ff/sweeps").expect_err("no UTF-8").kind(), WRONG_PATH);
        for method in ["POST", "OPTIONS", "get", "BREW"] {
            assert_eq!(found(method, "/livez").expect_err(method).kind(), WRONG_METHOD, "{method}");
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let places: BTreeSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        let names: BTreeSet<_> = ROUTES.iter().map(|route| route.name).collect();
        assert_eq!((places.len(), names.len()), (ROUTES.len(), ROUTES.len()));
    }
}
