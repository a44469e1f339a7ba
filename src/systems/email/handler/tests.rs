use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::sandbox::smtp::{PASSWORD, SmtpFake, USER};
use crate::sandbox::{Fault, Order, What};
use crate::settings::{Variables, right};
use crate::stop::{self, Stopper};

struct Post {
    fake: SmtpFake,
    handler: EmailHandler,
    _stopper: Stopper,
}

fn post(changes: &[(&str, &str)]) -> Post {
    let fake = SmtpFake::start(0).expect("a free port");
    let port = fake.address().port().to_string();
    let usual = [
        ("EMAIL_SMTP_HOST", "127.0.0.1"),
        ("EMAIL_SMTP_PORT", &port),
        ("EMAIL_SECURITY", "none"),
        ("EMAIL_USERNAME", USER),
        ("EMAIL_PASSWORD", PASSWORD),
        ("EMAIL_FROM", "Camunda <camunda@firma.example>"),
        ("EMAIL_RETRY_AFTER", "77"),
    ];
    let value = |wanted: &str| {
        let given = changes.iter().chain(&usual).find(|(name, _)| *name == wanted);
        given.map(|(_, value)| (*value).to_owned())
    };
    let settings = right(Variables::read(value, Settings::from_variables)).expect("right").expect("it is on");
    let (stopper, stop) = stop::signal();
    let handler = EmailHandler::new(settings, &stop).expect("no certificates");
    Post { fake, handler, _stopper: stopper }
}

fn task(id: &str, to: &str) -> Task {
    let variables = json!({"to": to, "subject": "Тема", "text": "Первая\n.\n..третья"});
    Task::parse(json!({"task_id": id, "variables": variables}).to_string().into_bytes()).expect("a task")
}

impl Post {
    fn send(&self, to: &str) -> Result<Created, Failure> {
        self.handler.send(&task("task-1", to), &Claim::default())
    }

    fn order(&self, fault: Fault) -> Order {
        self.fake.order(fault)
    }

    fn sent_to(&self) -> Vec<Vec<String>> {
        self.fake.mails().into_iter().map(|mail| mail.to).collect()
    }
}

#[test]
fn a_mail_arrives_whole_and_its_task_is_finished() {
    let post = post(&[]);
    let created = post.send("a@x.example, Анна <b@x.example>").expect("it is sent");
    let mail = post.fake.mails().remove(0);
    assert_eq!(
        (mail.from.as_str(), mail.to),
        ("camunda@firma.example", vec!["a@x.example".to_owned(), "b@x.example".to_owned()])
    );
    let body = mail.data.split_once("\r\n\r\n").expect("a body").1.replace("\r\n", "");
    let text = STANDARD.decode(body).expect("base64");
    assert_eq!(String::from_utf8(text).expect("UTF-8").replace("\r\n", "\n"), "Первая\n.\n..третья");
    let answer = created.answer.expect("it is finished");
    let task = &answer["result"]["task"];
    assert_eq!((&task["id"], &task["status"]), (&json!("task-1@firma.example"), &json!("sent")));
    assert_eq!(task["recipients"][1], json!({"address": "b@x.example", "accepted": true}));
}

#[test]
fn a_line_that_starts_with_a_dot_ends_nothing() {
    let post = post(&[]);
    let text = "one\n.\n..three\nRCPT TO:<b@x.example>";
    let message = json!({"task_id": "t", "variables": {"to": "a@x.example", "text": text}});
    let task = Task::parse(message.to_string().into_bytes()).expect("a task");
    post.handler.send(&task, &Claim::default()).expect("it is sent");
    let mail = post.fake.mails().remove(0);
    assert!(mail.data.contains(&text.replace('\n', "\r\n")), "{}", mail.data);
    assert_eq!(mail.to, ["a@x.example"]);
}

#[test]
fn each_recipient_has_a_verdict_and_who_has_it_gets_no_second_one() {
    let post = post(&[]);
    let failure = post.send("a@x.example, grey@x.example, nobody@x.example").expect_err("one is put off");
    assert!(
        matches!(&failure, Failure::OutcomeUnknown { visible_in, .. } if visible_in.as_secs() == 77),
        "{failure:?}"
    );
    let created = post.send("a@x.example, grey@x.example, nobody@x.example").expect("the rest is sent");
    assert_eq!(post.sent_to(), [["a@x.example"], ["grey@x.example"]]);
    let task = created.answer.expect("it is finished")["result"]["task"].take();
    let accepted: Vec<Option<bool>> = (0..3).map(|n| task["recipients"][n]["accepted"].as_bool()).collect();
    assert_eq!(
        (accepted.iter().filter(|accepted| **accepted == Some(true)).count(), &task["status"]),
        (2, &json!("partly sent"))
    );
    let ids: Vec<_> = post.fake.mails().iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn what_the_server_says_decides_by_its_code_and_the_step() {
    for (verb, code, expected) in [
        ("CONNECT", 421, "away"),
        ("CONNECT", 554, "away"),
        ("AUTH", 535, "away"),
        ("AUTH", 454, "away"),
        ("MAIL", 421, "away"),
        ("MAIL", 550, "away"),
        ("RCPT", 421, "transient"),
        ("RCPT", 450, "later"),
        ("RCPT", 550, "permanent"),
        ("DATA", 451, "transient"),
        ("DATA", 554, "permanent"),
        ("BODY", 451, "later"),
        ("BODY", 552, "permanent"),
    ] {
        let post = post(&[]);
        post.order(Fault::before(verb, What::refuse(code, "5.9.9", "words of the server")));
        let failure = post.send("a@x.example").expect_err("refused");
        let class = match &failure {
            Failure::Unavailable { .. } => "away",
            Failure::Transient { .. } => "transient",
            Failure::OutcomeUnknown { .. } => "later",
            Failure::Permanent(_) => "permanent",
            other => panic!("{other:?}"),
        };
        assert_eq!(class, expected, "{verb} {code}: {failure}");
        assert!(failure.to_string().contains("words of the server"), "{failure}");
        assert!(post.fake.mails().is_empty());
    }
}

#[test]
fn a_connection_that_breaks_before_the_mail_has_sent_nothing_and_one_behind_it_perhaps() {
    let post = post(&[("EMAIL_TIMEOUT", "1"), ("EMAIL_ACCEPT_TIMEOUT", "1")]);
    let failed = |verb: &'static str, what: What| {
        post.order(Fault::after(verb, what).times(1));
        post.send("a@x.example").expect_err("it breaks")
    };
    assert!(matches!(failed("RCPT", What::Close), Failure::Transient { .. }));
    assert!(matches!(failed("DATA", What::Reset), Failure::Transient { .. }));
    for what in [What::Close, What::Reset, What::Half, What::html(200, "<html>"), What::Hang(None)] {
        let failure = failed("BODY", what);
        assert!(matches!(failure, Failure::OutcomeUnknown { .. }), "{failure:?}");
        post.fake.release();
    }
    assert_eq!(post.fake.mails().len(), 5);
}

#[test]
fn a_server_that_is_away_or_speaks_no_tls_pauses_the_lane() {
    let away = |changes: &[(&str, &str)]| matches!(post(changes).send("a@x.example"), Err(Failure::Unavailable { .. }));
    assert!(away(&[("EMAIL_SMTP_PORT", "1")]));
    assert!(away(&[("EMAIL_SECURITY", "starttls")]));
    assert!(away(&[("EMAIL_SECURITY", "tls"), ("EMAIL_TIMEOUT", "1")]));
    assert!(away(&[("EMAIL_PASSWORD", "another password")]));
}

#[test]
fn a_connection_is_used_again_and_replaced_when_the_server_has_closed_it() {
    let post = post(&[("EMAIL_CONNECTIONS", "1")]);
    (0..3).for_each(|_| drop(post.send("a@x.example").expect("it is sent")));
    assert_eq!(post.fake.connections(), 1);
    post.order(Fault::before("MAIL", What::refuse(421, "4.7.0", "too many mails")).times(1));
    post.send("a@x.example").expect("it is sent");
    assert_eq!((post.fake.connections(), post.fake.mails().len()), (2, 4));
}

#[test]
fn a_message_that_is_not_ours_any_more_is_not_sent() {
    let post = post(&[]);
    let claim = Claim::default();
    claim.lose();
    assert!(matches!(post.handler.send(&task("task-1", "a@x.example"), &claim), Err(Failure::Outdated)));
    assert_eq!(post.fake.connections(), 0);
}
