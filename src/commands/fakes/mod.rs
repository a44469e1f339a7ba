//! What `demo` and `sandbox` need of each system beyond its fake: with which settings the worker finds it, which
//! messages show it, and what simulated users do there. A system is a file and a line in [`FAKES`]. [`messages`] are
//! what the demo sends, [`simulated_users`] the people.
//!
//! How a fake answers is in [`crate::sandbox`]. Nothing here knows a queue or the screen.

mod bitrix24;
mod default;
#[cfg(feature = "email")]
mod email;
pub mod messages;
mod onec;
mod openproject;
mod python;
pub mod simulated_users;
mod telegram;

use lexopt::Parser;

use super::arguments::value;
use messages::Message;

/// A running fake, with its users.
pub trait Fake: Send {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// Settings with which the worker finds it; the first one switches the system on.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// What the worker has made here since the last call, in order.
    fn new_tasks(&mut self) -> Vec<FakeTask>;

    /// A user finishes the task, with this answer if there is one. False when there is nothing to finish any more.
    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool;

    /// The marker of every task that was ever made here; that of a doubled one comes twice.
    fn markers(&self) -> Vec<String>;
}

/// What the worker has made at a fake.
#[derive(Clone, Debug)]
pub struct FakeTask {
    /// Its number there.
    pub id: String,
    /// The task's id in Camunda.
    pub marker: String,
    /// What people read.
    pub title: String,
    /// What its user has to do.
    pub needs: Needs,
}

/// What a user has to do with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it is finished as soon as it is there.
    Nothing,
    /// To finish it.
    Work,
    /// To answer ДА or НЕТ, and to finish it.
    Answer,
}

impl Needs {
    fn of_task(asks: bool) -> Needs {
        if asks { Needs::Answer } else { Needs::Work }
    }
}

/// How fast a fake is, where its target has a speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// About as fast as a target near by.
    Near,
    /// As slow as the target in the cloud.
    Cloud,
}

/// A line of [`FAKES`].
pub struct FakeEntry {
    /// The system's name in [`crate::systems::table`].
    pub name: &'static str,
    /// The system's name for people, at most 11 characters.
    pub label: &'static str,
    /// Its default port in `sandbox`; `None`: the system has no target, so there is no fake to run alone.
    pub port: Option<u16>,
    /// What a task is called there.
    pub noun: &'static str,
    /// Do its tasks wait for users? Otherwise each is over as soon as it is there.
    pub has_users: bool,
    /// What the fake can do, for `sandbox`: whole sentences.
    pub about: &'static str,
    /// Starts the fake on this port of loopback; port 0 takes any free one.
    pub start: fn(port: u16, pace: Pace) -> anyhow::Result<Box<dyn Fake>>,
    /// The messages that the demo sends, in order; the first is a task. `run` makes their ids differ from run to run.
    pub messages: fn(run: &str) -> Vec<Message>,
}

/// Every system of the demo, in its order.
pub const FAKES: &[FakeEntry] = &[
    bitrix24::ENTRY,
    openproject::ENTRY,
    onec::ENTRY,
    python::ENTRY,
    #[cfg(feature = "email")]
    email::ENTRY,
    telegram::ENTRY,
    default::ENTRY,
];

/// The system of `demo` and `sandbox` where none is named.
pub const USUAL: &FakeEntry = &bitrix24::ENTRY;

/// The one of the system of this name.
pub fn of(system: &str) -> &'static FakeEntry {
    FAKES.iter().find(|entry| entry.name == system).unwrap_or(USUAL)
}

/// The value of `--system`: one of these systems.
///
/// # Errors
/// There is no value, or no such system; the text lists those that there are.
pub fn read(parser: &mut Parser, is_wanted: fn(&FakeEntry) -> bool) -> Result<&'static FakeEntry, lexopt::Error> {
    let known = || FAKES.iter().filter(|entry| is_wanted(entry));
    let names: Vec<&str> = known().map(|entry| entry.name).collect();
    let wanted = format!("one of {}", names.join(", "));
    value(parser, "--system", &wanted, |name| known().find(|entry| entry.name == name))
}

#[cfg(test)]
mod tests {
    use super::messages::Kind;
    use super::*;
    use crate::message::Task;
    use crate::systems::table;

    #[test]
    fn each_fake_is_of_a_system_and_its_messages_are_what_they_stand_for() {
        let systems = table::names();
        for FakeEntry { name, label, messages, .. } in FAKES {
            assert!(systems.contains(name) && label.chars().count() <= 11, "{name}");
            for (index, Message { system, kind, body, .. }) in messages("run").into_iter().enumerate() {
                assert_eq!(system, *name);
                assert!(index > 0 || matches!(kind, Kind::Task(_) | Kind::Nobodys(_)), "{name}: {kind:?}");
                let task = Task::parse(body);
                match kind {
                    Kind::Task(id) | Kind::Again(id) => {
                        let task = task.expect("a task");
                        assert_eq!((task.id.as_str(), table::routes(|_| true).to(&task)), (id.as_str(), Some(*name)));
                    }
                    Kind::Nobodys(id) => {
                        let task = task.expect("a task");
                        assert_eq!((task.id.as_str(), table::routes(|_| true).to(&task)), (id.as_str(), None));
                    }
                    Kind::Unreadable => assert!(task.is_err()),
                }
            }
        }
    }

    #[test]
    fn no_two_fakes_want_the_same_port_by_default() {
        let mut ports: Vec<u16> = FAKES.iter().filter_map(|entry| entry.port).collect();
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all);
    }
}
