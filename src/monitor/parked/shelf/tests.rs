//! Paging and filtering a reading. Reading itself is tested with a broker.

use super::*;
use crate::parked::entry::ParkedEntry;
use crate::rabbitmq::Headers;

fn summary(number: usize, cause: &str) -> Summary {
    let body = format!(
        r#"{{"original_message": {{"task_id": "task-{number:03}"}}, "error_type": "{cause}", "system": "bitrix24",
            "timestamp": {}, "error_message": "user {number} is not there"}}"#,
        1_795_409_858_911_u64 + number as u64
    );
    Summary::of(&ParkedEntry::read(body.into_bytes(), Headers::new(), None), true)
}

fn reading(items: Vec<Summary>) -> Reading {
    let (number, started, at, total) = (7, Instant::now(), time::now(), items.len() as u64);
    let group = |cause: &str| CauseGroup {
        cause: Some(cause.into()),
        system: Some("bitrix24".into()),
        count: items.iter().filter(|item| item.cause.as_deref() == Some(cause)).count() as u64,
        oldest_at: None,
        newest_at: None,
        advice: None,
        example_error: None,
        example_id: String::new(),
    };
    let causes = vec![group("REQUEST_ERROR"), group("NO_SYSTEM")];
    let (took, items) = (Duration::ZERO, items.into_iter().enumerate().collect());
    Reading { number, started, took, at, total, complete: true, items, causes }
}

fn ids(list: &List) -> Vec<&str> {
    list.items.iter().map(|item| item.id.as_str()).collect()
}

/// The place behind a page.
fn next(reading: &Reading, list: &List) -> usize {
    let query = format!("cursor={}", list.next_cursor.as_ref().expect("there is more"));
    let cursor = query::Query::read(&query, &["cursor"]).and_then(|query| query.cursor());
    reading.place(&cursor.expect("it is ours").expect("it is there")).expect("it is of this reading")
}

#[test]
fn what_cannot_be_replayed_does_not_use_up_a_limit() {
    let item = |number, replayable| Summary { replayable, ..summary(number, "REQUEST_ERROR") };
    let reading = reading(vec![item(0, false), item(1, false), item(2, true), item(3, true)]);
    let fitting: Vec<String> = reading.fitting(|_| true, 1).messages.into_iter().map(|item| item.id).collect();
    assert_eq!(fitting, ["task-000", "task-001", "task-002"]);
    assert_eq!(reading.fitting(|item| item.id != "task-002", 9).messages.len(), 3);
}

#[test]
fn what_was_cut_is_whole_only_for_who_wants_no_more() {
    let cut = Reading { complete: false, ..reading((0..3).map(|number| summary(number, "X")).collect()) };
    assert!(cut.fitting(|_| true, 3).complete && !cut.fitting(|_| true, 4).complete);
    assert!(!cut.fitting(|_| false, 3).complete, "there may be one behind the cut");
}

#[test]
fn a_list_that_took_long_to_read_is_not_read_again_soon_except_for_a_replay() {
    let age = Duration::from_secs(60);
    let started = Instant::now().checked_sub(age).expect("the machine runs longer");
    let read = |took| Reading { started, took: Duration::from_secs(took), ..reading(Vec::new()) };
    assert!(read(10).is_fresh(FRESH) && !read(5).is_fresh(FRESH) && !read(10).is_fresh(Duration::ZERO));
}

#[test]
fn those_who_only_look_leave_the_queue_alone_for_a_while() {
    let (shelf, (_stopper, stop)) = (Shelf::default(), crate::stop::signal());
    let started = Instant::now();
    drop(shelf.turn_to_look(&stop).expect("it is free"));
    assert!(started.elapsed() < LEAST_REST);
    drop(shelf.turn().expect("who changes something does not wait"));
    assert!(started.elapsed() < LEAST_REST);
    drop(shelf.turn_to_look(&stop).expect("it is free after a while"));
    assert!(started.elapsed() >= LEAST_REST);
    let mut turn = shelf.turn().expect("it is free");
    turn.hold();
    assert!(shelf.turn_to_look(&stop).is_err(), "a replay holds messages");
}

#[test]
fn pages_follow_one_another_although_messages_go_meanwhile() {
    let mut reading = reading((0..5).map(|number| summary(number, "REQUEST_ERROR")).collect());
    let first = reading.page(Filter::default(), 2, 0);
    assert_eq!((first.total, ids(&first)), (5, vec!["task-000", "task-001"]));
    for gone in [0, 1] {
        let etag = summary(gone, "REQUEST_ERROR").etag;
        reading.remove(&etag);
        reading.remove(&etag);
    }
    let second = reading.page(Filter::default(), 2, next(&reading, &first));
    assert_eq!((second.total, ids(&second)), (3, vec!["task-002", "task-003"]));
    let third = reading.page(Filter::default(), 2, next(&reading, &second));
    assert_eq!((ids(&third), &third.next_cursor), (vec!["task-004"], &None));
    for foreign in ["6/2", "7", "7/x", ""] {
        assert_eq!(reading.place(foreign), None, "{foreign}");
    }
}

#[test]
fn a_filter_counts_what_fits_and_a_cause_without_messages_is_gone() {
    let mut reading = reading(vec![summary(1, "REQUEST_ERROR"), summary(2, "NO_SYSTEM"), summary(3, "REQUEST_ERROR")]);
    let of = |filter: Filter| {
        let list = reading.page(filter, 50, 0);
        (list.total, ids(&list).join(" "))
    };
    assert_eq!(of(Filter { cause: Some("request_error"), ..Filter::default() }), (2, "task-001 task-003".into()));
    assert_eq!(of(Filter { text: Some("USER 2"), ..Filter::default() }), (1, "task-002".into()));
    assert_eq!(of(Filter { system: Some("email"), ..Filter::default() }), (0, String::new()));
    reading.remove(&summary(2, "NO_SYSTEM").etag);
    assert_eq!(reading.causes.iter().map(|group| group.count).collect::<Vec<_>>(), [2]);
}
