//! Task Creator: closes the loop between Camunda 7 and the systems where people do the work.
//!
//! ```text
//!                        reader "bitrix24" (select! loop)             pool "bitrix24/1..N"             target
//!  bitrix24.queue ──deliveries──▶ ledger ── jobs ══════════════════▶ find, else create ─▶ Handler ─▶ Bitrix24
//!  bitrix24.retry.queue ─────────▶ │  ◀════════════════════ results ════┘
//!         ▲                        ├─ publish ─▶ bitrix24.sent.queue      (mandatory, confirmed, pipelined)
//!         │                        ├─ finished at once: publish ─▶ camunda.responses.queue
//!         │                        ├─ another system's: publish ─▶ that system's queue
//!         │                        ├─ confirmed: follow-up job ═══════▶ checklists, process sync ─────▶ Bitrix24
//!         └──── ack ───────────────┘  (failures: retry queue or error queue, confirmed, then ack)
//!
//!                        tracker "bitrix24/tracker"
//!  bitrix24.sent.queue ──sweep──▶ Tracker ──HTTP, many tasks a request──▶ Bitrix24
//!         ▲                         │ finished: publish ─▶ camunda.responses.queue, confirmed, ack, then `answered`
//!         └──────── the rest is requeued, once, at the end of the sweep
//! ```
//!
//! For every system that is switched on there is a **lane**: one reader thread on the system's queues, a pool of
//! handler threads, and a tracker thread on its sent queue. Lanes share nothing but settings. No async runtime.
//!
//! # Reading order
//! 1. [`message`] – the messages that come in, wait between, and go out.
//! 2. [`systems`] – what a system must be able to do. [`systems::create`] is the rule by which each creates its tasks,
//!    [`systems::table`] lists the systems and reads the settings of the whole program, [`systems::routing`] knows
//!    which system a message belongs to. [`systems::bitrix24`] is the worked example, [`systems::default`] takes what
//!    belongs to no other, [`systems::http_jobs`] is written once for all systems that post their tasks to a service.
//! 3. [`lane`] – [`lane::session`] has every reason for which a reader wakes up, [`lane::state`] all that it decides.
//!    [`lane::ledger`] knows what is under way, [`lane::breaker`] what a failure leads to. [`lane::tracking`] is the
//!    sweep and the way back to Camunda, with `lane/listening.rs` for targets that tell by themselves;
//!    [`lane::control`] what may be asked of a lane from outside.
//! 4. [`rabbitmq`] – the only folder that names amiquip; [`http`] – the one door to HTTP, and the one server.
//! 5. [`incidents`] – reports parked tasks to Camunda's engine, if that is set; [`camunda`] speaks to it.
//! 6. [`worker`] – starts a lane for every system that is on; [`settings`] – how settings are read, [`config`] – the
//!    settings that all systems share, [`queues`] – the names of the queues; [`logging`], [`redact`], [`tls`],
//!    [`dial`], [`stats`], [`stop`], [`backoff`]; [`supervisor`] tells systemd how the worker is.
//! 7. [`parked`] – what can be done with parked messages, [`trace`] says where one task is, [`reconcile`] which
//!    processes nobody works on: each for the command line and for the monitor.
//! 8. [`monitor`] – what an operator sees and does from outside: [`monitor::hub`] holds a handle to every lane,
//!    [`monitor::routes`] has every route of the API in one table, [`monitor::access`] says who may ask.
//! 9. [`commands`] – the command line, a file or folder for each command; [`report`], [`terminal`] and [`nearest`] form
//!    their output. [`sandbox`] has a fake of each target, for people, for `demo` and for the tests.
//! 10. [`docs`] – the manual: installing, a first process, operating, monitoring, finding a task, metrics, messages,
//!     failures, adding a system.
//!
//! # Where is…
//! * the ack? [`lane::session`], for records [`lane::moves`] and [`lane::checking`]; [`lane::state`] says when.
//! * the size of a batch? `systems/bitrix24/client.rs` fills it with the commands that all threads have handed to
//!   `combiner.rs`; `concurrency.rs` finds out how many requests may be under way, `rate_limiter.rs` says how often one
//!   may start.
//! * the secrets that the log hides? [`redact`] hides what [`systems::table::Setup::secrets`] names: each system names
//!   its own.
//! * alerts to people? [`monitor::alerts`]; the systems that can write to people do so behind [`systems::Messenger`].
//! * the metrics? [`stats::list`] has every number once, [`stats::prometheus`] writes them; `src/packaging` has the
//!   alert rules and the dashboard.
//! * the container, the service, the package and the static binary? `src/packaging`; [`docs::installing`] says how to
//!   use them.
//! * the help, the man page and the completions? All are made of one table, [`commands::grammar`].
//! * TLS? [`tls`] is whom we trust, `rabbitmq/tls.rs` amqps, `http/tls.rs` https.
//! * a queue's name? [`queues`].
//! * who may know whom? `tests/suite/rooms.rs` reads it in the code; nothing outside [`rabbitmq`] names a type of
//!   amiquip.
//! * the tests? `tests/suite` tests what users see, one module for each subject; its `systems` tests every system of
//!   the table. `tests/faults` is the fault matrix, `tests/peers` drives each system against programs of others,
//!   `tests/page` the page in a browser; `tests/monitor` and `tests/metrics` check the API and the alert rules with
//!   programs of others, `tests/packaging` builds what is installed and tries it on clean systems. `tests/soak` is the
//!   soak test, `tests/bench` the benchmarks, `tests/support` what they share. `.ci/run` must pass before a change is
//!   taken.
//!
//! # Invariants
//! 1. Nothing is acknowledged before what follows from it is confirmed by the broker.
//! 2. Every object of amiquip has one owner thread. A delivery is settled at most once, on the session it came from.
//! 3. Nothing is created twice, except as [`docs::failures`] lists under "Guarantees". The ledger knows what is under
//!    way and what was finished. Every other task is looked up at the target moments before it is created, while its
//!    message is ours; [`systems::create`] does so for every system. After a restart this look-up alone must do.
//! 4. Nothing is half done: the follow-up of a create is completed after a crash, and never doubled.
//! 5. Handlers know no queues, except those of a target that is reached through queues ([`rabbitmq::rpc`]). The broker
//!    code knows no systems. [`message`] knows neither.
//! 6. Every wait has a deadline or ends on stop.
//! 7. One lane cannot slow another. One poison message cannot hold up its lane.
//! 8. A panic costs one message one attempt, not the process.
//! 9. No secret reaches a log line, an error text, a queue or the terminal.
//! 10. Memory is bounded by settings and constants, not by the length of a queue. The one exception: the ids of tasks
//!     that are missing at the target or unanswered.
//! 11. A failure is logged once, where it is decided, and the line says what happens next.

pub mod backoff;
pub mod camunda;
pub mod commands;
pub mod config;
pub mod dial;
pub mod docs;
pub mod http;
pub mod incidents;
pub mod lane;
pub mod logging;
pub mod message;
pub mod monitor;
pub mod nearest;
pub mod parked;
pub mod queues;
pub mod rabbitmq;
pub mod reconcile;
pub mod redact;
pub mod report;
pub mod sandbox;
pub mod settings;
pub mod stats;
pub mod stop;
pub mod supervisor;
pub mod systems;
pub mod terminal;
pub mod tls;
pub mod trace;
pub mod worker;
