//! Work packages and projects: how one is found, made and changed.
//!
//! [`create`](crate::systems::create) decides when a task is looked up and when it may be created. This file knows no
//! queues and no attempts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::fields::{self, Fields, Work, custom, links};
use super::schema::{Schema, Schemas};
use super::work_package::{self, custom_text};
use super::{Settings, look, look_up, update};
use crate::message::Task;
use crate::stats::Declared;
use crate::systems::seen::Looked;
use crate::systems::{Created, Failure, Found, Handler, Missing, question};

/// The handler. Several threads use it at once.
pub struct OpenProjectHandler {
    settings: Settings,
    client: Arc<Client>,
    schemas: Schemas,
}

impl OpenProjectHandler {
    /// A handler for the OpenProject of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> OpenProjectHandler {
        if settings.marker_field.is_none() {
            log::warn!(
                "OPENPROJECT_TASK_ID_FIELD=none: tasks are not looked up, a message that comes twice creates two tasks"
            );
        }
        OpenProjectHandler { settings, client, schemas: Schemas::default() }
    }
}

impl Handler for OpenProjectHandler {
    fn preflight(&self) -> Result<(), Failure> {
        match &self.settings.marker_field {
            Some(field) => look_up::probe(&self.client, field),
            None => Ok(()),
        }
    }

    fn visible_within(&self) -> Option<Duration> {
        self.settings.marker_field.as_ref().map(|_| self.settings.request_timeout)
    }

    fn link_to(&self, target_id: &str, _: Option<&str>, host: Option<&str>) -> Option<String> {
        let id = target_id.parse().ok()?;
        host.is_none_or(|host| host == self.settings.host()).then(|| self.settings.link(id))
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|task| look_up::find(&self.client, &self.settings, task)).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| self.do_work(missing)).collect()
    }

    /// A change leaves no work package of its own.
    fn shows(&self, topic: &str) -> bool {
        self.settings.marker_field.is_some() && !matches!(Work::of_topic(topic), Work::Update)
    }

    fn look(&self, task_ids: &[&str]) -> Vec<Looked> {
        look::look(&self.client, &self.settings, task_ids)
    }

    fn counters(&self) -> Vec<Declared> {
        vec![Declared::requests(self.client.requests())]
    }
}

impl OpenProjectHandler {
    fn do_work(&self, missing: &Missing) -> Result<Created, Failure> {
        match Work::of(missing.task) {
            Work::Task | Work::Milestone => self.create_work_package(missing),
            Work::Project => self.create_project(missing),
            Work::Update => self.update(missing),
        }
    }

    fn create_work_package(&self, missing: &Missing) -> Result<Created, Failure> {
        let task = missing.task;
        let fields = self.fields(missing)?;
        if !fields.links.contains_key("project") {
            return Err(Failure::Permanent(anyhow!(
                "the message names no project (variables.projectId), and OPENPROJECT_DEFAULT_PROJECT is not set"
            )));
        }
        let reply = self.add(missing, fields.body());
        let row = reply.map_err(|err| self.not_created(err))?;
        self.made(task, &row)
    }

    /// Creates it. If OpenProject refuses a field that a task can do without, it is created without that field.
    fn add(&self, missing: &Missing, mut body: Value) -> Result<Value, ApiError> {
        loop {
            let err = match self.client.call_while(&add(body.clone()), || missing.claim().is_held()) {
                Err(err) if err.kind == Kind::Refused => err,
                reply => return reply,
            };
            // This ends: each round a link becomes the default, or is dropped.
            match links::concession(&body, &err.attributes, &self.settings) {
                Some(less) => body = less,
                None => return Err(err),
            }
            let blamed = err.attributes.join(", ");
            log::warn!("refused, trying again with another or no {blamed}: task={}: {err}", missing.task.id);
        }
    }

    /// What the task becomes. The warnings are logged once for each message: a late one has logged them before.
    fn fields(&self, missing: &Missing) -> Result<Fields, Failure> {
        let schema = self.schema(missing.task)?;
        let fields = fields::fields(missing.task, &self.settings, schema.as_deref());
        for warning in fields.warnings.iter().filter(|_| !missing.is_late) {
            log::warn!("{warning}: task={}", missing.task.id);
        }
        Ok(fields)
    }

    /// The names of custom fields, where the message may use them.
    fn schema(&self, task: &Task) -> Result<Option<Arc<Schema>>, Failure> {
        let work = Work::of(task);
        if work == Work::Project || !custom::needs_schema(task) {
            return Ok(None);
        }
        let mut unused = Fields::default();
        let place = match work {
            Work::Update => self.place_of(update::target(task)?)?,
            Work::Task | Work::Milestone | Work::Project => {
                let kind = links::kind(task, work, &self.settings, &mut unused).value;
                links::project(task, &self.settings, &mut unused).map(|project| (project.value, kind))
            }
        };
        let Some((project, kind)) = place else { return Ok(None) };
        match self.schemas.of(&self.client, project, kind) {
            Ok(schema) => Ok(Some(schema)),
            // The create will be refused too, and says why.
            Err(err) if err.may_pass() => Err(err.into_failure()),
            Err(err) => {
                log::warn!("the names of custom fields are not known: task={}: {err}", task.id);
                Ok(None)
            }
        }
    }

    /// Project and type of a work package.
    fn place_of(&self, id: u64) -> Result<Option<(u64, u64)>, Failure> {
        let row = self.client.call(&Call::get(update::path(id))).map_err(ApiError::into_failure)?;
        Ok(work_package::linked_id(&row, "project").zip(work_package::linked_id(&row, "type")))
    }

    fn made(&self, task: &Task, row: &Value) -> Result<Created, Failure> {
        let unclear = |what: &str| {
            let error = anyhow!("POST work_packages: {what}, so it is not known whether this task is there");
            Failure::OutcomeUnknown { error, visible_in: self.settings.request_timeout }
        };
        let id = row["id"].as_u64().filter(|id| *id > 0).ok_or_else(|| unclear("the reply names no work package"))?;
        if let Some(field) = &self.settings.marker_field {
            match custom_text(row, field) {
                Some(marker) if marker != task.id.trim() => return Err(unclear("the reply is about another task")),
                Some(_) => {}
                None => log::warn!(
                    "work package {id} has not kept {field}, so it cannot be found again, and may be created twice after a \
                     crash: make the field one of its project and type: task={}",
                    task.id
                ),
            }
        }
        Ok(work_package::created(task, &self.settings, id, row))
    }

    fn create_project(&self, missing: &Missing) -> Result<Created, Failure> {
        let task = missing.task;
        let fields = self.fields(missing)?;
        if !fields.members.contains_key("identifier") {
            return Err(Failure::Permanent(anyhow!("task_id is too long to become a project's identifier")));
        }
        let call = Call::post("/projects", fields.body());
        let row = self.client.call_while(&call, || missing.claim().is_held()).map_err(|err| match err.kind {
            Kind::Forbidden => err.with("the user needs the global right to create projects").into_failure(),
            _ => self.not_created(err),
        })?;
        let no_id = || Failure::OutcomeUnknown {
            error: anyhow!("POST projects: the reply names no project, so it is not known whether it is there"),
            visible_in: self.settings.request_timeout,
        };
        work_package::project(task, &row).ok_or_else(no_id)
    }

    /// A change that asks a question is followed like a task; any other is finished when it is made.
    fn update(&self, missing: &Missing) -> Result<Created, Failure> {
        let task = missing.task;
        let id = update::target(task)?;
        let body = self.fields(missing)?.body();
        let changed = update::run(&self.client, id, &body, || missing.claim().is_held());
        // This is no unknown outcome: a second change does no harm.
        let row = changed.map_err(|err| self.unless_nowhere(err).into_failure())?;
        if question::is_expected(task) {
            return Ok(work_package::created(task, &self.settings, id, &row));
        }
        let finished = Created::finished(work_package::unanswered(&row, false), id.to_string());
        Ok(finished.at(&self.settings.host(), self.settings.link(id)))
    }

    fn not_created(&self, err: ApiError) -> Failure {
        self.unless_nowhere(err).into_failure().of_create(self.settings.request_timeout)
    }

    /// A missing right is mostly missing in one project only: then this message is wrong. If it is missing in all of
    /// them, the settings are wrong.
    fn unless_nowhere(&self, err: ApiError) -> ApiError {
        if err.kind != Kind::Forbidden {
            return err;
        }
        match self.client.call(&Call::list("/projects", &json!([]), 1, 100)) {
            Ok(projects) if !look_up::rows(&projects).is_some_and(|rows| rows.iter().any(takes_work_packages)) => {
                err.with("the user of OPENPROJECT_TOKEN may not create work packages in any project").of_everybody()
            }
            Ok(_) => err,
            Err(other) if other.may_pass() => other,
            Err(_) => err,
        }
    }
}

/// May the user create work packages in this project?
pub fn takes_work_packages(project: &Value) -> bool {
    project["_links"].get("createWorkPackageImmediately").is_some()
}

/// Creates a work package.
pub fn add(body: Value) -> Call {
    Call::post("/work_packages", body)
}
