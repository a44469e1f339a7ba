//! A target that answers at once: it finds no task, creates every one, and agrees to every synchronisation. Replies are as
//! long as a portal's. It remembers nothing but how often it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Map, Value};

/// The members of a created task, without its id: about what a portal shows.
const TASK: &str = r#""accomplices":[],"action":{"accept":false,"complete":true,"edit":true,"remove":true},"addInReport":"N","allowChangeDeadline":"N","allowTimeTracking":"N","auditors":[],"changedDate":"2026-11-23T12:44:44+00:00","closedDate":null,"createdBy":"1","createdDate":"2026-11-23T12:44:44+00:00","creator":{"id":"1","link":"/company/personal/user/1/","name":"User 1"},"deadline":null,"description":null,"descriptionInBbcode":"Y","group":[],"groupId":"0","matchWorkTime":"N","parentId":null,"priority":"1","responsible":{"id":"1","link":"/company/personal/user/1/","name":"User 1"},"responsibleId":"1","stageId":"0","status":"2","tags":[],"taskControl":"N","title":"a task","xmlId":null"#;
const TIME: &str = r#"{"start":1795437884.1,"finish":1795437884.1,"duration":0.0004,"processing":0.0004,"date_start":"2026-11-23T12:44:44+00:00","date_finish":"2026-11-23T12:44:44+00:00","operating":0}"#;

/// The target; its threads end with the process.
pub struct Target {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    created: AtomicU64,
    synced: AtomicU64,
}

impl Target {
    /// Listens on a port of its own.
    pub fn start() -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = shared.clone();
                thread::spawn(move || serve(&stream, &counts));
            }
        });
        Target { port, counts }
    }

    /// What `BITRIX_WEBHOOK_URL` is to be.
    pub fn webhook_url(&self) -> String {
        format!("http://127.0.0.1:{}/rest/1/bench", self.port)
    }

    /// HTTP requests so far.
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Synchronisations so far.
    pub fn synced(&self) -> u64 {
        self.counts.synced.load(Ordering::Relaxed)
    }
}

fn serve(stream: &TcpStream, counts: &Counts) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some((method, body)) = request(&mut reader) {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let reply = format!(r#"{{"result":{},"time":{TIME}}}"#, counts.result(&method, &body));
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", reply.len());
        let mut stream = stream;
        if stream.write_all(&[head.as_bytes(), reply.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// The method and the body of the next request.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let method = line.split(' ').nth(1)?.rsplit('/').next()?.trim_end_matches(".json").to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, body))
}

impl Counts {
    fn result(&self, method: &str, body: &[u8]) -> String {
        match method {
            "batch" => self.batch(body),
            "tasks.task.list" => r#"{"tasks":[]}"#.into(),
            "tasks.task.add" => {
                let id = self.created.fetch_add(1, Ordering::Relaxed) + 1;
                format!(r#"{{"task":{{"id":"{id}",{TASK}}}}}"#)
            }
            "imena.camunda.sync" => {
                self.synced.fetch_add(1, Ordering::Relaxed);
                r#"{"success":true}"#.into()
            }
            "task.item.userfield.getlist" => r#"[{"FIELD_NAME":"UF_CAMUNDA_ID_EXTERNAL_TASK"}]"#.into(),
            _ => "[]".into(),
        }
    }

    fn batch(&self, body: &[u8]) -> String {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let none = Map::new();
        let (mut results, mut times) = (String::new(), String::new());
        for (key, command) in body["cmd"].as_object().unwrap_or(&none) {
            let separator = if results.is_empty() { "" } else { "," };
            let method = command.as_str().and_then(|command| command.split('?').next()).unwrap_or_default();
            results += &format!(r#"{separator}"{key}":{}"#, self.result(method, &[]));
            times += &format!(r#"{separator}"{key}":{TIME}"#);
        }
        format!(
            r#"{{"result":{{{results}}},"result_error":[],"result_total":[],"result_next":[],"result_time":{{{times}}}}}"#
        )
    }
}
