//! The simulated users of all fakes: they finish each task some time after its creation, and answer where an answer is
//! expected.
//!
//! The caller calls [`SimulatedUsers::work`] again and again, and gets the news. They have no clock and no thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Fake, FakeTask, Needs};
use crate::systems::question::{NO, YES};

/// Simulated users with work.
pub struct SimulatedUsers {
    /// How long a task takes them; `None`: they never finish one.
    after: Option<Duration>,
    /// Tasks in the order of creation, with the time when they were noticed and the place of their fake.
    open: VecDeque<(Instant, usize, FakeTask)>,
    /// They answer yes and no alternately.
    next_answer: &'static str,
}

/// What happened at a fake.
#[derive(Debug)]
pub enum News {
    /// There is a new task.
    Created(FakeTask),
    /// A simulated user has finished this task, with this answer where one was expected.
    Finished(FakeTask, Option<&'static str>),
}

impl SimulatedUsers {
    /// Users who finish each task this long after its creation, or never.
    pub fn new(after: Option<Duration>) -> SimulatedUsers {
        SimulatedUsers { after, open: VecDeque::new(), next_answer: YES }
    }

    /// Notices new tasks and finishes those that are due. The fakes are always the same ones, in the same order.
    pub fn work(&mut self, fakes: &mut [Box<dyn Fake>], now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for (index, fake) in fakes.iter_mut().enumerate() {
            for task in fake.new_tasks() {
                if self.after.is_some() && task.needs != Needs::Nothing {
                    self.open.push_back((now, index, task.clone()));
                }
                news.push(News::Created(task));
            }
        }
        while let Some((index, task)) = self.next_due(now) {
            let answer = (task.needs == Needs::Answer).then_some(self.next_answer);
            // Deleted, or already finished by somebody else: nothing to do.
            if !fakes[index].finish(&task, answer) {
                continue;
            }
            if answer.is_some() {
                self.next_answer = if self.next_answer == YES { NO } else { YES };
            }
            news.push(News::Finished(task, answer));
        }
        news
    }

    fn next_due(&mut self, now: Instant) -> Option<(usize, FakeTask)> {
        let (noticed, ..) = self.open.front()?;
        let due = self.after.is_some_and(|after| now.saturating_duration_since(*noticed) >= after);
        if due { self.open.pop_front().map(|(_, index, task)| (index, task)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    /// Its tasks are new at the first call. Those named "gone" cannot be finished.
    struct Office(Vec<FakeTask>);

    impl Fake for Office {
        fn place(&self) -> String {
            String::new()
        }

        fn settings(&self) -> Vec<(&'static str, String)> {
            Vec::new()
        }

        fn new_tasks(&mut self) -> Vec<FakeTask> {
            std::mem::take(&mut self.0)
        }

        fn finish(&mut self, task: &FakeTask, _: Option<&'static str>) -> bool {
            task.title != "gone"
        }

        fn markers(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn office(tasks: &[(&str, Needs)]) -> Box<dyn Fake> {
        let task = |(title, needs): &(&str, Needs)| FakeTask {
            id: "1".into(),
            marker: "m".into(),
            title: (*title).to_owned(),
            needs: *needs,
        };
        Box::new(Office(tasks.iter().map(task).collect()))
    }

    #[test]
    fn a_task_is_finished_when_its_time_has_come_and_answered_when_that_is_expected() {
        let mut offices = [
            office(&[("ask", Needs::Answer), ("do", Needs::Work), ("a mail", Needs::Nothing), ("gone", Needs::Answer)]),
            office(&[("ask elsewhere", Needs::Answer)]),
        ];
        let (mut simulated_users, now) = (SimulatedUsers::new(Some(AFTER)), Instant::now());
        let created = simulated_users.work(&mut offices, now);
        assert!(created.len() == 5 && created.iter().all(|news| matches!(news, News::Created(_))), "{created:?}");
        assert!(simulated_users.work(&mut offices, now + AFTER / 2).is_empty());
        let news = simulated_users.work(&mut offices, now + AFTER);
        let finished = |news: &News| match news {
            News::Finished(task, answer) => (task.title.clone(), answer.unwrap_or("none")),
            News::Created(task) => (task.title.clone(), "?"),
        };
        let expected = [("ask", "ДА"), ("do", "none"), ("ask elsewhere", "НЕТ")];
        assert_eq!(news.iter().map(finished).collect::<Vec<_>>(), expected.map(|(title, it)| (title.to_owned(), it)));
        assert!(simulated_users.work(&mut offices, now + AFTER * 2).is_empty());
    }

    #[test]
    fn users_without_a_time_finish_nothing() {
        let mut offices = [office(&[("do", Needs::Work)])];
        let (mut simulated_users, now) = (SimulatedUsers::new(None), Instant::now());
        assert_eq!(simulated_users.work(&mut offices, now).len(), 1);
        assert!(simulated_users.work(&mut offices, now + AFTER * 1000).is_empty());
    }
}
