//! The ledger alone: each way of a task through it.

use serde_json::json;

use super::*;
use crate::rabbitmq::Headers;

mod walk;

const LATER: Duration = Duration::from_secs(5);

/// The numbers of deliveries are their tokens.
fn ledger() -> Ledger<u32> {
    Ledger::default()
}

fn key(id: &str) -> Key {
    Key::Task(id.into())
}

fn job(id: &str, attempts: u32) -> Job {
    let task = Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task");
    Job { task, attempts, headers: Headers::new(), arrived: Instant::now() }
}

fn outgoing(id: &str) -> OutgoingMessage {
    OutgoingMessage::new("q".into(), id.into(), Vec::new())
}

fn recorded(id: &str) -> Next {
    Next::FollowUp(Box::new((job(id, 0).task, Created::new(json!({}), "1".into()))))
}

fn finished(id: &str) -> Next {
    Next::Finish(Box::new((job(id, 0).task, Created::finished(json!({}), "1".into()))))
}

/// The task is with the pool.
fn started(ledger: &mut Ledger<u32>, id: &str, token: u32) -> Job {
    assert_eq!(ledger.admit(&key(id), token, 0, None), Admission::New(token));
    ledger.add(token, job(id, 0), None);
    ledger.next_job().expect("it is due")
}

/// Publishes the next outgoing message under this tag.
fn publish(ledger: &mut Ledger<u32>, tag: u64) -> Option<String> {
    let key = ledger.next_to_publish()?;
    let id = ledger.outgoing(&key)?.message_id.clone();
    ledger.publishing(key, tag);
    Some(id)
}

/// The record under this tag is confirmed: its follow-up goes to the pool.
fn follow_up(ledger: &mut Ledger<u32>, tag: u64) -> Box<(Task, Created)> {
    assert!(matches!(ledger.confirmed(tag), Some(Confirmed::Recorded)));
    ledger.next_follow_up(false).expect("the follow-up is due")
}

fn acked(confirmed: Option<Confirmed<u32>>) -> Vec<u32> {
    match confirmed {
        Some(Confirmed::Ack(tokens)) => tokens,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delivery_is_released_for_its_ack_only_after_record_confirm_and_follow_up() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    assert!(ledger.next_to_publish().is_none());
    ledger.settle("a", outgoing("a"), recorded("a"));
    assert_eq!(publish(&mut ledger, 7).as_deref(), Some("a"));
    follow_up(&mut ledger, 7);
    assert_eq!(ledger.followed_up("a"), [1]);
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Finished(2));
}

#[test]
fn a_delivery_finished_at_once_is_released_for_its_ack_when_its_response_is_confirmed() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), finished("a"));
    assert_eq!(publish(&mut ledger, 7).as_deref(), Some("a"));
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Joined);
    // Its response outlives the session that could have told of its confirm.
    ledger.session_lost();
    assert!(ledger.confirmed(7).is_none());
    assert_eq!(ledger.admit(&key("a"), 3, 0, None), Admission::Joined);
    assert_eq!(publish(&mut ledger, 1).as_deref(), Some("a"));
    let Some(Confirmed::Finished(id, tokens)) = ledger.confirmed(1) else { panic!("it is finished") };
    assert_eq!((id.as_str(), tokens), ("a", vec![3]));
    assert_eq!(ledger.admit(&key("a"), 4, 0, None), Admission::Finished(4));
}

#[test]
fn a_task_delivered_again_while_at_work_is_done_once_and_settled_for_both() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    assert_eq!(ledger.admit(&key("a"), 2, 3, None), Admission::Joined);
    assert!(ledger.next_job().is_none());
    // The copy knows of more failures.
    assert_eq!(ledger.attempts("a"), Some(3));
    ledger.settle("a", outgoing("a"), Next::Leave);
    publish(&mut ledger, 1);
    assert_eq!(acked(ledger.confirmed(1)), [1, 2]);
}

#[test]
fn a_result_outlives_its_session_and_waits_for_the_delivery() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    started(&mut ledger, "b", 2);
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 1);
    ledger.session_lost();
    // The pool still worked on it when the session was lost.
    ledger.settle("b", outgoing("b"), recorded("b"));
    assert!(ledger.next_to_publish().is_none(), "published without a delivery");
    assert!(ledger.confirmed(1).is_none(), "the tag of another session");
    for (id, token) in [("a", 3), ("b", 4)] {
        assert_eq!(ledger.admit(&key(id), token, 0, None), Admission::Joined);
        assert_eq!(publish(&mut ledger, 1).as_deref(), Some(id));
        follow_up(&mut ledger, 1);
        assert_eq!(ledger.followed_up(id), [token]);
    }
}

#[test]
fn a_follow_up_under_way_is_not_done_again_after_a_lost_session() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 1);
    follow_up(&mut ledger, 1);
    ledger.session_lost();
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Joined);
    assert!(ledger.next_job().is_none() && ledger.next_to_publish().is_none());
    assert_eq!(ledger.followed_up("a"), [2]);
}

#[test]
fn tasks_that_were_not_started_are_left_to_the_broker_when_the_session_is_lost() {
    let mut ledger = ledger();
    let in_pool = started(&mut ledger, "c", 3);
    ledger.add(1, job("a", 0), None);
    ledger.add(2, job("b", 0), Some(Instant::now() + LATER));
    ledger.session_lost();
    ledger.wait_again(in_pool, None);
    assert!(ledger.next_job().is_none());
    assert_eq!((ledger.in_flight(), ledger.all_unsettled().len()), (0, 0));
    assert_eq!(ledger.admit(&key("a"), 4, 0, None), Admission::New(4));
}

#[test]
fn a_result_whose_message_is_not_delivered_again_is_recorded_all_the_same() {
    let mut ledger = ledger();
    let now = Instant::now();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    ledger.session_lost();
    // It waits, however long the broker is away.
    ledger.wake(now + UNCLAIMED * 2);
    ledger.session_opened(now + UNCLAIMED * 2);
    ledger.wake(now + UNCLAIMED * 2);
    assert!(ledger.next_to_publish().is_none());
    assert_eq!(ledger.next_wake(), Some(now + UNCLAIMED * 3));
    ledger.wake(now + UNCLAIMED * 3);
    assert_eq!(ledger.next_wake(), None, "nothing more to wake up for");
    assert_eq!(publish(&mut ledger, 1).as_deref(), Some("a"));
    let recorded = follow_up(&mut ledger, 1);
    assert!(recorded.1.existed, "somebody else may have followed it up");
    assert!(ledger.followed_up("a").is_empty());
    // The message was only late.
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Finished(2));
}

#[test]
fn a_result_that_comes_long_after_its_delivery_was_lost_is_recorded_too() {
    let mut ledger = ledger();
    let now = Instant::now();
    started(&mut ledger, "a", 1);
    started(&mut ledger, "b", 2);
    ledger.session_lost();
    ledger.session_opened(now);
    ledger.wake(now + UNCLAIMED);
    // The pool worked on them all the time: one was created, one failed.
    ledger.settle("a", outgoing("a"), recorded("a"));
    ledger.settle("b", outgoing("b"), Next::Leave);
    assert!(ledger.next_to_publish().is_none());
    ledger.wake(now + UNCLAIMED * 2);
    assert_eq!(publish(&mut ledger, 1).as_deref(), Some("a"));
    assert!(ledger.next_to_publish().is_none(), "what failed is left to the broker");
    assert_eq!(ledger.all_unsettled(), ["a"]);
}

#[test]
fn a_result_without_a_delivery_is_recorded_before_the_worker_stops() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    ledger.session_lost();
    assert!(ledger.unsettled().is_empty());
    ledger.stop_waiting_for_deliveries();
    assert_eq!(ledger.unsettled(), ["a"]);
    assert_eq!(publish(&mut ledger, 1).as_deref(), Some("a"));
}

#[test]
fn a_copy_of_a_message_that_is_to_move_comes_later() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), Next::Leave);
    assert_eq!(ledger.admit(&key("a"), 2, 1, None), Admission::Later(2));
    publish(&mut ledger, 1);
    assert_eq!(ledger.admit(&key("a"), 2, 1, None), Admission::Later(2));
    assert_eq!(acked(ledger.confirmed(1)), [1]);
    assert_eq!(ledger.admit(&key("a"), 2, 1, None), Admission::New(2));
}

#[test]
fn a_copy_of_a_message_that_is_to_be_parked_is_settled_with_it() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), Next::Park);
    assert_eq!(ledger.admit(&key("a"), 2, 1, None), Admission::Joined);
    publish(&mut ledger, 1);
    assert_eq!(ledger.admit(&key("a"), 3, 1, None), Admission::Joined);
    assert_eq!(acked(ledger.confirmed(1)), [1, 2, 3]);
    assert_eq!(ledger.admit(&key("a"), 4, 1, None), Admission::New(4));
}

#[test]
fn a_replay_that_comes_before_the_confirm_of_its_park_is_looked_at_afterwards() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), Next::Park);
    publish(&mut ledger, 1);
    let replay = Some(Replay(Some(1)));
    assert_eq!(ledger.admit(&key("a"), 2, 0, replay), Admission::Later(2));
    assert_eq!(acked(ledger.confirmed(1)), [1]);
    assert_eq!(ledger.admit(&key("a"), 2, 0, replay), Admission::New(2));
}

#[test]
fn a_task_that_is_parked_while_it_is_followed_up_is_not_remembered_as_finished() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    // A try that has no record yet is another one.
    ledger.parked("a");
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 1);
    follow_up(&mut ledger, 1);
    assert_eq!(ledger.followed_up("a"), [1]);
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Finished(2));
    ledger.add(2, job("a", 0), None);
    ledger.next_job();
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 2);
    follow_up(&mut ledger, 2);
    ledger.parked("a");
    assert_eq!(ledger.admit(&key("a"), 3, 0, None), Admission::Later(3));
    // The delivery of the parked try comes again.
    ledger.session_lost();
    assert_eq!(ledger.admit(&key("a"), 4, 0, None), Admission::Joined);
    assert_eq!(ledger.followed_up("a"), [4]);
    assert_eq!(ledger.admit(&key("a"), 5, 0, None), Admission::New(5));
}

#[test]
fn a_replay_that_came_while_its_task_was_at_work_is_done_with_it() {
    let mut ledger = ledger();
    let replay = |at| Some(Replay(at));
    started(&mut ledger, "a", 1);
    assert_eq!(ledger.admit(&key("a"), 2, 0, replay(Some(5))), Admission::Joined);
    ledger.settle("a", outgoing("a"), finished("a"));
    publish(&mut ledger, 1);
    ledger.confirmed(1);
    assert_eq!(ledger.admit(&key("a"), 3, 0, replay(Some(5))), Admission::Finished(3));
    assert_eq!(ledger.admit(&key("a"), 3, 0, replay(Some(6))), Admission::New(3));
    assert_eq!(ledger.admit(&key("a"), 3, 0, replay(None)), Admission::New(3));
}

#[test]
fn a_refused_message_is_published_again_at_its_time() {
    let mut ledger = ledger();
    let now = Instant::now();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 1);
    assert_eq!(ledger.refused(1), Some((key("a"), "q".into())));
    ledger.postpone_outgoing(key("a"), now + LATER);
    ledger.wake(now);
    assert!(ledger.next_to_publish().is_none());
    assert_eq!(ledger.next_wake(), Some(now + LATER));
    ledger.wake(now + LATER);
    assert_eq!(publish(&mut ledger, 2).as_deref(), Some("a"));
}

#[test]
fn a_task_that_waits_is_handed_out_when_its_time_has_come_and_behind_the_others() {
    let mut ledger = ledger();
    let now = Instant::now();
    let first = started(&mut ledger, "a", 1);
    ledger.add(2, job("b", 0), None);
    ledger.wait_again(first, Some(now + LATER));
    assert_eq!(ledger.next_job().expect("b is due").task.id, "b");
    assert!(ledger.next_job().is_none());
    ledger.wake(now + LATER);
    assert_eq!(ledger.next_job().expect("a is due").task.id, "a");
}

#[test]
fn a_finished_task_that_is_published_again_is_done_again() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 1);
    follow_up(&mut ledger, 1);
    ledger.followed_up("a");
    assert_eq!(ledger.admit(&key("a"), 2, 0, None), Admission::Finished(2));
    ledger.add(2, job("a", 0), None);
    assert_eq!(ledger.next_job().expect("a is due").task.id, "a");
    assert_eq!(ledger.admit(&key("a"), 3, 0, None), Admission::Joined);
}

impl<T> Ledger<T> {
    /// The deliveries that it has.
    pub fn tokens(&self) -> impl Iterator<Item = &T> {
        self.entries.values().flat_map(|entry| &entry.tokens)
    }

    /// Every entry is where its state says that it is.
    pub fn assert_consistent(&self) {
        let in_flight = self.entries.values().filter(|entry| matches!(entry.state, State::InFlight));
        assert_eq!(self.in_flight, in_flight.count(), "tasks of the pool");
        let waits = |key: &Key| self.later.keys().any(|(_, later)| later == key);
        for (key, Entry { tokens, state, unclaimed, .. }) in &self.entries {
            let is_there = match state {
                State::Waiting(_) => self.due.contains(key) || waits(key),
                State::Ready(..) => *unclaimed || self.to_publish.contains(key) || waits(key),
                State::Publishing(..) => self.by_tag.values().filter(|of| *of == key).count() == 1,
                State::ToFollowUp(_) => {
                    self.first_follow_ups.contains(key) || self.to_follow_up.contains(key) || waits(key)
                }
                State::InFlight | State::FollowingUp => true,
            };
            assert!(is_there, "forgotten: {key:?} {state:?}");
            assert!(!unclaimed || tokens.is_empty(), "unclaimed with a delivery: {key:?}");
        }
    }
}

#[test]
fn a_refused_message_counts_as_waiting_until_it_is_confirmed_in_whatever_form() {
    let mut ledger = ledger();
    started(&mut ledger, "a", 1);
    ledger.settle("a", outgoing("a"), recorded("a"));
    publish(&mut ledger, 7);
    let now = Instant::now();
    assert_eq!(ledger.refused(7), Some((key("a"), "q".into())));
    ledger.postpone_outgoing(key("a"), now + LATER);
    assert_eq!([Some("q"), Some("other"), None].map(|queue| ledger.refused_messages(queue)), [1, 0, 1]);
    ledger.wake(now + LATER);
    assert!(ledger.next_to_publish().is_some() && ledger.recorded(&key("a")).is_some());
    // It is parked instead: then nothing is followed up.
    ledger.replace_outgoing(key("a"), outgoing("parked"), Some(Next::Park));
    assert_eq!(publish(&mut ledger, 8).as_deref(), Some("parked"));
    assert_eq!((ledger.refused_messages(None), acked(ledger.confirmed(8))), (1, vec![1]));
    assert_eq!(ledger.refused_messages(None), 0);
}
