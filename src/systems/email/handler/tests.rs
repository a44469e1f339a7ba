//! Mails at servers that refuse, put off, fall silent or break off.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::never;

use super::super::tests::server;
use super::*;
use crate::sandbox::smtp::SmtpFake;
use crate::sandbox::{Fault, Order, What};

struct Post {
    fake: SmtpFake,
    handler: EmailHandler,
}

fn post(changes: &[(&str, &str)]) -> Post {
    let (fake, settings) = server(changes);
    Post { fake, handler: EmailHandler::new(settings) }
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

/// The server ends a mail in this way, once.
fn ended_by(post: &Post, reply: &[u8]) -> Result<Created, Failure> {
    let what = What::Raw { status: 250, content_type: "", body: reply.to_vec() };
    post.order(Fault::after("BODY", what).times(1));
    post.send("a@x.example")
}

#[test]
fn a_yes_is_a_yes_without_words_and_in_any_encoding() {
    let post = post(&[]);
    for reply in [&b"250"[..], b"250 \xcf\xf0\xe8\xed\xff\xf2\xee", b"250-taken\r\n250 as 7", b"290 odd"] {
        let sent = ended_by(&post, reply);
        assert!(sent.is_ok(), "{}: {}", String::from_utf8_lossy(reply), sent.expect_err("it failed"));
    }
    let refused = ended_by(&post, b"571 5.7.1 \xcd\xe5\xf2").expect_err("refused");
    assert!(matches!(&refused, Failure::Permanent(_)), "{refused}");
    assert!(matches!(ended_by(&post, b"354 go on").expect_err("no answer"), Failure::OutcomeUnknown { .. }));
}

/// A server that does this with its first connection.
fn hostile(serve: impl FnOnce(&TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            serve(&stream);
        }
    });
    port
}

#[test]
fn a_server_that_speaks_byte_by_byte_or_without_end_is_not_listened_to_for_ever() {
    let dribbles = hostile(|mut stream| {
        // Each byte comes long before a wait for it would end.
        while stream.write_all(b"2").is_ok() {
            let _ = never::<()>().recv_timeout(Duration::from_millis(50));
        }
    });
    let floods = hostile(|mut stream| while stream.write_all(&b"220-x\r\n".repeat(1000)).is_ok() {});
    let roars = hostile(|mut stream| while stream.write_all(&[b'2'; 1 << 16]).is_ok() {});
    for (port, seconds) in [(dribbles, "1"), (floods, "30"), (roars, "30")] {
        let started = Instant::now();
        let failure = post(&[("EMAIL_SMTP_PORT", &port), ("EMAIL_TIMEOUT", seconds)]).send("a@x.example");
        assert!(matches!(failure, Err(Failure::Unavailable { .. })), "{failure:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[test]
fn the_wait_for_the_last_word_is_not_made_twice() {
    let post = post(&[("EMAIL_TIMEOUT", "3"), ("EMAIL_ACCEPT_TIMEOUT", "3")]);
    post.order(Fault::after("BODY", What::Hang(None)).times(1));
    let started = Instant::now();
    assert!(matches!(post.send("a@x.example"), Err(Failure::OutcomeUnknown { .. })));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_mail_that_was_cut_before_its_end_was_not_sent() {
    let post = post(&[]);
    // It says that it takes the mail, and is gone.
    let what = What::Raw { status: 354, content_type: "", body: b"354 go on".to_vec() };
    post.order(Fault::before("DATA", what).times(1));
    let variables = json!({"to": "a@x.example", "text": "я".repeat(500_000), "html": "ю".repeat(500_000)});
    let task = Task::parse(json!({"task_id": "t", "variables": variables}).to_string().into_bytes()).expect("a task");
    let failure = post.handler.send(&task, &Claim::default()).expect_err("cut");
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
}

#[test]
fn a_message_that_is_lost_while_the_server_is_slow_is_not_sent() {
    let post = post(&[]);
    let held = post.order(Fault::before("RCPT", What::Delay(Duration::from_secs(60))).times(1));
    let task = task("task-1", "a@x.example");
    thread::scope(|scope| {
        let sending = scope.spawn(|| post.handler.send(&task, &Claim::default()));
        while held.struck() == 0 {
            thread::yield_now();
        }
        task.claim.lose();
        post.fake.release();
        let sent = sending.join().expect("no panic");
        assert!(matches!(sent, Err(Failure::Outdated)), "{sent:?}");
    });
    assert!(post.fake.mails().is_empty());
}

#[test]
fn what_is_said_before_the_handshake_is_not_believed_after_it() {
    let port = hostile(|mut stream| {
        let mut lines = BufReader::new(stream).lines();
        let _ = stream.write_all(b"220 x\r\n");
        let _ = lines.next();
        let _ = stream.write_all(b"250-x\r\n250 STARTTLS\r\n");
        let _ = lines.next();
        let _ = stream.write_all(b"220 go\r\n250 AUTH PLAIN\r\n");
    });
    let failure = post(&[("EMAIL_SMTP_PORT", &port), ("EMAIL_SECURITY", "starttls")]).send("a@x.example");
    let told = failure.expect_err("refused").to_string();
    assert!(told.contains("before the handshake"), "{told}");
}

#[test]
fn no_more_threads_send_than_the_server_bears() {
    assert_eq!(post(&[("EMAIL_CONNECTIONS", "3")]).handler.most_at_once(), 3);
}
