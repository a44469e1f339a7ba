//! The worker's control API as a test speaks to it: over a plain socket, so that it also sends what no HTTP client
//! would. It knows no route.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::Value;

/// For reading and changing: 32 bytes or more.
pub const READ_TOKEN: &str = "read-token-of-the-tests-0123456789abcdef";
pub const CONTROL_TOKEN: &str = "control-token-of-the-tests-0123456789abcdef";
/// No answer takes longer, or it is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address of one worker's API.
#[derive(Clone, Debug)]
pub struct Api {
    pub address: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    pub body: String,
}

impl Answered {
    /// Null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

impl Api {
    /// An address that is free now.
    pub fn anywhere() -> Api {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        Api { address: listener.local_addr().expect("it is bound").to_string() }
    }

    /// The settings of a worker that answers here, with both tokens.
    pub fn settings(&self) -> [(&str, &str); 3] {
        [("MONITOR_ADDR", &self.address), ("MONITOR_READ_TOKEN", READ_TOKEN), ("MONITOR_CONTROL_TOKEN", CONTROL_TOKEN)]
    }

    pub fn get(&self, path: &str) -> io::Result<Answered> {
        self.ask("GET", path, None)
    }

    /// With the control token.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answered> {
        self.ask_with(method, path, &[("Authorization", &format!("Bearer {CONTROL_TOKEN}"))], body)
    }

    /// With these headers and `Host`.
    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> io::Result<Answered> {
        let body = body.map(Value::to_string);
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        if let Some(body) = &body {
            request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        self.say(&[request.as_bytes(), body.unwrap_or_default().as_bytes()].concat())
    }

    /// Sends these bytes, and reads until the other side closes.
    pub fn say(&self, bytes: &[u8]) -> io::Result<Answered> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Answered { status, head: head.to_owned(), body: body.to_owned() })
    }
}
