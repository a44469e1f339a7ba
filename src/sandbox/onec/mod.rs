//! A fake of a 1C infobase with its standard OData interface, and with an HTTP service of its own.
//!
//! It is as unkind as what is known of 1C: Atom unless JSON is asked for twice, codes instead of words, no `in`,
//! unknown names refused, rows that need their numbers, `Posted` that nobody may write, versions that go stale, and IIS
//! before it, which answers a long address with a page. A model of what is known, not 1C: left out are registers,
//! constants, rights on single objects and the code of a configuration.
//!
//! `schema` is what the infobase is made of, `filter` the language of conditions, [`service`] the HTTP service.

mod filter;
mod schema;
pub mod service;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::http_fake::{Asked, Target};
use crate::http::server::Page;
use schema::{Kind, Set, TASK_ID};

/// Who may sign in: a login in Cyrillic, as most are.
pub const USER: &str = "Обмен";
/// The password of [`USER`].
pub const PASSWORD: &str = "sandbox-password";
/// The publication.
const BASE: &str = "/base/odata/standard.odata/";
/// IIS takes no longer query.
const LONGEST_QUERY: usize = 2048;

/// The address for `ONEC_URL` at a server with this address, which may be a relay's.
pub fn url(address: SocketAddr) -> String {
    format!("http://{address}{}", BASE.trim_end_matches('/'))
}

/// An infobase in memory.
#[derive(Default)]
pub struct Onec {
    /// By entity set, in the order in which they were created.
    objects: BTreeMap<String, Vec<Map<String, Value>>>,
    /// Where in that order an object is, by entity set and key: with many, nobody waits for a search.
    places: HashMap<(String, String), usize>,
    service: service::Tasks,
    /// The last number that was given.
    number: u64,
    /// A shorter query than IIS takes, where something else stands before it.
    longest_query: Option<usize>,
    /// Tasks whose objects nobody can read: whoever asks for one of them among others gets an error and nothing else.
    unreadable: Vec<String>,
}

/// What was asked for, or an error.
type Answered = Result<Page, Page>;

impl Target for Onec {
    fn answer(&mut self, asked: &Asked) -> Page {
        if asked.raw_query.len() > self.longest_query.unwrap_or(LONGEST_QUERY) {
            return Page::new(
                404,
                "text/html",
                "<html><head><title>404 - File or directory not found.</title></head></html>",
            );
        }
        if asked.header("Authorization") != Some(&sign_in()) {
            let realm = "Basic realm=\"1C:Enterprise 8.3\"";
            return Page::new(401, "text/html", "<html>Unauthorized</html>").with("WWW-Authenticate", realm);
        }
        let path = percent_decode_str(&asked.path).decode_utf8_lossy().into_owned();
        if let Some(rest) = path.strip_prefix(service::BASE) {
            return self.service.answer(asked, rest);
        }
        let Some(rest) = path.strip_prefix(BASE) else {
            return Page::new(404, "text/html", "<html><head><title>404 Not Found</title></head></html>");
        };
        let page = self.odata(asked, rest).unwrap_or_else(|refused| refused);
        let wants_json = asked.query("$format") == Some("json") && accepts_json(asked);
        if wants_json { page } else { atom(page.status()) }
    }

    fn refusal(status: u16, code: &str, text: &str) -> Page {
        error(status, code, text)
    }
}

fn sign_in() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

fn accepts_json(asked: &Asked) -> bool {
    asked.header("Accept").is_some_and(|accepted| accepted.contains("application/json"))
}

/// What whoever has not asked for JSON gets.
fn atom(status: u16) -> Page {
    Page::new(status, "application/atom+xml;type=entry;charset=utf-8", "<?xml version=\"1.0\"?><entry/>")
}

fn error(status: u16, code: &str, text: &str) -> Page {
    let body = json!({"odata.error": {"code": code, "message": {"lang": "ru", "value": text}}});
    Page::new(status, "application/json;charset=utf-8", body.to_string())
}

fn page(status: u16, body: &Value) -> Page {
    Page::new(status, "application/json;odata=minimalmetadata;charset=utf-8", body.to_string())
}

// What is asked of the standard interface.

impl Onec {
    fn odata(&mut self, asked: &Asked, rest: &str) -> Answered {
        let (place, action) = rest.split_once('/').unwrap_or((rest, ""));
        let (entity, key) = match place.split_once("(guid'") {
            Some((entity, key)) => (entity, Some(key.trim_end_matches("')"))),
            None => (place, None),
        };
        let set = schema::find(entity).ok_or_else(|| error(404, "8", "Сущность не найдена"))?;
        match (asked.method.as_str(), key, action) {
            ("GET", None, "") => self.list(set, asked),
            ("POST", None, "") => self.create(set, asked),
            ("GET", Some(key), "") => {
                let object = self.object(set, key)?;
                Ok(page(200, &selected(set, object, asked)?))
            }
            ("PATCH", Some(key), "") => self.change(set, key, asked),
            ("POST", Some(key), action) => self.act(set, key, action),
            _ => Err(error(405, "19", "Метод запрещен")),
        }
    }

    fn object(&mut self, set: &Set, key: &str) -> Result<&mut Map<String, Value>, Page> {
        let place = self.places.get(&(set.name.to_owned(), key.to_owned()));
        let found = place.and_then(|place| self.objects.get_mut(set.name)?.get_mut(*place));
        found.ok_or_else(|| error(404, "9", "Экземпляр сущности не найден"))
    }

    /// Adds one that is not there yet.
    fn add(&mut self, set: &Set, key: String, mut object: Map<String, Value>) {
        let objects = self.objects.entry(set.name.to_owned()).or_default();
        self.places.insert((set.name.to_owned(), key.clone()), objects.len());
        object.insert("Ref_Key".into(), key.into());
        touch(&mut object);
        objects.push(object);
    }

    fn list(&mut self, set: &Set, asked: &Asked) -> Answered {
        let wrong = |what: &str| error(400, "14", what);
        let filter = match asked.query("$filter") {
            Some(text) => {
                Some(filter::parse(text, set).map_err(|err| wrong(&format!("Ошибка разбора опции запроса: {err}")))?)
            }
            None => None,
        };
        let number = |name: &str, default: usize| match asked.query(name) {
            Some(text) => text.parse().map_err(|_| wrong(name)),
            None => Ok(default),
        };
        let (skip, top) = (number("$skip", 0)?, number("$top", usize::MAX)?);
        let objects = self.objects.entry(set.name.to_owned()).or_default();
        let fitting = objects.iter().filter(|object| filter.as_ref().is_none_or(|filter| filter.fits(object)));
        if fitting.clone().any(|object| self.unreadable.iter().any(|task| object[TASK_ID] == *task)) {
            return Err(error(500, "-1", "Ошибка при выполнении операции чтения"));
        }
        let mut rows = Vec::new();
        for object in fitting.clone().skip(skip).take(top) {
            rows.push(selected(set, object, asked)?);
        }
        // A name that nobody has is wrong, also where there is no row.
        selected(set, &Map::new(), asked)?;
        let mut body = json!({"odata.metadata": format!("$metadata#{}", set.name), "value": rows});
        if asked.query("$inlinecount") == Some("allpages") {
            body["odata.count"] = fitting.count().to_string().into();
        }
        Ok(page(200, &body))
    }

    fn create(&mut self, set: &Set, asked: &Asked) -> Answered {
        let given = body(asked)?;
        set.accept(&given)?;
        if set.kind != Kind::Catalog && !given.contains_key("Date") {
            return Err(error(400, "5", "Не указано обязательное свойство Date"));
        }
        let key = match given.get("Ref_Key") {
            Some(key) => key.as_str().unwrap_or_default().to_owned(),
            None => format!("00000000-0000-4000-8000-{:012x}", self.number + 1),
        };
        if self.object(set, &key).is_ok() {
            return Err(error(400, "15", "Запись с таким ключом уже существует"));
        }
        self.number += 1;
        let mut object = set.empty(self.number);
        object.extend(given);
        self.add(set, key.clone(), object);
        Ok(page(201, &whole(set, self.object(set, &key)?)))
    }

    fn change(&mut self, set: &Set, key: &str, asked: &Asked) -> Answered {
        let given = body(asked)?;
        let object = self.object(set, key)?;
        if asked.header("If-Match").is_some_and(|version| object["DataVersion"] != version) {
            return Err(error(412, "-1", "Версия объекта изменилась"));
        }
        set.accept(&given)?;
        object.extend(given);
        touch(object);
        Ok(page(200, &whole(set, object)))
    }

    fn act(&mut self, set: &Set, key: &str, action: &str) -> Answered {
        let (field, value) = match (set.kind, action) {
            (Kind::Document, "Post") => ("Posted", true),
            (Kind::Document, "Unpost") => ("Posted", false),
            (Kind::Task, "ExecuteTask") => ("Executed", true),
            (Kind::BusinessProcess, "Start") => ("Started", true),
            _ => return Err(error(404, "11", "Метод не найден")),
        };
        let object = self.object(set, key)?;
        if object["DeletionMark"] == true || (value && object[field] == true && action != "Post") {
            return Err(error(500, "-1", "Операция не может быть выполнена"));
        }
        object.insert(field.into(), value.into());
        touch(object);
        Ok(Page::new(200, "application/json;charset=utf-8", ""))
    }
}

/// Another version of the object.
fn touch(object: &mut Map<String, Value>) {
    let last = object.get("DataVersion").and_then(Value::as_str).and_then(|last| STANDARD.decode(last).ok());
    let number = last.and_then(|last| last.try_into().ok()).map_or(0, u64::from_be_bytes);
    object.insert("DataVersion".into(), STANDARD.encode((number + 1).to_be_bytes()).into());
}

fn body(asked: &Asked) -> Result<Map<String, Value>, Page> {
    match asked.json() {
        Value::Object(given) => Ok(given),
        _ => Err(error(400, "2", "Неверный формат запроса")),
    }
}

fn whole(set: &Set, object: &Map<String, Value>) -> Value {
    let mut object = object.clone();
    object.insert("odata.metadata".into(), format!("$metadata#{}/@Element", set.name).into());
    Value::Object(object)
}

/// The fields that are asked for.
fn selected(set: &Set, object: &Map<String, Value>, asked: &Asked) -> Result<Value, Page> {
    let Some(select) = asked.query("$select") else { return Ok(whole(set, object)) };
    let mut shown = Map::new();
    for name in select.split(',').map(str::trim) {
        if !set.has(name) {
            return Err(error(400, "14", &format!("Поле не найдено: {name}")));
        }
        shown.insert(name.into(), object.get(name).cloned().unwrap_or_default());
    }
    Ok(Value::Object(shown))
}

// What people do.

impl Onec {
    /// From now on a longer query is answered with a page.
    pub fn take_queries_up_to(&mut self, bytes: usize) {
        self.longest_query = Some(bytes);
    }

    /// From now on the object of this task cannot be read, as one that a rule on single records forbids.
    pub fn break_off(&mut self, task: &str) {
        self.unreadable.push(task.to_owned());
    }

    /// Camunda's id of every task here, the HTTP service's included; a doubled one is there twice.
    pub fn tasks(&self) -> Vec<String> {
        let ids = self.objects.values().flatten().filter_map(|object| object[TASK_ID].as_str());
        ids.filter(|id| !id.is_empty()).map(str::to_owned).chain(self.service.tasks()).collect()
    }

    /// What there is for this task, the first if it is several.
    pub fn of_task(&self, task: &str) -> Option<&Map<String, Value>> {
        self.objects.values().flatten().find(|object| object[TASK_ID] == task)
    }

    /// Somebody works on it to the end, and answers; false where there is none.
    pub fn finish(&mut self, task: &str, answer: &str) -> bool {
        self.service.finish(task, answer)
            || self.edit(task, |object| {
                for done in ["Posted", "Executed", "Completed"] {
                    if let Some(done) = object.get_mut(done) {
                        *done = true.into();
                    }
                }
                object.insert("РезультатВыполнения".into(), answer.into());
            })
    }

    /// Somebody marks it for deletion; false where there is none.
    pub fn delete(&mut self, task: &str) -> bool {
        self.service.delete(task) || self.edit(task, |object| drop(object.insert("DeletionMark".into(), true.into())))
    }

    /// Somebody changes it; false where there is none.
    pub fn edit(&mut self, task: &str, change: impl FnOnce(&mut Map<String, Value>)) -> bool {
        let found = self.objects.values_mut().flatten().find(|object| object[TASK_ID] == task);
        let Some(object) = found else { return false };
        change(object);
        touch(object);
        true
    }

    /// Somebody makes an object by hand, with these fields; its key.
    pub fn make(&mut self, entity: &str, fields: Value) -> Option<String> {
        let set = schema::find(entity)?;
        self.number += 1;
        let key = format!("00000000-0000-4000-8000-{:012x}", self.number);
        let mut object = set.empty(self.number);
        object.extend(fields.as_object().cloned().unwrap_or_default());
        self.add(set, key.clone(), object);
        Some(key)
    }
}

#[cfg(test)]
mod tests;
