//! The account: where every published task is now, and whether anything was lost or doubled. It judges by queues and
//! markers only, never by a log line or a counter of the worker.
//!
//! ```text
//! published = waiting ∪ sent ∪ responses ∪ parked      nothing is lost
//! no marker twice in the target                        nothing is created twice
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::broker::Message;
use super::queues::Queues;

/// A record whose task is at the target may be parked only for a cause that arises after the create.
const CAUSES_AFTER_CREATE: [&str; 3] = ["TASK_FAILED", "TASK_NOT_FOUND", "MESSAGE_TOO_LARGE"];

/// The bridge acknowledges and drops a response with any other status: it would be lost.
const STATUSES_THE_BRIDGE_TAKES: [&str; 2] = ["completed", "completed_by_tracker"];

const STATUSES_OF_SENT_RECORDS: [&str; 1] = ["success"];

/// Members without which nobody can work off the error queue.
const PARKED_MEMBERS: [&str; 3] = ["error_type", "error_message", "source_queue"];

/// A snapshot. Take it when the worker has stopped or is idle on all queues: reading takes the messages for a moment.
pub struct Audit {
    /// Task id to the published body; the last one, when an id was published twice.
    published: BTreeMap<String, String>,
    /// Published bodies without a task id; only the error queue can hold them.
    nameless: Vec<String>,
    waiting: Vec<String>,
    sent: Vec<Record>,
    responses: Vec<Record>,
    parked: Vec<Record>,
    target: Vec<String>,
    finished: Option<Vec<String>>,
    faults: usize,
    may_wait: Option<String>,
}

/// The contents of a message in an output queue.
struct Record {
    /// `None` for a parked body without a task id.
    task_id: Option<String>,
    body: Value,
    /// Exactly as it stands in the record, character by character.
    original: String,
}

impl Audit {
    /// Reads all queues of the test and leaves them unchanged. `markers` is the multiset of the target's.
    pub fn take(queues: &Queues, markers: Vec<String>) -> Audit {
        let mut audit = Audit {
            published: BTreeMap::new(),
            nameless: Vec::new(),
            waiting: Vec::new(),
            sent: records(queues, &queues.sent()),
            responses: records(queues, &queues.responses()),
            parked: records(queues, &queues.errors()),
            target: markers,
            finished: None,
            faults: 0,
            may_wait: None,
        };
        for body in queues.published() {
            let text = String::from_utf8_lossy(&body).into_owned();
            match task_id_of(&serde_json::from_slice(&body).unwrap_or(Value::Null)) {
                Some(task_id) => drop(audit.published.insert(task_id, text)),
                None => audit.nameless.push(compact(&text)),
            }
        }
        for queue in [queues.input(), queues.retry()] {
            let messages = queues.peek_all(&queue);
            audit.waiting.extend(messages.iter().map(|message| named_or(task_id_of(&message.json()))));
        }
        audit
    }

    /// The number of injected kills and cuts; each may double one record in the sent and one in the responses queue.
    pub fn after_faults(mut self, faults: usize) -> Audit {
        self.faults = faults;
        self
    }

    /// Compares the responses with the tasks that the target has finished; after a full sweep of the tracker.
    pub fn with_finished(mut self, markers: Vec<String>) -> Audit {
        self.finished = Some(markers);
        self
    }

    /// Messages may still be waiting, for this reason.
    pub fn may_wait(mut self, because: impl Display) -> Audit {
        self.may_wait = Some(because.to_string());
        self
    }

    /// Prints the equation, and panics with every rule that is broken.
    #[track_caller]
    pub fn assert_holds(&self) {
        println!("{}", self.equation());
        let broken = self.broken_rules();
        assert!(broken.is_empty(), "the account does not hold\n  {}\n  {}", self.equation(), broken.join("\n  "));
    }

    pub fn equation(&self) -> String {
        let finished = self.finished.as_ref().map_or("-".into(), |finished| finished.len().to_string());
        format!(
            "published {} (+{} nameless) = waiting {} ∪ sent {} ∪ responses {} ∪ parked {}; \
             target {} of them finished {}; {} faults",
            self.published.len(),
            self.nameless.len(),
            self.waiting.len(),
            self.sent.len(),
            self.responses.len(),
            self.parked.len(),
            self.target.len(),
            finished,
            self.faults,
        )
    }

    /// How many of these come more than once.
    pub fn doubled(&self) -> String {
        let repeats = |records: &[Record]| repeated(records.iter().map(Record::name)).len();
        format!(
            "doubled: created {}, recorded {}, answered {}, parked {}",
            repeated(self.target.iter().cloned()).len(),
            repeats(&self.sent),
            repeats(&self.responses),
            repeated(self.parked.iter().filter(|record| record.task_id.is_some()).map(Record::name)).len(),
        )
    }

    /// One line for each broken rule of the account.
    pub fn broken_rules(&self) -> Vec<String> {
        let mut broken = Broken(Vec::new());
        self.check_nothing_is_lost(&mut broken);
        self.check_nothing_is_doubled(&mut broken);
        self.check_the_target(&mut broken);
        self.check_records(&mut broken);
        broken.0
    }

    fn check_nothing_is_lost(&self, broken: &mut Broken) {
        let published: BTreeSet<String> = self.published.keys().cloned().collect();
        let outputs = [&self.sent, &self.responses, &self.parked].map(|records| task_ids(records));
        let waiting: BTreeSet<String> = self.waiting.iter().cloned().collect();
        let mut found: BTreeSet<String> = outputs.into_iter().flatten().chain(waiting).collect();
        let nameless_waiting = found.remove(NAMELESS);
        broken.unless_empty("lost: published, and in no queue", published.difference(&found));
        broken.unless_empty("in a queue, and never published", found.difference(&published));
        if self.may_wait.is_none() {
            broken.unless_empty("still waiting", &self.waiting);
        }
        if !nameless_waiting {
            self.check_nameless(broken);
        }
    }

    /// A body without a task id is identified by itself.
    fn check_nameless(&self, broken: &mut Broken) {
        let parked = counted(self.parked.iter().filter(|record| record.task_id.is_none()).map(Record::bytes));
        let published = counted(self.nameless.iter().cloned());
        let lost = published.iter().filter(|(body, count)| parked.get(*body).is_none_or(|parked| parked < *count));
        broken.unless_empty("lost: bodies without a task id", lost.map(|(body, _)| body));
        let unknown = parked.keys().filter(|body| !published.contains_key(*body));
        broken.unless_empty("parked, and never published: bodies without a task id", unknown);
        let doubled = parked.values().sum::<usize>().saturating_sub(self.nameless.len());
        if doubled > self.faults {
            broken.add("more doubled bodies without a task id than faults", doubled);
        }
    }

    fn check_nothing_is_doubled(&self, broken: &mut Broken) {
        broken.unless_empty("created twice in the target", repeated(self.target.iter().cloned()));
        for (queue, records) in [("sent", &self.sent), ("responses", &self.responses)] {
            let repeats = repeated(records.iter().map(Record::name));
            if repeats.len() > self.faults {
                broken.add(&format!("more doubled records in {queue} than faults"), repeats.join(", "));
            }
        }
    }

    fn check_the_target(&self, broken: &mut Broken) {
        let target: BTreeSet<String> = self.target.iter().cloned().collect();
        let (sent, responses) = (task_ids(&self.sent), task_ids(&self.responses));
        broken.unless_empty("in the sent queue, and not in the target", sent.difference(&target));
        broken.unless_empty("answered, and not in the target", responses.difference(&target));
        let parked_early = self.parked.iter().filter(|record| {
            let cause = record.body["error_type"].as_str().unwrap_or_default();
            target.contains(&record.name()) && !CAUSES_AFTER_CREATE.contains(&cause)
        });
        broken.unless_empty("parked as failed, and yet in the target", parked_early.map(Record::name));
        if let Some(finished) = &self.finished {
            let finished: BTreeSet<String> = finished.iter().cloned().collect();
            broken.unless_empty("finished in the target, and not answered", finished.difference(&responses));
            broken.unless_empty("answered, and not finished in the target", responses.difference(&finished));
        }
    }

    fn check_records(&self, broken: &mut Broken) {
        let wrong_status = |records: &[Record], right: &[&str]| -> Vec<String> {
            let wrong = records.iter().filter(|record| {
                !record.body["processing_status"].as_str().is_some_and(|status| right.contains(&status))
            });
            wrong.map(|record| format!("{} {}", record.name(), record.body["processing_status"])).collect()
        };
        broken.unless_empty("sent with a wrong status", wrong_status(&self.sent, &STATUSES_OF_SENT_RECORDS));
        broken.unless_empty("answers that the bridge drops", wrong_status(&self.responses, &STATUSES_THE_BRIDGE_TAKES));
        let incomplete = self.parked.iter().filter(|record| {
            PARKED_MEMBERS.iter().any(|member| record.body[*member].as_str().is_none_or(str::is_empty))
        });
        broken.unless_empty("parked without saying why", incomplete.map(Record::name));
        for record in [&self.sent, &self.responses, &self.parked].into_iter().flatten() {
            let Some(published) = record.task_id.as_ref().and_then(|task_id| self.published.get(task_id)) else {
                continue;
            };
            if compact(&record.original) != compact(published) {
                let went_in = compact(published);
                broken.add("original_message changed", format!("\n    in:  {went_in}\n    out: {}", record.original));
            }
        }
    }
}

/// Collects one line for each broken rule.
struct Broken(Vec<String>);

impl Broken {
    fn add(&mut self, rule: &str, seen: impl Display) {
        self.0.push(format!("{rule}: {seen}"));
    }

    /// A long list is cut: the first few names are enough to look into it.
    fn unless_empty(&mut self, rule: &str, names: impl IntoIterator<Item = impl Display>) {
        let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        if !names.is_empty() {
            let shown = names.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
            self.add(rule, format!("{} ({shown})", names.len()));
        }
    }
}

const NAMELESS: &str = "(no task id)";

impl Record {
    fn name(&self) -> String {
        named_or(self.task_id.clone())
    }

    /// The parked body: the JSON, else the bytes.
    fn bytes(&self) -> String {
        match self.body["original_body_base64"].as_str().map(|text| STANDARD.decode(text)) {
            Some(Ok(bytes)) => compact(&String::from_utf8_lossy(&bytes)),
            Some(Err(_)) | None => compact(&self.original),
        }
    }

    fn read(message: &Message) -> Record {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&message.body).unwrap_or_default();
        let original = members.get("original_message").map_or("", |raw| raw.get()).to_string();
        let body = message.json();
        Record { task_id: task_id_of(&body["original_message"]), body, original }
    }
}

fn records(queues: &Queues, queue: &str) -> Vec<Record> {
    queues.peek_all(queue).iter().map(Record::read).collect()
}

fn task_ids(records: &[Record]) -> BTreeSet<String> {
    records.iter().filter_map(|record| record.task_id.clone()).collect()
}

fn task_id_of(message: &Value) -> Option<String> {
    message["task_id"].as_str().filter(|task_id| !task_id.trim().is_empty()).map(str::to_string)
}

fn named_or(task_id: Option<String>) -> String {
    task_id.unwrap_or_else(|| NAMELESS.to_string())
}

/// Each name once for every time that it comes too often.
fn repeated(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(name.clone())).collect()
}

fn counted(bodies: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    bodies.for_each(|body| *counted.entry(body).or_default() += 1);
    counted
}

/// JSON text without the white space between its tokens, which is no part of the message; everything else stays.
fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let kept = json.chars().filter(|letter| {
        let keep = inside || !letter.is_ascii_whitespace();
        match letter {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && *letter == '\\' && !escaped;
        keep
    });
    kept.collect()
}
