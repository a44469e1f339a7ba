//! Presses at the sandbox's bot, and what becomes of them.

use super::*;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::telegram::{GROUP, PERSON, TOKEN, Telegram};
use crate::sandbox::{Fault, What};
use crate::settings::{Variables, right};
use crate::stop;
use crate::tls::RootCertificates;

const STRANGER: i64 = 666;
const COLLEAGUE: i64 = 17;

/// A bot with one open task that asks a question.
struct Bot {
    fake: HttpFake<Telegram>,
    tracker: TelegramTracker,
    record: Record,
    message: i64,
}

impl Bot {
    fn asking_in(chat: i64) -> Bot {
        let fake = HttpFake::start(0, Telegram::default()).expect("a free port");
        let api = format!("http://{}", fake.address());
        let given = [("TELEGRAM_BOT_TOKEN", TOKEN), ("TELEGRAM_API_URL", &api), ("TELEGRAM_ALLOWED_IDS", "17")];
        let value = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        let settings = right(Variables::read(value, Settings::from_variables)).expect("right").expect("it is on");
        let client = Arc::new(Client::new(&settings, &RootCertificates::public()));
        let params = json!({"chat_id": chat, "text": "?", "reply_markup": buttons::keyboard("task-1", true)});
        let sent = client.call(&Call { method: "sendMessage", params }).expect("it is sent");
        let message = sent["message_id"].as_i64().expect("a number");
        let original = json!({"task_id": "task-1", "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "1"}}});
        let record = json!({
            "original_message": original,
            "response_data": {"result": {"task": {"id": message.to_string(), "title": "T", "chatId": chat}}},
            "target_host": settings.host(),
        });
        let record = Record::parse(record.to_string().into_bytes()).expect("a record");
        let (stopper, stop) = stop::signal();
        // A pause would only take time.
        stopper.raise();
        let tracker = TelegramTracker::new(settings, client, stop);
        Bot { fake, tracker, record, message }
    }

    fn press(&self, person: i64, chat: i64, button: &str) {
        assert!(self.fake.target().press(person, chat, self.message, button), "there is no {button}");
    }

    fn listen(&mut self) -> Heard {
        self.tracker.listen().expect("it listens")
    }

    /// The answer, if there is one.
    fn check(&mut self) -> Option<String> {
        match self.tracker.check(std::slice::from_ref(&self.record)).remove(0).expect("it can be checked") {
            Progress::Finished(finished) => text(&finished["result"]["task"]["ufResultAnswer_text"]),
            Progress::Open => None,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_press_is_settled_only_when_its_response_is_confirmed() {
    let mut bot = Bot::asking_in(PERSON);
    assert_eq!((bot.listen(), bot.check()), (Heard::Nothing, None));
    bot.press(PERSON, PERSON, "НЕТ");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("НЕТ")));
    assert!(bot.fake.target().told().is_empty());
    // Known, and not settled: it comes again, and is no news.
    assert_eq!((bot.listen(), bot.fake.target().unsettled()), (Heard::Nothing, 1));
    bot.tracker.answered(&["task-1"]);
    assert_eq!(bot.fake.target().told(), ["Принято: НЕТ"]);
    assert!(bot.fake.target().messages()[0].buttons.is_empty());
    assert_eq!((bot.listen(), bot.check()), (Heard::Nothing, None));
    assert_eq!(bot.fake.target().unsettled(), 0);
}

#[test]
fn in_a_group_only_those_on_the_list_may_press() {
    let mut bot = Bot::asking_in(GROUP);
    bot.press(STRANGER, GROUP, "ДА");
    assert_eq!((bot.listen(), bot.check()), (Heard::Nothing, None));
    assert_eq!(bot.fake.target().told(), ["Вам это не разрешено"]);
    bot.press(COLLEAGUE, GROUP, "НЕТ");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("НЕТ")));
    assert_eq!(bot.fake.target().unsettled(), 1, "the stranger's is settled");
}

#[test]
fn what_no_button_of_the_task_says_does_not_finish_it() {
    let mut bot = Bot::asking_in(PERSON);
    for data in ["done:task-1", "yes:task-2", "menu"] {
        bot.fake.target().press_data(PERSON, PERSON, bot.message, data);
    }
    bot.listen();
    assert_eq!(bot.check(), None);
    // Without a record in three sweeps people are told so. A record may come all the same.
    (1..=4).for_each(|_| bot.tracker.swept());
    bot.listen();
    assert_eq!(bot.fake.target().unsettled(), 3);
    assert_eq!(bot.fake.target().told(), [NOT_OPEN, NOT_OPEN]);
    assert!(!bot.fake.target().messages()[0].buttons.is_empty(), "people could not press again");
}

#[test]
fn a_record_of_another_bot_is_not_answered_and_one_without_a_message_is_none() {
    let mut bot = Bot::asking_in(PERSON);
    let mut parsed = |host: &str, id: &str| {
        let record = json!({"original_message": {"task_id": "task-1"}, "target_host": host,
            "response_data": {"result": {"task": {"id": id}}}});
        let record = Record::parse(record.to_string().into_bytes()).expect("a record");
        bot.tracker.check(&[record]).remove(0)
    };
    assert!(matches!(parsed("bot 1", "5"), Ok(Progress::Foreign(_))));
    assert!(matches!(parsed("bot 4815162342", ""), Err(Failure::Permanent(_))));
}

#[test]
fn a_webhook_in_the_way_is_told_and_what_was_pressed_stays() {
    let mut bot = Bot::asking_in(PERSON);
    bot.press(PERSON, PERSON, "ДА");
    bot.fake.target().set_webhook("https://elsewhere.example");
    assert!(matches!(bot.tracker.listen(), Err(Failure::Unavailable { .. })));
    bot.fake.target().set_webhook("");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("ДА")));
}

#[test]
fn a_press_is_kept_as_long_as_its_response_cannot_be_published() {
    let mut bot = Bot::asking_in(PERSON);
    bot.press(PERSON, PERSON, "НЕТ");
    bot.listen();
    for sweep in 1..10 {
        assert_eq!(bot.check().as_deref(), Some("НЕТ"), "sweep {sweep}");
        bot.tracker.swept();
    }
    assert!(bot.fake.target().told().is_empty());
}

#[test]
fn of_two_who_press_at_once_the_first_is_right_and_the_other_is_told_what_counts() {
    let mut bot = Bot::asking_in(GROUP);
    bot.press(COLLEAGUE, GROUP, "ДА");
    bot.press(COLLEAGUE, GROUP, "НЕТ");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("ДА")));
    bot.tracker.answered(&["task-1"]);
    assert_eq!(bot.fake.target().told(), ["Принято: ДА", "Уже решено: ДА"]);
    bot.listen();
    assert_eq!(bot.fake.target().unsettled(), 0);
}

/// Anybody who has a chat with the bot can send any data from there, as the Bot API says of `CallbackQuery.data`.
#[test]
fn a_press_from_another_chat_does_not_finish_the_task_and_keeps_the_buttons_there() {
    let mut bot = Bot::asking_in(GROUP);
    let params = json!({"chat_id": PERSON, "text": "?", "reply_markup": buttons::keyboard("task-2", true)});
    let other = bot.tracker.client.call(&Call { method: "sendMessage", params }).expect("it is sent");
    let other = other["message_id"].as_i64().expect("a number");
    bot.fake.target().press_data(PERSON, PERSON, other, "yes:task-1");
    bot.listen();
    assert_eq!(bot.check(), None);
    bot.press(COLLEAGUE, GROUP, "НЕТ");
    bot.listen();
    assert_eq!(bot.check().as_deref(), Some("НЕТ"));
    bot.tracker.answered(&["task-1"]);
    assert!(!bot.fake.target().messages()[1].buttons.is_empty(), "those of task-2");
    // Somebody on the list may press wherever a copy of the message is.
    let mut bot = Bot::asking_in(GROUP);
    bot.fake.target().press_data(COLLEAGUE, PERSON, 7, "yes:task-1");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("ДА")));
}

#[test]
fn updates_that_are_counted_from_below_again_are_heard() {
    let mut bot = Bot::asking_in(PERSON);
    bot.fake.target().press_data(PERSON, PERSON, 7, "menu");
    assert_eq!(bot.listen(), Heard::Nothing);
    bot.fake.target().count_updates_from(1000);
    bot.press(PERSON, PERSON, "НЕТ");
    assert_eq!((bot.listen(), bot.check().as_deref()), (Heard::News, Some("НЕТ")));
    bot.tracker.answered(&["task-1"]);
    bot.listen();
    assert_eq!(bot.fake.target().unsettled(), 0);
}

#[test]
fn strangers_do_not_hold_up_the_others_while_telegram_is_away() {
    let mut bot = Bot::asking_in(GROUP);
    (0..5).for_each(|_| bot.press(STRANGER, GROUP, "ДА"));
    let refusal = What::refuse(502, "", "away");
    let away = bot.fake.order(Fault::before(format!("POST /bot{TOKEN}/answerCallbackQuery"), refusal));
    assert_eq!(bot.listen(), Heard::Nothing);
    assert_eq!(away.struck(), 1);
}
