//! What a system's target has to offer to the cases: a fake that can be looked into, worked at by people, and made to
//! fail in every way. It knows neither queues nor the worker.

pub mod bitrix24;
pub mod email;
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

    /// Settings under which the worker finds it, waits a second for an answer, and keeps no other pause.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// A message that becomes a task here.
    fn message(&self, id: &str) -> String;

    /// The id in Camunda of every task here; a doubled one is there twice.
    fn tasks(&self) -> Vec<String>;

    /// Is all there that follows the create of this task, and nothing of it twice?
    fn is_whole(&self, id: &str) -> bool;

    /// A person finishes the task, with an answer where one is asked for.
    fn finish(&self, id: &str);

    /// A person deletes the task.
    fn delete(&self, id: &str);

    /// From now on this fails, besides what fails already. What it shows in an answer are these words.
    fn fail(&self, fault: Fault, words: &str);

    /// Nothing fails any more, and what was held goes on.
    fn mend(&self);

    /// How often something has failed that shows here; it does not in [`Fault::Down`].
    fn struck(&self) -> u64;

    /// What must not come out of the worker.
    fn secret(&self) -> &str;
}

/// A way to fail.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The next create is done, and the connection ends without an answer.
    AnswerLost,
    /// The next create is done, and its answer comes too late.
    Slow,
    /// The next create is done, and the answer is a page of something between.
    Garbage,
    /// Every create is refused for good.
    Refused,
    /// Whoever asks has to sign in first.
    Unauthorised,
    /// There is nobody there.
    Down,
    /// The next create is not done, and there is no answer for as long as anybody waits.
    HeldBefore,
    /// The next create is done, and there is no answer for as long as anybody waits.
    HeldAfter,
}
