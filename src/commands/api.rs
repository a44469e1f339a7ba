//! The worker's control API, as the commands use it: `status`, `control`, `health`, and whatever else asks a running
//! worker.
//!
//! It knows how to reach the worker of these settings and what its errors look like. It does not know what the answers
//! mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

use crate::config::Monitor;
use crate::http::{Answer, Http, Method, NoAnswer, Request};
use crate::redact::clean;
use crate::settings::Secret;
use crate::systems::table::Setup;
use crate::tls::RootCertificates;

/// The worker answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The API of the worker with these settings.
pub struct Api {
    http: Http,
    /// Such as `http://127.0.0.1:8025`.
    root: String,
    /// For reading; whoever only reads does not show what could stop the worker.
    read_token: Option<Secret>,
    /// For all else.
    control_token: Option<Secret>,
}

impl Api {
    /// The API of the worker on this machine.
    ///
    /// # Errors
    /// The settings switch it off.
    pub fn of(setup: &Setup) -> anyhow::Result<Api> {
        let Some(Monitor { address, read_token, control_token, .. }) = &setup.config.monitor else {
            bail!(
                "the worker answers no questions: MONITOR_ADDR is not set. Set it, such as MONITOR_ADDR=127.0.0.1:9180, \
                 and start the worker again"
            );
        };
        Ok(Api {
            http: Http::new(PATIENCE, &RootCertificates::public()),
            root: format!("http://{}", reachable(*address)),
            read_token: read_token.as_ref().or(control_token.as_ref()).cloned(),
            control_token: control_token.as_ref().or(read_token.as_ref()).cloned(),
        })
    }

    /// Where it is.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The JSON at this path.
    ///
    /// # Errors
    /// The worker does not answer, or says no.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        json(&self.ask(Method::GET, path, None)?)
    }

    /// What comes of this method with this JSON there.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        json(&self.ask(method, path, body)?)
    }

    /// The whole answer, whatever its status.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.root);
        let body = body.map(Value::to_string);
        let token = if method == Method::GET { &self.read_token } else { &self.control_token };
        let mut request = Request::new(method, &url);
        if let Some(token) = token {
            request = request.bearer(token.expose());
        }
        if let Some(body) = &body {
            request = request.json(body.as_bytes());
        }
        self.http.send(request).map_err(|err| {
            let (NoAnswer::NotSent(why) | NoAnswer::Unknown(why) | NoAnswer::TooLarge(why)) = err;
            anyhow!("no worker answers at {}: {why}. Is it running, and with the same settings?", self.root)
        })
    }
}

/// Who listens at every address of the machine listens at its own, too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn json(answer: &Answer) -> anyhow::Result<Value> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200..=299 if body.is_null() && !answer.body.is_empty() => bail!("the answer is no JSON: is it our worker?"),
        200..=299 => Ok(body),
        status => Err(refusal(status, &body)).context("the worker says no"),
    }
}

/// The worker's reason, as RFC 9457 has it.
fn refusal(status: u16, problem: &Value) -> anyhow::Error {
    let part = |name: &str| problem[name].as_str().map(clean);
    let said: Vec<String> = [part("title"), part("detail")].into_iter().flatten().collect();
    match said.is_empty() {
        true => anyhow!("http status {status}"),
        false => anyhow!("{}", said.join(": ")),
    }
}
