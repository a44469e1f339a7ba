//! Each row of the table, and what wins where sources contradict each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::facts::{Camunda, Ended, Held, Lane, Place, Queues, Targets, Waiting, Worker};
use super::*;
use crate::systems::seen::Seen;

const ID: &str = "task-1";
const DAY: &str = "2026-11-03T10:00:00.000Z";

fn held(state: HeldState) -> Worker {
    let held = Held { system: "bitrix24".into(), state, since: Some(DAY.into()), ..Held::default() };
    Worker::Looked { held: vec![held], complete: true }
}

fn in_lane(state: HeldState, lane: &str, reason: &str) -> Worker {
    let Worker::Looked { mut held, complete } = held(state) else { unreachable!("it was looked") };
    held[0].lane = Lane { state: lane.into(), reason: Some(reason.into()) };
    Worker::Looked { held, complete }
}

fn nothing_held() -> Worker {
    Worker::Looked { held: Vec::new(), complete: true }
}

fn at(state: State) -> Targets {
    let seen = Seen {
        target_id: "8017".into(),
        state,
        responsible: Some("Анна".into()),
        finished: Some(DAY.to_owned()).filter(|_| state == State::Finished),
        ..Seen::default()
    };
    Targets { seen: vec![("bitrix24".into(), seen)], ..Targets::default() }
}

fn nowhere() -> Targets {
    Targets { without: vec!["bitrix24".into()], ..Targets::default() }
}

fn waits() -> Camunda {
    Camunda::Waits(Waiting { topic: "bitrix_create_task".into(), is_locked: true, ..Waiting::default() })
}

fn completed() -> Camunda {
    Camunda::Ended(Ended { completed: true, at: Some(DAY.into()) })
}

fn cancelled_there() -> Camunda {
    Camunda::Ended(Ended { completed: false, at: None })
}

fn browsed(roles: &[Role]) -> Queues {
    let place = |role: &Role| Place {
        role: *role,
        queue: format!("{role:?}.queue").to_lowercase(),
        system: Some("bitrix24".into()),
        since: Some(DAY.into()),
        cause: Some("REQUEST_ERROR".to_owned()).filter(|_| *role == Role::Errors),
        error: Some("user 7 is not there".into()),
        attempts: 2,
        next_try: Some(DAY.to_owned()).filter(|_| *role == Role::Retry),
        answer: Some("ДА".to_owned()).filter(|_| *role == Role::Responses),
    };
    Queues {
        looked: true,
        complete: true,
        held_elsewhere: false,
        swept_now: false,
        found: roles.iter().map(place).collect(),
    }
}

/// What the table says of these facts: the row, whether it moves, the action, and the text.
#[track_caller]
fn said(facts: &Facts) -> (&'static str, Option<bool>, Option<Action>, String) {
    let (verdict, suggestion) = verdict(ID, facts);
    assert!(verdict.text.ends_with('.') && !verdict.text.contains(".."), "{}", verdict.text);
    assert!(!suggestion.text.is_empty());
    assert!(described("suggestion").contains(suggestion.code), "{}", suggestion.code);
    (verdict.code, verdict.moving, suggestion.action, verdict.text)
}

#[track_caller]
fn row(facts: &Facts, code: &str, moving: Option<bool>, action: Option<Action>, part: &str) {
    let (told, moves, acts, text) = said(facts);
    assert_eq!((told, moves, acts), (code, moving, action), "{text}");
    assert!(text.contains(part), "{text}");
}

const MOVES: Option<bool> = Some(true);
const STANDS: Option<bool> = Some(false);

#[test]
fn what_the_worker_has_moves() {
    let facts = |worker| Facts { worker, camunda: waits(), ..Facts::default() };
    row(&facts(held(HeldState::InHand)), "in_hand", MOVES, None, "The worker has it in hand in bitrix24.");
    let Worker::Looked { held: mut list, .. } = held(HeldState::Retrying) else { unreachable!("it was looked") };
    (list[0].attempts, list[0].next_try_in_seconds, list[0].error) = (2, Some(5), Some("503".into()));
    let retrying = facts(Worker::Looked { held: list, complete: true });
    row(
        &retrying,
        "retrying",
        MOVES,
        None,
        "It waits in bitrix24 for another try in 5 s. It has failed 2 times, last: 503.",
    );
    let open = Facts { targets: at(State::Open), ..facts(held(HeldState::Open)) };
    row(&open, "open", MOVES, None, "bitrix24 has it as 8017: open; responsible: Анна.");
    let finished = Facts { targets: at(State::Finished), ..facts(held(HeldState::Open)) };
    row(&finished, "finished", MOVES, Some(Action::Sweep), "on 2026-11-03");
    let gone = Facts { targets: nowhere(), ..facts(held(HeldState::Open)) };
    row(&gone, "gone", MOVES, None, "does not show it any more");
}

#[test]
fn a_lane_that_stands_needs_somebody() {
    let facts = |worker| Facts { worker, ..Facts::default() };
    let paused = facts(in_lane(HeldState::InHand, "paused", "maintenance"));
    row(&paused, "paused", STANDS, Some(Action::Resume), "since bitrix24 is paused: maintenance.");
    let away = facts(in_lane(HeldState::Retrying, "target_away", "401, the webhook is not accepted."));
    row(&away, "target_away", STANDS, None, "the target does not work for us: 401, the webhook is not accepted.");
    let works = facts(in_lane(HeldState::InHand, "works", ""));
    row(&works, "in_hand", MOVES, None, "in hand");
}

#[test]
fn a_finished_task_without_its_answer_needs_somebody() {
    let remembered = Facts { worker: held(HeldState::Unanswered), ..Facts::default() };
    row(&remembered, "unanswered", STANDS, Some(Action::Sweep), "nobody has answered yet");
    let mut seen = at(State::Finished);
    seen.seen[0].1.no_answer = Some("the text of answer 28 is not known".into());
    let shown = Facts { targets: seen, worker: held(HeldState::Open), ..Facts::default() };
    row(
        &shown,
        "unanswered",
        STANDS,
        Some(Action::Sweep),
        "finished in bitrix24 on 2026-11-03T10:00:00.000Z, and the process waits for an answer that is not known: the text of answer 28",
    );
}

#[test]
fn what_the_queues_have_is_said() {
    let facts = |roles: &[Role]| Facts { queues: browsed(roles), camunda: waits(), ..Facts::default() };
    row(&facts(&[Role::Input]), "waiting", MOVES, None, "input.queue");
    row(&facts(&[Role::Retry]), "retrying", MOVES, None, "for another try at 2026-11-03");
    row(&facts(&[Role::Sent]), "open", MOVES, None, "the worker follows it");
    row(&facts(&[Role::Errors]), "parked", STANDS, Some(Action::Replay), "as REQUEST_ERROR: user 7 is not there.");
    row(&facts(&[Role::Responses]), "answered", MOVES, None, "The answer ДА lies in responses.queue");
}

#[test]
fn a_parked_message_wins_unless_the_task_is_on_its_way_again() {
    let parked =
        Facts { queues: browsed(&[Role::Errors]), targets: at(State::Open), camunda: waits(), ..Facts::default() };
    row(&parked, "parked", STANDS, Some(Action::Replay), "bitrix24 has it as 8017");
    for again in [
        Facts { queues: browsed(&[Role::Input, Role::Errors]), ..Facts::default() },
        Facts { queues: browsed(&[Role::Errors]), worker: held(HeldState::InHand), ..Facts::default() },
    ] {
        row(&again, "on_its_way_again", MOVES, None, "still parked as REQUEST_ERROR");
    }
    let unwanted = Facts { queues: browsed(&[Role::Errors]), camunda: completed(), ..Facts::default() };
    row(&unwanted, "parked_and_not_wanted", STANDS, None, "it was completed there on 2026-11-03");
    let (_, suggestion) = verdict(ID, &unwanted);
    assert!(suggestion.command.is_some_and(|command| command.ends_with("parked discard --yes task-1")));
}

#[test]
fn what_the_engine_has_ended_is_done_unless_somebody_works_on_it() {
    let facts = |targets, camunda| Facts { targets, camunda, ..Facts::default() };
    row(&facts(at(State::Finished), completed()), "done", MOVES, None, "It is done: it was completed there");
    row(&facts(Targets::default(), completed()), "done", MOVES, None, "It is done");
    row(&facts(at(State::Open), completed()), "orphan", STANDS, None, "Camunda no longer waits for it");
    row(&facts(at(State::Open), cancelled_there()), "orphan", STANDS, None, "it was cancelled there");
    row(&facts(nowhere(), cancelled_there()), "cancelled", MOVES, None, "Nobody waits for it");
    let late = Facts { queues: browsed(&[Role::Responses]), ..facts(at(State::Finished), completed()) };
    row(&late, "answer_not_wanted", MOVES, None, "The bridge takes the response and ignores it");
}

#[test]
fn a_task_that_nothing_follows_is_repaired() {
    let facts = |targets| Facts { targets, worker: nothing_held(), queues: browsed(&[]), camunda: waits() };
    row(&facts(nowhere()), "lost", STANDS, Some(Action::Repair), "It is lost");
    row(&facts(at(State::Open)), "untracked", STANDS, Some(Action::Repair), "No record of it is left");
    row(&facts(at(State::Finished)), "finished_untracked", STANDS, Some(Action::Repair), "no record of it is left");
    let blind = Targets { blind: vec!["telegram".into()], ..Targets::default() };
    row(
        &facts(blind),
        "lost",
        STANDS,
        Some(Action::Repair),
        "telegram cannot be asked: if it was theirs, it may have been done",
    );
}

#[test]
fn nothing_is_lost_while_a_source_is_missing() {
    let lost = || Facts { targets: nowhere(), worker: nothing_held(), queues: browsed(&[]), camunda: waits() };
    let silent = Facts { targets: Targets { silent: vec!["bitrix24".into()], ..Targets::default() }, ..lost() };
    row(&silent, "not_found", None, None, "what was looked at does not have it");
    let unnamed = Facts { worker: Worker::Looked { held: Vec::new(), complete: false }, ..lost() };
    row(&unnamed, "not_found", None, None, "Camunda waits for it");
    let elsewhere =
        Facts { worker: Worker::NotLooked, queues: Queues { held_elsewhere: true, ..browsed(&[]) }, ..lost() };
    row(&elsewhere, "not_found", None, None, "Camunda waits for it");
    let swept = Facts { queues: Queues { swept_now: true, ..browsed(&[]) }, ..lost() };
    row(&swept, "not_found", None, None, "Camunda waits for it");
    let stopped = Facts { worker: Worker::NotLooked, ..lost() };
    row(&stopped, "lost", STANDS, Some(Action::Repair), "It is lost");
    let partly = Facts { queues: Queues { complete: false, ..browsed(&[]) }, ..lost() };
    row(&partly, "not_found", None, None, "Camunda waits for it");
    let unbrowsed = Facts { queues: Queues::default(), ..lost() };
    row(&unbrowsed, "not_found", None, Some(Action::Browse), "Camunda waits for it");
}

#[test]
fn without_the_queues_the_target_alone_proves_little() {
    let facts = |targets| Facts { targets, camunda: waits(), ..Facts::default() };
    row(
        &facts(at(State::Open)),
        "open_unclear",
        None,
        Some(Action::Browse),
        "Whether the worker follows it was not found out",
    );
    row(&facts(at(State::Finished)), "finished_unclear", None, Some(Action::Browse), "Camunda still waits");
    row(&facts(at(State::Unknown)), "at_target", None, Some(Action::Browse), "bitrix24 has it as 8017");
    let unasked = Facts { targets: at(State::Finished), ..Facts::default() };
    row(&unasked, "finished_unclear", None, Some(Action::Browse), "whether Camunda has the answer is not known");
}

#[test]
fn what_the_engine_alone_says() {
    let facts = |waiting| Facts { camunda: Camunda::Waits(waiting), ..Facts::default() };
    let incident =
        Waiting { has_incident: true, is_locked: true, error: Some("REQUEST_ERROR: no".into()), ..Waiting::default() };
    row(&facts(incident.clone()), "incident", STANDS, Some(Action::Browse), "it was parked: REQUEST_ERROR: no.");
    let nowhere = Facts { queues: browsed(&[]), ..facts(incident) };
    row(&nowhere, "incident", STANDS, None, "shows an incident");
    let free = Waiting { topic: "send_email".into(), ..Waiting::default() };
    row(&facts(free), "not_fetched", MOVES, None, "topic send_email");
}

#[test]
fn an_id_that_nobody_knows_is_unknown() {
    let unknown = Facts { camunda: Camunda::Unknown, ..Facts::default() };
    row(&unknown, "unknown_id", None, Some(Action::Browse), "Nobody knows this id");
    let everywhere =
        Facts { camunda: Camunda::Unknown, worker: nothing_held(), queues: browsed(&[]), targets: nowhere() };
    row(&everywhere, "unknown_id", None, None, "Nobody knows this id");
    row(&Facts::default(), "not_known", None, Some(Action::Browse), "does not have it");
}

#[test]
fn two_systems_with_the_same_task_are_a_contradiction() {
    let mut targets = at(State::Open);
    targets.seen.extend(at(State::Finished).seen.into_iter().map(|(_, seen)| ("openproject".into(), seen)));
    let facts = Facts { targets, worker: held(HeldState::Open), ..Facts::default() };
    row(&facts, "doubled", STANDS, None, "bitrix24 as 8017, openproject as 8017");
}

#[test]
fn a_row_names_the_time_since_when_it_holds() {
    let facts = Facts { queues: browsed(&[Role::Errors]), ..Facts::default() };
    assert_eq!(verdict(ID, &facts).0.since.as_deref(), Some(DAY));
}

/// The codes in the API's description, for which the page has texts.
fn described(part: &str) -> BTreeSet<String> {
    let described: Value = serde_json::from_str(include_str!("../../monitor/openapi.json")).expect("it is JSON");
    let codes = &described["components"]["schemas"]["Trace"]["properties"][part]["properties"]["code"]["enum"];
    codes.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn the_manual_and_the_description_of_the_api_have_every_row() {
    let page = include_str!("../../docs/finding-a-task.md");
    let (_, table) = page.split_once("### What the verdict says").expect("the section is there");
    let table = table.split("\n## ").next().unwrap_or(table);
    let told: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(code, _)| code).collect();
    let known: BTreeSet<&str> = TABLE.iter().map(|(code, _)| *code).chain(["not_known"]).collect();
    assert_eq!(told, known);
    assert_eq!(described("verdict"), known.into_iter().map(str::to_owned).collect());
}
