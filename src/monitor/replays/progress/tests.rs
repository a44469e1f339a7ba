//! What is counted and shown of a replay.

use serde_json::json;

use super::*;
use crate::parked::entry::ParkedEntry;
use crate::rabbitmq::Headers;

fn message(id: &str, error: &str) -> Summary {
    let body = format!(r#"{{"original_message": {{"task_id": "{id}"}}, "error_message": "{error}"}}"#);
    Summary::of(&ParkedEntry::read(body.into_bytes(), Headers::new(), None), true)
}

/// The replay of this time.
fn at(time: i64) -> ledger::Replay {
    ledger::Replay(Some(time))
}

fn news(task: &str, time: i64, became: Became) -> News {
    News { task: task.into(), replay: Some(at(time)), became }
}

fn fitting(messages: &[Summary]) -> Fitting {
    Fitting { messages: messages.to_vec(), complete: true }
}

#[test]
fn the_numbers_add_up_and_a_message_whose_outcome_is_unknown_counts_as_replayed() {
    let messages = ["a", "b", "c", "d", "e"].map(|id| message(id, "no"));
    let (stopper, stop) = crate::stop::signal();
    let progress = Progress::new(3, Asked { by: "control".into(), ..Asked::default() }, &fitting(&messages), stopper);
    ["a", "b"].iter().zip(&messages).for_each(|(id, message)| progress.replayed(id, &message.etag, Some(at(7))));
    progress.replayed("c", &messages[2].etag, None);
    progress.skipped(&messages[3].etag, "there is no queue");
    assert_eq!(progress.unsettled(), 2);
    progress.heard(news("a", 7, Became::Settled));
    progress.heard(news("b", 7, Became::Parked("still no".into())));
    progress.heard(news("b", 7, Became::Settled));
    progress.heard(news("unknown", 7, Became::Settled));
    assert_eq!((progress.unsettled(), progress.outcomes()), (0, (1, 1)));
    assert!(progress.is_running() && !stop.raised());
    assert!(progress.stop() && stop.raised() && !progress.stop());
    progress.ends(State::Failed, Some("a message was parked again".into()));
    let shown = json!(progress.shown());
    let numbers = ["matched", "replayed", "settled", "failed_again", "left", "skipped"].map(|name| &shown[name]);
    assert_eq!(numbers, [5, 3, 1, 1, 1, 1].map(|number| json!(number)).each_ref());
    let states: Vec<_> = shown["items"].as_array().expect("it has items").iter().map(|item| &item["state"]).collect();
    assert_eq!(states, ["settled", "failed_again", "not_followed", "skipped", "left"]);
    assert_eq!((&shown["items"][1]["error"], &shown["state"]), (&json!("still no"), &json!("failed")));
}

#[test]
fn each_of_two_messages_of_one_task_has_an_outcome_of_its_own() {
    let messages = [message("a", "first"), message("a", "second")];
    let progress = Progress::new(1, Asked::default(), &fitting(&messages), crate::stop::signal().0);
    (1..).zip(&messages).for_each(|(time, message)| progress.replayed("a", &message.etag, Some(at(time))));
    progress.heard(news("a", 1, Became::Parked("no ".repeat(200))));
    assert_eq!((progress.unsettled(), progress.outcomes()), (1, (0, 1)));
    progress.heard(news("a", 1, Became::Settled));
    assert_eq!(progress.unsettled(), 1, "another lane was asked to follow the first one, too");
    progress.heard(news("a", 2, Became::Settled));
    assert_eq!((progress.unsettled(), progress.outcomes()), (0, (1, 1)));
    let shown = json!(progress.shown());
    assert_eq!([0, 1].map(|n| &shown["items"][n]["state"]), [&json!("failed_again"), &json!("settled")]);
    let error = shown["items"][0]["error"].as_str().expect("it has one");
    assert!(error.chars().count() == 301 && error.ends_with('…'), "{error}");
    assert_eq!(json!(progress.numbers()).get("items"), None);
}

#[test]
fn what_is_over_cannot_be_stopped() {
    let progress = Progress::new(1, Asked::default(), &fitting(&[]), crate::stop::signal().0);
    progress.ends(State::Done, None);
    assert!(!progress.stop());
}
