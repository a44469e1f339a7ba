//! E-mail, from the queue to the answer. What every system has to stand is in `systems`.

use crate::support::*;
use serde_json::{Value, json};
use task_creator::sandbox::smtp::{PASSWORD, SmtpFake, USER};

struct Scene {
    queues: Queues,
    fake: SmtpFake,
    worker: Worker,
}

/// What leads a worker to the sandbox's server at this port.
pub fn server_at(port: &str) -> [(&'static str, &str); 6] {
    [
        ("EMAIL_SMTP_HOST", "localhost"),
        ("EMAIL_SMTP_PORT", port),
        ("EMAIL_SECURITY", "none"),
        ("EMAIL_USERNAME", USER),
        ("EMAIL_PASSWORD", PASSWORD),
        ("EMAIL_FROM", "Task Creator <camunda@firma.example>"),
    ]
}

fn settings(queues: &Queues, port: u16, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let port = port.to_string();
    let own = [
        ("EMAIL_ALLOWED_DOMAINS", "firma.example"),
        ("EMAIL_RETRY_AFTER", "0.2"),
        ("RETRY_DELAY", "0.2"),
        ("LOG_LEVEL", "DEBUG"),
    ];
    changed(queues, "", &[&server_at(&port)[..], &own, changes].concat())
}

impl Scene {
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let fake = SmtpFake::start(0).expect("loopback has a free port");
        let queues = Queues::of("email", test);
        let worker = Worker::run(&[], &settings(&queues, fake.address().port(), changes));
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { queues, fake, worker }
    }

    #[track_caller]
    fn response(&self) -> Value {
        self.queues.await_count(&self.queues.responses(), 1, PATIENCE);
        self.queues.peek_all(&self.queues.responses())[0].json()
    }

    #[track_caller]
    fn end(mut self, tasks: &[&str]) {
        self.worker.stop();
        Audit::take(&self.queues, tasks.iter().map(|task| (*task).to_owned()).collect()).assert_holds();
    }
}

fn message(id: &str, to: &str) -> Value {
    let variables = json!({"to": to, "subject": "Договор №7", "text": "Срок: завтра"});
    json!({"task_id": id, "topic": "send_email", "system": "email", "variables": variables, "activity_id": "Notify"})
}

#[test]
fn each_recipient_gets_it_once_and_the_response_has_the_verdicts() {
    let scene = Scene::set("email verdicts", &[("RETRY_ATTEMPTS", "2")]);
    let to = "anna@firma.example, grey@firma.example, nobody@firma.example, eve@elsewhere.example";
    scene.queues.publish_task(&message("task-1", to));
    let response = scene.response();
    let task = &response["response_data"]["result"]["task"];
    assert_eq!(
        (&task["status"], &response["processing_status"]),
        (&json!("partly sent"), &json!("completed_by_tracker"))
    );
    let verdicts: Vec<(&str, bool)> = task["recipients"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["address"].as_str().expect("a text"), one["accepted"] == true))
        .collect();
    let expected = [
        ("anna@firma.example", true),
        ("grey@firma.example", true),
        ("nobody@firma.example", false),
        ("eve@elsewhere.example", false),
    ];
    assert_eq!(verdicts, expected);
    let sent: Vec<Vec<String>> = scene.fake.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(sent, [["anna@firma.example"], ["grey@firma.example"]]);
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0);
    scene.end(&["task-1"]);
}

#[test]
fn a_mailbox_without_room_is_parked_in_the_end_and_says_who_has_got_it() {
    let scene = Scene::set("email full", &[("RETRY_ATTEMPTS", "1")]);
    scene.queues.publish_task(&message("task-1", "anna@firma.example, full@firma.example"));
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    let parked = scene.queues.peek_all(&scene.queues.errors())[0].json();
    let told = parked["error_message"].as_str().expect("a text");
    assert!(told.contains("anna@firma.example: accepted") && told.contains("Mailbox full"), "{told}");
    assert_eq!(scene.fake.mails().len(), 1);
    scene.end(&[]);
}

#[test]
fn who_has_it_is_known_to_the_worker_that_sends_the_rest() {
    let mut scene = Scene::set("email other worker", &[("RETRY_ATTEMPTS", "2"), ("EMAIL_RETRY_AFTER", "8")]);
    scene.queues.publish_task(&message("task-1", "anna@firma.example, grey@firma.example"));
    scene.worker.await_log("trying again in", PATIENCE);
    // Otherwise the message comes back with the kill as it was.
    let input = scene.queues.input();
    eventually("the ack", PATIENCE, || scene.queues.unacked(&input).is_none_or(|count| count == 0));
    scene.worker.kill();
    scene.worker.start_again();
    scene.response();
    let sent: Vec<Vec<String>> = scene.fake.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(sent, [["anna@firma.example"], ["grey@firma.example"]]);
    scene.end(&["task-1"]);
}

#[test]
fn tls_is_checked_and_nothing_is_sent_without_it() {
    let fake = SmtpFake::start(0).expect("loopback has a free port");
    let authority = Authority::new("a CA");
    let front = TlsFront::to(fake.address(), &authority.identity("localhost"));
    let file = PemFile::write(&authority.pem());
    let queues = Queues::of("email", "email tls");
    let port = front.address().port();
    let tls = ("EMAIL_SECURITY", "tls");
    run(&["check"], &settings(&queues, port, &[tls])).has("FAIL").has("email: localhost").ended_with(1);
    let starttls = ("EMAIL_SECURITY", "starttls");
    run(&["check"], &settings(&queues, fake.address().port(), &[starttls])).has("STARTTLS").ended_with(1);
    assert!(fake.mails().is_empty());
    let trusted = settings(&queues, port, &[tls, ("EMAIL_CA_FILE", file.path())]);
    run(&["check"], &trusted).has("email: the server lets us in").ended_with(0);
    let mut worker = Worker::run(&[], &trusted);
    queues.publish_task(&message("task-1", "anna@firma.example"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    assert_eq!(fake.mails().len(), 1);
}

#[test]
fn check_signs_in_and_sends_nothing() {
    let fake = SmtpFake::start(0).expect("loopback has a free port");
    let queues = Queues::of("email", "email check");
    let check = |changes: &[(&str, &str)]| run(&["check"], &settings(&queues, fake.address().port(), changes));
    check(&[]).has("email: the server lets us in").ended_with(0);
    check(&[("EMAIL_ALLOWED_DOMAINS", "")]).has("a process may write to anybody").ended_with(0);
    let wrong = check(&[("EMAIL_PASSWORD", "canary-password-0")]);
    wrong.has("correct EMAIL_USERNAME or EMAIL_PASSWORD").has_not("canary-password-0").ended_with(1);
    assert!(fake.mails().is_empty());
}

#[test]
fn without_a_server_its_queue_is_left_alone() {
    let queues = Queues::of("email", "email off");
    let mut worker = Worker::run(&[], &changed(&queues, "", &[("EMAIL_FROM", "camunda@firma.example")]));
    worker.await_log("email: EMAIL_SMTP_HOST is not set", PATIENCE);
    queues.publish_task(&message("task-1", "anna@firma.example"));
    assert_eq!((queues.consumers(&queues.input()), queues.count(&queues.input())), (0, 1));
    worker.stop();
}

#[test]
fn explain_shows_who_gets_what_and_asks_nobody() {
    let scene = Scene::set("email explain", &[]);
    let file = scene.worker.folder().join("message.json");
    let to = "Анна <anna@firma.example>, eve@elsewhere.example";
    std::fs::write(&file, message("task-1", to).to_string()).expect("the folder is writable");
    let settings = settings(&scene.queues, scene.fake.address().port(), &[]);
    let explained = run(&["explain", file.to_str().expect("a plain name")], &settings);
    explained.has("MAIL").has("RCPT").has("anna@firma.example").has("Договор №7").has("<task-1@firma.example>");
    explained.has("not sent to eve@elsewhere.example: its domain is not in EMAIL_ALLOWED_DOMAINS").ended_with(0);
    assert_eq!(scene.fake.connections(), 0);
    scene.end(&[]);
}
