//! What a system's target has to provide for the cases: a fake whose tasks a test can read and finish, and which fails
//! in every way. It knows neither queues nor the worker.

pub mod bitrix24;
pub mod email;
mod faults;
pub mod onec;
pub mod openproject;
pub mod python;
pub mod telegram;

/// A running fake of one system, empty at first.
pub trait Target {
    /// The system's name in the table.
    const SYSTEM: &'static str;
    /// Can the worker look for a task that it may have created? Otherwise it creates it again, and there may be two.
    const IS_LOOKED_UP: bool = true;
    /// Does a task wait for people? Otherwise it is answered as soon as it is created, and has no record.
    const IS_TRACKED: bool = true;

    /// Starts it.
    fn start() -> Self;

    /// Settings with which the worker finds it, waits a second for an answer, and makes no other pause.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// A message that becomes a task here.
    fn message(&self, id: &str) -> String;

    /// The id in Camunda of every task here; a doubled one comes twice.
    fn tasks(&self) -> Vec<String>;

    /// Whether everything that follows the create of this task is done, and nothing of it twice.
    fn is_whole(&self, id: &str) -> bool;

    /// A person finishes the task, with an answer where one is expected.
    fn finish(&self, id: &str);

    /// A person deletes the task.
    fn delete(&self, id: &str);

    /// From now on this fails too. These are the words that it shows in an answer.
    fn fail(&self, fault: Fault, words: &str);

    /// Nothing fails any more, and held answers go on.
    fn mend(&self);

    /// How often something has failed, as seen here; [`Fault::Down`] is not seen.
    fn struck(&self) -> u64;

    /// The secrets that must not come out of the worker.
    fn secret(&self) -> &str;

    /// The name that goes with it, if one does.
    fn user(&self) -> &str {
        ""
    }
}

/// A way to fail.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The next create is done, and the connection ends without an answer.
    AnswerLost,
    /// The next create is done, and its answer comes too late.
    Slow,
    /// The next create is done, and the answer is a page of a gateway.
    Garbage,
    /// Every create is refused for good.
    Refused,
    /// Every caller has to sign in first.
    Unauthorised,
    /// Nobody listens at the address.
    Down,
    /// The next create is not done, and no answer comes, however long the worker waits.
    HeldBefore,
    /// The next create is done, and no answer comes, however long the worker waits.
    HeldAfter,
}
