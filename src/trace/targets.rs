//! Asks the targets for a task: all of them at once, each with its own rate limiter.

use super::{Source, Step, TOO_LATE, Target, Tracing};
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
