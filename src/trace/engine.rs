//! Asks Camunda's engine for a task: the task itself, else what its history has of it, else its process.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};

use super::facts::{Camunda, Ended, Waiting};
use super::{Source, Step, TOO_LATE, Tracing};
use crate::camunda::Engine;
use crate::camunda::history::{TaskEvent, TaskEventKind};
use crate::camunda::tasks::ExternalTask;

/// What the engine has of a task.
enum Asked {
    /// It is not finished.
    Task(ExternalTask),
    /// It is over, or was never there; what is remembered of it.
    History(Vec<TaskEvent>),
}

impl Tracing<'_> {
    pub(super) fn ask_engine(&mut self) {
        self.steps.retain(|step| step.source != Source::Camunda);
        let step = match &self.sources.camunda {
            None => Step::not_looked(Source::Camunda, None, "no_camunda", "not asked: CAMUNDA_URL is not set".into()),
            Some(engine) => {
                let (engine, id) = (Arc::clone(engine), self.task_id.to_owned());
                let asked = self.within({
                    let engine = Arc::clone(&engine);
                    move || ask(&engine, &id)
                });
                match asked.wait() {
                    None => Step::could_not(Source::Camunda, None, format!("Camunda: {TOO_LATE}")),
                    Some(Err(err)) => Step::could_not(Source::Camunda, None, format!("Camunda: {err:#}")),
                    Some(Ok(Asked::Task(task))) => self.note_waiting(&task),
                    Some(Ok(Asked::History(events))) => self.note_history(&engine, &events),
                }
            }
        };
        self.steps.push(step);
    }

    fn note_waiting(&mut self, task: &ExternalTask) -> Step {
        self.note(task.process_instance_id.clone(), None);
        let is_locked = task.locked_until.is_some_and(|until| until > Utc::now());
        let has_incident = task.retries == Some(0);
        let (code, text) = match (has_incident, task.suspended, is_locked) {
            (true, ..) => ("incident", "Camunda waits for it, and shows an incident: it has no retries left"),
            (_, true, _) => ("suspended", "Camunda has suspended it"),
            (_, _, true) => ("locked", "Camunda waits for it, and the bridge has locked it"),
            (_, _, false) => ("unlocked", "Camunda waits for it, and nobody has locked it"),
        };
        self.facts.camunda = Camunda::Waits(Waiting {
            topic: task.topic.clone().unwrap_or_default(),
            is_locked,
            has_incident,
            error: task.error_message.clone(),
        });
        Step::found(Source::Camunda, None, code, text.into()).with([
            ("topic", task.topic.clone()),
            ("worker", task.worker_id.clone()),
            ("locked_until", task.locked_until.map(iso)),
            ("retries", task.retries.map(|retries| retries.to_string())),
            ("error", task.error_message.clone()),
            ("process_id", task.process_instance_id.clone()),
            ("process", task.process_definition_key.clone()),
            ("business_key", task.business_key.clone()),
            ("activity", task.activity_id.clone()),
        ])
    }

    fn note_history(&mut self, engine: &Arc<Engine>, events: &[TaskEvent]) -> Step {
        let process_id = events.iter().find_map(|event| event.process_instance_id.clone());
        self.note(process_id, None);
        let over = |event: &&TaskEvent| matches!(event.kind, TaskEventKind::Completed | TaskEventKind::Deleted);
        if let Some(event) = events.iter().rev().find(over) {
            return self.note_ended(event.kind == TaskEventKind::Completed, event.at.map(iso), events);
        }
        let Some(process_id) = self.process_id.clone() else { return self.note_unknown() };
        let asked = self.within({
            let engine = Arc::clone(engine);
            move || engine.process_instance(&process_id)
        });
        match asked.wait() {
            None => Step::could_not(Source::Camunda, None, format!("Camunda: {TOO_LATE}")),
            Some(Err(err)) => Step::could_not(Source::Camunda, None, format!("Camunda: {err:#}")),
            Some(Ok(None)) => self.note_unknown(),
            // The process went on, so somebody has completed the task.
            Some(Ok(Some(process))) => {
                let completed = process.ended.is_none() || process.state.as_deref() == Some("COMPLETED");
                self.note_ended(completed, process.ended.map(iso), events)
            }
        }
    }

    fn note_ended(&mut self, completed: bool, at: Option<String>, events: &[TaskEvent]) -> Step {
        let (code, text) = match completed {
            true => ("completed", "Camunda no longer waits for it: it was completed"),
            false => ("cancelled", "Camunda no longer waits for it: it was cancelled"),
        };
        self.facts.camunda = Camunda::Ended(Ended { completed, at: at.clone() });
        let last = events.last();
        Step::found(Source::Camunda, None, code, text.into()).at(at).with([
            ("topic", last.and_then(|event| event.topic.clone())),
            ("worker", last.and_then(|event| event.worker_id.clone())),
            ("process_id", self.process_id.clone()),
        ])
    }

    fn note_unknown(&mut self) -> Step {
        self.facts.camunda = Camunda::Unknown;
        let text = "Camunda has no such task, and its history has nothing of it";
        Step::nothing(Source::Camunda, None, "nothing", text.into())
    }
}

fn ask(engine: &Engine, id: &str) -> anyhow::Result<Asked> {
    Ok(match engine.task(id)? {
        Some(task) => Asked::Task(task),
        None => Asked::History(engine.task_history(id)?),
    })
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
