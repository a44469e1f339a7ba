//! How things are shown: in HAL, with all that a reader of the published contract expects. It changes nothing and knows
//! no request.

use serde_json::{Map, Value, json};

use super::store::{FIELDS, Field, PRIORITIES, Project, STATUSES, Store, TYPES, WorkPackage};

/// When everything was made.
const LONG_AGO: &str = "2026-11-23T08:00:00.000Z";

fn link(kind: &str, id: u64, title: &str) -> Value {
    json!({"href": format!("/api/v3/{kind}/{id}"), "title": title})
}

/// A list, or a page of one.
pub fn collection(kind: &str, path: &str, total: usize, elements: Vec<Value>) -> Value {
    json!({
        "_type": kind,
        "total": total,
        "count": elements.len(),
        "pageSize": elements.len(),
        "offset": 1,
        "_embedded": {"elements": elements},
        "_links": {
            "self": {"href": path},
            "jumpTo": {"href": path, "templated": true},
            "changeSize": {"href": path, "templated": true},
        },
    })
}

/// A work package as it is read.
pub fn work_package(store: &Store, package: &WorkPackage) -> Value {
    let WorkPackage { id, lock_version, members, links, .. } = package;
    let raw = members.get("description").and_then(|description| description["raw"].as_str()).unwrap_or_default();
    let day = |name: &str| members.get(name).cloned().unwrap_or_default();
    let mut shown = json!({
        "_type": "WorkPackage",
        "id": id,
        "lockVersion": lock_version,
        "subject": members.get("subject"),
        "description": {"format": "markdown", "raw": raw, "html": format!("<p>{raw}</p>")},
        "scheduleManually": true,
        "startDate": day("startDate"),
        "dueDate": day("dueDate"),
        "percentageDone": 0,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
    });
    let mut linked = package_links(store, *id, links);
    for field in FIELDS.iter().filter(|field| store.rules.active.contains(field.key)) {
        match field.kind.ends_with("CustomOption") {
            true => linked[field.key] = chosen(field, links.get(field.key)),
            false => shown[field.key] = members.get(field.key).cloned().unwrap_or_default(),
        }
    }
    shown["_links"] = linked;
    shown
}

fn package_links(store: &Store, id: u64, links: &std::collections::BTreeMap<String, Value>) -> Value {
    let number = |name: &str| links.get(name).and_then(Value::as_u64).unwrap_or_default();
    let project = store.projects.get(&number("project"));
    let project_name = project.and_then(|project| project.members["name"].as_str()).unwrap_or_default();
    let named =
        |all: &[(u64, &'static str)], id| all.iter().find(|(known, _)| *known == id).map_or("", |(_, name)| *name);
    let statuses: Vec<_> = STATUSES.iter().map(|(id, name, _)| (*id, *name)).collect();
    let types: Vec<_> = TYPES.iter().map(|(id, name, _)| (*id, *name)).collect();
    let optional = |name: &str, kind: &str| match links.get(name).and_then(Value::as_u64) {
        Some(id) => link(kind, id, &format!("{name} {id}")),
        None => json!({ "href": null }),
    };
    json!({
        "self": link("work_packages", id, ""),
        "schema": {"href": format!("/api/v3/work_packages/schemas/{}-{}", number("project"), number("type"))},
        "ancestors": [],
        "author": link("users", 1, "Камунда"),
        "priority": link("priorities", number("priority"), named(PRIORITIES, number("priority"))),
        "project": link("projects", number("project"), project_name),
        "status": link("statuses", number("status"), named(&statuses, number("status"))),
        "type": link("types", number("type"), named(&types, number("type"))),
        "assignee": optional("assignee", "users"),
        "responsible": optional("responsible", "users"),
        "parent": optional("parent", "work_packages"),
    })
}

/// The value of a list field: a link, or several.
fn chosen(field: &Field, held: Option<&Value>) -> Value {
    let option = |id: &Value| {
        let known = field.options.iter().find(|(known, _)| Some(*known) == id.as_u64());
        known.map(|(id, text)| link("custom_options", *id, text))
    };
    match held {
        Some(Value::Array(several)) => several.iter().filter_map(option).collect(),
        Some(one) => option(one).unwrap_or_else(|| json!({ "href": null })),
        None if field.kind.starts_with("[]") => json!([]),
        None => json!({ "href": null, "title": null }),
    }
}

/// A project as it is read.
pub fn project(store: &Store, project: &Project) -> Value {
    let mut shown = Value::Object(project.members.clone());
    shown["_type"] = "Project".into();
    shown["id"] = project.id.into();
    let own = format!("/api/v3/projects/{}", project.id);
    shown["_links"] = json!({
        "self": {"href": own, "title": project.members.get("name")},
        "categories": {"href": format!("{own}/categories")},
        "types": {"href": format!("{own}/types")},
    });
    if project.takes_work_packages && store.rules.may_create {
        shown["_links"]["createWorkPackageImmediately"] = json!({"href": "/api/v3/work_packages", "method": "post"});
    }
    shown
}

/// All states.
pub fn statuses() -> Value {
    let status = |(id, name, closed): &(u64, &str, bool)| {
        json!({
            "_type": "Status", "id": id, "name": name, "isClosed": closed, "isDefault": *id == 1, "isReadonly": false,
            "position": id, "_links": {"self": link("statuses", *id, name)},
        })
    };
    collection("Collection", "/api/v3/statuses", STATUSES.len(), STATUSES.iter().map(status).collect())
}

/// All types.
pub fn types(path: &str) -> Value {
    let kind = |(id, name, milestone): &(u64, &str, bool)| {
        json!({
            "_type": "Type", "id": id, "name": name, "color": null, "position": id, "isDefault": *id == 1,
            "isMilestone": milestone, "createdAt": LONG_AGO, "updatedAt": LONG_AGO,
            "_links": {"self": link("types", *id, name)},
        })
    };
    collection("Collection", path, TYPES.len(), TYPES.iter().map(kind).collect())
}

/// The form of a new work package: which fields there are.
pub fn form(store: &Store) -> Value {
    let property = |kind: &str, name: &str, required: bool| json!({"type": kind, "name": name, "required": required, "hasDefault": false, "writable": true});
    let mut schema = Map::from_iter([
        ("_type".to_owned(), "Schema".into()),
        ("subject".to_owned(), property("String", "Тема", true)),
        ("dueDate".to_owned(), property("Date", "Дата окончания", false)),
    ]);
    for field in FIELDS.iter().filter(|field| store.rules.active.contains(field.key)) {
        let mut shown = property(field.kind, field.name, false);
        if !field.options.is_empty() {
            shown["location"] = "_links".into();
            let option = |(id, text): &(u64, &str)| {
                json!({
                    "_type": "CustomOption", "id": id, "value": text,
                    "_links": {"self": link("custom_options", *id, text)},
                })
            };
            shown["_embedded"] = json!({"allowedValues": field.options.iter().map(option).collect::<Vec<_>>()});
        }
        schema.insert(field.key.into(), shown);
    }
    json!({
        "_type": "Form",
        "_embedded": {"payload": {}, "schema": schema, "validationErrors": {}},
        "_links": {"self": {"href": "/api/v3/work_packages/form", "method": "post"}},
    })
}

/// What there is at all.
pub fn root() -> Value {
    let names = [
        "configuration",
        "memberships",
        "priorities",
        "relations",
        "statuses",
        "time_entries",
        "types",
        "userPreferences",
        "workPackages",
    ];
    let mut links: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"href": format!("/api/v3/{name}")}))).collect();
    links.insert("self".into(), json!({"href": "/api/v3"}));
    links.insert("user".into(), link("users", 1, "Камунда"));
    json!({"_type": "Root", "instanceName": "Sandbox", "coreVersion": "17.0.0", "_links": links})
}
