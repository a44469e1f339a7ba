//! The fake is as unkind as the Bot API is known to be.

use super::*;

fn call(telegram: &mut Telegram, method: &str, params: Value) -> Value {
    let asked = Asked {
        method: "POST".into(),
        path: format!("/bot{TOKEN}/{method}"),
        raw_query: String::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: params.to_string().into_bytes(),
    };
    serde_json::from_slice(telegram.answer(&asked).body()).expect("JSON")
}

#[test]
fn a_press_comes_again_until_a_later_offset_settles_it() {
    let mut telegram = Telegram::default();
    let keyboard = json!({"inline_keyboard": [[{"text": "ДА", "callback_data": "yes:1"}]]});
    let sent = call(&mut telegram, "sendMessage", json!({"chat_id": PERSON, "text": "?", "reply_markup": keyboard}));
    let message = sent["result"]["message_id"].as_i64().expect("a number");
    assert!(telegram.press(PERSON, PERSON, message, "ДА") && !telegram.press(PERSON, PERSON, message, "НЕТ"));
    let updates =
        |telegram: &mut Telegram, offset: i64| call(telegram, "getUpdates", json!({"offset": offset}))["result"].take();
    let first = updates(&mut telegram, 0);
    assert_eq!(first, updates(&mut telegram, 0));
    let number = first[0]["update_id"].as_i64().expect("a number");
    let press = &first[0]["callback_query"]["id"];
    assert_eq!(call(&mut telegram, "answerCallbackQuery", json!({"callback_query_id": press}))["ok"], true);
    assert_eq!(call(&mut telegram, "answerCallbackQuery", json!({"callback_query_id": press}))["error_code"], 400);
    assert_eq!((updates(&mut telegram, number + 1), telegram.unsettled()), (json!([]), 0));
}

#[test]
fn what_telegram_refuses_is_refused() {
    let mut telegram = Telegram::default();
    let mut refused = |params: Value| {
        let reply = call(&mut telegram, "sendMessage", params);
        (reply["error_code"].as_u64(), reply["parameters"]["migrate_to_chat_id"].as_i64())
    };
    assert_eq!(refused(json!({"chat_id": 5, "text": "x"})), (Some(400), None));
    assert_eq!(refused(json!({"chat_id": BLOCKED, "text": "x"})), (Some(403), None));
    assert_eq!(refused(json!({"chat_id": MOVED_GROUP, "text": "x"})), (Some(400), Some(SUPERGROUP)));
    assert_eq!(refused(json!({"chat_id": PERSON, "text": " "})), (Some(400), None));
    assert_eq!(refused(json!({"chat_id": PERSON, "text": "я".repeat(4097)})), (Some(400), None));
    assert_eq!(refused(json!({"chat_id": PERSON, "text": "1 < 2", "parse_mode": "HTML"})), (Some(400), None));
    let long = json!({"inline_keyboard": [[{"text": "?", "callback_data": "я".repeat(33)}]]});
    assert_eq!(refused(json!({"chat_id": PERSON, "text": "x", "reply_markup": long})), (Some(400), None));
    assert_eq!(refused(json!({"chat_id": PERSON, "text": "x"})), (None, None));
    telegram.set_webhook("https://elsewhere.example");
    assert_eq!(call(&mut telegram, "getUpdates", json!({}))["error_code"], 409);
    assert_eq!(call(&mut telegram, "sendMesage", json!({}))["error_code"], 404);
}
