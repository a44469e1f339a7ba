//! The rooms of `src` know each other as `src/lib.rs` says, and not otherwise. The tests read the `use` lines and the
//! `crate::` paths of the code. Names in comments, strings and tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What a system may know: neither queues nor lanes nor the broker, and no other system.
const KNOWN_TO_SYSTEMS: &[&str] = &[
    "backoff", "dial", "http", "message", "redact", "report", "settings", "stats", "stop", "systems", "terminal", "tls",
];

/// A system whose target is spoken to through queues, and what it may name for that.
const SPEAKS_THROUGH_QUEUES: (&str, &str) = ("systems::python::celery", "rabbitmq");

/// Folders beside the table that are no system: what several systems stand on.
const SHARED_BY_SYSTEMS: &[&str] = &["http_jobs"];

/// The rooms that know no other one, except for spelling, which only compares words, and for the opening of a file that
/// a setting names.
const LEAVES: &[(&str, &[&str])] = &[
    ("message", &[]),
    ("redact", &[]),
    ("settings", &["nearest"]),
    ("stop", &[]),
    ("supervisor", &[]),
    ("terminal", &[]),
    ("tls", &["settings"]),
];

/// The modules of a crate, with the code of each.
struct Sources(BTreeMap<String, String>);

/// A module that names another one, or something in it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Naming {
    by: String,
    path: String,
}

#[test]
fn no_two_rooms_know_each_other() {
    assert_eq!(circles(&Sources::read()), Vec::<String>::new());
}

#[test]
fn a_leaf_knows_no_other_room() {
    let sources = Sources::read();
    for (leaf, known) in LEAVES {
        assert!(sources.0.contains_key(*leaf), "there is no room {leaf}");
        assert_eq!(named_beside(&sources, leaf, known), [], "{leaf} is a leaf");
    }
}

#[test]
fn a_lane_names_no_system() {
    let sources = Sources::read();
    let is_system =
        |naming: &&Naming| sources.system(&naming.path).is_some() || is_within(&naming.path, "systems::table");
    let named = sources.namings();
    assert_eq!(named.iter().filter(within("lane")).filter(is_system).collect::<Vec<_>>(), Vec::<&Naming>::new());
}

#[test]
fn a_system_names_no_queue_no_lane_and_no_other_system() {
    let sources = Sources::read();
    let is_forbidden = |naming: &&Naming| {
        let other = sources.system(&naming.path).filter(|system| Some(system) != sources.system(&naming.by).as_ref());
        let (system, queues) = SPEAKS_THROUGH_QUEUES;
        let is_allowed = KNOWN_TO_SYSTEMS.contains(&top(&naming.path))
            || (top(&naming.path) == queues && is_within(&naming.by, system))
            // The settings of a broker, in what surrounds a system.
            || (naming.by == "systems" && naming.path == "rabbitmq::RabbitMq");
        other.is_some() || !is_allowed
    };
    let named = sources.namings();
    let of_systems = named.iter().filter(within("systems")).filter(|naming| !within("systems::table")(naming));
    assert_eq!(of_systems.filter(is_forbidden).collect::<Vec<_>>(), Vec::<&Naming>::new());
}

#[test]
fn only_the_table_names_a_system() {
    let sources = Sources::read();
    let named = sources.namings();
    let others = named.iter().filter(|naming| !within("systems")(naming));
    let others: Vec<_> = others.filter(|naming| sources.system(&naming.path).is_some()).collect();
    assert_eq!(others, Vec::<&Naming>::new());
}

#[test]
fn nothing_of_amiquip_is_named_outside_the_broker_s_room() {
    let sources = Sources::read();
    let (inside, outside): (Vec<_>, Vec<_>) = sources.0.iter().partition(|(module, _)| is_within(module, "rabbitmq"));
    for (module, code) in outside {
        assert!(words(code).all(|word| word != "amiquip"), "{module} names amiquip");
    }
    let own: BTreeSet<String> =
        inside.into_iter().flat_map(|(_, code)| uses(code)).filter(|path| top(path) == "amiquip").collect();
    let names = own.iter().map(|path| last(path).rsplit(" as ").next().unwrap_or_default());
    let types: BTreeSet<&str> = names.filter(|name| name.starts_with(|first: char| first.is_uppercase())).collect();
    assert!(types.contains("Channel"), "they were found: {types:?}");
    let named = sources.namings();
    let theirs = named.iter().filter(|naming| top(&naming.path) == "rabbitmq" && types.contains(last(&naming.path)));
    let outside: Vec<_> = theirs.filter(|naming| !within("rabbitmq")(naming)).collect();
    assert_eq!(outside, Vec::<&Naming>::new());
}

// How the sources are read.

impl Sources {
    fn read() -> Sources {
        let mut sources = Sources(BTreeMap::new());
        sources.read_folder(Path::new("src"), "");
        assert!(sources.0.len() > 50, "{:?}", sources.0.keys());
        sources
    }

    fn read_folder(&mut self, folder: &Path, within: &str) {
        for entry in fs::read_dir(folder).expect("it is part of the repository") {
            let path = entry.expect("it can be read").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a plain name").to_owned();
            let module = if within.is_empty() { name.clone() } else { format!("{within}::{name}") };
            match () {
                () if name == "tests" => {}
                () if path.is_dir() => self.read_folder(&path, &module),
                () if path.extension().is_none_or(|extension| extension != "rs") => {}
                () => {
                    let text = fs::read_to_string(&path).expect("it is UTF-8");
                    self.add(if name == "mod" { within } else { &module }, &text);
                }
            }
        }
    }

    /// Adds a module without its tests, which are last in the file.
    fn add(&mut self, module: &str, text: &str) {
        let code = code(text);
        let without_tests = code.split("#[cfg(test)]").next().unwrap_or_default();
        self.0.insert(module.to_owned(), without_tests.to_owned());
    }

    /// Every path in the code that leads to another module, from the crate's root.
    fn namings(&self) -> BTreeSet<Naming> {
        let paths_of = |(module, code): (&String, &String)| {
            let resolve = |path: String| Some((module.clone(), resolved(module, &path)?));
            uses(code).into_iter().chain(inline(code)).filter_map(resolve).collect::<Vec<_>>()
        };
        let paths = self.0.iter().flat_map(paths_of).map(|(by, path)| Naming { by, path });
        paths.filter(|naming| self.0.contains_key(top(&naming.path))).collect()
    }

    /// The module in which the path ends.
    fn module<'p>(&self, path: &'p str) -> &'p str {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).filter(|module| self.0.contains_key(*module)).last().unwrap_or_default()
    }

    /// The system to which the path leads: a folder beside the table that is a system's own.
    fn system(&self, path: &str) -> Option<String> {
        let mut parts = path.split("::");
        let (room, name) = (parts.next()?, parts.next()?);
        let is_folder = self.0.keys().any(|module| module.starts_with(&format!("systems::{name}::")));
        (room == "systems" && is_folder && !SHARED_BY_SYSTEMS.contains(&name)).then(|| name.to_owned())
    }

    /// The room of a module. Modules of one room may know each other. The table knows the systems, and they know what
    /// all systems share.
    fn room(&self, path: &str) -> String {
        let module = self.module(path);
        match () {
            () if is_within(module, "systems::table") => "systems::table".into(),
            () => self.system(module).map_or_else(|| top(module).to_owned(), |system| format!("systems::{system}")),
        }
    }
}

/// Rooms that know each other, directly or through others: a line each.
fn circles(sources: &Sources) -> Vec<String> {
    let mut known: BTreeMap<String, BTreeMap<String, Naming>> = BTreeMap::new();
    for naming in sources.namings() {
        let (by, to) = (sources.room(&naming.by), sources.room(&naming.path));
        // The crate's root only lists the rooms.
        if by != to && by != "lib" {
            known.entry(by).or_default().entry(to).or_insert(naming);
        }
    }
    let reached = |from: &str| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(room) = open.pop() {
            let next = known.get(&room).into_iter().flatten().map(|(to, _)| to.clone());
            open.extend(next.filter(|to| reached.insert(to.clone())));
        }
        reached
    };
    let steps = known.iter().flat_map(|(by, others)| others.iter().map(move |(to, naming)| (by, to, naming)));
    let back = steps.filter(|(by, to, _)| reached(to).contains(*by));
    back.map(|(by, to, naming)| format!("{by} knows {to}: {} names {}", naming.by, naming.path)).collect()
}

/// What a room names beside itself and these.
fn named_beside(sources: &Sources, room: &str, known: &[&str]) -> Vec<Naming> {
    let is_foreign = |naming: &Naming| !is_within(&naming.path, room) && !known.contains(&top(&naming.path));
    sources.namings().into_iter().filter(|naming| within(room)(&naming) && is_foreign(naming)).collect()
}

fn within(room: &str) -> impl Fn(&&Naming) -> bool {
    move |naming| is_within(&naming.by, room)
}

fn is_within(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn top(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or_default()
}

fn is_of_a_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character| !is_of_a_word(character)).filter(|word| !word.is_empty())
}

/// The text of a file without its comments, and with nothing in its strings.
fn code(text: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(character) = rest.chars().next() {
        let is_word = code.ends_with(is_of_a_word);
        let hashes = rest.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
        let skipped = match character {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if !is_word && rest[1 + hashes..].starts_with('"') => {
                let end = format!("\"{}", "#".repeat(hashes));
                let from = hashes + 2;
                rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
            }
            '"' => 1 + closing(&rest[1..], '"'),
            '\'' if rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'') => 1 + closing(&rest[1..], '\''),
            _ => {
                code.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    code
}

/// The length of the text up to and with the first quote that no backslash escapes.
fn closing(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().find(|(_, character)| {
        let ends = *character == quote && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The paths of all `use` lines, each in full, with its `as` name if it has one.
fn uses(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        // `use` starts a line, or follows on `pub` or another statement.
        let before = code[..at].trim_end();
        if before.is_empty() || before.ends_with([';', '}', ']', ')']) || before.ends_with("pub") {
            let tree = code[at + "use ".len()..].split(';').next().unwrap_or_default();
            paths.extend(branches(&tree.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    paths
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn branches(tree: &str) -> Vec<String> {
    let Some((stem, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in inside.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(branches).map(|branch| format!("{}{branch}", stem.trim())).collect()
}

/// The paths in the middle of the code that start at the crate, at this module or at its parent.
fn inline(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "self::", "task_creator::"] {
        for (at, _) in code.match_indices(start) {
            let is_rest = code[..at].ends_with(|before| is_of_a_word(before) || before == ':');
            let path = code[at..].split(|character| !is_of_a_word(character) && character != ':').next();
            if let Some(path) = path.filter(|_| !is_rest) {
                paths.push(path.trim_end_matches(':').to_owned());
            }
        }
    }
    paths
}

/// The path from the crate's root, if it leads to a place in the crate.
fn resolved(module: &str, path: &str) -> Option<String> {
    let path = path.split(" as ").next().unwrap_or_default();
    let (mut at, mut rest) = match top(path) {
        "crate" | "task_creator" => ("", path.split_once("::")?.1),
        "self" => (module, path.split_once("::")?.1),
        "super" => (module, path),
        _ => return None,
    };
    while let Some(above) = rest.strip_prefix("super").filter(|above| above.is_empty() || above.starts_with("::")) {
        at = at.rsplit_once("::").map_or("", |(parent, _)| parent);
        rest = above.trim_start_matches("::");
    }
    let parts = [at, rest].into_iter().filter(|part| !part.is_empty());
    Some(parts.collect::<Vec<_>>().join("::"))
}

// Tests of the reading.

fn sources(modules: &[(&str, &str)]) -> Sources {
    let mut sources = Sources(BTreeMap::new());
    modules.iter().for_each(|(module, text)| sources.add(module, text));
    sources
}

#[test]
fn a_circle_is_found_by_use_lines_and_by_paths_in_the_code() {
    let circle = |text: &str| {
        let message = ("message", "use crate::stats;");
        circles(&sources(&[message, ("stats", "pub fn one() {}"), ("lane::pool", text), ("lane", "")])).len()
            + circles(&sources(&[("stats", text), ("message", ""), ("lane", "use crate::stats::One;")])).len()
    };
    for text in [
        "use crate::lane::Lane;",
        "use crate::{lane::{Lane, pool}, message};",
        "fn one() { crate::lane::two() }",
        "pub(crate) use super::lane;",
    ] {
        assert_eq!(circle(text), 2, "{text}");
    }
    for text in [
        "// use crate::lane::Lane;\n",
        "/// [`crate::lane`]\n",
        "const A: &str = \"crate::lane\";",
        "const A: &str = r#\"\"crate::lane\"#; const B: char = '\"'; fn c<'a>(_: &'a str) {}",
        "#[cfg(test)]\nmod tests { use crate::lane::Lane; }",
    ] {
        assert_eq!(circle(text), 0, "{text}");
    }
}

#[test]
fn a_longer_way_round_is_a_circle_and_a_folder_with_its_own_files_is_none() {
    let long = [("stop", "use crate::tls;"), ("tls", "use crate::stats;"), ("stats", "use crate::stop::Stop;")];
    assert_eq!(circles(&sources(&long)).len(), 3);
    let folder = [("lane", "use self::pool::Pool;"), ("lane::pool", "use super::Lane; use crate::lane::sweep;")];
    assert_eq!(circles(&sources(&folder)), Vec::<String>::new());
}

#[test]
fn a_path_is_resolved_wherever_it_starts() {
    let uses = uses("use super::{self as above, a::{b, c::D}};\npub use amiquip::Error as Broken;\nlet because = 1;");
    assert_eq!(uses, ["super::self as above", "super::a::b", "super::a::c::D", "amiquip::Error as Broken"]);
    assert_eq!(resolved("lane::pool", "super::super::stats::One").as_deref(), Some("stats::One"));
    assert_eq!(resolved("lane", "self::pool").as_deref(), Some("lane::pool"));
    assert_eq!(resolved("main", "task_creator::lane").as_deref(), Some("lane"));
    assert_eq!(resolved("lane", "std::fmt"), None);
}
