//! Telegram: the worker, the published interface in Prism, and telegram-test-api, in which a person presses.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use task_creator::http::{Http, json as json_of};
use task_creator::tls::RootCertificates;

use crate::prism::Prism;
use crate::program::{Program, START, found};
use crate::support::{PATIENCE, Queues, Worker, changed, eventually_some};

const CONTRACT: &str = "telegram/tg-openapi.json";
const TOKEN: &str = "123456:peer-bot-token";

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn a_person_s_press_comes_back_as_the_answer() {
    let Some(modules) = found("PEER_NODE_MODULES") else { return };
    let mut command = Command::new("node");
    command.arg("tests/peers/telegram/server.js").env("NODE_PATH", modules);
    let (_program, api) = Program::listening(&mut command);
    // Without the contract it is tried without.
    let prism = Prism::before(api, CONTRACT);
    let queues = Queues::of("telegram", "peer telegram");
    queues.declare(&queues.sent());
    let url = format!("http://{}", prism.as_ref().map_or(api, Prism::address));
    let settings = [
        ("TELEGRAM_BOT_TOKEN", TOKEN),
        ("TELEGRAM_API_URL", url.as_str()),
        ("TELEGRAM_CHAT_ID", "1"),
        // Whatever Prism objects to is to show at once.
        ("RETRY_ATTEMPTS", "1"),
        ("RETRY_DELAY", "0.2"),
        ("HEARTBEAT_INTERVAL", "2"),
    ];
    let mut worker = Worker::run(&[], &changed(&queues, "", &settings));
    let question = json!({"UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "Согласовать?"});
    queues.publish_task(&json!({
        "task_id": "a3c9f1d2-8f6e-11f0-9b1a-0242ac120002", "topic": "telegram_task",
        "variables": {"title": "Договор <№7>", "text": "Сумма & срок 😀"},
        "metadata": {"extensionProperties": question},
    }));
    let long = "слово ".repeat(1500);
    queues.publish_task(&json!({"task_id": "task-2", "topic": "send_telegram", "variables": {"text": long}}));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    press(api, "Согласовать?");
    queues.await_count(&queues.responses(), 2, PATIENCE);
    let is_asked = |message: &Value| message["original_message"]["task_id"] != "task-2";
    let responses: Vec<Value> = queues.peek_all(&queues.responses()).iter().map(|message| message.json()).collect();
    let answered = responses.iter().find(|response| is_asked(response)).expect("it was answered");
    assert_eq!(answered["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    assert_eq!(queues.count(&queues.errors()), 0, "nothing is parked: {}", worker.log());
    let sent: Vec<Value> = history(api).into_iter().map(|update| update["message"]["text"].clone()).collect();
    assert_eq!(sent.iter().filter_map(Value::as_str).collect::<String>().matches("слово").count(), 1500);
    // After the response the buttons go.
    eventually_some("the buttons go", PATIENCE, || {
        let asked = history(api).into_iter().find(|update| is_about(update, "Согласовать?"))?;
        asked["message"]["reply_markup"]["inline_keyboard"].as_array().is_none_or(Vec::is_empty).then_some(())
    });
    worker.stop();
}

/// The person presses the first button under the message with this text.
fn press(api: SocketAddr, text: &str) {
    let asked = history(api).into_iter().find(|update| is_about(update, text)).expect("it is there");
    let button = &asked["message"]["reply_markup"]["inline_keyboard"][0][0]["callback_data"];
    let message = json!({"message_id": asked["messageId"], "chat": {"id": 1}, "text": text});
    let from = json!({"id": 1, "first_name": "Анна", "is_bot": false});
    post(api, "sendCallback", &json!({"botToken": TOKEN, "from": from, "message": message, "data": button}));
}

fn is_about(update: &Value, text: &str) -> bool {
    update["message"]["text"].as_str().is_some_and(|sent| sent.contains(text))
}

fn history(api: SocketAddr) -> Vec<Value> {
    post(api, "getUpdatesHistory", &json!({"token": TOKEN}))["result"].as_array().cloned().unwrap_or_default()
}

fn post(api: SocketAddr, method: &str, body: &Value) -> Value {
    let http = Http::new(START, &RootCertificates::public());
    let url = format!("http://{}/{method}", api);
    json_of(http.post_json(&url, body.to_string().as_bytes())).expect("telegram-test-api answers")
}
