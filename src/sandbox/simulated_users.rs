//! The simulated users of the fake: they finish each task some time after its creation, and answer where an answer is
//! expected.
//!
//! The caller calls [`SimulatedUsers::work`] again and again, and gets the news. They have no clock and no thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Sandbox, SandboxTask};

/// The status in which they leave a task.
const COMPLETED: u8 = 5;
/// The status of a task that somebody else has finished.
const FINISHED: [u8; 2] = [4, 5];

const YES: &str = "ДА";
const NO: &str = "НЕТ";

/// Simulated users with work.
#[derive(Debug)]
pub struct SimulatedUsers {
    /// How long a task takes them; `None`: they never finish one.
    after: Option<Duration>,
    /// The newest task they know.
    newest: u64,
    /// Tasks in the order of creation, with the time when they were noticed.
    open: VecDeque<(Instant, u64)>,
    /// They answer yes and no alternately.
    next_answer: &'static str,
}

/// What happened at the portal.
#[derive(Debug)]
pub enum News {
    /// There is a new task.
    Created(SandboxTask),
    /// A simulated user has finished this task, with this answer where one was expected.
    Finished(SandboxTask, Option<&'static str>),
}

impl SimulatedUsers {
    /// Users who finish each task this long after its creation, or never.
    pub fn new(after: Option<Duration>) -> SimulatedUsers {
        SimulatedUsers { after, newest: 0, open: VecDeque::new(), next_answer: YES }
    }

    /// Notices new tasks and finishes those that are due.
    pub fn work(&mut self, sandbox: &Sandbox, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for task in sandbox.tasks_after(self.newest) {
            self.newest = task.id;
            if self.after.is_some() {
                self.open.push_back((now, task.id));
            }
            news.push(News::Created(task));
        }
        while let Some(id) = self.next_due(now) {
            // Deleted, or already finished through the interface: nothing to do.
            let Some(task) = sandbox.task(id).filter(|task| !FINISHED.contains(&task.status)) else { continue };
            let answer = task.answer_expected.then_some(self.next_answer);
            if sandbox.finish(id, COMPLETED, answer) {
                if answer.is_some() {
                    self.next_answer = if self.next_answer == YES { NO } else { YES };
                }
                news.push(News::Finished(task, answer));
            }
        }
        news
    }

    fn next_due(&mut self, now: Instant) -> Option<u64> {
        let (noticed, _) = self.open.front()?;
        let due = self.after.is_some_and(|after| now.saturating_duration_since(*noticed) >= after);
        if due { self.open.pop_front().map(|(_, id)| id) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Limits;
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn sandbox_with(fields: &[serde_json::Value]) -> Sandbox {
        let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
        for fields in fields {
            assert!(matches!(sandbox.call("tasks.task.add", json!({"fields": fields})), Ok(Ok(_))));
        }
        sandbox
    }

    #[test]
    fn a_task_is_finished_when_its_time_has_come_and_answered_when_that_is_expected() {
        let sandbox = sandbox_with(&[
            json!({"TITLE": "ask", "RESPONSIBLE_ID": 1, "UF_RESULT_EXPECTED": "Y"}),
            json!({"TITLE": "do", "RESPONSIBLE_ID": 1}),
            json!({"TITLE": "ask again", "RESPONSIBLE_ID": 1, "UF_RESULT_EXPECTED": "Y"}),
        ]);
        let (mut simulated_users, now) = (SimulatedUsers::new(Some(AFTER)), Instant::now());
        assert!(matches!(
            simulated_users.work(&sandbox, now).as_slice(),
            [News::Created(_), News::Created(_), News::Created(_)]
        ));
        assert!(simulated_users.work(&sandbox, now + AFTER / 2).is_empty());
        let news = simulated_users.work(&sandbox, now + AFTER);
        let finished = |news: &News| if let News::Finished(_, answer) = news { answer.unwrap_or("none") } else { "?" };
        assert_eq!(news.iter().map(finished).collect::<Vec<_>>(), ["ДА", "none", "НЕТ"]);
        assert!(sandbox.tasks().iter().all(|task| task.status == COMPLETED));
        assert!(simulated_users.work(&sandbox, now + AFTER * 2).is_empty());
    }

    #[test]
    fn deleted_and_finished_tasks_are_left_alone() {
        let fields = json!({"TITLE": "t", "RESPONSIBLE_ID": 1});
        let sandbox = sandbox_with(&[fields.clone(), fields]);
        let (mut simulated_users, now) = (SimulatedUsers::new(Some(AFTER)), Instant::now());
        simulated_users.work(&sandbox, now);
        let ids: Vec<u64> = sandbox.tasks().iter().map(|task| task.id).collect();
        assert!(sandbox.delete(ids[0]) && sandbox.finish(ids[1], 4, None));
        assert!(simulated_users.work(&sandbox, now + AFTER).is_empty());
        assert_eq!(sandbox.tasks()[0].status, 4);
    }

    #[test]
    fn users_without_a_time_finish_nothing() {
        let sandbox = sandbox_with(&[json!({"TITLE": "t", "RESPONSIBLE_ID": 1})]);
        let (mut simulated_users, now) = (SimulatedUsers::new(None), Instant::now());
        assert_eq!(simulated_users.work(&sandbox, now).len(), 1);
        assert!(simulated_users.work(&sandbox, now + AFTER * 1000).is_empty());
    }
}
