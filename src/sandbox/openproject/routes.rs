//! What can be asked: method and path to what is done. Signing in and content types are looked at first, as OpenProject
//! does. It does not know how things look: `show` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::TOKEN;
use super::answer::{Answer, Refusal};
use super::filters::{self, Window};
use super::store::Store;
use super::{show, write};
use crate::sandbox::http_fake::Asked;
use crate::sandbox::request::is_json;

/// Where the interface starts.
const ROOT: &str = "/api/v3";

/// What is asked for, such as `GET work_packages/{id}`.
pub fn name(asked: &Asked) -> String {
    let is_id = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let part = |part| if is_id(part) { "{id}" } else { part };
    let path: Vec<&str> = path(asked).into_iter().flatten().map(part).collect();
    format!("{} {}", asked.method, path.join("/"))
}

/// The parts of the path behind [`ROOT`]; `None` outside of it.
fn path(asked: &Asked) -> Option<Vec<&str>> {
    let behind = asked.path.strip_prefix(ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(behind.split('/').filter(|part| !part.is_empty()).collect())
}

fn is_signed_in(asked: &Asked) -> bool {
    let basic = format!("Basic {}", STANDARD.encode(format!("apikey:{TOKEN}")));
    asked.header("Authorization").is_some_and(|given| given == basic || given == format!("Bearer {TOKEN}"))
}

fn refused_type(asked: &Asked) -> Option<Refusal> {
    match asked.header("Content-Type").unwrap_or_default() {
        "" => Some(Refusal::new(406, "TypeNotSupported", "Ожидается CONTENT-TYPE.")),
        kind if is_json(kind) => None,
        _ => Some(Refusal::new(415, "TypeNotSupported", "Ожидается application/json.")),
    }
}

/// Does what is asked for.
pub fn answer(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    let Some(path) = path(asked) else { return Err(Refusal::not_found()) };
    if !is_signed_in(asked) {
        return Err(Refusal::new(401, "Unauthenticated", "Вам необходимо пройти проверку подлинности."));
    }
    if let Some(refusal) = refused_type(asked).filter(|_| asked.method != "GET") {
        return Err(refusal);
    }
    let found = |body: Value| Ok(Answer { status: 200, body });
    let id = path.get(1).and_then(|part| part.parse().ok());
    match (asked.method.as_str(), path.as_slice(), id) {
        ("GET", [], _) => found(show::root()),
        ("GET", ["statuses"], _) => found(show::statuses()),
        ("GET", ["types"], _) => found(show::types("/api/v3/types")),
        ("GET", ["projects"], _) => projects(store, asked),
        ("GET", ["projects", _], Some(id)) => match store.projects.get(&id) {
            Some(project) => found(show::project(store, project)),
            None => Err(Refusal::not_found()),
        },
        ("GET", ["projects", _, "types"], Some(id)) if store.projects.contains_key(&id) => {
            found(show::types(&format!("/api/v3/projects/{id}/types")))
        }
        ("POST", ["projects"], _) => create_project(store, asked),
        ("GET", ["work_packages"], _) => work_packages(store, asked),
        ("GET", ["work_packages", _], Some(id)) => match store.package(id) {
            Some(package) => found(show::work_package(store, package)),
            None => Err(Refusal::not_found()),
        },
        ("POST", ["work_packages", "form"], _) => found(show::form(store)),
        ("POST", ["work_packages"], _) => create(store, asked),
        ("PATCH", ["work_packages", _], Some(id)) => change(store, asked, id),
        _ => Err(Refusal::not_found()),
    }
}

fn body(asked: &Asked) -> Result<Value, Refusal> {
    let object = Some(asked.json()).filter(Value::is_object);
    object.ok_or_else(|| Refusal::new(400, "InvalidRequestBody", "Тело запроса не читается."))
}

fn create(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    Ok(match write::create(store, &body(asked)?) {
        Ok(id) => match store.package(id) {
            Some(package) => Answer { status: 201, body: show::work_package(store, package) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn change(store: &mut Store, asked: &Asked, id: u64) -> Result<Answer, Refusal> {
    Ok(match write::change(store, id, &body(asked)?) {
        Ok(()) => match store.package(id) {
            Some(package) => Answer { status: 200, body: show::work_package(store, package) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn create_project(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    Ok(match write::create_project(store, &body(asked)?) {
        Ok(id) => match store.projects.get(&id) {
            Some(project) => Answer { status: 201, body: show::project(store, project) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn work_packages(store: &Store, asked: &Asked) -> Result<Answer, Refusal> {
    let found = filters::work_packages(store, asked.query("filters"))?;
    let total = found.len();
    let rows = Window::read(&asked.query, &store.rules).of(found);
    let rows = rows.into_iter().map(|package| show::work_package(store, package)).collect();
    let body = show::collection("WorkPackageCollection", "/api/v3/work_packages", total, rows);
    Ok(Answer { status: 200, body })
}

fn projects(store: &Store, asked: &Asked) -> Result<Answer, Refusal> {
    let wanted = filters::identifiers(asked.query("filters"))?;
    let is_wanted = |identifier: Option<&Value>| {
        let identifier = identifier.and_then(Value::as_str).unwrap_or_default();
        wanted.as_ref().is_none_or(|wanted| wanted.contains(identifier))
    };
    let found: Vec<_> =
        store.projects.values().filter(|project| is_wanted(project.members.get("identifier"))).collect();
    let total = found.len();
    let rows = Window::read(&asked.query, &store.rules).of(found);
    let rows = rows.into_iter().map(|project| show::project(store, project)).collect();
    Ok(Answer { status: 200, body: show::collection("Collection", "/api/v3/projects", total, rows) })
}
