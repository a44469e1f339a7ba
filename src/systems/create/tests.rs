//! The rule alone, with a fake target that lists what was asked of it.

use std::sync::Mutex;

use anyhow::anyhow;

use super::*;

const VISIBLE: Duration = Duration::from_secs(30);

/// Finds what it is told to find; creates everything else, as long as it may.
#[derive(Default)]
struct Target {
    has: &'static [&'static str],
    /// It does not answer when it is asked for this task.
    silent_over: Option<&'static str>,
    cannot_look: bool,
    /// How long its first look-up takes to become a create.
    slow: Duration,
    /// What was asked of it: looked for, created, created late.
    calls: Mutex<Vec<String>>,
}

impl Target {
    fn note(&self, what: &str, task: &Task) -> bool {
        let mut calls = self.calls.lock().expect("no thread has panicked");
        let call = format!("{what} {}", task.id);
        let is_first = !calls.contains(&call);
        calls.push(call);
        is_first
    }

    /// The result for each task, in a word, and what was asked of the target meanwhile.
    fn work(&self, tasks: &[Task]) -> (Vec<&'static str>, Vec<String>) {
        let results = find_or_create(self, tasks);
        let words = results.iter().map(|result| match result {
            Ok(Created { existed: true, .. }) => "found",
            Ok(_) => "created",
            Err(Failure::Transient { .. }) => "failed",
            Err(Failure::TooEarly(wait)) if *wait == VISIBLE => "waits",
            Err(Failure::Outdated) => "outdated",
            Err(other) => panic!("{other:?}"),
        });
        (words.collect(), std::mem::take(&mut self.calls.lock().expect("no thread has panicked")))
    }
}

impl Handler for Target {
    fn visible_within(&self) -> Option<Duration> {
        (!self.cannot_look).then_some(VISIBLE)
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        let find = |task: &&Task| {
            let asked = Instant::now().checked_sub(if self.note("look", task) { self.slow } else { Duration::ZERO });
            match task.id.as_str() {
                id if self.has.contains(&id) => Ok(Found::There(Created::new(Default::default(), "1".into()))),
                id if self.silent_over == Some(id) => Err(Failure::Transient { error: anyhow!("no answer") }),
                _ => Ok(Found::Nothing(asked.expect("the machine has run for a while"))),
            }
        };
        tasks.iter().map(find).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        let late = missing.iter().any(|missing| missing.is_late);
        one_by_one(missing, |task| {
            self.note(if late { "create late" } else { "create" }, task);
            Ok(Created::new(Default::default(), "2".into()))
        })
    }
}

fn task(id: &str, earlier: Earlier) -> Task {
    let task = Task::parse(format!(r#"{{"task_id":"{id}"}}"#).into_bytes()).expect("a task");
    Task { earlier, ..task }
}

fn tasks(ids: &[&str]) -> Vec<Task> {
    ids.iter().map(|id| task(id, Earlier::None)).collect()
}

#[test]
fn only_a_task_that_is_surely_missing_is_created() {
    let target = Target { has: &["b"], silent_over: Some("c"), ..Target::default() };
    let (words, calls) = target.work(&tasks(&["a", "b", "c", "d"]));
    assert_eq!(words, ["created", "found", "failed", "created"]);
    assert_eq!(calls, ["look a", "look b", "look c", "look d", "create a", "create d"]);
}

#[test]
fn what_an_earlier_delivery_may_have_created_waits_until_it_would_show() {
    let may_exist = [task("a", Earlier::MayExist), task("b", Earlier::MayExist), task("c", Earlier::None)];
    let target = Target { has: &["b"], ..Target::default() };
    let (words, calls) = target.work(&may_exist);
    assert_eq!(words, ["waits", "found", "created"]);
    assert_eq!(calls[3..], ["create c"]);
    // A target without a look-up shows nothing later either, so waiting would help nobody.
    let blind = Target { cannot_look: true, ..Target::default() };
    assert_eq!(blind.work(&may_exist).0, ["created"; 3]);
    // It existed unseen, and is surely missing now.
    assert_eq!(target.work(&[task("a", Earlier::Unseen)]).0, ["created"]);
}

#[test]
fn a_look_up_that_is_too_old_is_repeated_and_the_create_follows_it_at_once() {
    let target = Target { slow: FRESH, ..Target::default() };
    let (words, calls) = target.work(&tasks(&["a"]));
    assert_eq!((words, calls), (vec!["created"], ["look a", "look a", "create late a"].map(String::from).to_vec()));
    let control = Target { slow: FRESH - Duration::from_secs(2), ..Target::default() };
    assert_eq!(control.work(&tasks(&["a"])).1, ["look a", "create a"]);
}

#[test]
fn a_message_that_is_no_longer_ours_is_neither_created_nor_looked_up_again() {
    let lost = tasks(&["a"]);
    lost[0].claim.lose();
    let (words, calls) = Target::default().work(&lost);
    assert_eq!((words, calls), (vec!["outdated"], vec!["look a".to_owned()]));
}

#[test]
fn a_task_that_the_handler_has_forgotten_has_no_result() {
    struct Forgetful;
    impl Handler for Forgetful {
        fn visible_within(&self) -> Option<Duration> {
            None
        }
        fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
            tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
        }
        fn create(&self, _: &[Missing]) -> Vec<Result<Created, Failure>> {
            Vec::new()
        }
    }
    assert!(find_or_create(&Forgetful, &tasks(&["a"])).is_empty());
}
