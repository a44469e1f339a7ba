//! The bytes of a mail, as mail programs read them.

use serde_json::{Value, json};

use super::*;
use crate::message::Task;
use crate::settings::{Variables, right};
use crate::systems::email::{Settings, fields};

fn made(variables: Value) -> String {
    let value = |name: &str| (name == "EMAIL_FROM").then(|| "Отдел кадров <camunda@firma.example>".to_owned());
    let settings = right(Variables::read(value, Settings::without_server)).expect("they are right");
    let message = json!({"task_id": "task-1", "variables": variables});
    let task = Task::parse(message.to_string().into_bytes()).expect("a task");
    let mail = fields::mail(&task, &settings);
    String::from_utf8(bytes(&mail, &settings.from, Some(&task.id)).expect("it can be written")).expect("text")
}

#[test]
fn a_mail_is_ascii_with_short_lines_and_has_the_headers_of_a_machine() {
    let mail = made(json!({
        "to": ["\"Иванов, Иван\" <i@x.example>", "b@x.example"],
        "bcc": "secret@x.example",
        "subject": "Договор №7 «Ромашка» на согласование, срок до конца недели, просим не задерживать",
        "text": format!("Строка\n.\n..две\n{}", "я".repeat(3000)),
        "html": format!("<p>{}</p>", "x".repeat(3000)),
    }));
    assert!(mail.is_ascii() && !mail.contains('\0'));
    assert!(mail.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    for header in [
        "Message-ID: <task-1@firma.example>",
        "Auto-Submitted: auto-generated",
        "X-Camunda-Task-Id: task-1",
        "Date: ",
        "MIME-Version: 1.0",
    ] {
        assert!(mail.contains(header), "{header} is not in\n{mail}");
    }
    assert!(
        mail.contains("multipart/alternative") && !mail.contains("secret@x.example") && mail.contains("b@x.example")
    );
}

#[test]
fn a_mail_whose_recipients_no_header_names_can_be_written() {
    let mail = made(json!({"bcc": "a@x.example", "text": "x"}));
    assert!(!mail.contains("a@x.example") && !mail.contains("\r\nTo:"));
}

#[test]
fn no_text_is_an_encoded_word() {
    let word = "=?utf-8?q?a=0D=0ABcc:_b@x.example?=";
    let mail = made(json!({"to": format!("{word} <a@x.example>"), "subject": word, "text": "x"}));
    let head = mail.split("\r\n\r\n").next().unwrap_or_default();
    // Our own name in Cyrillic is one.
    assert!(!head.contains("=?utf-8?q?") && head.contains("= ?utf-8?q?a"), "{head}");
}

#[test]
fn whatever_people_are_called_and_write_about_can_be_written() {
    let long = "x".repeat(240);
    for text in [
        "😀 «Ёлка»",
        "\"quoted\" \\ back",
        "a, b; c <d>",
        "שלום\u{202e}",
        "e\u{301}\u{2028}\u{feff}",
        "=?utf-8?q?x?=",
        &long,
        &"я".repeat(240),
    ] {
        let name = text.replace(['<', '>', '"'], "");
        let mail = made(json!({"to": [format!("{name} <a@x.example>")], "subject": text, "text": text}));
        assert!(mail.is_ascii() && mail.split("\r\n").all(|line| line.len() <= 998), "{text}: {mail}");
        assert_eq!(mail.matches("\r\nSubject: ").count(), 1, "{text}");
    }
}
