//! A scripted HTTP server as a fake of Bitrix24, where a test wants exact answers. It knows the webhook's ways
//! (methods, the form of a reply, `batch`); the script decides what a method does, see [`Tasks`](super::Tasks).
//!
//! The script is asked once for each *call*, plain or in a batch: the sandbox takes a `batch` apart and puts its
//! replies together. A test that has to answer a whole HTTP request puts a door before the script.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use task_creator::http::server::{self, After, Limits, Page, Respond, Server};
use task_creator::sandbox::{self, Batch, Refusal, half};

use super::gate::{Gate, let_go_when};
use super::http::{Reply, Request, drip, json_page};
use super::tasks::Tasks;
use super::wait::{PATIENCE, eventually_ok};

/// One call of a method, plain or from a batch.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub params: Value,
    /// Counts the calls of this method from 1.
    pub nth: usize,
    /// The number of the HTTP request that carried it.
    pub request: usize,
    pub batched: bool,
}

/// Whether this is the tracker's question for the tasks of its records.
pub fn is_sweep(call: &Call) -> bool {
    call.method == "tasks.task.list" && !call.params["filter"]["ID"].is_null()
}

/// The script's answer to a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this `result`.
    Done(Value),
    /// A page of a list, with `total` and `next` beside the result.
    Page { result: Value, total: Option<u64>, next: Option<u64> },
    /// An error by its status and code; inside a batch, an entry of `result_error`.
    Refused { status: u16, error: String, description: String },
    /// Any other fault of a request. In a batch it concerns the whole batch, after the commands that ran before.
    Http(Reply),
}

impl Answer {
    pub fn refused(status: u16, error: &str, description: &str) -> Answer {
        Answer::Refused { status, error: error.into(), description: description.into() }
    }
}

/// When a hanging reply ends by itself.
const LONGER_THAN_ANY_TEST: Duration = Duration::from_secs(3600);

type Script = dyn Fn(&Call) -> Answer + Send + Sync;
type Door = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// Ends with all its threads and connections when it is dropped.
pub struct Portal {
    shared: Arc<Shared>,
    server: Server,
}

/// Shared by the threads of the connections and the test.
struct Shared {
    script: Box<Script>,
    door: Box<Door>,
    log: Mutex<Log>,
    released: (Mutex<bool>, Condvar),
    over: Arc<AtomicBool>,
    /// The text before the JSON of each answer.
    preamble: Mutex<Vec<u8>>,
}

#[derive(Default)]
struct Log {
    admitted: usize,
    requests: Vec<Request>,
    calls: Vec<Call>,
    arrived: HashMap<String, usize>,
    replied: HashMap<String, usize>,
}

impl Portal {
    pub fn start(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Portal {
        Portal::behind(|_| None, script)
    }

    /// A portal that behaves.
    pub fn of(tasks: &Tasks) -> Portal {
        let tasks = tasks.clone();
        Portal::start(move |call| tasks.answer(call))
    }

    /// The same, but creates wait at the gate.
    pub fn holding_creates(tasks: &Tasks, gate: &Gate) -> Portal {
        let (tasks, gate) = (tasks.clone(), gate.clone());
        Portal::start(move |call| {
            if call.method == "tasks.task.add" {
                gate.wait();
            }
            tasks.answer(call)
        })
    }

    /// `door` sees every HTTP request first, and may answer it; `None` passes it on to the script.
    pub fn behind(
        door: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Portal {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            door: Box::new(door),
            log: Mutex::default(),
            released: (Mutex::new(false), Condvar::new()),
            over: Arc::default(),
            preamble: Mutex::default(),
        });
        let desk = Desk(shared.clone());
        let server = Server::start("portal", (Ipv4Addr::LOCALHOST, 0).into(), Limits::default(), |_| desk);
        Portal { shared, server: server.expect("loopback has a free port") }
    }

    /// The value of `BITRIX_WEBHOOK_URL`. A test can search the logs for its token.
    pub fn webhook(&self) -> String {
        format!("http://{}/rest/1/portal-canary-token", self.address())
    }

    /// From now on each answer has this text before its JSON.
    pub fn begin_answers_with(&self, preamble: impl Into<Vec<u8>>) {
        *self.shared.preamble.lock().unwrap_or_else(PoisonError::into_inner) = preamble.into();
    }

    /// The address, for a relay in front of the portal.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().requests.clone()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.log().calls.clone()
    }

    /// Calls of this method so far, plain and batched, answered or not. `batch` counts its HTTP requests.
    pub fn count(&self, method: &str) -> usize {
        self.shared.log().count(method)
    }

    /// How many calls so far are of this kind, plain and batched.
    pub fn count_of(&self, kind: impl Fn(&Call) -> bool) -> usize {
        self.shared.log().calls.iter().filter(|call| kind(call)).count()
    }

    /// Waits until so many calls of this kind have arrived.
    #[track_caller]
    pub fn await_count_of(&self, what: &str, count: usize, kind: impl Fn(&Call) -> bool) {
        eventually_ok(&format!("{count} times {what}"), PATIENCE, || match self.count_of(&kind) {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen} of {}", self.shared.log().summary())),
        });
    }

    /// Waits for the `nth` call of `method` to arrive, and returns it. Its answer may be under way, or stalled.
    #[track_caller]
    pub fn await_call(&self, method: &str, nth: usize, deadline: Duration) -> Call {
        eventually_ok(&format!("call {nth} of {method}"), deadline, || {
            let log = self.shared.log();
            let found = log.calls.iter().find(|call| call.method == method && call.nth == nth);
            found.cloned().ok_or_else(|| log.summary())
        })
    }

    /// Waits until the replies to `count` requests that held a call of `method` are written in full.
    #[track_caller]
    pub fn await_replies(&self, method: &str, count: usize, deadline: Duration) {
        eventually_ok(&format!("{count} replies to {method}"), deadline, || {
            let replied = self.shared.log().replied.get(method).copied().unwrap_or(0);
            if replied >= count { Ok(()) } else { Err(format!("{replied} replies")) }
        });
    }

    /// Ends every [`Reply::Hang`], now and later.
    pub fn release(&self) {
        self.shared.release();
    }
}

/// Ends the server with all its connections.
impl Drop for Portal {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.shared.release();
    }
}

/// Receives the requests.
struct Desk(Arc<Shared>);

impl Respond for Desk {
    fn respond(&self, request: &server::Request<'_>) -> server::Reply {
        let shared = self.0.clone();
        let_go_when(shared.over.clone());
        let mut request = Request::of(request);
        let calls_before = shared.admit(&mut request);
        let reply = shared.reply(&request);
        server::Reply::raw(move |stream| {
            let after = shared.write(stream, reply)?;
            if after == After::KeepAlive {
                shared.note_replied(request.number, calls_before);
            }
            Ok(after)
        })
    }
}

impl Log {
    fn count(&self, method: &str) -> usize {
        self.arrived.get(method).copied().unwrap_or(0)
    }

    fn summary(&self) -> String {
        let methods: Vec<&str> = self.calls.iter().map(|call| call.method.as_str()).collect();
        format!("{} calls: {}", methods.len(), methods.join(", "))
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) {
        *self.released.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.1.notify_all();
    }

    /// Ends early when the portal is released or dropped.
    fn wait_released(&self, longest: Duration) {
        let released = self.released.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.1.wait_timeout_while(released, longest, |released| !*released));
    }

    /// Numbers and records a request; returns how many calls came before its own.
    fn admit(&self, request: &mut Request) -> usize {
        let mut log = self.log();
        log.admitted += 1;
        request.number = log.admitted;
        log.requests.push(request.clone());
        log.calls.len()
    }

    /// Once for each method, however many of its calls the request held.
    fn note_replied(&self, request: usize, calls_before: usize) {
        let mut log = self.log();
        let own = log.calls[calls_before..].iter().filter(|call| call.request == request);
        let methods: BTreeSet<String> = own.map(|call| call.method.clone()).collect();
        for method in methods {
            *log.replied.entry(method).or_default() += 1;
        }
    }

    /// Recorded before the script runs, so that a test sees the call while its answer is delayed.
    fn record(&self, method: &str, params: Value, request: usize, batched: bool) -> Call {
        let mut log = self.log();
        let arrived = log.arrived.entry(method.to_string()).or_default();
        *arrived += 1;
        let nth = *arrived;
        let call = Call { method: method.to_string(), params, nth, request, batched };
        log.calls.push(call.clone());
        call
    }

    fn reply(&self, request: &Request) -> Reply {
        let call = self.record(&request.method, request.body.clone(), request.number, false);
        if let Some(reply) = (self.door)(request) {
            return reply;
        }
        let answer = if request.method == "batch" { self.batch(request) } else { (self.script)(&call) };
        match answer {
            Answer::Done(result) => done(result, None, None),
            Answer::Page { result, total, next } => done(result, total, next),
            Answer::Refused { status, error, description } => {
                Reply::Json(status, json!({"error": error, "error_description": description}))
            }
            Answer::Http(reply) => reply,
        }
    }

    fn batch(&self, request: &Request) -> Answer {
        let batch = Batch::read(request.content_type(), &request.query, &request.raw_body);
        let ran = batch.run(|command| {
            let call = self.record(&command.method, command.params.clone(), request.number, true);
            match (self.script)(&call) {
                Answer::Done(result) => Ok(Ok(result.into())),
                Answer::Page { result, total, next } => Ok(Ok(sandbox::Answer::page(result, total, next))),
                Answer::Refused { status, error, description } => Ok(Err(Refusal::new(status, error, description))),
                Answer::Http(reply) => Err(reply),
            }
        });
        ran.map_or_else(Answer::Http, |answer| Answer::Done(answer.result))
    }

    fn write(&self, mut stream: &TcpStream, reply: Reply) -> io::Result<After> {
        let page = match reply {
            Reply::Json(status, body) => {
                let mut answer = self.preamble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer.extend(body.to_string().into_bytes());
                json_page(status, answer)
            }
            Reply::Raw { status, content_type, body } => Page::new(status, content_type, body),
            Reply::WithHeaders { status, headers, body } => {
                headers.into_iter().fold(Page::new(status, "", body), |page, (name, value)| page.with(name, value))
            }
            Reply::Redirect(place) => Page::new(302, "", "").with("Location", place),
            Reply::Drip(body, pause) => return self.drip(stream, &json_page(200, body.to_string()), pause),
            Reply::Half(status, body) => return half(stream, &json_page(status, body.to_string())),
            Reply::Hang => {
                self.wait_released(LONGER_THAN_ANY_TEST);
                return Ok(After::Close);
            }
            Reply::Close => return Ok(After::Close),
            Reply::Reset => return Ok(After::Reset),
        };
        stream.write_all(&page.encode())?;
        Ok(After::KeepAlive)
    }

    fn drip(&self, mut stream: &TcpStream, page: &Page, pause: Duration) -> io::Result<After> {
        let whole = page.encode();
        let (head, body) = whole.split_at(whole.len() - page.body().len());
        stream.write_all(head)?;
        drip(stream, body, || {
            self.wait_released(pause);
            !self.over.load(Ordering::Relaxed)
        })?;
        Ok(After::KeepAlive)
    }
}

/// The form of a reply, as the portal writes it.
fn done(result: Value, total: Option<u64>, next: Option<u64>) -> Reply {
    let mut body = json!({"result": result, "time": {"start": 1.5, "finish": 1.75, "duration": 0.25}});
    if let Some(total) = total {
        body["total"] = json!(total);
    }
    if let Some(next) = next {
        body["next"] = json!(next);
    }
    Reply::Json(200, body)
}
