//! The Bitrix24 of the soak: tasks, the people who finish them, and whatever ails it at the moment. Small and indexed,
//! since it has to last for hours. Knows nothing of queues or faults elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::random::Random;
use super::support::{Answer, Call, Portal, Reply, Request};

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";
/// Longer than the worker's `BITRIX_REQUEST_TIMEOUT`: it has given up by then.
const HANG: Duration = Duration::from_secs(3);
/// A create must be visible within `BITRIX_REQUEST_TIMEOUT` (2 s) of its request; the rest is for a busy machine.
const SLOWEST_MS: u64 = 900;

/// What ails the portal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Illness {
    Http500,
    Http502,
    Json500,
    Hang,
    Close,
    QueryLimit,
    OperationLimit,
    Overload,
    Unauthorized,
    Slow,
    HalfAfterCreate,
    HangAfterCreate,
    CloseAfterCreate,
    ResetAfterCreate,
    Error500AfterCreate,
}

impl Illness {
    pub const ALL: [Illness; 15] = [
        Illness::Http500,
        Illness::Http502,
        Illness::Json500,
        Illness::Hang,
        Illness::Close,
        Illness::QueryLimit,
        Illness::OperationLimit,
        Illness::Overload,
        Illness::Unauthorized,
        Illness::Slow,
        Illness::HalfAfterCreate,
        Illness::HangAfterCreate,
        Illness::CloseAfterCreate,
        Illness::ResetAfterCreate,
        Illness::Error500AfterCreate,
    ];

    /// How long the worker leaves such a portal alone.
    pub fn aftermath(self) -> Duration {
        match self {
            Illness::Overload => Duration::from_secs(330),
            Illness::OperationLimit => Duration::from_secs(75),
            _ => Duration::from_secs(20),
        }
    }

    /// Instead of carrying out the request.
    fn before(self, random: &mut Random) -> (Duration, Option<Reply>) {
        let refusal = |status, code: &str| Reply::Json(status, json!({"error": code, "error_description": "Ошибка"}));
        let (wait, reply) = match self {
            Illness::Http500 => (0, Reply::html(500, "<h1>Internal Server Error</h1>")),
            Illness::Http502 => (0, Reply::html(502, "<h1>Bad Gateway</h1>")),
            Illness::Json500 => (0, refusal(500, "INTERNAL_SERVER_ERROR")),
            Illness::Hang => (HANG.as_millis() as u64, Reply::Close),
            Illness::Close => (0, Reply::Close),
            Illness::QueryLimit => (0, refusal(503, "QUERY_LIMIT_EXCEEDED")),
            Illness::OperationLimit => (0, refusal(429, "OPERATION_TIME_LIMIT")),
            Illness::Overload => (0, refusal(503, "OVERLOAD_LIMIT")),
            Illness::Unauthorized => (0, refusal(401, "expired_token")),
            Illness::Slow => return (Duration::from_millis(random.below(SLOWEST_MS)), None),
            _ => return (Duration::ZERO, None),
        };
        (Duration::from_millis(wait), Some(reply))
    }

    /// Instead of the answer to a create that was carried out.
    fn after(self) -> Option<(Duration, Reply)> {
        match self {
            Illness::HalfAfterCreate => {
                Some((Duration::ZERO, Reply::Half(200, json!({"result": {"task": {"id": "1"}}}))))
            }
            Illness::HangAfterCreate => Some((HANG, Reply::Close)),
            Illness::CloseAfterCreate => Some((Duration::ZERO, Reply::Close)),
            Illness::ResetAfterCreate => Some((Duration::ZERO, Reply::Reset)),
            Illness::Error500AfterCreate => Some((Duration::ZERO, Reply::html(500, "<h1>Internal Server Error</h1>"))),
            _ => None,
        }
    }
}

/// Clones are the same portal.
#[derive(Clone)]
pub struct Target {
    state: Arc<Mutex<State>>,
}

struct State {
    begun: Instant,
    random: Random,
    /// What ails it, and how many of a hundred requests suffer.
    illness: Option<(Illness, u64)>,
    tasks: BTreeMap<u64, Row>,
    ids: HashMap<String, Vec<u64>>,
    open: Vec<u64>,
}

struct Row {
    marker: String,
    expected: bool,
    answer: Option<&'static str>,
    done: bool,
    created: Duration,
}

/// Far from the positions in a list.
const FIRST_ID: u64 = 1001;
/// One task in so many is never finished.
const LEFT_OPEN: u64 = 97;

impl Target {
    pub fn new(seed: u64) -> Target {
        let state = State {
            begun: Instant::now(),
            random: Random::of(seed),
            illness: None,
            tasks: BTreeMap::new(),
            ids: HashMap::new(),
            open: Vec::new(),
        };
        Target { state: Arc::new(Mutex::new(state)) }
    }

    /// The HTTP server before it.
    pub fn serve(&self) -> Portal {
        let (door, script) = (self.clone(), self.clone());
        Portal::forgetful(move |request| door.before(request), move |call| script.answer(call))
    }

    pub fn fall_ill(&self, illness: Illness, share: u64) {
        self.state().illness = Some((illness, share));
    }

    pub fn recover(&self) {
        self.state().illness = None;
    }

    pub fn has(&self, marker: &str) -> bool {
        self.state().ids.contains_key(marker)
    }

    pub fn created(&self) -> usize {
        self.state().tasks.len()
    }

    /// Somebody will finish so many tasks.
    pub fn open(&self) -> usize {
        self.state().open.len()
    }

    pub fn markers(&self) -> Vec<String> {
        self.state().tasks.values().map(|task| task.marker.clone()).collect()
    }

    pub fn finished(&self) -> Vec<String> {
        self.state().tasks.values().filter(|task| task.done).map(|task| task.marker.clone()).collect()
    }

    /// When each of the tasks with a marker that is there twice was created.
    pub fn doubled(&self) -> Vec<String> {
        let state = self.state();
        let twice = state.ids.iter().filter(|(_, ids)| ids.len() > 1);
        let told = twice.map(|(marker, ids)| {
            let times: Vec<String> =
                ids.iter().map(|id| format!("{:.3} s", state.tasks[id].created.as_secs_f32())).collect();
            format!("{marker} created at {}", times.join(" and "))
        });
        told.collect()
    }

    /// People finish so many of a hundred tasks that are open.
    pub fn work(&self, share: u64) {
        let state = &mut *self.state();
        let open = std::mem::take(&mut state.open);
        for id in open {
            let task = state.tasks.get_mut(&id).expect("tasks are never deleted");
            if id % LEFT_OPEN == 0 {
                continue;
            }
            if state.random.percent(share) {
                task.done = true;
                task.answer = Some(if id % 2 == 0 { "26" } else { "27" });
            } else {
                state.open.push(id);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, _: &Request) -> Option<Reply> {
        let (wait, reply) = {
            let state = &mut *self.state();
            let (illness, share) = state.illness?;
            if !state.random.percent(share) {
                return None;
            }
            illness.before(&mut state.random)
        };
        thread::sleep(wait);
        reply
    }

    fn answer(&self, call: &Call) -> Answer {
        let params = &call.params;
        match call.method.as_str() {
            "tasks.task.add" => {
                let (answer, ill) = {
                    let state = &mut *self.state();
                    let answer = state.add(&params["fields"]);
                    (answer, state.illness.filter(|(_, share)| state.random.percent(*share)))
                };
                // Whatever becomes of the answer, the task is there.
                let Some((wait, reply)) = ill.and_then(|(illness, _)| illness.after()) else { return answer };
                thread::sleep(wait);
                Answer::Http(reply)
            }
            "tasks.task.list" => self.state().list(&params["filter"]),
            "imena.camunda.sync" => Answer::Done(json!({"success": true})),
            "task.checklistitem.add" => Answer::Done(json!(1)),
            "imena.camunda.userfield.list" => Answer::Done(json!({"userFields": [
                {"FIELD_NAME": "UF_RESULT_ANSWER", "USER_TYPE_ID": "enumeration",
                 "ENUM_VALUES": [{"ID": "26", "VALUE": "ДА"}, {"ID": "27", "VALUE": "НЕТ"}]},
            ]})),
            _ => Answer::refused(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
        }
    }
}

impl State {
    fn add(&mut self, fields: &Value) -> Answer {
        let marker = text(&fields[MARKER]);
        if marker.starts_with("refused-") {
            return Answer::refused(400, "ERROR_CORE", "Не указан ответственный<br>");
        }
        let id = FIRST_ID + self.tasks.len() as u64;
        let expected = matches!(text(&fields["UF_RESULT_EXPECTED"]).as_str(), "Y" | "1");
        let row = Row { marker: marker.clone(), expected, answer: None, done: false, created: self.begun.elapsed() };
        self.tasks.insert(id, row);
        self.ids.entry(marker).or_default().push(id);
        self.open.push(id);
        Answer::Done(json!({"task": self.shown(id)}))
    }

    fn list(&self, filter: &Value) -> Answer {
        let ids: Vec<u64> = match (&filter[MARKER], &filter["ID"]) {
            (Value::Null, Value::Array(ids)) => ids.iter().filter_map(|id| text(id).parse().ok()).collect(),
            (marker, _) => self.ids.get(&text(marker)).cloned().unwrap_or_default(),
        };
        let known = ids.into_iter().filter(|id| self.tasks.contains_key(id));
        let rows: Vec<Value> = known.map(|id| self.shown(id)).collect();
        Answer::Page { result: json!({"tasks": rows}), total: Some(0), next: None }
    }

    fn shown(&self, id: u64) -> Value {
        let task = &self.tasks[&id];
        json!({
            "id": id.to_string(),
            "title": "Согласовать",
            "status": if task.done { "5" } else { "2" },
            "ufCamundaIdExternalTask": task.marker,
            "ufResultExpected": if task.expected { "1" } else { "0" },
            "ufResultAnswer": task.answer.map_or(json!(false), |answer| json!(answer)),
        })
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
