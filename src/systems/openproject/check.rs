//! For `task-creator check`: is OpenProject ready for the worker? It asks with the worker's own client and look-up, and
//! changes nothing.

use serde_json::Value;

use super::client::{Call, Client};
use super::errors::ApiError;
use super::handler::takes_work_packages;
use super::look_up::{self, rows};
use super::schema::{Kind as FieldKind, Schema, form};
use super::{Settings, statuses};
use crate::message::text;
use crate::report::Report;
use crate::settings::address;
use crate::systems::Surroundings;
use crate::systems::question::YES;

/// An OpenProject that is looked at.
struct Look<'a> {
    settings: &'a Settings,
    client: Client,
    report: &'a mut Report,
}

/// `Err` when it does not answer, so that there is no use in asking for the rest.
type Answered<T = ()> = Result<T, ApiError>;

/// Looks at everything that the worker will need.
pub fn run(settings: &Settings, around: &Surroundings, report: &mut Report) {
    let mut look = Look { settings, client: Client::new(settings, around.https, around.stop), report };
    let looked = look
        .at_root()
        .and_then(|()| look.at_statuses())
        .and_then(|()| look.at_marker())
        .and_then(|()| look.at_project())
        .and_then(|()| look.at_fields());
    if let Err(err) = looked {
        look.report.fail(format!("openproject: {}: {err}", settings.url));
    }
}

impl Look<'_> {
    fn at_root(&mut self) -> Answered {
        if let Some(host) = address::unprotected_host(&self.settings.url) {
            let wrong = format!("the token and all tasks travel to {host} unencrypted");
            self.report.warn(format!("openproject: {wrong}; advised: https:// in OPENPROJECT_URL"));
        }
        let root = self.client.call(&Call::get(""))?;
        let version = text(&root["coreVersion"]).map_or_else(String::new, |version| format!(", version {version}"));
        let user = text(&root["_links"]["user"]["title"]).unwrap_or_else(|| "an unnamed user".into());
        self.report.ok(format!("openproject: {}{version}, as {user}", self.settings.url));
        Ok(())
    }

    fn at_statuses(&mut self) -> Answered {
        let reply = self.client.call(&statuses::list())?;
        let all: Vec<&Value> = rows(&reply).into_iter().flatten().collect();
        let is_listed =
            |row: &Value| row["id"].as_u64().is_some_and(|id| self.settings.finished_statuses.contains(&id));
        let finishing = all.iter().filter(|row| row["isClosed"] == true || is_listed(row));
        let names: Vec<String> = finishing.filter_map(|row| text(&row["name"])).collect();
        if names.is_empty() {
            self.report.fail("openproject: no state is closed, so no task is ever finished; close one, or set OPENPROJECT_FINISHED_STATUSES");
        } else {
            self.report.ok(format!("openproject: finished in the states {}", names.join(", ")));
        }
        for id in &self.settings.finished_statuses {
            if !all.iter().any(|row| row["id"].as_u64() == Some(*id)) {
                self.report.fail(format!("openproject: there is no state {id}; correct OPENPROJECT_FINISHED_STATUSES"));
            }
        }
        Ok(())
    }

    fn at_marker(&mut self) -> Answered {
        match &self.settings.marker_field {
            None => self.report.warn(
                "openproject: OPENPROJECT_TASK_ID_FIELD=none: tasks are not looked up, so a message that comes twice creates \
                 two tasks",
            ),
            Some(field) => match look_up::probe(&self.client, field) {
                Ok(()) => self.report.ok(format!("openproject: work packages can be found by {field}")),
                Err(failure) => self.report.fail(format!("openproject: {failure}")),
            },
        }
        Ok(())
    }

    fn at_project(&mut self) -> Answered {
        let Some(id) = self.settings.default_project else {
            self.report.warn(
                "openproject: OPENPROJECT_DEFAULT_PROJECT is not set: a task whose message names no project is parked",
            );
            return Ok(());
        };
        let project = match told(self.client.call(&Call::get(format!("/projects/{id}"))))? {
            Ok(project) => project,
            Err(err) => {
                self.report
                    .fail(format!("openproject: project {id} (OPENPROJECT_DEFAULT_PROJECT) is not shown: {err}"));
                return Ok(());
            }
        };
        let name = text(&project["name"]).unwrap_or_default();
        if takes_work_packages(&project) {
            self.report.ok(format!("openproject: work packages may be created in project {id} ({name})"));
        } else {
            self.report.fail(format!(
                "openproject: the user may not create work packages in project {id} ({name}): give it a role that may"
            ));
        }
        self.at_types(id)
    }

    fn at_types(&mut self, project: u64) -> Answered {
        let reply = match told(self.client.call(&Call::get(format!("/projects/{project}/types"))))? {
            Ok(reply) => reply,
            Err(err) => {
                self.report.warn(format!("openproject: the types of project {project} are not known: {err}"));
                return Ok(());
            }
        };
        for (id, setting, is_milestone) in [
            (self.settings.default_type, "OPENPROJECT_DEFAULT_TYPE", false),
            (self.settings.milestone_type, "OPENPROJECT_MILESTONE_TYPE", true),
        ] {
            let found = rows(&reply).into_iter().flatten().find(|row| row["id"].as_u64() == Some(id));
            match found {
                Some(row) if is_milestone && row["isMilestone"] != true => {
                    self.report.warn(format!("openproject: type {id} ({setting}) is no milestone"));
                }
                Some(row) => self
                    .report
                    .ok(format!("openproject: type {id} ({}) of {setting}", text(&row["name"]).unwrap_or_default())),
                None if is_milestone => self.report.warn(format!(
                    "openproject: project {project} has no type {id} ({setting}): op_create_milestone is parked"
                )),
                None => self.report.fail(format!("openproject: project {project} has no type {id}; correct {setting}")),
            }
        }
        Ok(())
    }

    fn at_fields(&mut self) -> Answered {
        let Some(project) = self.settings.default_project else { return Ok(()) };
        let schema = match told(self.client.call(&form(project, self.settings.default_type)))? {
            Ok(form) => Schema::read(&form),
            Err(err) => {
                self.report.warn(format!("openproject: the fields of project {project} are not known: {err}"));
                return Ok(());
            }
        };
        self.at_task_id_field(&schema, project);
        self.at_answer_field(&schema, project);
        let own = [self.settings.marker_field.as_ref(), self.settings.answer_field.as_ref()];
        for field in schema.all().iter().filter(|field| field.required && !own.contains(&Some(&field.key))) {
            self.report.warn(format!(
                "openproject: {} ({}) is required: a task whose message does not bring it is refused and parked",
                field.key, field.name
            ));
        }
        Ok(())
    }

    fn at_task_id_field(&mut self, schema: &Schema, project: u64) {
        let Some(key) = &self.settings.marker_field else { return };
        match schema.find(key) {
            Some(field) if field.kind == FieldKind::Text => {
                self.report.ok(format!("openproject: {key} ({}) holds the task id", field.name));
            }
            Some(field) => self.report.fail(format!("openproject: {key} ({}) is no text field", field.name)),
            None => self.report.fail(format!(
                "openproject: {key} is no field of project {project} and its type: tasks would lose their id; add it there"
            )),
        }
    }

    fn at_answer_field(&mut self, schema: &Schema, project: u64) {
        let Some(key) = &self.settings.answer_field else {
            self.report.warn(
                "openproject: OPENPROJECT_ANSWER_FIELD is not set: a task that expects an answer is never reported as \
                 finished",
            );
            return;
        };
        match schema.find(key) {
            Some(field) if field.kind.is_link() && !field.allowed.iter().any(|(title, _)| title == YES) => {
                self.report.warn(format!(
                    "openproject: no value of {key} ({}) is {YES}: processes take each for a no",
                    field.name
                ));
            }
            Some(field) if !field.kind.is_link() && field.kind != FieldKind::Text => {
                let wrong = format!("{key} ({}) is neither a list nor a text", field.name);
                self.report.warn(format!("openproject: {wrong}: only the text {YES} is a yes"));
            }
            Some(field) => self.report.ok(format!("openproject: people answer in {key} ({})", field.name)),
            None => self.report.fail(format!("openproject: {key} is no field of project {project}: nobody can answer")),
        }
    }
}

/// A refusal is an answer as well.
fn told<T>(answer: Result<T, ApiError>) -> Answered<Result<T, ApiError>> {
    match answer {
        Err(err) if err.may_pass() => Err(err),
        told => Ok(told),
    }
}
