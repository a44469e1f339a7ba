//! Taking messages out of the error queue: a replay acknowledges only after the confirm, whatever interrupts it; what
//! cannot be replayed stays; and discarding needs `--yes`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::broker::header;
use crate::support::parked::*;
use crate::support::worker::settings;
use crate::support::*;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use task_creator::config::Config;
use task_creator::parked::Selection;
use task_creator::parked::entry::ParkedEntry;
use task_creator::parked::replay::{self as replaying, Observer, Plan, Step};
use task_creator::stop;

fn replay(queues: &Queues, arguments: &[&str]) -> Ended {
    run_with(&[&["parked", "replay"], arguments].concat(), queues, "", &[])
}

#[test]
fn each_is_published_byte_for_byte_to_its_queue_as_the_bridge_sent_it() {
    let queues = Queues::new("replay exact");
    queues.declare(&queues.sent());
    let record = format!(r#"{{"original_queue": "x",  "original_message": {}, "n": 1.10}}"#, small_task("task-3"));
    let bytes = b"\xff\x00{\r\n";
    let wrapped = parked("null", "INVALID_MESSAGE", "not JSON", &queues.input());
    put(
        &queues,
        &[
            parked(&field_text("task-1"), "RETRY_LIMIT_EXCEEDED", "no answer in time", &queues.input()),
            wrapped.replace("null,", &format!("null,\"original_body_base64\":\"{}\",", STANDARD.encode(bytes))),
            parked(&record, "INVALID_RECORD", "bitrix24: no id", &queues.sent()),
            parked(&small_task("task-4"), "REQUEST_ERROR", "400", &queues.input()),
        ],
    );
    replay(&queues, &["--all"])
        .ended_with(0)
        .has(&format!("task-1 to {}", queues.input()))
        .has("replayed 4, skipped 0");
    assert_eq!(queues.count(&queues.errors()), 0);
    assert_eq!(bodies(&queues, &queues.sent()), [record]);
    let messages = queues.take_all(&queues.input());
    let expected = [field_text("task-1").into_bytes(), bytes.to_vec(), small_task("task-4").into_bytes()];
    assert_eq!(messages.iter().map(|message| message.body.clone()).collect::<Vec<_>>(), expected);
    let (properties, headers) = (&messages[0].properties, &messages[0].headers);
    assert_eq!(properties.content_type().as_deref(), Some("application/json"));
    assert_eq!((*properties.delivery_mode(), properties.message_id().as_deref()), (Some(2), Some("task-1")));
    assert_eq!(headers.get("camunda_topic"), Some(&header("bitrix_create_task")));
    assert_eq!(headers.get("process_instance_id"), Some(&header("process-of-task-1")));
    assert!(["x-attempts", "x-retry-at"].iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
    // Its last try may have created a task that does not show yet; a refused one has not.
    assert_eq!(headers.get("x-may-exist"), Some(&AmqpValue::Boolean(true)));
    let replayed = ("x-replayed".to_owned(), AmqpValue::Boolean(true));
    let mut headers = messages[2].headers.clone();
    assert!(matches!(headers.remove("x-replayed-at"), Some(AmqpValue::LongLongInt(_))), "{headers:?}");
    assert_eq!(headers, FieldTable::from_iter([("task_id".to_owned(), header("task-4")), replayed]));
}

#[test]
fn what_the_worker_parked_is_created_when_the_portal_is_fixed() {
    let queues = Queues::new("replay worker");
    let tasks = Tasks::new();
    let fixed = Gate::closed();
    let portal = Portal::start({
        let (tasks, fixed) = (tasks.clone(), fixed.clone());
        move |call| match call.method.as_str() {
            "tasks.task.add" if !fixed.is_open() => Answer::refused(400, "ERROR_CORE", "no such field"),
            _ => tasks.answer(call),
        }
    });
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("BITRIX_RATE", "0")]);
    queues.publish_task(&field_text("task-1"));
    queues.publish_task(&field_text("task-2"));
    queues.publish(&queues.input(), "not a task", FieldTable::new());
    queues.await_count(&queues.errors(), 3, PATIENCE);
    fixed.open();
    replay(&queues, &["--cause", "request_error"]).ended_with(0).has("replayed 2, skipped 0");
    queues.await_count(&queues.sent(), 2, PATIENCE);
    replay(&queues, &["--all"]).ended_with(0).has("replayed 1");
    eventually("the hopeless one is parked again", PATIENCE, || {
        worker.errors().matches("the body is not JSON").count() == 2
    });
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    let markers: BTreeSet<String> = tasks.markers().into_iter().collect();
    assert_eq!((tasks.markers().len(), markers), (2, ["task-1", "task-2"].map(str::to_owned).into()));
}

/// The worker remembers the task as finished, and RabbitMQ says that it has delivered the message before.
#[test]
fn a_replayed_message_whose_first_delivery_is_lost_creates_the_deleted_task_again() {
    let queues = Queues::new("replay lost");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let relay = Relay::to(RabbitMq::from_env().address());
    let port = relay.port().to_string();
    let changes = [
        ("RABBITMQ_HOST", "127.0.0.1"),
        ("RABBITMQ_PORT", port.as_str()),
        ("BITRIX_RATE", "0"),
        ("BITRIX_REQUEST_TIMEOUT", "0.5"),
        ("HEARTBEAT_INTERVAL", "60"),
    ];
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    queues.publish_task(&seed_message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    tasks.delete("task-1");
    put(&queues, &[parked(&seed_message("task-1").to_string(), "TASK_NOT_FOUND", "gone", &queues.input())]);
    relay.hold(Direction::ToClient);
    replay(&queues, &["--all"]).ended_with(0).has("replayed 1, skipped 0");
    // Only the delivery that never arrives has it now.
    queues.await_count(&queues.input(), 0, PATIENCE);
    relay.cut();
    relay.pass();
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 2);
}

#[test]
fn what_cannot_be_replayed_stays_with_a_reason() {
    let queues = Queues::new("replay impossible");
    let full = queues.named("1c.queue");
    let arguments = [("x-max-length", AmqpValue::LongInt(0)), ("x-overflow", header("reject-publish"))];
    queues.declare_with(&full, &arguments.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    let to = |id: &str, queue: &str| parked(&small_task(id), "REQUEST_ERROR", "400", queue);
    let stay = [
        to("missing", &queues.named("openproject.queue")),
        to("forged", &queues.responses()),
        to("looping", &queues.errors()),
        to("unnamed", "").replace("\"source_queue\":\"\",", ""),
        to("full", &full),
        "nothing".to_owned(),
    ];
    put(&queues, &stay);
    put(&queues, &[to("fine", &queues.input())]);
    let ended = replay(&queues, &["--all"]);
    ended
        .ended_with(1)
        .has("replayed 1, skipped 6")
        .has(&format!("there is no queue {}openproject.queue", queues.prefix()));
    ended.has("forged: its source_queue").has("is not a queue of a system").has("it does not name its source_queue");
    ended.has(&format!("full: {full} did not take it: the queue refuses messages")).has("it is not a parked message");
    assert_eq!(bodies(&queues, &queues.errors()), stay);
    let told = json_lines(&replay(&queues, &["--all", "--json"]).ended_with(1).output);
    assert_eq!((told.len(), &told[0]["outcome"], &told[0]["id"]), (6, &json!("skipped"), &json!("missing")));
    assert_eq!(ids(&queues, &queues.input()), ["fine"]);
    assert_eq!(queues.count(&queues.responses()), 0);
}

#[test]
fn only_what_is_named_is_replayed() {
    let queues = Queues::new("replay named");
    put_tasks(&queues, 20);
    put(&queues, &[parked(&small_task("task-003"), "TASK_NOT_FOUND", "gone", &queues.input())]);
    replay(&queues, &["task-003", "task-007", "task-01"]).ended_with(1).has("replayed 3").has("task-01 fits several");
    assert_eq!(ids(&queues, &queues.input()), ["task-003", "task-007", "task-003"]);
    replay(&queues, &["task-003", "task-008"]).ended_with(1).has("no parked message task-003").has("replayed 1");
    replay(&queues, &["--all", "--limit", "2"]).ended_with(0).has("replayed 2, skipped 0");
    let none = replay(&queues, &["--cause", "RETRY_LIMIT"]);
    let told =
        "no parked message has the cause RETRY_LIMIT; did you mean RETRY_LIMIT_EXCEEDED? (there are: REQUEST_ERROR)";
    none.ended_with(1).has("replayed 0").has(told);
    assert_eq!(ids(&queues, &queues.input())[3..], ["task-008", "task-000", "task-001"]);
    // In a quorum queue, messages that a replay has read and left are at the end.
    let left = BTreeSet::from_iter(ids(&queues, &queues.errors()));
    let others = (0..20).filter(|number| ![0, 1, 3, 7, 8].contains(number)).map(|number| format!("task-{number:03}"));
    assert_eq!((left, queues.count(&queues.errors())), (others.collect(), 15));
    let started = Instant::now();
    replay(&queues, &["--all", "--rate", "20", "--limit", "11"]).ended_with(0);
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn a_thousand_are_replayed_in_order() {
    let queues = Queues::new("replay thousand");
    put_tasks(&queues, 1000);
    let before: Vec<String> = (0..1000).map(|number| format!("task-{number:03}")).collect();
    replay(&queues, &["--all"]).ended_with(0).has("replayed 1000, skipped 0");
    assert_eq!(ids(&queues, &queues.input()), before);
    assert_eq!(queues.count(&queues.errors()), 0);
}

#[test]
fn a_quorum_queue_is_replayed_as_any_other() {
    let queues = Queues::undeclared("replay quorum");
    let quorum: FieldTable = [("x-queue-type".to_owned(), header("quorum"))].into_iter().collect();
    queues.declare_with(&queues.errors(), &quorum);
    queues.declare_with(&queues.input(), &quorum);
    put_tasks(&queues, 120);
    replay(&queues, &["--all", "--limit", "70"]).ended_with(0);
    replay(&queues, &["--all"]).ended_with(0).has("replayed 50, skipped 0");
    let replayed: BTreeSet<String> = ids(&queues, &queues.input()).into_iter().collect();
    assert_eq!((replayed.len(), queues.count(&queues.errors()), queues.count(&queues.input())), (120, 0, 120));
}

/// Kills a replay of ten when `then` has happened after the third confirm; returns what is in the error queue and in
/// the source queue.
fn killed(then: Then) -> (Queues, Vec<String>, Vec<String>) {
    let queues = Queues::new("replay killed");
    put_tasks(&queues, 10);
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let third = Then::when(Direction::ToClient, CONFIRM, Then::when(Direction::ToClient, CONFIRM, then));
    let seen = relay.when_seen(Direction::ToClient, CONFIRM, third);
    let port = relay.port().to_string();
    let through_relay = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &*port)];
    let mut program = Worker::run(&["parked", "replay", "--all"], &changed(&queues, "", &through_relay));
    seen.wait(PATIENCE);
    program.kill();
    relay.cut();
    eventually("the broker requeues everything", PATIENCE, || {
        queues.count(&queues.errors()) + queues.count(&queues.input()) >= 10
            && queues.unacked(&queues.errors()).is_none_or(|unacked| unacked == 0)
    });
    let (parked, replayed) = (ids(&queues, &queues.errors()), ids(&queues, &queues.input()));
    (queues, parked, replayed)
}

#[test]
fn a_kill_between_confirm_and_ack_leaves_one_in_both_queues_and_loses_none() {
    let (queues, parked, replayed) = killed(Then::Hold(Direction::ToServer));
    assert_eq!(replayed, ["task-000", "task-001", "task-002"]);
    let all: BTreeSet<&String> = parked.iter().chain(&replayed).collect();
    assert_eq!(all.len(), 10, "{parked:?} {replayed:?}");
    assert!(parked.contains(&"task-002".to_owned()), "the third was confirmed and not acknowledged: {parked:?}");
    // The second replay creates nothing, because of the look-up.
    replay(&queues, &["--all"]).ended_with(0);
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker =
        Worker::start(&queues, &portal.webhook(), &[("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "1")]);
    eventually("all tasks", PATIENCE, || tasks.markers().len() >= 10 && queues.count(&queues.input()) == 0);
    worker.stop();
    assert_eq!(tasks.markers().into_iter().collect::<BTreeSet<String>>().len(), 10);
    assert_eq!(tasks.markers().len(), 10, "none is created twice");
}

#[test]
fn a_kill_at_any_moment_loses_none() {
    for then in [Then::Nothing, Then::Hold(Direction::ToClient), Then::Reset] {
        let (_queues, parked, replayed) = killed(then);
        let all: BTreeSet<&String> = parked.iter().chain(&replayed).collect();
        assert_eq!(all.len(), 10, "{parked:?} {replayed:?}");
    }
}

#[test]
fn a_lost_connection_is_told_and_loses_none() {
    let queues = Queues::new("replay cut");
    put_tasks(&queues, 10);
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let _seen = relay.when_seen(Direction::ToClient, CONFIRM, Then::Cut);
    let port = relay.port().to_string();
    let through_relay = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &*port)];
    let ended = run_with(&["parked", "replay", "--all"], &queues, "", &through_relay);
    ended.ended_with(1).has("all others are still parked");
    queues.await_count(&queues.errors(), 10, PATIENCE);
    let left: BTreeSet<String> = ids(&queues, &queues.errors()).into_iter().collect();
    assert_eq!((left.len(), ids(&queues, &queues.input())), (10, vec!["task-000".to_owned()]));
}

#[test]
fn an_interrupt_stops_after_the_current_message_and_says_how_many_were_replayed() {
    let queues = Queues::new("replay interrupted");
    put_tasks(&queues, 10);
    let mut program = Worker::run(&["parked", "replay", "--all", "--rate", "0.02"], &settings(&queues, ""));
    queues.await_count(&queues.input(), 1, PATIENCE);
    program.await_output("replayed      task-000", PATIENCE);
    let started = Instant::now();
    program.signal("INT");
    assert_eq!(program.wait(PATIENCE).code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20));
    let ended = Ended { code: None, output: program.output() };
    ended.has("replayed 1, skipped 0").has("interrupted; the rest is where it was");
    assert_eq!(ids(&queues, &queues.errors())[0], "task-001");
    assert_eq!((queues.count(&queues.errors()), queues.count(&queues.input())), (9, 1));
}

/// The shell and the kernel each send SIGHUP, the second one while the program requeues what it holds.
#[test]
fn a_closed_terminal_that_interrupts_twice_ends_a_replay_like_an_interrupt() {
    let queues = Queues::new("replay hung up");
    put_tasks(&queues, 10);
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let port = relay.port().to_string();
    let environment = changed(&queues, "", &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)]);
    let mut program = Worker::run(&["parked", "replay", "--all", "--rate", "0.02"], &environment);
    program.await_output("replayed      task-000", PATIENCE);
    // RabbitMQ's answer to the requeue has not arrived when the second one comes.
    relay.hold(Direction::ToClient);
    let passed = relay.passed(Direction::ToServer);
    program.signal("HUP");
    relay.await_passed(Direction::ToServer, passed + 1, PATIENCE);
    program.signal("HUP");
    relay.pass();
    assert_eq!(program.wait(PATIENCE).code(), Some(130));
    let ended = Ended { code: None, output: program.output() };
    ended.has("replayed 1, skipped 0").has("interrupted; the rest is where it was");
}

#[test]
fn discarding_takes_only_what_is_named() {
    let queues = Queues::new("discard");
    put_tasks(&queues, 3);
    put(&queues, &["nothing".into(), parked(&small_task("task-001"), "X", "again", "y")]);
    run_with(&["parked", "discard", "task-001"], &queues, "", &[]).ended_with(64).has("it needs --yes");
    assert_eq!(queues.count(&queues.errors()), 5);
    let ended = run_with(&["parked", "discard", "task-001", "nobody", "task-", "--yes"], &queues, "", &[]);
    ended.ended_with(1).has("discarded 2").has("no parked message nobody").has("task- fits several");
    assert_eq!(ids(&queues, &queues.errors()), ["task-000", "task-002", ""]);
    let nothing = json_lines(&run_with(&["parked", "list", "--json"], &queues, "", &[]).output).remove(2);
    let id = nothing["id"].as_str().unwrap();
    run_with(&["parked", "discard", id, "--yes"], &queues, "", &[]).ended_with(0).has("discarded 1");
    assert_eq!(ids(&queues, &queues.errors()), ["task-000", "task-002"]);
}

#[test]
fn a_user_who_may_not_write_there_is_told_so_and_keeps_everything() {
    let queues = Queues::new("replay forbidden");
    put_tasks(&queues, 3);
    let (name, vhost) = (format!("parked-reader-{}", std::process::id()), &*queues.broker().rabbitmq().vhost);
    if rabbitmqctl(&["-q", "add_user", &name, "reader-password"]).is_none() {
        return;
    }
    rabbitmqctl(&["-q", "set_permissions", "-p", vhost, &name, "^$", "^$", ".*"]);
    let changes = [("RABBITMQ_USERNAME", &*name), ("RABBITMQ_PASSWORD", "reader-password")];
    let listed = run_with(&["parked", "list"], &queues, "", &changes);
    let ended = run_with(&["parked", "replay", "--all"], &queues, "", &changes);
    rabbitmqctl(&["-q", "delete_user", &name]);
    listed.ended_with(0).has("3 message(s)");
    ended.ended_with(1).has("ACCESS_REFUSED").has_not("reader-password");
    assert_eq!((queues.count(&queues.errors()), queues.count(&queues.input())), (3, 0));
}

#[test]
fn a_message_with_no_properties_at_all_is_replayed() {
    let queues = Queues::new("replay bare");
    queues.publish_with(
        &queues.errors(),
        parked(&small_task("bare"), "X", "y", &queues.input()),
        AmqpProperties::default(),
    );
    replay(&queues, &["bare"]).ended_with(0).has("replayed 1");
    assert_eq!(ids(&queues, &queues.input()), ["bare"]);
}

/// Waits before each message for longer than a message may be held.
#[derive(Default)]
struct Slow {
    waited: usize,
    replayed: Vec<String>,
}

const HELD: Duration = Duration::from_millis(1500);

impl Observer for Slow {
    fn may_go(&mut self) -> bool {
        self.waited += 1;
        // Every second one is too late.
        let (_stopper, stop) = stop::signal();
        self.waited % 2 == 1 || !stop.pause(HELD)
    }

    fn told(&mut self, entry: &ParkedEntry, step: Step, _: Option<&str>) {
        assert!(matches!(step, Step::Replayed(_)), "{step:?}");
        self.replayed.push(entry.id.clone());
    }
}

/// The connection that holds the parked message might be cut before the message is acknowledged there.
#[test]
fn nothing_is_published_whose_parked_message_was_held_for_too_long() {
    let queues = Queues::new("replay held");
    let names: Vec<String> = (0..3).map(|n| format!("task-{n}")).collect();
    put(&queues, &names.iter().map(|id| parked(&small_task(id), "X", "y", &queues.input())).collect::<Vec<_>>());
    let settings = changed(&queues, "", &[]);
    let config = Config::read(|name| settings.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()));
    let (config, (_stopper, stop)) = (config.expect("right settings"), stop::signal());
    let plan = Plan { selection: Selection::all(), limit: None, selected: None, held_at_most: HELD, dry_run: false };
    let mut slow = Slow::default();
    let outcome = replaying::run(&config, &stop, &plan, &mut slow).expect("it goes on with the next reading");
    assert_eq!((outcome.replayed, outcome.skipped, slow.waited), (3, 0, 5), "two were put off once");
    assert_eq!(slow.replayed, names);
    assert_eq!(ids(&queues, &queues.input()), names);
    assert_eq!(queues.count(&queues.errors()), 0);
}

#[test]
fn a_replay_of_nothing_reads_nothing() {
    let config = Config::read(|name| match name {
        "RABBITMQ_PASSWORD" => Some("unused".into()),
        // Nobody listens there.
        "RABBITMQ_PORT" => Some("1".into()),
        _ => None,
    });
    let plan = Plan {
        selection: Selection::of_ids([]),
        limit: Some(0),
        selected: Some(0),
        held_at_most: HELD,
        dry_run: false,
    };
    let outcome = replaying::run(&config.expect("right settings"), &stop::signal().1, &plan, &mut Slow::default());
    assert_eq!(outcome.expect("it asks nobody").replayed, 0);
}
