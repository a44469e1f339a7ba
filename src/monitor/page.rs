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

    use super::*;

    #[test]
    fn every_file_in_the_folder_is_served() {
        let there = fs::read_dir("src/monitor/page")
            .expect("it is a folder")
            .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a plain name"));
        let served = FILES.iter().chain([&INDEX]).map(|file| file.name.to_owned());
        assert_eq!(there.collect::<BTreeSet<_>>(), served.collect());
    }
}
