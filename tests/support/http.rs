//! A request as a test sees it, and the replies that a script may give, broken ones too. It does not know Bitrix24; the
//! server in `src/http` reads and writes the bytes.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use task_creator::http::server::{self, Page};
use task_creator::sandbox;

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts from 1 over all connections.
    pub number: usize,
    /// The last part of the path, without `.json`.
    pub method: String,
    pub verb: String,
    pub path: String,
    /// Still percent-encoded.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The parameters as the portal reads them: JSON with exactly its content type, else form and query string.
    pub body: Value,
    pub raw_body: Vec<u8>,
}

impl Request {
    /// Looks the name up in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// The caller sets `number`.
    pub fn of(request: &server::Request<'_>) -> Request {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let method = path.rsplit('/').next().unwrap_or_default();
        let text = |value| String::from_utf8_lossy(value).into_owned();
        Request {
            number: 0,
            method: method.strip_suffix(".json").unwrap_or(method).to_string(),
            verb: request.method.to_string(),
            path: path.to_string(),
            query: query.to_string(),
            headers: request.headers.iter().map(|name| (name.name.to_ascii_lowercase(), text(name.value))).collect(),
            body: sandbox::params(request.content_type(), query, request.body),
            raw_body: request.body.to_vec(),
        }
    }
}

/// One answer, or a fault instead of it.
#[derive(Clone, Debug)]
pub enum Reply {
    Json(u16, Value),
    Raw {
        status: u16,
        content_type: String,
        body: Vec<u8>,
    },
    /// Only `Content-Length` is added to the headers.
    WithHeaders {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// 302 to this address.
    Redirect(String),
    /// The head, and half of the JSON that it promised; then the connection ends.
    Half(u16, Value),
    /// A 200 whose JSON body comes byte by byte with this pause before each.
    Drip(Value, Duration),
    /// No answer until the server is released or dropped; then the connection ends.
    Hang,
    /// The connection ends without an answer.
    Close,
    /// The same with RST.
    Reset,
}

impl Reply {
    pub fn html(status: u16, body: &str) -> Reply {
        Reply::Raw { status, content_type: "text/html; charset=utf-8".into(), body: body.into() }
    }
}

pub fn json_page(status: u16, body: impl Into<Vec<u8>>) -> Page {
    Page::new(status, "application/json; charset=utf-8", body)
}

/// Writes one byte at a time while `pause` returns true.
pub fn drip(mut stream: &TcpStream, bytes: &[u8], mut pause: impl FnMut() -> bool) -> io::Result<()> {
    for byte in bytes {
        if !pause() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        stream.write_all(&[*byte])?;
    }
    Ok(())
}
