//! SIGKILL where the target cannot be asked for what was done: between a mail server's yes and the confirm of the
//! response, and between a press in Telegram and that confirm; each before the response is out and after. Each test
//! runs with the kill and without.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kills::{Fault, ID, both, relay};
use crate::support::*;
use serde_json::json;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::smtp::{PASSWORD, SmtpFake, USER};
use task_creator::sandbox::telegram::{PERSON, TOKEN, Telegram};

/// A worker that reaches RabbitMQ through the relay, and sweeps often.
fn worker(queues: &Queues, relay: &Arc<Relay>, target: &[(&str, &str)]) -> Worker {
    let port = relay.port().to_string();
    let common = [
        ("RABBITMQ_HOST", "127.0.0.1"),
        ("RABBITMQ_PORT", port.as_str()),
        ("RETRY_DELAY", "0.2"),
        ("HEARTBEAT_INTERVAL", "0.5"),
    ];
    let worker = Worker::run(&[], &changed(queues, "", &[&common[..], target].concat()));
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    worker
}

/// What the worker waits for when it is killed.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// The response is on its way to RabbitMQ.
    Response,
    /// The response is in its queue.
    Confirm,
}

impl Held {
    /// From now on it is held.
    fn hold(self, queues: &Queues, relay: &Relay) -> Seen {
        let publish = publish_to(&queues.responses());
        match self {
            Held::Response => relay.before_passing(Direction::ToServer, publish, Then::Hold(Direction::ToServer)),
            Held::Confirm => relay.when_seen(Direction::ToServer, publish, Then::Hold(Direction::ToClient)),
        }
    }

    /// How many responses there are in the end.
    fn responses(self, fault: Fault) -> usize {
        if self == Held::Confirm { fault.copies() } else { 1 }
    }
}

/// Waits until the worker waits; then does what the test is about.
fn strike(fault: Fault, held: Held, seen: &Seen, queues: &Queues, relay: &Relay, worker: &mut Worker) {
    seen.wait(PATIENCE);
    queues.await_count(&queues.responses(), usize::from(held == Held::Confirm), PATIENCE);
    if fault == Fault::Kill {
        worker.kill();
        relay.cut();
        relay.pass();
        worker.start_again();
    }
    relay.pass();
    queues.await_count(&queues.responses(), held.responses(fault), PATIENCE);
}

fn end(fault: Fault, queues: &Queues, worker: &mut Worker) {
    worker.stop();
    let kills = usize::from(fault == Fault::Kill);
    Audit::take(queues, vec![ID.into()]).after_faults(kills).assert_holds();
}

/// The number of mails, and of their ids.
fn mailed(held: Held) -> ((usize, usize), (usize, usize)) {
    both(|fault| {
        let (queues, relay) = (Queues::of("email", "kill after a mail"), relay());
        let fake = SmtpFake::start(0).expect("loopback has a free port");
        let port = fake.address().port().to_string();
        let target = [
            ("EMAIL_SMTP_HOST", "127.0.0.1"),
            ("EMAIL_SMTP_PORT", port.as_str()),
            ("EMAIL_SECURITY", "none"),
            ("EMAIL_USERNAME", USER),
            ("EMAIL_PASSWORD", PASSWORD),
            ("EMAIL_FROM", "camunda@firma.example"),
        ];
        let mut worker = worker(&queues, &relay, &target);
        let seen = held.hold(&queues, &relay);
        queues.publish_task(&json!({"task_id": ID, "system": "email", "variables": {"to": "a@firma.example"}}));
        strike(fault, held, &seen, &queues, &relay, &mut worker);
        end(fault, &queues, &mut worker);
        let ids: BTreeSet<Option<String>> = fake.mails().iter().map(|mail| mail.header("Message-ID")).collect();
        (fake.mails().len(), ids.len())
    })
}

#[test]
fn a_kill_between_the_servers_yes_and_the_response_sends_the_mail_again_under_the_same_id() {
    assert_eq!(mailed(Held::Response), ((1, 1), (2, 1)));
}

#[test]
fn a_kill_between_the_servers_yes_and_the_confirm_sends_the_mail_again_under_the_same_id() {
    assert_eq!(mailed(Held::Confirm), ((1, 1), (2, 1)));
}

/// The number of messages that people see.
fn asked(held: Held) -> (usize, usize) {
    both(|fault| {
        let (queues, relay) = (Queues::of("telegram", "kill after a press"), relay());
        let fake = HttpFake::start(0, Telegram::default()).expect("loopback has a free port");
        let (api, person) = (format!("http://{}", fake.address()), PERSON.to_string());
        let target = [("TELEGRAM_BOT_TOKEN", TOKEN), ("TELEGRAM_API_URL", &api), ("TELEGRAM_CHAT_ID", &person)];
        let mut worker = worker(&queues, &relay, &target);
        queues.publish_task(&json!({"task_id": ID, "system": "telegram", "topic": "telegram_task"}));
        queues.await_count(&queues.sent(), 1, PATIENCE);
        let seen = held.hold(&queues, &relay);
        let message = fake.target().messages()[0].clone();
        assert!(fake.target().press(PERSON, PERSON, message.id, "Готово"));
        strike(fault, held, &seen, &queues, &relay, &mut worker);
        eventually("the buttons go", PATIENCE, || fake.target().messages()[0].buttons.is_empty());
        eventually("the press is settled", PATIENCE, || fake.target().unsettled() == 0);
        end(fault, &queues, &mut worker);
        fake.target().messages().len()
    })
}

#[test]
fn a_kill_between_a_press_and_its_response_loses_neither() {
    assert_eq!(asked(Held::Response), (1, 1));
}

#[test]
fn a_kill_between_a_press_and_the_confirm_of_its_response_loses_neither() {
    assert_eq!(asked(Held::Confirm), (1, 1));
}
