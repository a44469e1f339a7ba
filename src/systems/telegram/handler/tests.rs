//! Sends at the sandbox's bot, with everything that may fail.

use super::*;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::telegram::{BLOCKED, MOVED_GROUP, PERSON, SUPERGROUP, TOKEN, Telegram};
use crate::sandbox::{Fault, What};
use crate::settings::{Variables, right};
use crate::tls::RootCertificates;

fn bot() -> (HttpFake<Telegram>, TelegramHandler) {
    let fake = HttpFake::start(0, Telegram::default()).expect("a free port");
    let api = format!("http://{}", fake.address());
    let given = [("TELEGRAM_BOT_TOKEN", TOKEN), ("TELEGRAM_API_URL", &api)];
    let value = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let settings = right(Variables::read(value, Settings::from_variables)).expect("right").expect("it is on");
    let client = Arc::new(Client::new(&settings, &RootCertificates::public()));
    (fake, TelegramHandler::new(settings, client))
}

fn task(topic: &str, variables: Value) -> Task {
    let message = json!({"task_id": "task-1", "topic": topic, "variables": variables});
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn send() -> String {
    format!("POST /bot{TOKEN}/sendMessage")
}

fn texts(fake: &HttpFake<Telegram>) -> Vec<String> {
    fake.target().messages().iter().map(|message| message.text.clone()).collect()
}

#[test]
fn a_notification_is_finished_at_once_and_a_task_is_not() {
    let (fake, handler) = bot();
    let sent = handler.send(&task("send_telegram", json!({"chat_id": PERSON, "text": "1 < 2"}))).expect("it is sent");
    let answer = sent.answer.expect("it is finished");
    assert_eq!(
        (&answer["result"]["task"]["status"], &answer["result"]["task"]["ufResultExpected"]),
        (&json!("sent"), &json!("0"))
    );
    let sent = handler.send(&task("telegram_task", json!({"chat_id": PERSON, "title": "Т"}))).expect("it is sent");
    assert_eq!((sent.answer, sent.host.as_deref()), (None, Some("bot 4815162342")));
    assert_eq!(sent.reply["result"]["task"]["messageIds"][0], fake.target().messages()[1].id);
    assert_eq!(texts(&fake), ["1 < 2", "Т"]);
}

#[test]
fn a_group_that_has_moved_is_written_to_where_it_is_and_asked_for_once() {
    let (fake, handler) = bot();
    let task = task("send_telegram", json!({"chat_id": MOVED_GROUP, "text": "x"}));
    (0..2).for_each(|_| drop(handler.send(&task).expect("it is sent")));
    let chats: Vec<i64> = fake.target().messages().iter().map(|message| message.chat).collect();
    assert_eq!((chats, fake.asked().len()), (vec![SUPERGROUP, SUPERGROUP], 3));
}

#[test]
fn a_message_of_a_supergroup_has_an_address_and_no_other_has_one() {
    let (_fake, handler) = bot();
    let link = |chat: &str| handler.link_to("4816", Some(chat), Some("bot 1"));
    assert_eq!(link("-1001234567890").as_deref(), Some("https://t.me/c/1234567890/4816"));
    assert_eq!(link("-1997852516352").as_deref(), Some("https://t.me/c/997852516352/4816"));
    // A person, a basic group, a secret chat, what is no number.
    for chat in ["17", "-4012345678", "-1000000000000", "-1997852516353", "-9223372036854775808", "@channel", ""] {
        assert_eq!(link(chat), None, "{chat}");
    }
    assert_eq!(handler.link_to("4816 in chat 1", Some("-1001234567890"), None), None);
    assert_eq!(handler.link_to("4816", None, None), None);
    let sent = |chat: i64| handler.send(&task("telegram_task", json!({"chat_id": chat, "title": "Т"}))).expect("sent");
    let (far, near) = (sent(SUPERGROUP), sent(PERSON));
    let id = far.reply["result"]["task"]["id"].as_str().unwrap_or_default().to_owned();
    assert!(far.link.is_some() && far.link == handler.link_to(&id, Some(&SUPERGROUP.to_string()), None));
    assert_eq!(near.link, None);
}

#[test]
fn markup_that_is_refused_goes_once_more_without() {
    let (fake, handler) = bot();
    fake.order(Fault::before(send(), What::refuse(400, "", "can't parse entities")).times(1));
    handler
        .send(&task("send_telegram", json!({"chat_id": PERSON, "title": "A & B", "text": "x"})))
        .expect("it is sent");
    assert_eq!(texts(&fake), ["A & B\n\nx"]);
    assert_eq!(fake.asked()[1].json().get("parse_mode"), None);
}

#[test]
fn what_is_refused_for_good_is_permanent() {
    let (_fake, handler) = bot();
    let failure =
        |chat: Value| handler.send(&task("send_telegram", json!({"chat_id": chat, "text": "x"}))).expect_err("refused");
    assert!(matches!(failure(json!(BLOCKED)), Failure::Permanent(_)));
    assert!(matches!(failure(json!(5)), Failure::Permanent(_)));
    assert!(
        matches!(failure(Value::Null), Failure::Permanent(error) if error.to_string().contains("TELEGRAM_CHAT_ID"))
    );
}

#[test]
fn a_flood_is_waited_out_and_an_answer_that_is_lost_is_an_unknown_outcome() {
    let (fake, handler) = bot();
    let task = task("send_telegram", json!({"chat_id": PERSON, "text": "x"}));
    let body = crate::sandbox::telegram::flood(7);
    fake.order(Fault::before(send(), What::Raw { status: 429, content_type: "application/json", body }).times(1));
    let until = match handler.send(&task).expect_err("too fast") {
        Failure::Unavailable { until, .. } => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(until, Some(Duration::from_secs(7)));
    fake.order(Fault::after(send(), What::Close).times(1));
    assert!(matches!(handler.send(&task).expect_err("lost"), Failure::OutcomeUnknown { .. }));
}

#[test]
fn of_a_long_text_only_what_is_not_sent_yet_is_sent_again() {
    let (fake, handler) = bot();
    let task = task("telegram_task", json!({"chat_id": PERSON, "text": "слово ".repeat(1500)}));
    fake.order(Fault::before(send(), What::refuse(500, "", "later")).from_nth(2).times(1));
    assert!(matches!(handler.send(&task).expect_err("it failed"), Failure::OutcomeUnknown { .. }));
    assert_eq!(texts(&fake).len(), 1);
    handler.send(&task).expect("the rest is sent");
    assert_eq!(texts(&fake).concat().matches("слово").count(), 1500);
    let with_buttons: Vec<bool> = fake.target().messages().iter().map(|message| !message.buttons.is_empty()).collect();
    assert_eq!(with_buttons, [false, false, true]);
}

#[test]
fn of_a_message_that_is_lost_between_its_parts_the_rest_is_not_sent() {
    let (fake, handler) = bot();
    let task = task("telegram_task", json!({"chat_id": PERSON, "text": "слово ".repeat(1500)}));
    let held = fake.order(Fault::after(send(), What::Delay(Duration::from_secs(20))).times(1));
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| handler.send(&task));
        while held.struck() == 0 {
            std::thread::yield_now();
        }
        task.claim.lose();
        fake.release();
        let sent = sending.join().expect("no panic");
        assert!(matches!(sent, Err(Failure::Outdated)), "{sent:?}");
    });
    assert_eq!(texts(&fake).len(), 1);
}

#[test]
fn a_part_whose_reply_names_no_message_is_the_only_one_that_is_sent_again() {
    let (fake, handler) = bot();
    let task = task("telegram_task", json!({"chat_id": PERSON, "text": "слово ".repeat(1500)}));
    fake.order(Fault::after(send(), What::Result(json!({"ok": true, "result": true}))).from_nth(3).times(1));
    assert!(matches!(handler.send(&task).expect_err("no number"), Failure::OutcomeUnknown { .. }));
    handler.send(&task).expect("the rest is sent");
    assert_eq!(texts(&fake).len(), 4);
}

#[test]
fn what_was_sent_of_another_text_says_nothing_of_this_one() {
    let (fake, handler) = bot();
    let long = |word: &str| task("telegram_task", json!({"chat_id": PERSON, "text": word.repeat(1500)}));
    fake.order(Fault::before(send(), What::refuse(403, "", "blocked")).from_nth(2).times(1));
    assert!(matches!(handler.send(&long("слово ")).expect_err("blocked"), Failure::Permanent(_)));
    handler.send(&long("число ")).expect("it is sent");
    assert_eq!(texts(&fake).concat().matches("число").count(), 1500);
}
