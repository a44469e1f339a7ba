//! Reading requests and writing replies, the broken ones included: HTTP/1.1 as far as a scripted server needs it. Knows
//! nothing of Bitrix24.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
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
    /// Still encoded.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The parameters as the portal reads them: JSON with its very content type, else what form and query string say.
    pub body: Value,
    pub raw_body: Vec<u8>,
}

impl Request {
    /// Looks the name up in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// `None` at the end of the connection. `number` is for the caller to set.
    pub fn read(stream: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
        let Some(line) = read_line(stream)? else { return Ok(None) };
        let mut words = line.split(' ');
        let (verb, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = read_headers(stream)?;
        let raw_body = read_body(stream, &headers)?;
        let method = path.rsplit('/').next().unwrap_or_default();
        Ok(Some(Request {
            number: 0,
            method: method.strip_suffix(".json").unwrap_or(method).to_string(),
            verb: verb.to_string(),
            path: path.to_string(),
            query: query.to_string(),
            body: sandbox::params(find(&headers, "content-type").unwrap_or_default(), query, &raw_body),
            headers,
            raw_body,
        }))
    }
}

/// One answer, or what happens instead of it.
#[derive(Clone, Debug)]
pub enum Reply {
    Json(u16, Value),
    Raw {
        status: u16,
        content_type: String,
        body: Vec<u8>,
    },
    /// No header of ours is added but `Content-Length`, unless it is among them.
    WithHeaders {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// 302 to this place.
    Redirect(String),
    /// The head and half of the JSON it promised, then the end of the connection.
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

/// A whole answer as bytes.
pub fn encode(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

pub fn json_head() -> Vec<(String, String)> {
    content_type("application/json; charset=utf-8")
}

pub fn content_type(kind: &str) -> Vec<(String, String)> {
    vec![("Content-Type".into(), kind.into())]
}

/// Writes one byte at a time for as long as `pause` says to go on.
pub fn drip(mut stream: &TcpStream, bytes: &[u8], mut pause: impl FnMut() -> bool) -> io::Result<()> {
    for byte in bytes {
        if !pause() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        stream.write_all(&[*byte])?;
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Without its line end; `None` at the end of the stream.
fn read_line(stream: &mut BufReader<&TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_string()))
}

fn read_headers(stream: &mut BufReader<&TcpStream>) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some(line) = read_line(stream)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    Ok(headers)
}

fn read_body(stream: &mut BufReader<&TcpStream>, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
    if find(headers, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return read_chunks(stream);
    }
    let length = find(headers, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(stream: &mut BufReader<&TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let begun = body.len();
        body.resize(begun + length, 0);
        stream.read_exact(&mut body[begun..])?;
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}
