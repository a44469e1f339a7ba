//! What is sent of a message, and where to.

use std::iter;

use serde_json::json;

use super::*;
use crate::settings::{Variables, right};

fn settings(given: &[(&str, &str)]) -> Settings {
    let value = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    right(Variables::read(value, Settings::without_bot)).expect("they are right")
}

fn task(topic: &str, variables: Value, extensions: Value) -> Task {
    let message = json!({
        "task_id": "task-1",
        "topic": topic,
        "variables": variables,
        "metadata": {"activityInfo": {"name": "Согласовать"}, "extensionProperties": extensions},
    });
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn made(topic: &str, variables: Value, extensions: Value) -> Outgoing {
    outgoing(&task(topic, variables, extensions), &settings(&[(CHAT_ID, "17")]))
}

#[test]
fn a_notification_says_its_text_and_a_task_its_name_too() {
    let plain = |topic, variables| made(topic, variables, json!({})).parts.remove(0).plain;
    assert_eq!(plain("send_telegram", json!({"text": "Привет"})), "Привет");
    assert_eq!(plain("send_telegram", json!({"title": "Т", "message": "Привет"})), "Т\n\nПривет");
    assert_eq!(plain("telegram_notify", json!({})), "Согласовать");
    assert_eq!(
        plain("telegram_task", json!({"description": "Договор", "description_additional": 7})),
        "Согласовать\n\nДоговор\n\n7"
    );
    assert_eq!(plain("send_telegram", json!({"text": {"а": [1]}})), "{\"а\":[1]}");
}

#[test]
fn only_a_task_and_a_question_have_buttons() {
    let kind = |made: Outgoing| (made.is_tracked, made.asks, made.send(0, &17.into()).params["reply_markup"].clone());
    let (tracked, asks, keyboard) = kind(made("send_telegram", json!({"text": "x"}), json!({})));
    assert_eq!((tracked, asks, keyboard), (false, false, Value::Null));
    let (tracked, asks, keyboard) = kind(made("telegram_task", json!({}), json!({})));
    assert_eq!(
        (tracked, asks, &keyboard["inline_keyboard"][0][0]["callback_data"]),
        (true, false, &json!("done:task-1"))
    );
    // Nobody could answer it otherwise, and its process would wait for ever.
    let question = json!({"UF_RESULT_EXPECTED": "да", "UF_RESULT_QUESTION": "Согласовано?"});
    let asking = made("telegram_notify", json!({"text": "Договор"}), question);
    assert_eq!(asking.parts[0].plain, "Согласовать\n\nСогласовано?\n\nДоговор");
    let (tracked, asks, keyboard) = kind(asking);
    assert_eq!((tracked, asks, keyboard["inline_keyboard"][0].as_array().map(Vec::len)), (true, true, Some(2)));
}

#[test]
fn the_buttons_are_under_the_last_part_and_the_question_is_in_the_first() {
    let text: String = iter::repeat_n("слово ", 1500).collect();
    let question = json!({"UF_RESULT_EXPECTED": "1", "UF_RESULT_QUESTION": "Согласовано?"});
    let made = made("telegram_task", json!({"text": text}), question);
    assert_eq!(made.parts.len(), 3);
    let has_buttons = |index| made.send(index, &1.into()).params.get("reply_markup").is_some();
    assert_eq!([0, 1, 2].map(has_buttons), [false, false, true]);
    assert!(made.parts[0].plain.contains("Согласовано?"));
}

#[test]
fn the_chat_is_the_first_that_can_be_one_else_the_setting_s() {
    let chat = |variables, extensions| {
        let made = made("send_telegram", variables, extensions);
        (made.chat, made.origins.chat, made.warnings.len())
    };
    assert_eq!(chat(json!({}), json!({})), (Some(Chat::Id(17)), CHAT_ID.into(), 0));
    assert_eq!(
        chat(json!({"chat_id": -5}), json!({"chat_id": "9"})),
        (Some(Chat::Id(-5)), "variables.chat_id".into(), 0)
    );
    let (given, origin, warnings) = chat(json!({"chat_id": "Иван"}), json!({"chatId": "@news"}));
    assert_eq!(
        (given, origin.as_str(), warnings),
        (Some(Chat::Name("@news".into())), "metadata.extensionProperties.chatId", 1)
    );
    assert_eq!(outgoing(&task("send_telegram", json!({}), json!({})), &settings(&[])).chat, None);
}

#[test]
fn markup_is_sent_with_its_mode_and_without_both() {
    let made = made("send_telegram", json!({"title": "A&B", "text": "1 < 2", "message_thread_id": "7"}), json!({}));
    let marked = made.send(0, &json!("@news")).params;
    assert_eq!(
        marked,
        json!({"chat_id": "@news", "text": "<b>A&amp;B</b>\n\n1 &lt; 2", "parse_mode": "HTML", "message_thread_id": 7})
    );
    let plain = made.send_plain(0, &json!("@news")).params;
    assert_eq!(plain, json!({"chat_id": "@news", "text": "A&B\n\n1 < 2", "message_thread_id": 7}));
}
