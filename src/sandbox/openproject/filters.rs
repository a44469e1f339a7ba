//! The filters of a list, and its pages: read as OpenProject reads them, and refused where it refuses them. It knows no
//! path, and not how a row is shown.

use std::collections::BTreeSet;

use serde_json::Value;

use super::answer::Refusal;
use super::store::{FIELDS, Rules, STATUSES, Store, WorkPackage};

/// Rows of a page when nobody says how many.
const USUAL_PAGE: usize = 20;

/// One condition.
#[derive(Debug)]
struct Condition {
    name: String,
    operator: String,
    values: Vec<String>,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Counted from 1.
    pub page: usize,
    pub size: usize,
}

impl Window {
    pub fn read(query: &[(String, String)], rules: &Rules) -> Window {
        let number =
            |name: &str| query.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse().ok());
        let size = match number("pageSize") {
            Some(-1) => rules.largest_page,
            Some(size) => usize::try_from(size).unwrap_or(USUAL_PAGE).min(rules.largest_page),
            None => USUAL_PAGE,
        };
        let page = number("offset").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).max(1);
        Window { page, size }
    }

    /// The rows in it.
    pub fn of<T>(self, rows: Vec<T>) -> Vec<T> {
        rows.into_iter().skip((self.page - 1).saturating_mul(self.size)).take(self.size).collect()
    }
}

/// The work packages that pass these filters, ids rising.
pub fn work_packages<'a>(store: &'a Store, filters: Option<&str>) -> Result<Vec<&'a WorkPackage>, Refusal> {
    // Who sends none is shown what is open.
    let conditions = read(filters.unwrap_or(r#"[{"status": {"operator": "o", "values": []}}]"#))?;
    conditions.iter().try_for_each(|condition| allowed(store, condition))?;
    let passes = |package: &&WorkPackage| conditions.iter().all(|condition| passes(store, condition, package));
    Ok(store.shown().filter(passes).collect())
}

/// The identifiers that these filters ask for; `None` for all projects.
pub fn identifiers(filters: Option<&str>) -> Result<Option<BTreeSet<String>>, Refusal> {
    let mut wanted = None;
    for condition in read(filters.unwrap_or("[]"))? {
        match (condition.name.as_str(), condition.operator.as_str()) {
            ("name_and_identifier", "=") => wanted = Some(condition.values.into_iter().collect()),
            ("active", "=") => {}
            (name, _) => return Err(Refusal::query(format!("Фильтр {name} не существует."))),
        }
    }
    Ok(wanted)
}

fn read(filters: &str) -> Result<Vec<Condition>, Refusal> {
    let wrong = || Refusal::query("Фильтры не читаются.");
    let filters: Vec<Value> = serde_json::from_str(filters).map_err(|_| wrong())?;
    let condition = |filter: &Value| {
        let (name, told) = filter.as_object()?.iter().next()?;
        let values = told["values"].as_array().into_iter().flatten();
        let values = values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
        Some(Condition { name: name.clone(), operator: told["operator"].as_str()?.to_owned(), values })
    };
    filters.iter().map(condition).collect::<Option<_>>().ok_or_else(wrong)
}

/// One value that is not known makes the whole request wrong.
fn allowed(store: &Store, Condition { name, operator, values }: &Condition) -> Result<(), Refusal> {
    let is_custom = FIELDS.iter().any(|field| field.key == name);
    match (name.as_str(), operator.as_str()) {
        ("id", "=") => {
            let is_shown = |id: &String| id.parse().ok().and_then(|id| store.package(id)).is_some();
            if values.is_empty() || !values.iter().all(is_shown) {
                return Err(Refusal::query("Фильтр Id имеет недопустимые значения."));
            }
            Ok(())
        }
        ("status", "*" | "o" | "c") => Ok(()),
        ("status", "=") if values.iter().all(|id| STATUSES.iter().any(|(known, _, _)| known.to_string() == *id)) => {
            Ok(())
        }
        (_, "=" | "~") if is_custom && store.rules.filterable.contains(name.as_str()) => match values.is_empty() {
            true => Err(Refusal::query(format!("Фильтр {name} не может быть пустым."))),
            false => Ok(()),
        },
        _ => Err(Refusal::query(format!("Фильтр {name} не существует."))),
    }
}

fn passes(store: &Store, Condition { name, operator, values }: &Condition, package: &WorkPackage) -> bool {
    let status = package.links.get("status").and_then(Value::as_u64);
    let is_closed = STATUSES.iter().any(|(id, _, closed)| *closed && Some(*id) == status);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (name.as_str(), operator.as_str()) {
        ("id", _) => values.contains(&package.id.to_string()),
        ("status", "o") => !is_closed,
        ("status", "c") => is_closed,
        ("status", "=") => status.is_some_and(|status| values.contains(&status.to_string())),
        ("status", _) => true,
        _ if store.rules.ignores_custom_filters => true,
        (name, "~") => {
            let held = package.members.get(name).map(text).unwrap_or_default();
            values.iter().any(|value| held.to_lowercase().contains(&value.to_lowercase()))
        }
        (name, _) => package.members.get(name).is_some_and(|held| values.contains(&text(held))),
    }
}
