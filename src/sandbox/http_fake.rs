//! What the fakes of HTTP targets share: a server on loopback before a target in memory, a list of what it was asked,
//! and faults to order. It knows no target; Bitrix24, whose calls come in batches, has a server of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::Receiver;
use serde_json::Value;

use super::faults::{Fault, Order, Scope, What};
use super::lock;
use super::reply::Broken;
use super::request::Call;
use super::strikes::Strikes;
use crate::http::server::{Page, Reply, Request, Respond, Server};

/// A target in memory.
pub trait Target: Send + 'static {
    /// Does what the request asks for, and answers it. Its rights are looked at here.
    fn answer(&mut self, request: &Asked) -> Page;

    /// An error in the words and the form of this target.
    fn refusal(status: u16, code: &str, text: &str) -> Page;
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In capitals.
    pub method: String,
    /// Without the query, as it was written: percent-encoded.
    pub path: String,
    /// The query as it was written.
    pub raw_query: String,
    /// Name and value, decoded, in the order in which they came.
    pub query: Vec<(String, String)>,
    /// As they came.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

impl Asked {
    pub(super) fn of(request: &Request<'_>) -> Asked {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let header = |header: &httparse::Header<'_>| {
            (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
        };
        Asked {
            method: request.method.to_ascii_uppercase(),
            path: path.to_owned(),
            raw_query: query.to_owned(),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
            headers: request.headers.iter().map(header).collect(),
            body: request.body.to_vec(),
        }
    }

    /// The first value of this name in the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of this header, in whatever case its name is written.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a [`Fault`] is about: `POST /path` with the body as its parameters; without a body, with the query.
    fn call(&self) -> Call {
        let params = if self.body.is_empty() { self.query.iter().cloned().collect() } else { self.json() };
        Call::plain(format!("{} {}", self.method, self.path), params)
    }
}

/// A running fake. Dropping it cuts all connections, ends all waits and joins all threads.
pub struct HttpFake<T> {
    server: Server,
    // Shared with the threads of the connections.
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    target: Mutex<T>,
    strikes: Strikes,
    asked: Mutex<Vec<Asked>>,
}

impl<T: Target> HttpFake<T> {
    /// Starts on `127.0.0.1:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start(port: u16, target: T) -> anyhow::Result<HttpFake<T>> {
        let target = Mutex::new(target);
        let shared = Arc::new(Shared { target, strikes: Strikes::default(), asked: Mutex::default() });
        let server = super::serve(port, |stopped| Counter { shared: Arc::clone(&shared), stopped })?;
        Ok(HttpFake { server, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The target itself. Nothing is answered while this is held.
    pub fn target(&self) -> MutexGuard<'_, T> {
        lock(&self.shared.target)
    }

    /// All requests so far, in order, those included that a fault has struck.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// Orders a fault. Its method is the request's with its path, such as `POST /api/tasks`; [`Fault::when`] looks
    /// further, and [`ANY_CALL`](super::ANY_CALL) is about every request.
    pub fn order(&self, fault: Fault) -> Order {
        self.shared.strikes.order(fault)
    }

    /// Takes one order back.
    pub fn clear(&self, order: &Order) {
        self.shared.strikes.clear(order);
    }

    /// Takes all orders back.
    pub fn clear_all(&self) {
        self.shared.strikes.clear_all();
    }

    /// Ends everything that hangs or is delayed by order at this moment.
    pub fn release(&self) {
        self.shared.strikes.release();
    }
}

/// Where requests arrive. It holds no lock during a wait, so that parallel requests overlap.
struct Counter<T> {
    shared: Arc<Shared<T>>,
    /// Closed when the fake goes.
    stopped: Receiver<()>,
}

impl<T: Target> Respond for Counter<T> {
    fn respond(&self, request: &Request<'_>) -> Reply {
        let asked = Asked::of(request);
        lock(&self.shared.asked).push(asked.clone());
        let answer = || Ok(lock(&self.shared.target).answer(&asked));
        let struck = self.shared.strikes.struck(Scope::Call, &asked.call(), &self.stopped, instead::<T>, answer);
        struck.map_or_else(Broken::into_http, Reply::Page)
    }
}

fn instead<T: Target>(what: What) -> Option<Page> {
    match what {
        What::Refuse { status, code, text } => Some(T::refusal(status, &code, &text)),
        What::Result(result) => Some(Page::new(200, "application/json", result.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::ANY_CALL;
    use super::*;
    use crate::http::{self, Answer, Http, Method, NoAnswer};
    use crate::tls::RootCertificates;

    /// Counts what is posted.
    #[derive(Default)]
    struct Tally(usize);

    impl Target for Tally {
        fn answer(&mut self, request: &Asked) -> Page {
            self.0 += usize::from(request.method == "POST");
            Page::new(200, "text/plain", format!("{} {:?}", request.path, request.query("q")))
        }

        fn refusal(status: u16, code: &str, text: &str) -> Page {
            Page::new(status, "text/plain", format!("{code}: {text}"))
        }
    }

    fn ask(fake: &HttpFake<Tally>, method: Method, path: &str) -> Result<Answer, NoAnswer> {
        let http = Http::new(Duration::from_secs(30), &RootCertificates::public());
        http.send(http::Request::new(method, &format!("http://{}{path}", fake.address())))
    }

    #[test]
    fn requests_are_answered_by_the_target_and_listed() {
        let fake = HttpFake::start(0, Tally::default()).expect("a free port");
        let answer = ask(&fake, Method::GET, "/a%20b?q=%D0%B4%D0%B0+1&r").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer.body), "/a%20b Some(\"да 1\")");
        let asked = fake.asked();
        assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].query("r")), (1, "GET", Some("")));
        assert!(asked[0].header("HOST").is_some());
    }

    #[test]
    fn a_fault_strikes_before_the_effect_or_after_it_in_the_targets_form() {
        let fake = HttpFake::start(0, Tally::default()).expect("a free port");
        fake.order(Fault::before("POST /x", What::refuse(422, "WRONG", "no")).times(1));
        let answer = ask(&fake, Method::POST, "/x").expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (422, &b"WRONG: no"[..]));
        assert_eq!(fake.target().0, 0);
        fake.order(Fault::after("POST /x", What::Close).times(1));
        assert!(matches!(ask(&fake, Method::POST, "/x"), Err(NoAnswer::Unknown(_))));
        assert_eq!(fake.target().0, 1);
        fake.order(Fault::before(ANY_CALL, What::refuse(503, "DOWN", "")));
        assert_eq!(ask(&fake, Method::GET, "/y").expect("an answer").status, 503);
        fake.clear_all();
        assert_eq!(ask(&fake, Method::GET, "/y").expect("an answer").status, 200);
    }
}
