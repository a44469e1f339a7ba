//! `task-creator demo` and `task-creator sandbox` as a newcomer meets them: what they print, how they end, and that
//! they leave nothing behind.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use std::{env, fs, process};

use crate::support::api::Api;
use crate::support::*;
use task_creator::commands::fakes::messages::{Kind, Message};
use task_creator::commands::fakes::{FAKES, FakeEntry};

const ALL_IS_WELL: &str = "lost 0, doubled 0";

/// As `tests/with-rabbitmq` sets them, and nothing else.
fn rabbitmq() -> Vec<(String, String)> {
    env::vars().filter(|(name, _)| name.starts_with("RABBITMQ_")).collect()
}

fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    environment.retain(|(known, _)| known != name);
    environment.push((name.into(), value.into()));
}

/// What the demo says its queues start with.
fn prefix(output: &str) -> String {
    let named = output.split("only queues named ").nth(1).and_then(|rest| rest.split('*').next());
    named.unwrap_or_else(|| panic!("no prefix in:\n{output}")).to_owned()
}

#[track_caller]
fn assert_no_queues(prefix: &str) {
    assert_gone(prefix, &queues_of(&["bitrix24"]));
}

#[track_caller]
fn assert_gone(prefix: &str, names: &[String]) {
    let broker = Broker::connect();
    for name in names {
        assert_eq!(broker.state(&format!("{prefix}{name}")), None, "{prefix}{name} is still there");
    }
    let listed = rabbitmqctl(&["-q", "-p", &broker.rabbitmq().vhost, "list_queues", "name"]).unwrap_or_default();
    assert!(!listed.contains(prefix), "of {prefix}* there are still:\n{listed}");
}

#[test]
fn the_demo_loses_nothing_doubles_nothing_and_leaves_no_queue() {
    let mut demo = Worker::run(&["demo"], &rabbitmq());
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert!(status.success(), "{status}\n{output}");
    let audit = output.replace('\n', " ");
    assert!(audit.contains("8 messages in: 6 tasks created, 6 answered to Camunda"), "{output}");
    assert!(audit.contains(ALL_IS_WELL), "{output}");
    assert!(output.contains("answered to Camunda: ДА") && output.contains("answered to Camunda: НЕТ"), "{output}");
    assert!(output.contains("parked: INVALID_MESSAGE"), "{output}");
    // A file is no terminal: nothing is redrawn there.
    assert!(!output.contains('\u{1b}'), "{output}");
    assert_eq!(demo.log(), "", "the real worker's log is another");
    let log = fs::read_to_string(demo.folder().join("logs/demo/worker.log")).expect("the demo has a log of its own");
    assert!(log.contains("created: task="), "{log}");
    assert!(output.starts_with("Connecting to RabbitMQ at "), "{output}");
    assert!(output.lines().all(|line| line.chars().count() <= 80), "{output}");
    assert_no_queues(&prefix(&output));
}

/// The queues of the demo's systems, without its prefix.
fn queues_of(systems: &[&str]) -> Vec<String> {
    let own =
        systems.iter().flat_map(|system| ["queue", "sent.queue", "retry.queue"].map(|kind| format!("{system}.{kind}")));
    own.chain(["errors.camunda_tasks.queue".to_owned(), "camunda.responses.queue".to_owned()]).collect()
}

#[test]
fn the_demo_of_all_systems_closes_the_loop_of_each() {
    let mut demo = Worker::run(&["demo", "--all"], &rabbitmq());
    let status = demo.wait(PATIENCE * 2);
    let output = demo.output();
    assert!(status.success(), "{status}\n{output}");
    let messages: Vec<Message> = FAKES.iter().flat_map(|entry| (entry.messages)("run").into_iter().take(6)).collect();
    let count = |fits: fn(&Kind) -> bool| messages.iter().filter(|message| fits(&message.kind)).count();
    let tasks = count(|kind| matches!(kind, Kind::Task(_)));
    let again = count(|kind| matches!(kind, Kind::Again(_)));
    let parked = count(|kind| matches!(kind, Kind::Nobodys(_) | Kind::Unreadable));
    let balance = format!(
        "{} messages in: {tasks} tasks created, {tasks} answered to Camunda, {again} duplicates recognised, {parked} \
         parked with their causes; {ALL_IS_WELL}",
        messages.len()
    );
    assert!(output.replace('\n', " ").contains(&balance), "{balance}\n{output}");
    for FakeEntry { name, label, noun, port, .. } in FAKES {
        let is_of_it = |line: &&str| line.contains(&format!(" s  {label} "));
        let lines: Vec<&str> = output.lines().filter(is_of_it).collect();
        let ends = if port.is_some() { "answered to Camunda" } else { "parked: NO_SYSTEM" };
        assert!(lines.iter().any(|line| line.contains(ends)), "{name}: {lines:#?}");
        assert!(port.is_none() || lines.iter().any(|line| line.contains(&format!("created as {noun} "))), "{lines:#?}");
    }
    assert!(output.lines().all(|line| line.chars().count() <= 80), "{output}");
    assert_eq!(demo.log(), "", "the real worker's log is another");
    let names: Vec<&str> = FAKES.iter().map(|entry| entry.name).collect();
    assert_gone(&prefix(&output), &queues_of(&names));
}

#[test]
fn the_demo_of_any_one_system_shows_that_one_alone() {
    // Side by side: each waits more than it works.
    let start = |entry: &'static FakeEntry| (entry, Worker::run(&["demo", "--system", entry.name], &rabbitmq()));
    let running: Vec<(&FakeEntry, Worker)> = FAKES.iter().map(start).collect();
    for (entry, mut demo) in running {
        let status = demo.wait(PATIENCE * 2);
        let output = demo.output();
        assert!(status.success() && output.replace('\n', " ").contains(ALL_IS_WELL), "{status}\n{output}");
        let shown: Vec<&str> =
            FAKES.iter().filter(|other| output.contains(&format!("\n  {} ", other.label))).map(|it| it.name).collect();
        assert_eq!(shown, [entry.name], "{output}");
        assert!(!output.contains("Time is up") && output.lines().all(|line| line.chars().count() <= 80), "{output}");
        assert_gone(&prefix(&output), &queues_of(&[entry.name]));
    }
}

#[test]
fn the_demo_with_a_monitor_goes_on_and_other_commands_find_it_until_ctrl_c() {
    let api = Api::anywhere();
    let mut environment = rabbitmq();
    set(&mut environment, "MONITOR_ADDR", &api.address);
    let mut demo = Worker::run(&["demo", "--monitor", "--system", "bitrix24", "--system", "default"], &environment);
    demo.await_output("In another terminal", PATIENCE);
    let output = demo.output();
    assert!(output.contains(&format!("http://{}/", api.address)), "{output}");
    let token =
        output.lines().find_map(|line| line.trim().strip_prefix("token ")).expect("it is shown").trim().to_owned();
    let settings = demo.folder().join("logs/demo/.env");
    let mode = fs::metadata(&settings).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "RabbitMQ's password is in it");
    let bearer = format!("Bearer {token}");
    let parked = || {
        let answer = api.ask_with("GET", "/api/v1/status", &[("Authorization", &bearer)], None);
        answer.is_ok_and(|answer| answer.json()["queues"].to_string().contains("\"messages\":"))
    };
    eventually("the status", PATIENCE, parked);
    // A finished task is answered, and the bridge completes it in Camunda.
    const ANSWERED: &str = "answered to Camunda";
    let log = || fs::read_to_string(demo.folder().join("logs/demo/worker.log")).unwrap_or_default();
    let answered = eventually_some("a task is answered", PATIENCE * 2, || {
        let log = log();
        let line = log.lines().find(|line| line.contains(ANSWERED))?;
        line.split("task=").nth(1).map(str::to_owned)
    });
    let trace = format!("cp {} .env && exec \"$0\" trace {answered}", settings.display());
    eventually("Camunda has it completed", PATIENCE, || {
        let mut command = Worker::run_under(&trace, &[]);
        command.wait(PATIENCE).code() == Some(0) && command.output().contains("it was completed")
    });
    demo.signal("INT");
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(!settings.exists(), "{output}");
    assert_gone(&prefix(&output), &queues_of(&["bitrix24", "default"]));
}

#[test]
fn ctrl_c_in_the_middle_of_the_demo_of_all_systems_clears_up() {
    let mut demo = Worker::run(&["demo", "--all"], &rabbitmq());
    demo.await_output("created as job ", PATIENCE);
    demo.signal("INT");
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert_eq!(status.code(), Some(130), "{output}");
    assert!(output.contains("Interrupted.") && !output.contains(ALL_IS_WELL), "{output}");
    let names: Vec<&str> = FAKES.iter().map(|entry| entry.name).collect();
    assert_gone(&prefix(&output), &queues_of(&names));
}

#[test]
fn ctrl_c_in_the_middle_of_the_demo_clears_up() {
    let mut demo = Worker::run(&["demo"], &rabbitmq());
    demo.await_output("created as task ", PATIENCE);
    demo.signal("INT");
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert_eq!(status.code(), Some(130), "{output}");
    assert!(output.contains("Interrupted.") && !output.contains(ALL_IS_WELL), "{output}");
    assert_no_queues(&prefix(&output));
}

#[test]
fn a_closed_terminal_that_interrupts_twice_lets_the_demo_clear_up() {
    let mut demo = Worker::run(&["demo"], &rabbitmq());
    demo.await_output("created as task ", PATIENCE);
    demo.signal("HUP");
    demo.signal("HUP");
    assert_eq!(demo.wait(PATIENCE).code(), Some(130), "{}", demo.output());
    assert_no_queues(&prefix(&demo.output()));
}

/// RabbitMQ is so slow that the time for the whole demo is over before all messages have arrived.
#[test]
#[ignore = "takes a minute"]
fn a_demo_whose_time_is_up_says_so_and_what_is_missing() {
    let relay = Relay::to(RabbitMq::from_env().address());
    let mut environment = rabbitmq();
    set(&mut environment, "RABBITMQ_HOST", "127.0.0.1");
    set(&mut environment, "RABBITMQ_PORT", &relay.port().to_string());
    [Direction::ToServer, Direction::ToClient].iter().for_each(|way| relay.delay(*way, Duration::from_millis(670)));
    let mut demo = Worker::run(&["demo"], &environment);
    demo.await_output("sent: ", PATIENCE * 2);
    relay.hold(Direction::ToClient);
    demo.await_output("Time is up.", PATIENCE * 2);
    relay.pass();
    assert_eq!(demo.wait(PATIENCE).code(), Some(1), "{}", demo.output());
    let output = demo.output();
    assert!(output.contains("RabbitMQ has not taken it") && output.contains("The log says more"), "{output}");
    // The time for the messages alone was not over.
    assert!(!output.contains("After 30 s") && !output.contains("Interrupted"), "{output}");
    assert_no_queues(&prefix(&output));
}

#[test]
fn a_demo_that_is_killed_leaves_queues_that_expire() {
    let mut demo = Worker::run(&["demo"], &rabbitmq());
    demo.await_output("created as task ", PATIENCE);
    demo.kill();
    let prefix = prefix(&demo.output());
    let Some(listed) = rabbitmqctl(&["-q", "list_queues", "name", "arguments"]) else { return };
    let left: Vec<&str> = listed.lines().filter(|line| line.starts_with(&prefix)).collect();
    assert!(!left.is_empty() && left.iter().all(|line| line.contains("x-expires")), "{left:#?}");
    let broker = Broker::connect();
    let names = left.iter().filter_map(|line| line.split_whitespace().next());
    names.for_each(|name| broker.delete(name).expect("nobody else uses the queue"));
}

#[test]
fn without_rabbitmq_the_demo_says_what_to_do() {
    let mut environment = rabbitmq();
    // A port that was free a moment ago.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    set(&mut environment, "RABBITMQ_HOST", "127.0.0.1");
    set(&mut environment, "RABBITMQ_PORT", &free.expect("there are free ports").port().to_string());
    let mut demo = Worker::run(&["demo"], &environment);
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert_eq!(status.code(), Some(1), "{output}");
    // It is not run in the folder of the source, so tests/with-rabbitmq would not be found.
    assert!(output.contains("apt-get install rabbitmq-server") && output.contains("RABBITMQ_HOST"), "{output}");
    assert!(!output.contains("with-rabbitmq"), "{output}");
    assert_eq!(output.lines().count(), 2, "{output}");
}

#[test]
fn a_user_without_rights_on_the_demos_queues_is_told_which_and_nothing_is_started() {
    let vhost = Broker::connect().rabbitmq().vhost.clone();
    let none = "^$";
    for (kind, [configure, write, read]) in
        [("configure", [none, ".*", ".*"]), ("write", [".*", none, ".*"]), ("read", [".*", ".*", none])]
    {
        let name = format!("no-{kind}-{}", process::id());
        if rabbitmqctl(&["-q", "add_user", &name, "demo-canary"]).is_none() {
            return;
        }
        rabbitmqctl(&["-q", "set_permissions", "-p", &vhost, &name, configure, write, read]);
        let mut environment = rabbitmq();
        set(&mut environment, "RABBITMQ_USERNAME", &name);
        set(&mut environment, "RABBITMQ_PASSWORD", "demo-canary");
        let mut demo = Worker::run(&["demo"], &environment);
        let (status, output, log) = (demo.wait(PATIENCE), demo.output(), demo.log());
        rabbitmqctl(&["-q", "delete_user", &name]);
        assert_eq!(status.code(), Some(1), "{kind}: {output}");
        assert!(output.contains(&format!("{name} lacks rights on the demo's queues, demo-*")), "{kind}: {output}");
        let advised = format!("`rabbitmqctl set_permissions -p {vhost} demo '^demo-' '^amq\\.default$' '^demo-'`");
        assert!(output.contains(&advised) && output.contains("ACCESS_REFUSED"), "{kind}: {output}");
        assert!(!output.contains("sent:") && log.is_empty(), "{kind}: {output}{log}");
    }
}

#[test]
fn the_rights_that_the_demo_advises_are_enough() {
    let vhost = Broker::connect().rabbitmq().vhost.clone();
    let name = format!("demo-user-{}", process::id());
    if rabbitmqctl(&["-q", "add_user", &name, "demo-canary"]).is_none() {
        return;
    }
    rabbitmqctl(&["-q", "set_permissions", "-p", &vhost, &name, "^demo-", "^amq\\.default$", "^demo-"]);
    let mut environment = rabbitmq();
    set(&mut environment, "RABBITMQ_USERNAME", &name);
    set(&mut environment, "RABBITMQ_PASSWORD", "demo-canary");
    let mut demo = Worker::run(&["demo"], &environment);
    let (status, output) = (demo.wait(PATIENCE), demo.output());
    rabbitmqctl(&["-q", "delete_user", &name]);
    assert!(status.success() && output.replace('\n', " ").contains(ALL_IS_WELL), "{output}");
}

#[test]
fn a_refused_password_is_told_from_a_missing_rabbitmq() {
    let mut environment = rabbitmq();
    set(&mut environment, "RABBITMQ_PASSWORD", "certainly-wrong");
    let mut demo = Worker::run(&["demo"], &environment);
    let status = demo.wait(PATIENCE);
    let output = demo.output();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("RABBITMQ_PASSWORD") && !output.contains("certainly-wrong"), "{output}");
}

#[test]
fn the_script_says_what_happens_in_the_seconds_before_the_demo() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/with-rabbitmq");
    let done = process::Command::new(script).args(["--private", "cargo", "--version"]).output().expect("it starts");
    let told = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(69) {
        // There is no RabbitMQ to start.
        return;
    }
    for what in ["starting a private RabbitMQ", "it takes about 5 s", "RabbitMQ is up", "cargo compiles first"] {
        assert!(told.contains(what), "{what} is missing from\n{told}");
    }
}

/// The reply to a request with this body, from the fake whose address is in `output`.
fn ask(output: &str, method: &str, body: &str) -> String {
    let url = output.split("BITRIX_WEBHOOK_URL=http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    let (place, path) = url.and_then(|url| url.split_once('/')).expect("the fake prints its webhook URL");
    let mut stream = TcpStream::connect(place).expect("the fake listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!(
        "POST /{path}/{method} HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the fake reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("the fake answers");
    reply
}

#[test]
fn the_fake_answers_finishes_tasks_and_ends_on_ctrl_c() {
    let mut sandbox = Worker::run(&["sandbox", "--port", "0", "--finish-after", "0.2"], &[]);
    sandbox.await_output("Simulated users finish each task 0.2 s", PATIENCE);
    let task = r#"{"fields": {"TITLE": "Спросить", "RESPONSIBLE_ID": 1, "UF_RESULT_EXPECTED": "Y"}}"#;
    let reply = ask(&sandbox.output(), "tasks.task.add", task);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let body = reply.split_once("\r\n\r\n").expect("a head and a body").1;
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let id = body["result"]["task"]["id"].as_str().expect("the reply names the task");
    sandbox.await_output(&format!("task {id} created: Спросить"), PATIENCE);
    sandbox.await_output(&format!("task {id} finished, answer ДА"), PATIENCE);
    sandbox.signal("INT");
    let status = sandbox.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", sandbox.output());
    sandbox.await_output("Tasks created: 1, finished by simulated users: 1.", PATIENCE);
}

/// The settings for the worker that a fake prints.
fn printed(output: &str) -> Vec<(String, String)> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("  "));
    let pairs = lines.filter_map(|line| line.trim_end_matches(" \\").split(' ').next()?.split_once('='));
    let is_setting = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    pairs.filter(|(name, _)| is_setting(name)).map(|(name, value)| (name.into(), value.into())).collect()
}

/// As a person tries a system: its fake in one terminal, the worker with the printed settings in another.
#[test]
fn any_fake_is_reached_with_the_settings_that_it_prints_and_ends_on_ctrl_c() {
    let with_target = || FAKES.iter().filter(|entry| entry.port.is_some());
    let start = |entry: &FakeEntry| {
        Worker::run(&["sandbox", "--system", entry.name, "--port", "0", "--finish-after", "0.2"], &[])
    };
    let fakes: Vec<Worker> = with_target().map(start).collect();
    fakes.iter().for_each(|fake| fake.await_output("runs until Ctrl+C", PATIENCE));
    for (entry, mut fake) in with_target().zip(fakes) {
        let FakeEntry { name, noun, .. } = entry;
        let queues = Queues::of(name, &format!("sandbox of {name}"));
        let printed = printed(&fake.output());
        assert!(!printed.is_empty(), "{}", fake.output());
        let changes: Vec<(&str, &str)> = printed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let worker = Worker::run(&[], &changed(&queues, "", &changes));
        let first = (entry.messages)("tried").into_iter().next().expect("there is a message");
        queues.publish(&queues.input(), &first.body, Default::default());
        fake.await_output(&format!("  {noun} "), PATIENCE);
        fake.await_output(if entry.has_users { " finished" } else { "finished at once" }, PATIENCE);
        queues.await_count(&queues.responses(), 1, PATIENCE);
        fake.signal("INT");
        let status = fake.wait(PATIENCE);
        assert!(status.success(), "{status}\n{}", fake.output());
        assert!(fake.output().contains("Stopped. Tasks created: 1,"), "{}", fake.output());
        drop(worker);
    }
}

#[test]
fn the_fake_is_steered_by_hand() {
    let mut sandbox = Worker::run(&["sandbox", "--port", "0", "--finish-after", "0"], &[]);
    sandbox.await_output("Simulated users finish nothing", PATIENCE);
    let output = sandbox.output();
    let port = output.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()).expect("it says its port");
    assert!(output.contains(&format!(" sandbox finish NUMBER --answer ДА --port {port}")), "{output}");
    let by_hand = |step: &[&str]| run(&[&["sandbox"], step, &["--port", port]].concat(), &[]);
    let task = r#"{"fields": {"TITLE": "t", "RESPONSIBLE_ID": 1, "XML_ID": "camunda-7", "UF_RESULT_EXPECTED": "Y"}}"#;
    assert!(ask(&output, "tasks.task.add", task).starts_with("HTTP/1.1 200"));
    let read = || ask(&output, "tasks.task.list", r#"{"select": ["ID", "STATUS", "UF_RESULT_ANSWER"]}"#);
    by_hand(&["finish", "nobody"]).ended_with(1).has("there is no task nobody here");
    by_hand(&["answer", "camunda-7", "НЕТ"]).ended_with(0).has("answered: НЕТ");
    assert!(read().contains(r#""status":"2""#) && read().contains(r#""ufResultAnswer":"27""#), "{}", read());
    by_hand(&["finish", "camunda-7", "--answer", "ДА"]).ended_with(0).has("finished, answer ДА");
    assert!(read().contains(r#""status":"5""#) && read().contains(r#""ufResultAnswer":"26""#), "{}", read());
    by_hand(&["refuse", "tasks.task.list", "--status", "503", "--times", "1"]).ended_with(0).has("1 time(s)");
    assert!(read().starts_with("HTTP/1.1 503") && read().starts_with("HTTP/1.1 200"));
    by_hand(&["refuse", "tasks.task.lst"]).ended_with(1).has("did you mean tasks.task.list?");
    by_hand(&["refuse", "*"]).ended_with(0).has("all calls are refused with 400");
    assert!(read().starts_with("HTTP/1.1 400"));
    by_hand(&["allow"]).ended_with(0);
    by_hand(&["delete", "camunda-7"]).ended_with(0).has("deleted");
    assert!(read().contains(r#""tasks":[]"#), "{}", read());
    sandbox.signal("INT");
    assert!(sandbox.wait(PATIENCE).success());
    by_hand(&["delete", "camunda-7"]).ended_with(1).has("no fake at 127.0.0.1:").has(" sandbox --port ");
}

#[test]
fn an_unknown_system_is_wrong_usage_and_told_with_those_that_there_are() {
    for (command, known) in [("demo", "telegram, default"), ("sandbox", "email, telegram")] {
        let ended = run(&[command, "--system", "fax"], &[]);
        ended.ended_with(64).has("\"fax\" is not one of bitrix24, ").has(known);
        assert!(ended.output.lines().all(|line| !line.starts_with("Connecting")), "{}", ended.output);
    }
    run(&["sandbox", "--system", "default"], &[]).ended_with(64);
    run(&["demo", "--all", "--system", "1c"], &[]).ended_with(64).has("leave --system out");
}

#[test]
fn a_taken_port_is_reported_with_a_way_out() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut sandbox = Worker::run(&["sandbox", "--port", &port], &[]);
    assert_eq!(sandbox.wait(PATIENCE).code(), Some(1));
    assert!(sandbox.output().contains("--port"), "{}", sandbox.output());
}
