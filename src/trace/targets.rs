//! Asks the targets for a task: all of them at once, each with its own rate limiter.

use super::{Source, Step, TOO_LATE, Target, Tracing};
use crate::message::Task;
use crate::systems::seen::{Looked, NOT_LOOKED_UP, Seen, State};

impl Tracing<'_> {
    /// Asks the target of this system, or all.
    pub(super) fn ask_targets(&mut self, system: Option<&str>) {
        let targets: Vec<Target> = self.sources.targets.to_vec();
        let (asked, left): (Vec<Target>, Vec<Target>) =
            targets.into_iter().partition(|target| system.is_none_or(|system| target.system == system));
        let waiting: Vec<_> = asked
            .iter()
            .map(|target| {
                let (handler, id) = (target.handler.clone(), self.task_id.to_owned());
                self.within(move || handler.look(&[&id]).pop())
            })
            .collect();
        for (target, waiting) in asked.iter().zip(waiting) {
            let step = self.note_looked(&target.system, waiting.wait().flatten());
            self.steps.push(step);
        }
        for target in left {
            let why = format!("not asked: {} has the task", system.unwrap_or("another system"));
            self.steps.push(Step::not_looked(Source::Target, Some(&target.system), "elsewhere", why));
        }
    }

    /// A target that never shows what a task of this topic makes has not said that it is not there.
    pub(super) fn note_who_shows_nothing(&mut self) {
        let Some(waiting) = self.facts.waits() else { return };
        let task = Task { topic: waiting.topic.clone(), ..Task::of_id(self.task_id) };
        let (system, targets) = (self.sources.routes.to(&task), &self.sources.targets);
        let is_blind = |target: &&Target| system == Some(&*target.system) && !target.handler.shows(&task.topic);
        let Some(target) = targets.iter().find(is_blind) else { return };
        let targets = &mut self.facts.targets;
        if let Some(place) = targets.without.iter().position(|system| *system == target.system) {
            let system = targets.without.remove(place);
            targets.blind.push(system);
        }
    }

    fn note_looked(&mut self, system: &str, looked: Option<Looked>) -> Step {
        let targets = &mut self.facts.targets;
        match looked {
            Some(Ok(Some(seen))) => {
                let step = shown(system, &seen);
                targets.seen.push((system.to_owned(), seen));
                step
            }
            Some(Ok(None)) => {
                targets.without.push(system.to_owned());
                Step::nothing(Source::Target, Some(system), "nothing", format!("{system} shows no task with this id"))
            }
            Some(Err(failure)) if failure.to_string() == NOT_LOOKED_UP => {
                targets.blind.push(system.to_owned());
                Step::not_looked(Source::Target, Some(system), "blind", format!("{system}: {NOT_LOOKED_UP}"))
            }
            Some(Err(failure)) => {
                targets.silent.push(system.to_owned());
                Step::could_not(Source::Target, Some(system), format!("{system}: {failure}"))
            }
            None => {
                targets.silent.push(system.to_owned());
                Step::could_not(Source::Target, Some(system), format!("{system}: {TOO_LATE}"))
            }
        }
    }
}

fn shown(system: &str, seen: &Seen) -> Step {
    let (code, state) = match seen.state {
        State::Open => ("open", "open"),
        State::Finished => ("finished", "finished"),
        State::Unknown => ("there", "in a state that says neither open nor finished"),
    };
    let text = format!("{system} has it as {}, {state}", seen.target_id);
    let at = seen.finished.as_ref().or(seen.changed.as_ref()).or(seen.created.as_ref()).cloned();
    Step::found(Source::Target, Some(system), code, text).at(at).with([
        ("target_id", Some(seen.target_id.clone())),
        ("link", seen.link.clone()),
        ("status", seen.status.clone()),
        ("responsible", seen.responsible.clone()),
        ("created", seen.created.clone()),
        ("changed", seen.changed.clone()),
        ("deadline", seen.deadline.clone()),
        ("finished", seen.finished.clone()),
        ("answer", seen.answer.clone()),
        ("no_answer", seen.no_answer.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::Sources;
    use super::super::facts::{Camunda, Waiting};
    use super::*;
    use crate::config::Config;
    use crate::stop;
    use crate::systems::create::Missing;
    use crate::systems::routing::{Route, Routes};
    use crate::systems::{Created, Failure, Found, Handler};

    /// Has no task, and shows none that its topic "update" has changed.
    struct Target1C;

    impl Handler for Target1C {
        fn visible_within(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }

        fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
            tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
        }

        fn create(&self, _: &[Missing]) -> Vec<Result<Created, Failure>> {
            Vec::new()
        }

        fn shows(&self, topic: &str) -> bool {
            topic != "update"
        }
    }

    #[test]
    fn a_target_that_shows_nothing_of_a_topic_is_no_witness_that_its_task_is_not_there() {
        let password = |name: &str| (name == "RABBITMQ_PASSWORD").then(|| "secret".into());
        let (_stopper, stop) = stop::signal();
        let sources = Sources {
            config: Config::read(password).expect("right settings"),
            targets: vec![Target { system: "1c".into(), handler: Arc::new(Target1C) }],
            routes: Routes::new([Route { name: "1c", topics: &["update", "create"], is_on: true }]),
            camunda: None,
            browse: false,
            time: Duration::from_secs(10),
            stop,
        };
        for (topic, is_blind) in [("update", true), ("create", false), ("of nobody", false)] {
            let mut tracing = Tracing::new("task-1", &sources);
            tracing.ask_targets(None);
            let topic = topic.to_owned();
            tracing.facts.camunda =
                Camunda::Waits(Waiting { topic, is_locked: true, has_incident: false, error: None });
            tracing.note_who_shows_nothing();
            let targets = &tracing.facts.targets;
            assert_eq!((targets.blind.len(), targets.without.len()), if is_blind { (1, 0) } else { (0, 1) });
        }
    }
}
