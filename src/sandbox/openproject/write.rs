//! What a body makes of a work package or a project: what cannot be is refused, what is not known is ignored without a
//! word.

use serde_json::{Map, Value};

use super::answer::{Answer, Refusal};
use super::store::{FIELDS, MEMBERS, PRIORITIES, Project, STATUSES, Store, TYPES, WorkPackage};

const LONGEST_SUBJECT: usize = 255;
/// Members that are kept as they were written.
const MEMBERS_KEPT: [&str; 4] = ["subject", "description", "startDate", "dueDate"];

/// Makes a work package; its id.
pub fn create(store: &mut Store, body: &Value) -> Result<u64, Answer> {
    let id = store.next_id();
    let links = [("status", 1), ("priority", 8)].into_iter().map(|(name, id)| (name.to_owned(), id.into())).collect();
    let mut made = WorkPackage { id, lock_version: 0, members: Map::new(), links, hidden: false };
    take(store, &mut made, body);
    let project = made.links.get("project").and_then(Value::as_u64).and_then(|id| store.projects.get(&id));
    if project.is_some_and(|project| !project.takes_work_packages || !store.rules.may_create) {
        return Err(Refusal::forbidden().into_answer());
    }
    match Refusal::all(wrong(store, &made)) {
        Some(refused) => Err(refused),
        None => {
            store.packages.insert(id, made);
            Ok(id)
        }
    }
}

/// Changes a work package.
pub fn change(store: &mut Store, id: u64, body: &Value) -> Result<(), Answer> {
    let Some(mut changed) = store.package(id).cloned() else { return Err(Refusal::not_found().into_answer()) };
    if body["lockVersion"].as_u64() != Some(changed.lock_version) {
        let text = "Информация, которую вы изменяли, была обновлена другим пользователем.";
        return Err(Refusal::new(409, "UpdateConflict", text).into_answer());
    }
    take(store, &mut changed, body);
    if let Some(refused) = Refusal::all(wrong(store, &changed)) {
        return Err(refused);
    }
    changed.lock_version += 1;
    store.packages.insert(id, changed);
    Ok(())
}

/// Takes over what is known.
fn take(store: &Store, package: &mut WorkPackage, body: &Value) {
    let is_field = |name: &str, linked: bool| {
        let field = FIELDS.iter().find(|field| field.key == name && field.options.is_empty() != linked);
        field.is_some() && store.rules.active.contains(name)
    };
    for (name, value) in body.as_object().into_iter().flatten() {
        if MEMBERS_KEPT.contains(&name.as_str()) || is_field(name, false) {
            package.members.insert(name.clone(), value.clone());
        }
    }
    let number = |link: &Value| link["href"].as_str()?.rsplit('/').next()?.parse::<u64>().ok();
    for (name, link) in body["_links"].as_object().into_iter().flatten() {
        let known = ["project", "type", "status", "priority", "assignee", "responsible", "parent", "version"];
        if !known.contains(&name.as_str()) && !is_field(name, true) {
            continue;
        }
        let value = match link {
            Value::Array(several) => several.iter().filter_map(number).map(Value::from).collect(),
            one => number(one).map_or(Value::Null, Value::from),
        };
        package.links.insert(name.clone(), value);
    }
}

/// All that is wrong with it.
fn wrong(store: &Store, package: &WorkPackage) -> Vec<Refusal> {
    let mut wrong = Vec::new();
    let subject = package.members.get("subject").and_then(Value::as_str).unwrap_or_default();
    match subject.trim().chars().count() {
        0 => wrong.push(Refusal::of("subject", "Тема не может быть пустой.")),
        1..=LONGEST_SUBJECT => {}
        _ => wrong.push(Refusal::of("subject", "Тема слишком большой длины.")),
    }
    let linked = |name: &str| package.links.get(name).and_then(Value::as_u64);
    let is = |name: &str, known: &dyn Fn(u64) -> bool| linked(name).is_some_and(known);
    for (name, fine) in [
        ("project", is("project", &|id| store.projects.contains_key(&id))),
        ("type", is("type", &|id| TYPES.iter().any(|(known, _, _)| *known == id))),
        ("status", is("status", &|id| STATUSES.iter().any(|(known, _, _)| *known == id))),
        ("priority", is("priority", &|id| PRIORITIES.iter().any(|(known, _)| *known == id))),
        ("assignee", linked("assignee").is_none_or(|id| MEMBERS.contains(&id))),
        ("responsible", linked("responsible").is_none_or(|id| MEMBERS.contains(&id))),
        ("parent", linked("parent").is_none_or(|id| store.package(id).is_some())),
    ] {
        if !fine {
            wrong.push(Refusal::of(name, format!("Значение {name} недопустимо.")));
        }
    }
    wrong.extend(wrong_dates(package, linked("type")));
    wrong
}

fn wrong_dates(package: &WorkPackage, kind: Option<u64>) -> Option<Refusal> {
    let day = |name: &str| package.members.get(name).and_then(Value::as_str);
    let is_day = |day: &str| day.len() == 10 && day.bytes().filter(|byte| *byte == b'-').count() == 2;
    for name in ["startDate", "dueDate"] {
        if day(name).is_some_and(|day| !is_day(day)) {
            return Some(Refusal::new(422, "PropertyFormatError", format!("{name}: ожидается YYYY-MM-DD.")));
        }
    }
    let is_milestone = TYPES.iter().any(|(id, _, milestone)| *milestone && Some(*id) == kind);
    match (day("startDate"), day("dueDate")) {
        (Some(start), Some(due)) if start > due => Some(Refusal::of("dueDate", "Дата окончания раньше даты начала.")),
        (start, due) if is_milestone && start != due => Some(Refusal::of("dueDate", "У вехи одна дата.")),
        _ => None,
    }
}

/// Makes a project; its id.
pub fn create_project(store: &mut Store, body: &Value) -> Result<u64, Answer> {
    let mut wrong = Vec::new();
    if body["name"].as_str().is_none_or(|name| name.trim().is_empty()) {
        wrong.push(Refusal::of("name", "Имя не может быть пустым."));
    }
    let identifier = body["identifier"].as_str().unwrap_or_default().to_owned();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !identifier.starts_with(|c: char| c.is_ascii_lowercase()) || !identifier.chars().all(is_plain) {
        wrong.push(Refusal::of("identifier", "Идентификатор имеет неверное значение."));
    }
    if store.identifiers().contains(&identifier) {
        wrong.push(Refusal::of("identifier", "Идентификатор уже существует."));
    }
    if let Some(refused) = Refusal::all(wrong) {
        return Err(refused);
    }
    let id = store.next_id();
    let members = ["name", "identifier", "description", "public"];
    let members = members.iter().filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone()))).collect();
    store.projects.insert(id, Project { id, members, takes_work_packages: true });
    Ok(id)
}
