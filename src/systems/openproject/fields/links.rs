//! Things that a message names by their number, and the place of a work package. It cannot know whether they exist.

use serde_json::{Value, json};

use super::super::Settings;
use super::super::settings::PRIORITIES;
use super::{Fields, Work};
use crate::message::given::Place::{Extensions, Process, Variables};
use crate::message::given::{self, Place, Sourced, shown};
use crate::message::{Task, text, whole};

/// What happens to an id that is none.
pub const NOT_USED: &str = "it is not used";
/// The links that OpenProject may refuse, and without which a task is better than none.
pub const DISPENSABLE: [&str; 3] = ["assignee", "responsible", PARENT];
const PARENT: &str = "parent";
/// Where a message names the project.
const PROJECTS: [(Place, &str); 5] = [
    (Variables, "projectId"),
    (Variables, "project_id"),
    (Extensions, "projectId"),
    (Process, "projectId"),
    (Variables, "openproject_project_id"),
];

/// A link to something of this kind.
pub fn href(kind: &str, id: u64) -> Value {
    json!({"href": format!("/api/v3/{kind}/{id}")})
}

/// The project and type of a new work package.
pub fn put_place(task: &Task, work: Work, settings: &Settings, made: &mut Fields) {
    let project = project(task, settings, made);
    made.link("project", project.map(|id| id.map(|id| href("projects", id))));
    let kind = kind(task, work, settings, made);
    made.link("type", Some(kind.map(|id| href("types", id))));
}

/// What to try instead of a body that is refused for these members: the default person instead of another, else
/// without them. `None` if it is refused for a member that cannot be left out.
pub fn concession(body: &Value, blamed: &[String], settings: &Settings) -> Option<Value> {
    let mut conceded = body.clone();
    let links = conceded["_links"].as_object_mut()?;
    let default = settings.default_assignee.map(|id| href("users", id));
    for name in blamed {
        let refused = links.remove(name).filter(|_| DISPENSABLE.contains(&name.as_str()))?;
        if let Some(default) = default.clone().filter(|default| name != PARENT && *default != refused) {
            links.insert(name.clone(), default);
        }
    }
    (!blamed.is_empty()).then_some(conceded)
}

/// The number of the project, if there is one.
pub fn project(task: &Task, settings: &Settings, made: &mut Fields) -> Option<Sourced<u64>> {
    let default = settings.default_project.map(|id| Sourced::new(id, "OPENPROJECT_DEFAULT_PROJECT"));
    let otherwise = "OPENPROJECT_DEFAULT_PROJECT counts";
    given::first_id(task, &PROJECTS, otherwise, &mut made.warnings).or(default)
}

/// The number of the type.
pub fn kind(task: &Task, work: Work, settings: &Settings, made: &mut Fields) -> Sourced<u64> {
    if work == Work::Milestone {
        return Sourced::new(settings.milestone_type, "OPENPROJECT_MILESTONE_TYPE");
    }
    let names = [(Variables, "typeId"), (Variables, "type_id"), (Extensions, "typeId")];
    let given = given::first_id(task, &names, "OPENPROJECT_DEFAULT_TYPE counts", &mut made.warnings);
    given.unwrap_or_else(|| Sourced::new(settings.default_type, "OPENPROJECT_DEFAULT_TYPE"))
}

/// Priority, state, parent, and whose it is.
pub fn put(task: &Task, settings: &Settings, made: &mut Fields) {
    let priority = priority(task, settings, made);
    made.link("priority", priority.map(|id| id.map(|id| href("priorities", id))));
    for (name, kind, places) in [
        ("status", "statuses", [(Variables, "statusId"), (Variables, "status_id")]),
        ("parent", "work_packages", [(Variables, "parentTaskId"), (Variables, "parent_task_id")]),
        ("version", "versions", [(Variables, "versionId"), (Variables, "version_id")]),
    ] {
        let id = given::first_id(task, &places, NOT_USED, &mut made.warnings);
        made.link(name, id.map(|id| id.map(|id| href(kind, id))));
    }
    put_people(task, settings, made);
}

fn put_people(task: &Task, settings: &Settings, made: &mut Fields) {
    let otherwise = match settings.default_assignee {
        Some(id) => format!("the default counts, {id}"),
        None => NOT_USED.to_owned(),
    };
    let named = given::first_id(task, &[(Extensions, "assigneeId")], &otherwise, &mut made.warnings);
    // A change leaves the assignee as it is, unless the message names one.
    let default = settings.default_assignee.filter(|_| Work::of(task) != Work::Update);
    let person = named.or_else(|| Some(Sourced::new(default?, "OPENPROJECT_DEFAULT_ASSIGNEE")));
    for link in settings.assign.links() {
        made.link(link, person.clone().map(|id| id.map(|id| href("users", id))));
    }
    let accountable = [(Extensions, "responsibleId"), (Variables, "responsibleId")];
    let accountable = given::first_id(task, &accountable, NOT_USED, &mut made.warnings);
    made.link("responsible", accountable.map(|id| id.map(|id| href("users", id))));
}

/// A number of OpenProject's; or a word or 0, 1, 2, if the settings have the number for it.
fn priority(task: &Task, settings: &Settings, made: &mut Fields) -> Option<Sourced<u64>> {
    let ids = [(Variables, "priorityId"), (Variables, "priority_id")];
    if let Some(id) = given::first_id(task, &ids, NOT_USED, &mut made.warnings) {
        return Some(id);
    }
    let names = ["priority", "task_priority", "urgency", "importance"];
    let Sourced { value, origin } =
        names.iter().find_map(|name| given::value(task, Variables, name, &mut made.warnings))?;
    let spelt = text(value).unwrap_or_default().to_lowercase();
    let level = whole(&spelt).map(|level| usize::try_from(level).unwrap_or(usize::MAX).min(PRIORITIES.len() - 1));
    let word = level.map_or(spelt.as_str(), |level| PRIORITIES[level]);
    let id = settings.priorities.get(word).copied();
    if id.is_none() && !PRIORITIES.contains(&word) {
        made.warnings.push(format!("{} {} is no priority: it is not used", origin.concat(), shown(value)));
    } else if id.is_none() {
        made.warnings.push(format!("OPENPROJECT_PRIORITIES has no number for {word}: it is not used"));
    }
    Some(Sourced { value: id?, origin })
}
