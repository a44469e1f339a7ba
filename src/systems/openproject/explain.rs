//! For `task-creator explain`: what OpenProject would be asked for a task, in the words of the code that asks it.
//!
//! Nothing is sent. Values that only OpenProject knows are in angle brackets.

use serde_json::{Map, Value, json};

use super::client::Call;
use super::fields::{self, Fields, Work, custom, links};
use super::{Settings, handler, look_up, schema, update};
use crate::http::Method;
use crate::message::Task;
use crate::message::given::Sourced;
use crate::systems::{Explained, Explanation, Request, question};

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings) -> Explanation {
    let fields = fields::fields(task, settings, None);
    let mut explanation = Explanation::default();
    explanation.requests = requests(task, settings, &fields, &mut explanation);
    if custom::needs_schema(task) && Work::of(task) != Work::Project {
        explanation.notes.push(
            "other extension properties become custom fields where OpenProject has one of that name, in the form that it \
             takes"
                .into(),
        );
    }
    let Fields { members, links, expected, warnings, mut origins } = fields;
    explanation.notes.extend(warnings);
    let explained = members.into_iter().chain(links);
    explanation.values = explained
        .map(|(name, value)| Explained { origin: origins.remove(&name).unwrap_or_default(), name, value })
        .collect();
    let of_response = expected.map(|expected| (question::EXPECTED, expected.map(Value::from)));
    let changed = update::named(task).filter(|_| Work::of(task) == Work::Update).map(|id| ("id", id.map(Value::from)));
    let others = of_response.into_iter().chain(changed);
    explanation.values.extend(others.map(|(name, Sourced { value, origin })| Explained {
        name: name.into(),
        value,
        origin,
    }));
    explanation
}

fn requests(task: &Task, settings: &Settings, fields: &Fields, explanation: &mut Explanation) -> Vec<Request> {
    match Work::of(task) {
        work @ (Work::Task | Work::Milestone) => {
            let mut requests = Vec::new();
            match &settings.marker_field {
                Some(field) => requests.push(shown(&look_up::by_marker(field, &task.id), "first")),
                None => {
                    explanation
                        .notes
                        .push("OPENPROJECT_TASK_ID_FIELD=none: it is not looked up, and may be created twice".into());
                }
            }
            if !fields.links.contains_key("project") {
                explanation.parked.push("it has no project".into());
                return requests;
            }
            requests.extend(form(task, work, settings));
            let left_out: Vec<&str> =
                links::DISPENSABLE.into_iter().filter(|name| fields.links.contains_key(*name)).collect();
            let again = match left_out.is_empty() {
                true => String::new(),
                false => {
                    format!("; if it is refused for one of them, again with the default or no {}", left_out.join(", "))
                }
            };
            requests.push(shown(&handler::add(fields.body()), &format!("if it is not there{again}")));
            requests
        }
        Work::Project => {
            let look = fields::identifier(&task.id).map(|identifier| look_up::by_identifier(&identifier));
            let look = look.map(|call| shown(&call, "first"));
            let create = shown(&Call::post("/projects", fields.body()), "if it is not there");
            look.into_iter().chain([create]).collect()
        }
        Work::Update => match update::target(task) {
            Ok(id) => {
                let mut body = fields.body();
                body["lockVersion"] = "<as it was read>".into();
                let path = update::path(id);
                let again = "then; if somebody has changed it meanwhile, once more from the first on";
                vec![shown(&Call::get(path.clone()), "first"), shown(&Call::patch(path, body), again)]
            }
            Err(failure) => {
                explanation.parked.push(failure.to_string());
                Vec::new()
            }
        },
    }
}

/// Asked once in a while for each project and type.
fn form(task: &Task, work: Work, settings: &Settings) -> Option<Request> {
    if !custom::needs_schema(task) {
        return None;
    }
    let mut unused = Fields::default();
    let project = links::project(task, settings, &mut unused)?.value;
    let kind = links::kind(task, work, settings, &mut unused).value;
    Some(shown(&schema::form(project, kind), "if the names of its custom fields are not known"))
}

/// A request as people read it: the path, and the query beside the body.
fn shown(call: &Call, when: &str) -> Request {
    let method = match (&call.method, call.path.as_str()) {
        (&Method::GET, "/work_packages") => "GET work_packages",
        (&Method::GET, "/projects") => "GET projects",
        (&Method::GET, _) => "GET work_packages/{id}",
        (&Method::PATCH, _) => "PATCH work_packages/{id}",
        (_, "/work_packages") => "POST work_packages",
        (_, "/work_packages/form") => "POST work_packages/form",
        (_, _) => "POST projects",
    };
    let query = call.query.iter().map(|(name, value)| {
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.as_str().into());
        ((*name).to_owned(), value)
    });
    let query: Map<String, Value> = query.collect();
    let id = call.path.rsplit('/').next().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    let body = match (&call.body, id) {
        (Some(body), _) => body.clone(),
        (None, Some(id)) => json!({ "id": id }),
        (None, None) => query.into(),
    };
    Request { method: method.into(), when: when.into(), body: body.to_string() }
}
