//! The page for a browser: its files, which are part of the program. They hold no data; what they show they ask the API
//! for.

use super::api::Call;
use super::problem::{NO_SUCH_PATH, Problem};
use crate::http::server::Page;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $kind:expr) => {
        File { name: $name, kind: $kind, text: include_str!(concat!("page/", $name)) }
    };
}

const INDEX: File = file!("index.html", "text/html; charset=utf-8");

/// What the page asks for when it is opened.
const FILES: &[File] = &[
    file!("api.js", SCRIPT),
    file!("app.css", "text/css; charset=utf-8"),
    file!("app.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("events.js", SCRIPT),
    file!("lanes.js", SCRIPT),
    file!("page.js", SCRIPT),
    file!("parked.js", SCRIPT),
    file!("runs.js", SCRIPT),
    file!("say.js", SCRIPT),
    file!("tasks.js", SCRIPT),
    file!("words.js", SCRIPT),
];

impl File {
    fn page(&self) -> Page {
        Page::new(200, self.kind, self.text)
    }
}

/// The page itself.
pub fn index(_: &Call<'_>) -> Result<Page, Problem> {
    Ok(INDEX.page())
}

/// A script or the style of the page.
pub fn file(call: &Call<'_>) -> Result<Page, Problem> {
    let file = FILES.iter().find(|file| call.path.first().is_some_and(|name| name == file.name));
    file.map(File::page).ok_or_else(|| Problem::new(NO_SUCH_PATH, "the page has no such file"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::Value;

    use super::super::problem::KINDS;
    use super::*;

    #[test]
    fn every_file_in_the_folder_is_served() {
        let there = fs::read_dir("src/monitor/page")
            .expect("it is a folder")
            .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a plain name"));
        let served = FILES.iter().chain([&INDEX]).map(|file| file.name.to_owned());
        assert_eq!(there.collect::<BTreeSet<_>>(), served.collect());
    }

    /// What the worker names, and its `kind` in `words.js`.
    const NAMED: &[(&str, &str)] = &[
        ("verdict", "Trace/properties/verdict/properties/code"),
        ("suggest", "Trace/properties/suggestion/properties/code"),
        ("step", "Trace/properties/steps/items/properties/code"),
        ("source", "Trace/properties/steps/items/properties/source"),
        ("looked", "Trace/properties/steps/items/properties/looked"),
        ("attention", "Attention/properties/code"),
        ("level", "Attention/properties/level"),
        ("state", "Lane/properties/state"),
        ("role", "Queue/properties/role"),
        ("task", "TaskLine/properties/state"),
        ("class", "ReconciliationItem/properties/class"),
        ("action", "ReconciliationItem/properties/action"),
        ("run", "Reconciliation/properties/state"),
        ("run", "Replay/properties/state"),
        ("item", "Replay/properties/items/items/properties/state"),
    ];

    fn named() -> Vec<String> {
        let described: Value = serde_json::from_str(include_str!("openapi.json")).expect("it is JSON");
        let names = |pointer: &str| {
            let names = described.pointer(&format!("/components/schemas/{pointer}/enum")).and_then(Value::as_array);
            names.unwrap_or_else(|| panic!("{pointer} has no list")).clone()
        };
        let problems = KINDS.iter().map(|kind| format!("problem_{}", kind.name));
        let of_kind = |(kind, pointer): &(&str, &str)| {
            names(pointer).iter().filter_map(|name| Some(format!("{kind}_{}", name.as_str()?))).collect::<Vec<_>>()
        };
        NAMED.iter().flat_map(of_kind).chain(problems).collect()
    }

    #[test]
    fn whatever_the_worker_names_has_a_text_in_english_and_in_russian() {
        let words = include_str!("page/words.js");
        let is_russian = |text: &str| text.contains(|sign| ('а'..='я').contains(&sign));
        for name in named() {
            let entry = [format!("\n  {name}: ["), format!("\n  '{name}': [")];
            let text = entry.iter().find_map(|entry| words.split_once(entry)?.1.split_once("],\n"));
            let (text, _) = text.unwrap_or_else(|| panic!("words.js has no {name}"));
            // The texts are between quotes, the English one first.
            let texts: Vec<&str> = text.split('\'').skip(1).step_by(2).collect();
            let [english, russian] = texts[..] else { panic!("{name} has {texts:?}") };
            assert!(!is_russian(english) && (is_russian(russian) || english == russian), "{name}: {texts:?}");
        }
    }
}
