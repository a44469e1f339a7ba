//! A portal that answers at once, for benchmarks: it finds no task, creates every one, and agrees to every
//! synchronisation. Replies are as long as a portal's. It remembers only how often it was asked, and knows no token, no
//! fault and no limit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Counts, webhook_url};
use crate::http::server::{Page, Reply, Request, Respond, Server};

/// The members of a created task, without its id: about as many as a portal shows.
const TASK: &str = r#""accomplices":[],"action":{"accept":false,"complete":true,"edit":true,"remove":true},"addInReport":"N","allowChangeDeadline":"N","allowTimeTracking":"N","auditors":[],"changedDate":"2026-11-23T12:44:44+00:00","closedDate":null,"createdBy":"1","createdDate":"2026-11-23T12:44:44+00:00","creator":{"id":"1","link":"/company/personal/user/1/","name":"User 1"},"deadline":null,"description":null,"descriptionInBbcode":"Y","group":[],"groupId":"0","matchWorkTime":"N","parentId":null,"priority":"1","responsible":{"id":"1","link":"/company/personal/user/1/","name":"User 1"},"responsibleId":"1","stageId":"0","status":"2","tags":[],"taskControl":"N","title":"a task","xmlId":null"#;
const TIME: &str = r#"{"start":1795437884,"finish":1795437884.1,"duration":0.1,"processing":0.0004,"date_start":"2026-11-23T12:44:44+00:00","date_finish":"2026-11-23T12:44:44+00:00","operating":0}"#;

/// The methods whose calls are counted.
const COUNTED: [&str; 4] = ["batch", SYNC, "tasks.task.add", "tasks.task.list"];
const SYNC: &str = "imena.camunda.sync";

/// A running portal without a memory. It ends as a [`Sandbox`](super::Sandbox) does.
pub struct Forgetful {
    server: Server,
    // Shared with the threads of the connections.
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    calls: [AtomicU64; COUNTED.len()],
    last_id: AtomicU64,
}

impl Forgetful {
    /// Starts on `127.0.0.1:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start(port: u16) -> anyhow::Result<Forgetful> {
        let tally = Arc::new(Tally::default());
        let server = super::serve(port, |_| Desk(Arc::clone(&tally)))?;
        Ok(Forgetful { server, tally })
    }

    /// The address for `BITRIX_WEBHOOK_URL`.
    pub fn webhook_url(&self) -> String {
        webhook_url(self.server.address())
    }

    /// What has been asked so far; only frequent methods are counted.
    pub fn counts(&self) -> Counts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let calls: BTreeMap<String, u64> =
            COUNTED.iter().zip(&self.tally.calls).map(|(name, calls)| ((*name).to_owned(), count(calls))).collect();
        Counts { requests: count(&self.tally.requests), refused: 0, syncs: calls[SYNC], calls }
    }
}

struct Desk(Arc<Tally>);

impl Respond for Desk {
    fn respond(&self, request: &Request<'_>) -> Reply {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let path = request.target.split('?').next().unwrap_or_default();
        let method = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        let mut body = String::from(r#"{"result":"#);
        if method == "batch" {
            self.0.run(request.body, &mut body)
        } else {
            self.0.call(method, &mut body)
        }
        body.extend([r#","time":"#, TIME, "}"]);
        Reply::Page(Page::new(200, "application/json; charset=utf-8", body))
    }
}

impl Tally {
    fn count(&self, method: &str) {
        if let Some(number) = COUNTED.iter().position(|known| *known == method) {
            self.calls[number].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the result of one call.
    fn call(&self, method: &str, reply: &mut String) {
        self.count(method);
        let fixed = match method {
            "tasks.task.list" => r#"{"tasks":[]}"#,
            SYNC => r#"{"success":true}"#,
            "task.item.userfield.getlist" => {
                r#"[{"FIELD_NAME":"UF_CAMUNDA_ID_EXTERNAL_TASK","USER_TYPE_ID":"string"}]"#
            }
            "profile" | "user.current" => r#"{"ID":"1","ADMIN":true,"ACTIVE":true}"#,
            "user.get" => r#"[{"ID":"1","ACTIVE":true}]"#,
            "user.admin" => "true",
            "scope" => r#"["task","user"]"#,
            "method.get" => r#"{"isExisting":true,"isAvailable":true}"#,
            "tasks.task.add" | "task.checklistitem.add" => {
                let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                let id = id.to_string();
                let task = method == "tasks.task.add";
                return if task { reply.extend([r#"{"task":{"id":""#, &id, "\",", TASK, "}}"]) } else { *reply += &id };
            }
            _ => "[]",
        };
        reply.push_str(fixed);
    }

    /// Writes the result of a batch.
    fn run(&self, body: &[u8], reply: &mut String) {
        self.count("batch");
        let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
        let mut times = String::new();
        reply.push_str(r#"{"result":{"#);
        for (number, (Text(key), Text(command))) in body.cmd.0.iter().enumerate() {
            let separator = if number == 0 { "\"" } else { ",\"" };
            reply.extend([separator, key, "\":"]);
            self.call(command.split('?').next().unwrap_or_default(), reply);
            times.extend([separator, key, "\":", TIME]);
        }
        let empty = r#"},"result_error":[],"result_total":[],"result_next":[],"result_time":{"#;
        reply.extend([empty, &times, "}}"]);
    }
}

/// A batch's body; nothing of it is copied.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    cmd: Commands<'a>,
}

#[derive(Default)]
struct Commands<'a>(Vec<(Text<'a>, Text<'a>)>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Commands<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Commands<'a>, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Commands<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("commands by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commands<'de>, A::Error> {
        let mut commands = Vec::new();
        while let Some(entry) = map.next_entry()? {
            commands.push(entry);
        }
        Ok(Commands(commands))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ask(desk: &Desk, method: &str, body: &Value) -> Value {
        let target = format!("/rest/1/token/{method}");
        let body = body.to_string();
        let request = Request { method: "POST", target: &target, headers: &[], body: body.as_bytes() };
        let Reply::Page(page) = desk.respond(&request) else { panic!("an answer") };
        serde_json::from_slice(page.body()).expect("JSON")
    }

    #[test]
    fn everything_is_created_and_nothing_found() {
        let desk = Desk(Arc::default());
        let cmd = json!({"b": "tasks.task.add?fields[TITLE]=t", "a": "imena.camunda.sync", "c": "tasks.task.list"});
        let reply = &ask(&desk, "batch", &json!({"halt": 0, "cmd": cmd}))["result"];
        assert_eq!(reply["result"]["a"]["success"], true);
        assert_eq!(reply["result"]["b"]["task"]["id"], "1");
        assert_eq!(reply["result"]["c"]["tasks"], json!([]));
        assert_eq!(
            (&reply["result_error"], reply["result_time"].as_object().map_or(0, |map| map.len())),
            (&json!([]), 3)
        );
        assert_eq!(ask(&desk, "tasks.task.add.json", &json!({}))["result"]["task"]["id"], "2");
        assert_eq!(desk.0.calls.each_ref().map(|calls| calls.load(Ordering::Relaxed)), [1, 1, 2, 1]);
        assert_eq!(desk.0.requests.load(Ordering::Relaxed), 2);
    }
}
