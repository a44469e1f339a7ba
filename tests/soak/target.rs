//! The Bitrix24 of the soak: a sandbox, the simulated users who finish its tasks, and its current illness. It knows
//! nothing about queues or other faults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use task_creator::sandbox::{
    ANY_REQUEST, Call, ChecklistItem, CustomFields, Fault, Limits, Order, Sandbox, SandboxTask, What,
};

use super::random::Random;

const ADD: &str = "tasks.task.add";
const CHECKLIST: &str = "task.checklistitem.add";
/// The lists and lines of a message in the bridge's form, in the order in which people should see them.
const CHECKLISTS: &str = "Документы: Устав, Доверенность; Сроки: Оплата до 30 дней";
/// Longer than the worker's `BITRIX_REQUEST_TIMEOUT`: it has given up by then.
const HANG: Duration = Duration::from_secs(3);
/// A create must be visible within `BITRIX_REQUEST_TIMEOUT` (2 s) of its request; the rest is for a busy machine.
const SLOW_MS: [u64; 3] = [150, 450, 900];

/// The portal's illnesses.
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
    /// An error that says nothing about the task, which exists.
    UnknownAdd,
    /// The custom fields are written long after the task, and the answer is lost.
    LateMarker,
    /// The custom fields are never written, and the answer is lost.
    MarkerNever,
    /// In a batch: the error of another command, whatever the command's own outcome is.
    StaleError,
    /// The webhook's owner is no administrator: a task for another user is answered with nothing.
    Invisible,
    /// A list or a line is added, and the answer is lost.
    CloseAfterChecklist,
}

impl Illness {
    pub const ALL: [Illness; 21] = [
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
        Illness::UnknownAdd,
        Illness::LateMarker,
        Illness::MarkerNever,
        Illness::StaleError,
        Illness::Invisible,
        Illness::CloseAfterChecklist,
    ];

    /// How long the worker leaves such a portal alone.
    pub fn aftermath(self) -> Duration {
        match self {
            Illness::Overload => Duration::from_secs(330),
            Illness::OperationLimit => Duration::from_secs(75),
            _ => Duration::from_secs(20),
        }
    }

    fn faults(self) -> Vec<Fault> {
        let before = |what| vec![Fault::before(ANY_REQUEST, what)];
        let after_create = |what| vec![Fault::after(ADD, what)];
        let refused = |status, code| What::refuse(status, code, "Ошибка");
        match self {
            Illness::Http500 => before(What::html(500, "<h1>Internal Server Error</h1>")),
            Illness::Http502 => before(What::html(502, "<h1>Bad Gateway</h1>")),
            Illness::Json500 => before(refused(500, "INTERNAL_SERVER_ERROR")),
            Illness::Hang => before(What::Hang(Some(HANG))),
            Illness::Close => before(What::Close),
            Illness::QueryLimit => before(refused(503, "QUERY_LIMIT_EXCEEDED")),
            Illness::OperationLimit => before(refused(429, "OPERATION_TIME_LIMIT")),
            Illness::Overload => before(refused(401, "OVERLOAD_LIMIT")),
            Illness::Unauthorized => before(refused(401, "expired_token")),
            Illness::Slow => {
                SLOW_MS.map(|ms| Fault::before(ANY_REQUEST, What::Delay(Duration::from_millis(ms)))).into()
            }
            Illness::HalfAfterCreate => after_create(What::Half),
            Illness::HangAfterCreate => after_create(What::Hang(Some(HANG))),
            Illness::CloseAfterCreate | Illness::LateMarker | Illness::MarkerNever => after_create(What::Close),
            Illness::ResetAfterCreate => after_create(What::Reset),
            Illness::Error500AfterCreate => after_create(What::html(500, "<h1>Internal Server Error</h1>")),
            Illness::UnknownAdd => after_create(refused(400, "ERROR_UNKNOWN_ADD_TASK_ERROR")),
            Illness::StaleError => vec![Fault::before(ADD, refused(400, "ERROR_CORE"))],
            Illness::Invisible => Vec::new(),
            Illness::CloseAfterChecklist => vec![Fault::after(CHECKLIST, What::Close)],
        }
    }

    fn custom_fields(self) -> CustomFields {
        match self {
            // They are still missing when the worker looks again.
            Illness::LateMarker => CustomFields::After(2 * HANG),
            Illness::MarkerNever => CustomFields::Never,
            _ => CustomFields::AtOnce,
        }
    }
}

/// A running portal.
pub struct Target {
    sandbox: Sandbox,
    started: SystemTime,
    state: Mutex<State>,
}

struct State {
    random: Random,
    ills: Vec<Order>,
    /// Tasks that a simulated user will finish, as far as they have been noticed.
    open: Vec<u64>,
    newest: u64,
}

/// One task in this many is never finished.
const LEFT_OPEN: u64 = 97;

impl Target {
    pub fn start(seed: u64) -> Target {
        let sandbox = Sandbox::start(0, Limits::default()).expect("loopback has a free port");
        let refused = What::refuse(400, "ERROR_CORE", "Не указан ответственный<br>");
        sandbox.order(Fault::before(ADD, refused).when(is_hopeless));
        let state = State { random: Random::of(seed), ills: Vec::new(), open: Vec::new(), newest: 0 };
        Target { sandbox, started: SystemTime::now(), state: Mutex::new(state) }
    }

    /// The address, for a relay in front of it.
    pub fn address(&self) -> SocketAddr {
        self.sandbox.address()
    }

    /// The share of requests, or of the creates in them, that the illness strikes.
    pub fn fall_ill(&self, illness: Illness, share: u64) {
        let state = &mut *self.state();
        let faults = illness.faults();
        let share = share / faults.len().max(1) as u64;
        for fault in faults {
            let mut random = Random::of(state.random.below(u64::MAX));
            let suffers = move |call: &Call| {
                let spared = illness == Illness::StaleError && !call.batched;
                !spared && random.percent(share)
            };
            state.ills.push(self.sandbox.order(fault.when(suffers)));
        }
        self.sandbox.change(|rules| {
            rules.custom_fields = illness.custom_fields();
            rules.owner_is_admin = illness != Illness::Invisible;
        });
    }

    pub fn recover(&self) {
        self.state().ills.drain(..).for_each(|order| self.sandbox.clear(&order));
        self.sandbox.change(|rules| {
            rules.custom_fields = CustomFields::AtOnce;
            rules.owner_is_admin = true;
        });
    }

    pub fn has(&self, marker: &str) -> bool {
        !self.sandbox.ids_of(marker).is_empty()
    }

    pub fn created(&self) -> usize {
        self.sandbox.task_count()
    }

    /// How many tasks will be finished.
    pub fn open(&self) -> usize {
        let state = &mut *self.state();
        self.notice(state);
        state.open.len()
    }

    pub fn markers(&self) -> Vec<String> {
        self.sandbox.tasks().into_iter().filter_map(|task| task.marker).collect()
    }

    pub fn finished(&self) -> Vec<String> {
        let tasks = self.sandbox.tasks().into_iter();
        tasks.filter(|task| task.status == 5).filter_map(|task| task.marker).collect()
    }

    /// When each task was created whose marker comes twice.
    pub fn doubled(&self) -> Vec<String> {
        let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for task in self.sandbox.tasks() {
            let after = task.created.duration_since(self.started).unwrap_or_default();
            times.entry(task.marker.unwrap_or_default()).or_default().push(format!("{:.3} s", after.as_secs_f32()));
        }
        let twice = times.into_iter().filter(|(_, times)| times.len() > 1);
        twice.map(|(marker, times)| format!("{marker} created at {}", times.join(" and "))).collect()
    }

    /// Tasks whose checklists are neither complete and in order, nor absent from their message.
    pub fn half_done(&self, has_checklists: impl Fn(&str) -> bool, is_parked: impl Fn(&str) -> bool) -> Vec<String> {
        let wrong = |task: SandboxTask| {
            let marker = task.marker.clone().filter(|marker| !is_parked(marker))?;
            let (wanted, seen) = (if has_checklists(&marker) { CHECKLISTS } else { "" }, checklists(&task));
            (wanted != seen).then(|| format!("{marker} has the checklists {seen:?}"))
        };
        self.sandbox.tasks().into_iter().filter_map(wrong).collect()
    }

    /// Simulated users finish this share of the open tasks.
    pub fn work(&self, share: u64) {
        let state = &mut *self.state();
        self.notice(state);
        for id in std::mem::take(&mut state.open) {
            if id % LEFT_OPEN == 0 {
                continue;
            }
            if state.random.percent(share) {
                let finished = self.sandbox.finish(id, 5, Some(if id % 2 == 0 { "ДА" } else { "НЕТ" }));
                assert!(finished, "tasks are never deleted");
            } else {
                state.open.push(id);
            }
        }
    }

    fn notice(&self, state: &mut State) {
        for task in self.sandbox.tasks_after(state.newest) {
            state.newest = task.id;
            state.open.push(task.id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As people read them.
fn checklists(task: &SandboxTask) -> String {
    let under = |parent: u64| {
        let mut items: Vec<&ChecklistItem> = task.checklist.iter().filter(|item| item.parent == parent).collect();
        items.sort_by_key(|item| (item.sort_index, item.id));
        items
    };
    let titles =
        |list: &ChecklistItem| under(list.id).iter().map(|item| item.title.clone()).collect::<Vec<_>>().join(", ");
    let lists: Vec<String> = under(0).iter().map(|list| format!("{}: {}", list.title, titles(list))).collect();
    lists.join("; ")
}

/// Some tasks are always refused.
fn is_hopeless(call: &Call) -> bool {
    let marker = call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"].as_str();
    marker.is_some_and(|marker| marker.starts_with("refused-"))
}
