//! Messages wear out: a queue counts each requeue, whoever had the message, and a quorum queue deletes it when the
//! count is too high. The tests have messages on which a session or the process would die, and all programs that take
//! and requeue.

use crate::support::broker::header;
use crate::support::wire::{entry, long, nested};
use crate::support::*;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use crossbeam_channel::unbounded;

/// A queue that deletes messages that were requeued more than 20 times, the default of RabbitMQ 4.
fn counting() -> FieldTable {
    FieldTable::from([
        ("x-queue-type".to_owned(), header("quorum")),
        ("x-delivery-limit".to_owned(), AmqpValue::LongInt(20)),
    ])
}

/// Queues that count requeues, except the responses queue.
fn counting_queues(test: &str) -> Queues {
    let queues = Queues::undeclared(test);
    for queue in [queues.input(), queues.sent(), queues.retry(), queues.errors()] {
        queues.declare_with(&queue, &counting());
    }
    queues.declare(&queues.responses());
    queues
}

fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    let quick = [("RETRY_DELAY", "0.1"), ("BITRIX_RATE", "0"), ("LOG_LEVEL", "DEBUG")];
    Worker::start(queues, &portal.webhook(), &[&quick, changes].concat())
}

/// A name, the routing key, the headers, the message id.
type Hostile = (&'static str, &'static [u8], Vec<u8>, &'static [u8]);

#[test]
fn amqp_that_would_end_a_session_or_the_process_is_worked_on_with_its_neighbours() {
    let queues = counting_queues("hostile amqp");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut wire = Wire::connect(queues.broker().rabbitmq());
    let exchange = wire.exchange_in_front_of(&queues.input());
    let deep_list = (0..3000).fold(Vec::new(), |inner, _| [b"A".as_slice(), &long(&inner)].concat());
    let hostile: [Hostile; 6] = [
        ("routing key", b"\xff\xfe.\xd0", Vec::new(), b"id"),
        ("nested", b"key", nested(3000), b"id"),
        ("nested list", b"key", entry(b"list", b'A', &long(&deep_list)), b"id"),
        ("header's name", b"key", entry(b"\xff", b'I', &[0, 0, 0, 1]), b"id"),
        ("header's text", b"key", entry(b"text", b'S', &long(b"\xc3\x28")), b"id"),
        ("message id", b"key", Vec::new(), b"\xff\xff"),
    ];
    for (name, routing_key, headers, message_id) in &hostile {
        let body = field_text(&format!("hostile {name}"));
        wire.publish(&exchange, routing_key, headers, message_id, body.as_bytes());
        queues.note_published(body.into_bytes());
    }
    let innocent: Vec<_> = (0..30).map(|number| field_text(&format!("task-{number}"))).collect();
    queues.publish_tasks(&innocent);
    let mut worker = start(&queues, &portal, &[]);
    queues.await_count(&queues.sent(), 36, PATIENCE);
    worker.stop();
    // The test's own client could not read such messages.
    queues.await_count(&queues.input(), 0, PATIENCE);
    assert_eq!(worker.errors(), "");
    assert!(!worker.log().contains("no session with RabbitMQ"), "{}", worker.log());
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn amqp_that_would_kill_is_harmless_in_each_queue_that_is_read() {
    let queues = counting_queues("hostile amqp elsewhere");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let sent = record(&tasks, "sent", "");
    tasks.set_status("sent", 5);
    let parked = parked::parked(&field_text("parked"), "REQUEST_ERROR", "no", &queues.input());
    for (queue, body) in [(queues.sent(), sent), (queues.errors(), parked.into_bytes())] {
        let mut wire = Wire::connect(queues.broker().rabbitmq());
        let exchange = wire.exchange_in_front_of(&queue);
        wire.publish(&exchange, b"\xff", &nested(3000), b"\xff", &body);
    }
    let look = |arguments: &[&str]| parked_command(&queues, arguments);
    look(&["list"]).ended_with(0).has("1 message(s)");
    look(&["show", "parked"]).ended_with(0).has("the message (");
    look(&["replay", "--all"]).ended_with(0).has("replayed 1, skipped 0");
    let mut worker = start(&queues, &portal, &[("HEARTBEAT_INTERVAL", "0.1")]);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    eventually("the replayed task", PATIENCE, || tasks.ids_of("parked").len() == 1);
    worker.stop();
    assert_eq!(queues.take_all(&queues.responses())[0].json()["original_message"]["task_id"], "sent");
}

fn parked_command(queues: &Queues, arguments: &[&str]) -> Ended {
    run_with(&[&["parked"], arguments].concat(), queues, "", &[])
}

/// Requeues all messages of the queue this often, all by one request each time.
fn requeue_all(queues: &Queues, queue: &str, times: usize) {
    let count = queues.count(queue);
    for _ in 0..times {
        assert_eq!(queues.peek_all(queue).len(), count);
        queues.await_count(queue, count, PATIENCE);
    }
}

#[test]
fn a_replay_of_one_at_a_time_deletes_none_of_the_others() {
    let queues = counting_queues("replay one");
    parked::put_tasks(&queues, 40);
    for _ in 0..30 {
        parked_command(&queues, &["replay", "--all", "--limit", "1"]).ended_with(0).has("replayed 1, skipped 0");
    }
    queues.await_count(&queues.input(), 30, PATIENCE);
    queues.await_count(&queues.errors(), 10, PATIENCE);
    let mut all = [parked::ids(&queues, &queues.input()), parked::ids(&queues, &queues.errors())].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
}

#[test]
fn messages_that_a_replay_has_taken_and_not_read_survive_its_limit() {
    let queues = counting_queues("replay rest");
    parked::put_tasks(&queues, 20);
    requeue_all(&queues, &queues.errors(), 20);
    for round in 1..=4 {
        parked_command(&queues, &["replay", "--all", "--limit", "2"]).ended_with(0).has("replayed 2");
        queues.await_count(&queues.input(), 2 * round, PATIENCE);
        queues.await_count(&queues.errors(), 20 - 2 * round, PATIENCE);
    }
}

#[test]
fn no_way_of_looking_at_parked_messages_wears_them_out() {
    let queues = counting_queues("looks");
    parked::put_tasks(&queues, 12);
    for _ in 0..8 {
        parked_command(&queues, &["list"]).ended_with(0).has("12 message(s)");
        parked_command(&queues, &["list", "--group"]).ended_with(0).has("12 message(s)");
        parked_command(&queues, &["show", "task-011"]).ended_with(0);
        parked_command(&queues, &["replay", "--all", "--dry-run"]).ended_with(0).has("would replay 12");
        parked_command(&queues, &["replay", "--all", "--dry-run", "--limit", "3"]).ended_with(0).has("would replay 3");
        parked_command(&queues, &["replay", "--cause", "TASK_NOT_FOUND"]).has("replayed 0");
        parked_command(&queues, &["discard", "nobody", "--yes"]).ended_with(1);
    }
    queues.await_count(&queues.errors(), 12, PATIENCE);
}

/// A Basic.Deliver on its way to the worker.
const DELIVERY: &[u8] = &[0, 60, 0, 60];

/// A record of an open task, with this text in it.
fn record(tasks: &Tasks, task: &str, text: &str) -> Vec<u8> {
    let (id, original) = (tasks.put(task), parked::small_task(task));
    let reply = format!(r#"{{"result":{{"task":{{"id":"{id}"}}}},"text":"{text}"}}"#);
    format!(r#"{{"original_message":{original},"response_data":{reply}}}"#).into_bytes()
}

/// A Basic.CancelOk on its way to the worker.
const CANCELLED: &[u8] = &[0, 60, 0, 31];

/// Starts the worker again and again, and kills it as soon as it has deliveries of any kind (and after what `then`
/// adds), before it can do anything with them.
fn die_over_deliveries(
    queues: &Queues,
    portal: &Portal,
    changes: &[(&str, &str)],
    times: usize,
    then: &dyn Fn(Then) -> Then,
) -> Worker {
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let port = relay.port().to_string();
    let through = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &*port)];
    let mut worker: Option<Worker> = None;
    for _ in 0..times {
        let seen = relay.when_seen(Direction::ToClient, DELIVERY, then(Then::Hold(Direction::ToServer)));
        match &mut worker {
            Some(worker) => worker.start_again(),
            None => worker = Some(start(queues, portal, &[&through[..], changes].concat())),
        }
        seen.wait(PATIENCE);
        worker.as_mut().expect("it was started").kill();
        relay.cut();
        relay.pass();
    }
    drop(relay);
    worker.expect("it was started")
}

#[test]
fn a_worker_that_dies_over_its_deliveries_takes_less_each_time_and_loses_nothing() {
    let queues = counting_queues("dying");
    let tasks = Tasks::new();
    let (started, starts) = unbounded();
    // The worker dies as soon as it works on a task.
    let deadly = Portal::start(move |call| match call.params.to_string().contains("task-") {
        true => {
            let _ = started.send(());
            Answer::Http(Reply::Hang)
        }
        false => Tasks::new().answer(call),
    });
    queues.publish_tasks(&(0..8).map(|number| field_text(&format!("task-{number}"))).collect::<Vec<_>>());
    let changes = [("PREFETCH", "32"), ("BITRIX_REQUEST_TIMEOUT", "0.5")];
    let mut worker = start(&queues, &deadly, &changes);
    for _ in 0..50 {
        starts.recv_timeout(PATIENCE).expect("a task is started");
        worker.kill();
        while starts.try_recv().is_ok() {}
        worker.start_again();
    }
    worker.kill();
    // All together three times; then one, and those that came before the previous one was published again.
    let received = worker.log().matches("received: task=").count();
    assert!(received < 90, "{received}");
    eventually("all are back", PATIENCE, || queues.count(&queues.input()) == 8);
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal, &changes);
    worker.await_log("starting with one delivery at a time", PATIENCE);
    eventually("all are done", PATIENCE, || tasks.markers().len() == 8 && queues.count(&queues.sent()) >= 8);
    // With success it takes more again.
    worker.await_log("deliveries at a time from now on", PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).after_faults(50).assert_holds();
}

#[test]
fn a_worker_that_dies_in_each_sweep_loses_no_record() {
    let queues = counting_queues("dying sweeps");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    for number in 0..40 {
        queues.publish(&queues.sent(), record(&tasks, &format!("task-{number}"), ""), FieldTable::new());
    }
    // In the second step of a sweep, with more than one record taken.
    let second_step = |die| {
        let delivered = Then::when(Direction::ToClient, DELIVERY, die);
        Then::when(Direction::ToClient, CANCELLED, delivered)
    };
    die_over_deliveries(&queues, &portal, &[("HEARTBEAT_INTERVAL", "3600")], 26, &second_step);
    eventually("all are back", PATIENCE, || queues.count(&queues.sent()) == 40);
    (0..40).for_each(|number| tasks.set_status(&format!("task-{number}"), 5));
    let mut worker = start(&queues, &portal, &[("HEARTBEAT_INTERVAL", "0.2")]);
    queues.await_count(&queues.responses(), 40, PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.sent()) + queues.count(&queues.errors()), 0);
}

#[test]
#[ignore = "takes long"]
fn records_that_do_not_fit_into_memory_together_are_swept_without_wearing_out() {
    let queues = counting_queues("little memory");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let text = "x".repeat(500_000);
    let properties = AmqpProperties::default().with_delivery_mode(2).with_headers(FieldTable::new());
    for chunk in (0..400).collect::<Vec<_>>().chunks(20) {
        let of = |number: &usize| (record(&tasks, &format!("task-{number}"), &text), properties.clone());
        queues.broker().publish(&queues.sent(), &chunk.iter().map(of).collect::<Vec<_>>()).expect("there is room");
    }
    tasks.set_status("task-399", 5);
    // Otherwise each thread reserves 64 MiB of addresses for its allocations.
    let few = [("MALLOC_ARENA_MAX", "1"), ("HANDLER_THREADS", "4"), ("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "1")];
    let mut settings = worker::settings(&queues, &portal.webhook());
    settings.extend(few.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut worker = Worker::run_under("ulimit -v 532480; exec \"$0\"", &settings);
    queues.await_count(&queues.responses(), 1, 4 * PATIENCE);
    worker.stop();
    eventually("all others are back", PATIENCE, || queues.count(&queues.sent()) == 399);
}
