//! E-mail to aiosmtpd, read back by Python's own parser.

use serde_json::{Value, json};

use crate::program::Program;
use crate::support::{PATIENCE, Queues, Worker, changed, run};

const SUBJECT: &str = "Договор №7 «Ромашка» на согласование: просим не задерживать, срок до конца недели 😀";
const TEXT: &str =
    "Строка\n.\n..две\nдлинная: яяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяя";
const HTML: &str = "<p>Привет, <b>Иван</b></p>";

#[test]
fn names_subjects_and_texts_arrive_as_they_were_meant_and_each_recipient_gets_one() {
    let Some(server) = Program::start("PEER_PYTHON", &["tests/peers/mail/server.py"]) else { return };
    let queues = Queues::of("email", "peer mail");
    let port = server.address().port().to_string();
    let settings = [
        ("EMAIL_SMTP_HOST", "127.0.0.1"),
        ("EMAIL_SMTP_PORT", port.as_str()),
        ("EMAIL_SECURITY", "none"),
        ("EMAIL_USERNAME", "user"),
        ("EMAIL_PASSWORD", "пароль 7"),
        ("EMAIL_FROM", "Отдел кадров <camunda@firma.example>"),
        ("EMAIL_ALLOWED_DOMAINS", "firma.example,портал.example"),
        ("EMAIL_RETRY_AFTER", "0.2"),
        ("RETRY_ATTEMPTS", "2"),
        ("RETRY_DELAY", "0.2"),
    ];
    let settings = changed(&queues, "", &settings);
    run(&["check"], &settings).has("email: the server lets us in and takes EMAIL_FROM").ended_with(0);
    let mut worker = Worker::run(&[], &settings);
    let to = ["\"Иванов, Иван\" <ivan@firma.example>", "grey@firma.example", "nobody@firma.example"];
    let variables =
        json!({"to": to, "cc": "Анна Ёлкина <anna@портал.example>", "subject": SUBJECT, "text": TEXT, "html": HTML});
    queues.publish_task(&json!({"task_id": "task-1", "topic": "send_email", "variables": variables}));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    let mails: Vec<Value> = server.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let recipients: Vec<&Value> = mails.iter().map(|mail| &mail["envelope_to"]).collect();
    assert_eq!(
        recipients,
        [&json!(["ivan@firma.example", "anna@xn--80awhdgm.example"]), &json!(["grey@firma.example"])]
    );
    for mail in &mails {
        assert_eq!((&mail["subject"], &mail["defects"]), (&json!(SUBJECT), &json!([])));
        assert_eq!(mail["from"], "Отдел кадров <camunda@firma.example>");
        assert_eq!(mail["to"], "\"Иванов, Иван\" <ivan@firma.example>, grey@firma.example, nobody@firma.example");
        assert_eq!(mail["cc"], "Анна Ёлкина <anna@xn--80awhdgm.example>");
        assert_eq!(
            (&mail["message_id"], &mail["auto_submitted"]),
            (&json!("<task-1@firma.example>"), &json!("auto-generated"))
        );
        let said = |part: &str| mail[part].as_str().unwrap_or_default().replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!((said("text"), said("html")), (TEXT.to_owned(), HTML.to_owned()));
    }
    let response = queues.peek_all(&queues.responses())[0].json();
    assert_eq!(response["response_data"]["result"]["task"]["status"], "partly sent");
}
