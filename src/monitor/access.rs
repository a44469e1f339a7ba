//! Who may ask for what: the addressed host, the page from which a browser asks, and the token.
//!
//! It sets no cookie and allows no other page anything, so a browser sends a token only where our own page does. It
//! does not know what is asked for.

use std::net::SocketAddr;

use subtle::ConstantTimeEq as _;

use super::problem::{
    CONTROL_IS_OFF, FOREIGN_HOST, FOREIGN_ORIGIN, NO_TOKEN, Problem, READ_ONLY, TOKEN_IN_URL, WRONG_TOKEN,
};
use crate::config::Monitor;
use crate::http::server::Request;
use crate::settings::Secret;
use crate::settings::address::is_this_machine;

/// The challenge of RFC 6750.
const CHALLENGE: (&str, &str) = ("WWW-Authenticate", "Bearer realm=\"task-creator\"");
/// Names under which programs put a token into an address, where logs and histories keep it.
const NAMES_OF_TOKENS: &[&str] = &["token", "access_token", "api_key", "authorization"];

/// What a route needs, and what a caller has; each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing: it holds no data.
    Free,
    /// To read.
    Read,
    /// To change something.
    Control,
}

/// Who asks, for the list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody has to show a token to read.
    Local,
    /// Has shown no token, or a wrong one, and asks for what is free.
    Nobody,
    /// Has the token for reading.
    Reader,
    /// Has the token for control.
    Controller,
}

impl Caller {
    /// The name of the caller's token.
    pub fn name(self) -> &'static str {
        match self {
            Caller::Local => "local",
            Caller::Nobody => "nobody",
            Caller::Reader => "read",
            Caller::Controller => "control",
        }
    }

    /// What the caller may do at most.
    pub fn access(self) -> Access {
        match self {
            Caller::Nobody => Access::Free,
            Caller::Local | Caller::Reader => Access::Read,
            Caller::Controller => Access::Control,
        }
    }
}

/// The rules of one monitor.
#[derive(Debug)]
pub struct Rules {
    bound: SocketAddr,
    hosts: Vec<String>,
    read_token: Option<Secret>,
    control_token: Option<Secret>,
}

impl Rules {
    /// The rules that these settings mean.
    pub fn of(settings: &Monitor) -> Rules {
        let Monitor { address, read_token, control_token, hosts } = settings.clone();
        Rules { bound: address, hosts, read_token, control_token }
    }

    /// Whether the request may reach a route at all, and who asks.
    ///
    /// # Errors
    /// The host or the page is somebody else's, or the address holds a token.
    pub fn admit(&self, request: &Request<'_>) -> Result<Caller, Problem> {
        self.host(request)?;
        no_token_in_address(request)?;
        from_our_page(request)?;
        Ok(self.caller(request))
    }

    /// Whether this caller may do what the route needs.
    ///
    /// # Errors
    /// A token is missing, wrong, or not enough.
    pub fn allow(&self, caller: Caller, needed: Access, request: &Request<'_>) -> Result<(), Problem> {
        if caller.access() >= needed {
            return Ok(());
        }
        let (challenge, value) = CHALLENGE;
        match caller {
            Caller::Nobody if request.header("authorization").is_none() => {
                Err(Problem::new(NO_TOKEN, "send the header Authorization: Bearer TOKEN").with(challenge, value))
            }
            Caller::Nobody => Err(Problem::new(
                WRONG_TOKEN,
                "it is neither MONITOR_READ_TOKEN nor MONITOR_CONTROL_TOKEN of this worker, or not sent as Bearer",
            )
            .with(challenge, format!("{value}, error=\"invalid_token\""))),
            _ if self.control_token.is_none() => Err(Problem::new(
                CONTROL_IS_OFF,
                "set MONITOR_CONTROL_TOKEN for the worker, start it again, and send that token",
            )),
            _ => Err(Problem::new(READ_ONLY, "send the token of MONITOR_CONTROL_TOKEN")),
        }
    }

    /// Somebody else's name may lead to our address, so that their page counts as ours in a browser (DNS rebinding).
    fn host(&self, request: &Request<'_>) -> Result<(), Problem> {
        let given = request.header("host").unwrap_or_default();
        let name = name_of(given).trim_end_matches('.').to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_bound = bare.parse() == Ok(self.bound.ip()) && !self.bound.ip().is_unspecified();
        match is_this_machine(&name) || is_bound || self.hosts.iter().any(|host| host == bare) {
            true => Ok(()),
            false => Err(Problem::new(
                FOREIGN_HOST,
                format!("{given:?} is not in the list; if it is meant, add it to MONITOR_HOSTS"),
            )),
        }
    }

    fn caller(&self, request: &Request<'_>) -> Caller {
        if self.read_token.is_none() && self.control_token.is_none() {
            return Caller::Local;
        }
        let shown = request.header("authorization").and_then(bearer).unwrap_or_default().as_bytes();
        // Both are compared, whatever the first one says.
        let is = |token: &Option<Secret>| {
            token.as_ref().is_some_and(|token| bool::from(token.expose().as_bytes().ct_eq(shown)))
        };
        match (is(&self.read_token), is(&self.control_token)) {
            (_, true) => Caller::Controller,
            (true, false) => Caller::Reader,
            (false, false) => Caller::Nobody,
        }
    }
}

/// An address is kept in logs, histories and bookmarks.
fn no_token_in_address(request: &Request<'_>) -> Result<(), Problem> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    match names.any(|name| NAMES_OF_TOKENS.iter().any(|token| token.eq_ignore_ascii_case(name))) {
        true => Err(Problem::new(
            TOKEN_IN_URL,
            "send it as Authorization: Bearer TOKEN, and choose another token: logs may have this one now",
        )),
        false => Ok(()),
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A browser says from which page it asks; another program says nothing, and no browser has sent it.
fn from_our_page(request: &Request<'_>) -> Result<(), Problem> {
    let is_ours = match (request.header("sec-fetch-site"), request.header("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none") || follows_a_link(request),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.zip(request.header("host")).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
        }
        (None, None) => true,
    };
    let detail = "open the monitor's own page, or ask with a program that is no browser; a proxy has to pass Host on as \
                  the browser has sent it";
    if is_ours { Ok(()) } else { Err(Problem::new(FOREIGN_ORIGIN, detail)) }
}

/// Somebody has followed a link to the page, in a mail for example. The page alone holds no data.
fn follows_a_link(request: &Request<'_>) -> bool {
    let is = |name: &str, value: &str| request.header(name) == Some(value);
    request.method == "GET"
        && request.target == "/"
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
