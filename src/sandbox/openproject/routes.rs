//! What can be asked: method and path to what is done. Signing in and content types are looked at first, as OpenProject
//! does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::TOKEN;
use super::answer::{Answer, Refusal};
use super::filters::{self, Window};
use super::store::Store;
use super::{show, write};
use crate::http::server::Request;
use crate::sandbox::request::{is_json, pairs};

/// A request, taken apart.
#[derive(Debug)]
pub struct Asked {
    method: String,
    /// The parts of the path behind `/api/v3`; `None` outside of it.
    path: Option<Vec<String>>,
    query: Vec<(String, String)>,
    /// Its JSON, where it is some.
    body: Option<Value>,
    signed_in: bool,
    content_type: ContentType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Json,
    Missing,
    Other,
}

/// Takes a request apart.
pub fn read(request: &Request<'_>) -> Asked {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let behind = path.strip_prefix("/api/v3").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let parts = |rest: &str| rest.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let basic = format!("Basic {}", STANDARD.encode(format!("apikey:{TOKEN}")));
    let signed_in = request.header("authorization");
    Asked {
        method: request.method.to_owned(),
        path: behind.map(parts),
        query: pairs(query).collect(),
        body: serde_json::from_slice(request.body).ok(),
        signed_in: signed_in.is_some_and(|given| given == basic || given == format!("Bearer {TOKEN}")),
        content_type: match request.content_type() {
            "" => ContentType::Missing,
            kind if is_json(kind) => ContentType::Json,
            _ => ContentType::Other,
        },
    }
}

impl Asked {
    /// What is asked for, such as `GET work_packages/{id}`.
    pub fn name(&self) -> String {
        let is_id = |part: &String| part.bytes().all(|byte| byte.is_ascii_digit());
        let part = |part: &String| if is_id(part) { "{id}".to_owned() } else { part.clone() };
        let path: Vec<String> = self.path.iter().flatten().map(part).collect();
        format!("{} {}", self.method, path.join("/"))
    }

    /// What a fault may look at: the body, or else the filters.
    pub fn params(&self) -> Value {
        self.body.clone().or_else(|| serde_json::from_str(self.filters()?).ok()).unwrap_or_default()
    }

    fn filters(&self) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == "filters").map(|(_, value)| value.as_str())
    }
}

/// Does what is asked for.
pub fn answer(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    let Some(path) = &asked.path else { return Err(Refusal::not_found()) };
    if !asked.signed_in {
        return Err(Refusal::new(401, "Unauthenticated", "Вам необходимо пройти проверку подлинности."));
    }
    if asked.method != "GET" {
        match asked.content_type {
            ContentType::Json => {}
            ContentType::Missing => return Err(Refusal::new(406, "TypeNotSupported", "Ожидается CONTENT-TYPE.")),
            ContentType::Other => return Err(Refusal::new(415, "TypeNotSupported", "Ожидается application/json.")),
        }
    }
    let found = |body: Value| Ok(Answer { status: 200, body });
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
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

fn body(asked: &Asked) -> Result<&Value, Refusal> {
    let object = asked.body.as_ref().filter(|body| body.is_object());
    object.ok_or_else(|| Refusal::new(400, "InvalidRequestBody", "Тело запроса не читается."))
}

fn create(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    Ok(match write::create(store, body(asked)?) {
        Ok(id) => match store.package(id) {
            Some(package) => Answer { status: 201, body: show::work_package(store, package) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn change(store: &mut Store, asked: &Asked, id: u64) -> Result<Answer, Refusal> {
    Ok(match write::change(store, id, body(asked)?) {
        Ok(()) => match store.package(id) {
            Some(package) => Answer { status: 200, body: show::work_package(store, package) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn create_project(store: &mut Store, asked: &Asked) -> Result<Answer, Refusal> {
    Ok(match write::create_project(store, body(asked)?) {
        Ok(id) => match store.projects.get(&id) {
            Some(project) => Answer { status: 201, body: show::project(store, project) },
            None => return Err(Refusal::not_found()),
        },
        Err(refused) => refused,
    })
}

fn work_packages(store: &Store, asked: &Asked) -> Result<Answer, Refusal> {
    let found = filters::work_packages(store, asked.filters())?;
    let total = found.len();
    let rows = Window::read(&asked.query, &store.rules).of(found);
    let rows = rows.into_iter().map(|package| show::work_package(store, package)).collect();
    let body = show::collection("WorkPackageCollection", "/api/v3/work_packages", total, rows);
    Ok(Answer { status: 200, body })
}

fn projects(store: &Store, asked: &Asked) -> Result<Answer, Refusal> {
    let wanted = filters::identifiers(asked.filters())?;
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
