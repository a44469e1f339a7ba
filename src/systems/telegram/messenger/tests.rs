//! Texts to chats of the sandbox's bot.

use std::time::Duration;

use super::*;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::telegram::{self, BLOCKED, MOVED_GROUP, PERSON, SUPERGROUP, TOKEN, Telegram};
use crate::sandbox::{Fault, What};
use crate::settings::{Variables, right};
use crate::systems::telegram::text::length;

fn bot(chat: i64) -> (HttpFake<Telegram>, TelegramMessenger) {
    let fake = HttpFake::start(0, Telegram::default()).expect("a free port");
    let api = format!("http://{}", fake.address());
    let given = [("TELEGRAM_BOT_TOKEN", TOKEN), ("TELEGRAM_API_URL", &api)];
    let value = |wanted: &str| given.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let settings = right(Variables::read(value, Settings::from_variables)).expect("right").expect("it is on");
    let made = TelegramMessenger::new(&settings, &RootCertificates::public(), &chat.to_string()).expect("a chat");
    (fake, made)
}

fn texts(fake: &HttpFake<Telegram>) -> Vec<(i64, String)> {
    fake.target().messages().iter().map(|message| (message.chat, message.text.clone())).collect()
}

#[test]
fn a_text_is_one_message_under_its_subject_and_a_long_one_is_cut() {
    let (fake, mut bot) = bot(PERSON);
    bot.send("a <b> & c", "1 < 2").expect("it is sent");
    bot.send("long", &"😀".repeat(5000)).expect("it is sent");
    let sent = texts(&fake);
    assert_eq!(sent[0], (PERSON, "a <b> & c\n\n1 < 2".to_owned()));
    assert_eq!((sent.len(), length(&sent[1].1)), (2, 4096 - 1), "an emoji has two units");
}

#[test]
fn a_group_that_has_moved_is_written_to_where_it_is() {
    let (fake, mut bot) = bot(MOVED_GROUP);
    bot.send("one", "").expect("it is sent");
    bot.send("two", "").expect("it is sent");
    assert_eq!(texts(&fake), [(SUPERGROUP, "one".to_owned()), (SUPERGROUP, "two".to_owned())]);
}

#[test]
fn a_flood_says_how_long_to_wait_and_a_person_who_has_blocked_the_bot_is_said() {
    let (fake, mut flooded) = bot(PERSON);
    let flood = What::Raw { status: 429, content_type: "application/json", body: telegram::flood(7) };
    fake.order(Fault::before(format!("POST /bot{TOKEN}/sendMessage"), flood).times(1));
    let refused = flooded.send("one", "").expect_err("a flood");
    assert!(matches!(refused, Failure::Unavailable { until: Some(until), .. } if until == Duration::from_secs(7)));
    let (_fake, mut blocked) = bot(BLOCKED);
    assert!(matches!(blocked.send("one", ""), Err(Failure::Permanent(_))));
}

#[test]
fn who_is_told_is_looked_up_and_nothing_is_sent() {
    let (fake, messenger) = bot(PERSON);
    assert_eq!(messenger.look().expect("it is there"), "chat \"Песочница\"");
    assert!(bot(5).1.look().is_err() && texts(&fake).is_empty());
}
