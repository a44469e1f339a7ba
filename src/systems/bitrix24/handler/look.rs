//! What the portal shows of a task to somebody who asks for it by its id in Camunda. It reads only.

use std::collections::HashMap;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::super::answers::Answers;
use super::super::client::Call;
use super::super::fields::is_yes;
use super::super::look_up::Seen as Row;
use super::super::tracker::{self, IDS, stored_answer};
use super::super::{member, rows};
use super::{BitrixHandler, not_looked_up};
use crate::message::text;
use crate::systems::Failure;
use crate::systems::seen::{Looked, Seen, State, cannot_look};

const MAY_BE_HIDDEN: &str = "the portal does not show it, but the webhook's owner does not see all tasks: make the owner an \
                             administrator";
/// What is asked of a task.
const SELECT: [&str; 11] = [
    "ID",
    "TITLE",
    "STATUS",
    "RESPONSIBLE_ID",
    "CREATED_BY",
    "CREATED_DATE",
    "CHANGED_DATE",
    "CLOSED_DATE",
    "DEADLINE",
    "UF_RESULT_EXPECTED",
    "UF_RESULT_ANSWER",
];

impl BitrixHandler {
    pub(super) fn show(&self, task_ids: &[&str]) -> Vec<Looked> {
        if !self.looks_up() {
            return cannot_look(task_ids);
        }
        // Asked before, as for a create: what such an owner is not shown may be there, and a repair would double it.
        let may_miss = self.owner.may_miss_tasks();
        let looked = self.look_up.find(task_ids.iter().copied());
        let found: Vec<String> = looked.iter().filter_map(|looked| target_id(row(looked.as_ref().ok()?)?)).collect();
        let details = self.details(&found);
        let mut answers = Answers::new(self.client.clone(), self.settings.answer_texts.clone());
        let show = |looked| match looked {
            Err(err) => Err(not_looked_up(&err)),
            Ok(Row::Nothing(_)) if may_miss => Err(Failure::Transient { error: anyhow!("{MAY_BE_HIDDEN}") }),
            Ok(Row::Nothing(_)) => Ok(None),
            Ok(Row::Task(row)) => {
                let no_id = || Failure::Transient { error: anyhow!("tasks.task.list: the row of the task has no ID") };
                let id = target_id(&row).ok_or_else(no_id)?;
                let row = details.get(&id).unwrap_or(&row);
                Ok(Some(self.seen(id, row, &mut answers)))
            }
        };
        looked.into_iter().map(show).collect()
    }

    /// More of these tasks than a look-up shows. What the portal does not tell is missing here. A single one is asked
    /// for by itself: that reply names the person too.
    fn details(&self, ids: &[String]) -> HashMap<String, Value> {
        let select = json!(SELECT);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let calls: Vec<Call> = match ids[..] {
            [id] => vec![tracker::get(id, &select)],
            _ => ids.chunks(IDS).map(|ids| tracker::list(ids, &select)).collect(),
        };
        let mut details = HashMap::new();
        for reply in self.client.call_in_bulk(calls) {
            match reply {
                Ok(reply) => {
                    let one = tracker::task_of(&reply);
                    let several = rows(&reply).into_iter().flatten().cloned();
                    details.extend(one.into_iter().chain(several).filter_map(|row| Some((target_id(&row)?, row))));
                }
                Err(err) => log::debug!("the portal tells no more of tasks that are there: {err}"),
            }
        }
        details
    }

    fn seen(&self, target_id: String, row: &Value, answers: &mut Answers) -> Seen {
        let shown = |name| member(row, name).and_then(text).filter(|text| text != "false");
        let status: Option<u64> = shown("STATUS").and_then(|status| status.parse().ok());
        let state = match status {
            Some(status) if self.settings.completed_statuses.contains(&status) => State::Finished,
            Some(_) => State::Open,
            None => State::Unknown,
        };
        let stored = member(row, "UF_RESULT_ANSWER").and_then(stored_answer);
        let answer = stored.map(|stored| answers.text(&stored)).transpose();
        let nobody = || {
            let waits = state == State::Finished && member(row, "UF_RESULT_EXPECTED").is_some_and(is_yes);
            waits.then(|| "nobody has answered yet".to_owned())
        };
        let (answer, no_answer) = match answer {
            Ok(Some(answer)) => (Some(answer), None),
            Ok(None) => (None, nobody()),
            Err(why) => (None, Some(why)),
        };
        Seen {
            link: Some(self.settings.webhook.link(&target_id)),
            target_id,
            state,
            status: status.map(in_words),
            responsible: responsible(row),
            created: shown("CREATED_DATE"),
            changed: shown("CHANGED_DATE"),
            deadline: shown("DEADLINE"),
            finished: shown("CLOSED_DATE").filter(|_| state == State::Finished),
            answer,
            no_answer,
        }
    }
}

fn row(looked: &Row) -> Option<&Value> {
    match looked {
        Row::Task(row) => Some(row),
        Row::Nothing(_) => None,
    }
}

fn target_id(row: &Value) -> Option<String> {
    member(row, "ID").and_then(text)
}

/// The name, with the id by which a portal's page finds the person.
fn responsible(row: &Value) -> Option<String> {
    let id = member(row, "RESPONSIBLE_ID").and_then(text);
    let name = text(&row["responsible"]["name"]);
    match (name, id) {
        (Some(name), Some(id)) => Some(format!("{name} (user {id})")),
        (Some(name), None) => Some(name),
        (None, id) => id.map(|id| format!("user {id}")),
    }
}

/// As the portal's pages call the state.
fn in_words(status: u64) -> String {
    match status {
        1 => "new".into(),
        2 => "waiting".into(),
        3 => "in progress".into(),
        4 => "awaiting control".into(),
        5 => "completed".into(),
        6 => "deferred".into(),
        7 => "declined".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::client::Client;
    use super::super::super::tests::settings;
    use super::*;
    use crate::message::Task;
    use crate::sandbox::{self, Limits, Sandbox};
    use crate::stop;
    use crate::systems::{Handler, create};
    use crate::tls::RootCertificates;

    /// A portal with a task for each of these ids, and a handler at it.
    fn portal(ids: &[&str], more: &[(&str, &str)]) -> (Sandbox, BitrixHandler) {
        let sandbox = Sandbox::start(0, Limits::default()).expect("loopback has a free port");
        let url = sandbox::webhook_url(sandbox.address());
        let settings = settings(&[&[("BITRIX_WEBHOOK_URL", url.as_str()), ("BITRIX_RATE", "0")], more].concat());
        let client = Client::new(&settings, &RootCertificates::public(), 4, &stop::signal().1);
        let handler = BitrixHandler::new(settings, Arc::new(client));
        let message = |id: &&str| {
            let properties = json!({"extensionProperties": {"UF_RESULT_EXPECTED": "true", "assigneeId": "7"}});
            let variables = json!({"title": "Договор", "deadline": "2026-12-24T12:00:00+03:00"});
            json!({"task_id": id, "variables": variables, "metadata": properties}).to_string()
        };
        let tasks = ids.iter().map(|id| Task::parse(message(id).into_bytes()).expect("a task"));
        for created in create::find_or_create(&handler, &tasks.collect::<Vec<_>>()) {
            created.expect("it is created");
        }
        (sandbox, handler)
    }

    fn shown(handler: &BitrixHandler, ids: &[&str]) -> Vec<Option<Seen>> {
        handler.look(ids).into_iter().map(|looked| looked.expect("an answer")).collect()
    }

    #[test]
    fn who_has_the_task_and_its_dates_are_shown() {
        let (sandbox, handler) = portal(&["a", "b"], &[]);
        let [Some(seen)] = &shown(&handler, &["a"])[..] else { panic!("it is there") };
        let id = sandbox.ids_of("a")[0].to_string();
        assert_eq!((&seen.target_id, seen.state, seen.status.as_deref()), (&id, State::Open, Some("waiting")));
        assert!(seen.link.as_ref().is_some_and(|link| link.contains(&id) && !link.contains("sandbox-token")));
        assert_eq!(seen.responsible.as_deref(), Some("User 7 (user 7)"));
        assert!(seen.deadline.as_ref().is_some_and(|day| day.starts_with("2026-12-24")), "{seen:?}");
        assert!(seen.created.is_some() && seen.changed.is_some() && seen.finished.is_none());
        let several = shown(&handler, &["b", "nobody", "a"]);
        assert!(several[1].is_none());
        assert_eq!(
            several[2].as_ref().and_then(|seen| seen.responsible.as_deref()),
            Some("user 7"),
            "a list has no name"
        );
    }

    #[test]
    fn a_finished_task_says_why_its_answer_is_not_known() {
        let (sandbox, handler) = portal(&["a"], &[]);
        let id = sandbox.ids_of("a")[0];
        assert!(sandbox.finish(id, 5, None));
        let [Some(seen)] = &shown(&handler, &["a"])[..] else { panic!("it is there") };
        assert_eq!((seen.state, &seen.answer), (State::Finished, &None));
        assert_eq!(seen.no_answer.as_deref(), Some("nobody has answered yet"));
        assert!(seen.finished.is_some());
    }

    #[test]
    fn a_task_that_is_found_by_no_field_cannot_be_asked_for() {
        let (_sandbox, handler) = portal(&[], &[("BITRIX_TASK_ID_FIELD", "none")]);
        assert!(handler.look(&["a"])[0].as_ref().is_err_and(|failure| failure.to_string().contains("cannot be asked")));
    }
}
