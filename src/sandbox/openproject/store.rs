//! What the fake remembers, what people do in it, and how it is set up. Knows no request.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};

use serde_json::{Map, Value, json};

/// The custom field for a task's id.
pub const MARKER_FIELD: &str = "customField7";
/// The custom field with ДА and НЕТ.
pub const ANSWER_FIELD: &str = "customField8";
/// The state of a new work package.
const NEW: u64 = 1;
/// A state that is closed.
pub const CLOSED: u64 = 12;
/// People who may have work packages, and who may not.
pub const MEMBERS: std::ops::RangeInclusive<u64> = 1..=99;

/// How it is set up.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The most rows of a page, whatever is asked for.
    pub largest_page: usize,
    /// Custom fields that can be used as a filter.
    pub filterable: BTreeSet<&'static str>,
    /// Custom fields that the projects and types have.
    pub active: BTreeSet<&'static str>,
    /// The user may create work packages, in [`super::PROJECT`].
    pub may_create: bool,
    /// Filters by custom fields are ignored without a word.
    pub ignores_custom_filters: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            largest_page: 1000,
            filterable: BTreeSet::from([MARKER_FIELD]),
            active: FIELDS.iter().map(|field| field.key).filter(|key| *key != "customField12").collect(),
            may_create: true,
            ignores_custom_filters: false,
        }
    }
}

/// A custom field.
pub struct Field {
    /// `customField` and its number.
    pub key: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// As a schema names it.
    pub kind: &'static str,
    /// Numbers and texts of the values it may have.
    pub options: &'static [(u64, &'static str)],
}

/// All custom fields.
pub const FIELDS: &[Field] = &[
    Field { key: MARKER_FIELD, name: "Camunda task", kind: "String", options: &[] },
    Field { key: ANSWER_FIELD, name: "Ответ", kind: "CustomOption", options: &[(26, "ДА"), (27, "НЕТ")] },
    Field { key: "customField9", name: "Номер договора", kind: "String", options: &[] },
    Field { key: "customField10", name: "Сумма", kind: "Float", options: &[] },
    Field {
        key: "customField11", name: "Метки", kind: "[]CustomOption", options: &[(31, "Срочно"), (32, "Важно")]
    },
    Field { key: "customField12", name: "В другом проекте", kind: "String", options: &[] },
];

/// Number, name and whether it is closed.
pub const STATUSES: &[(u64, &str, bool)] =
    &[(NEW, "Новый", false), (7, "В работе", false), (CLOSED, "Закрыт", true), (14, "Отклонён", true)];
/// Number, name and whether it is a milestone.
pub const TYPES: &[(u64, &str, bool)] = &[(1, "Задача", false), (2, "Веха", true)];
/// Number and name.
pub const PRIORITIES: &[(u64, &str)] = &[(7, "Низкий"), (8, "Нормальный"), (9, "Высокий")];

/// A work package.
#[derive(Clone, Debug)]
pub struct WorkPackage {
    /// Ids rise in the order of creation.
    pub id: u64,
    /// Counts its changes.
    pub lock_version: u64,
    /// As they were written, but for links.
    pub members: Map<String, Value>,
    /// Numbers by the link's name; of a custom field a list.
    pub links: BTreeMap<String, Value>,
    /// Nobody is shown it.
    pub hidden: bool,
}

/// A project.
#[derive(Clone, Debug)]
pub struct Project {
    /// One that was made has the next id of all things.
    pub id: u64,
    /// As they were written.
    pub members: Map<String, Value>,
    /// The user may create work packages in it.
    pub takes_work_packages: bool,
}

/// All of it.
pub struct Store {
    /// How it is set up.
    pub rules: Rules,
    pub(super) packages: BTreeMap<u64, WorkPackage>,
    pub(super) projects: BTreeMap<u64, Project>,
    last: u64,
}

impl Default for Store {
    /// Ids start anywhere: a client that mixes them up with positions is to notice.
    fn default() -> Store {
        let named = |id, name: &str, takes_work_packages| {
            let members = json!({"name": name, "identifier": format!("project-{id}"), "public": false, "active": true});
            let members = members.as_object().cloned().unwrap_or_default();
            (id, Project { id, members, takes_work_packages })
        };
        Store {
            rules: Rules::default(),
            packages: BTreeMap::new(),
            projects: BTreeMap::from([named(super::PROJECT, "Договоры", true), named(3, "Чужой", false)]),
            last: 1_000 + RandomState::new().hash_one("work package") % 900_000,
        }
    }
}

impl Store {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The work packages that the user is shown.
    pub(super) fn shown(&self) -> impl Iterator<Item = &WorkPackage> {
        self.packages.values().filter(|package| !package.hidden)
    }

    pub(super) fn package(&self, id: u64) -> Option<&WorkPackage> {
        self.packages.get(&id).filter(|package| !package.hidden)
    }

    /// The ids of all work packages with this marker.
    pub fn ids_of(&self, marker: &str) -> Vec<u64> {
        let marked = self.packages.values().filter(|package| package.members.get(MARKER_FIELD) == Some(&marker.into()));
        marked.map(|package| package.id).collect()
    }

    /// The markers of all work packages; of one without, nothing.
    pub fn markers(&self) -> Vec<String> {
        let marker = |package: &WorkPackage| package.members.get(MARKER_FIELD)?.as_str().map(str::to_owned);
        self.packages.values().map(|package| marker(package).unwrap_or_default()).collect()
    }

    /// The identifiers of all projects.
    pub fn identifiers(&self) -> Vec<String> {
        let identifier = |project: &Project| project.members.get("identifier")?.as_str().map(str::to_owned);
        self.projects.values().filter_map(identifier).collect()
    }

    /// A member of a work package as it was written.
    pub fn member(&self, id: u64, name: &str) -> Option<Value> {
        self.packages.get(&id)?.members.get(name).cloned()
    }

    /// The number to which a link of a work package leads; of a custom field all of them.
    pub fn link(&self, id: u64, name: &str) -> Option<Value> {
        self.packages.get(&id)?.links.get(name).cloned()
    }

    /// Makes a work package as a person would; its id.
    pub fn put(&mut self, subject: &str, marker: Option<&str>) -> u64 {
        let id = self.next_id();
        let mut members = Map::from_iter([("subject".to_owned(), subject.into())]);
        members.extend(marker.map(|marker| (MARKER_FIELD.to_owned(), marker.into())));
        let links = [("type", 1), ("project", super::PROJECT), ("status", NEW), ("priority", 8)];
        let links = links.into_iter().map(|(name, id)| (name.to_owned(), id.into())).collect();
        self.packages.insert(id, WorkPackage { id, lock_version: 0, members, links, hidden: false });
        id
    }

    /// A person changes a work package, with whatever this does. False when it is not there.
    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut WorkPackage)) -> bool {
        let Some(package) = self.packages.get_mut(&id) else { return false };
        change(package);
        package.lock_version += 1;
        true
    }

    /// A person moves it to a state, with an answer where one is given. False when there is no such work package or
    /// answer.
    pub fn finish(&mut self, id: u64, status: u64, answer: Option<&str>) -> bool {
        let option = answer.map(|answer| {
            let options = FIELDS.iter().find(|field| field.key == ANSWER_FIELD).map_or(&[][..], |field| field.options);
            options.iter().find(|(_, text)| *text == answer).map(|(id, _)| *id)
        });
        option != Some(None)
            && self.change(id, |package| {
                package.links.insert("status".into(), status.into());
                if let Some(option) = option.flatten() {
                    package.links.insert(ANSWER_FIELD.into(), option.into());
                }
            })
    }

    /// False when it is not there.
    pub fn delete(&mut self, id: u64) -> bool {
        self.packages.remove(&id).is_some()
    }
}
