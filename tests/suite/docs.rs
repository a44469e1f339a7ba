//! The manual: its links lead to something, it names settings and messages that exist, and the Russian README has the
//! parts of the English one. Pages and comments keep to a width.
//!
//! Links to code are not checked here: rustdoc does that. Nobody checks what the sentences say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use task_creator::commands::grammar::TOPICS;

const README: &str = "README.md";
const RUSSIAN: &str = "src/docs/README.ru.md";

/// All pages that people read.
const PAGES: &[&str] = &[
    README,
    RUSSIAN,
    "src/docs/installing.md",
    "src/docs/operating.md",
    "src/docs/messages.md",
    "src/docs/failures.md",
    "src/docs/monitoring.md",
    "src/docs/troubleshooting.md",
    "src/docs/metrics.md",
    "src/docs/adding-a-system.md",
    "src/docs/finding-a-task.md",
    "src/docs/first-process.ru.md",
    "src/systems/bitrix24/README.md",
    "src/systems/openproject/README.md",
    "src/systems/python/README.md",
    "src/systems/onec/README.md",
    "src/systems/email/README.md",
    "src/systems/telegram/README.md",
    "src/systems/default/README.md",
    "tests/bench/RESULTS.md",
];

#[test]
fn the_readme_can_be_read_in_one_go() {
    assert!(read(README).lines().count() < 200);
}

#[test]
fn each_way_to_install_takes_at_most_ten_lines() {
    for (page, beginnings) in [
        (README, ["**On a plain VM.**", "**As a service**", "**As a Debian package**", "**In a container**"]),
        (RUSSIAN, ["**На обычную VM.**", "**Как служба**", "**Из пакета Debian**", "**В контейнере**"]),
    ] {
        let text = read(page);
        for beginning in beginnings {
            let (_, way) = text.split_once(beginning).unwrap_or_else(|| panic!("{page}: there is no {beginning}"));
            let way = way.split("\n**").next().unwrap_or_default().split("\n#").next().unwrap_or_default();
            let lines = way.lines().filter(|line| !line.is_empty()).count();
            assert!(lines <= 10, "{page}: {beginning} takes {lines} lines");
        }
    }
}

#[test]
fn every_page_is_known_here() {
    let pages = fs::read_dir("src/docs").expect("it is a folder").map(|entry| entry.expect("it can be read").path());
    let pages: Vec<PathBuf> =
        pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    assert!(!pages.is_empty());
    for page in pages {
        assert!(PAGES.iter().any(|known| Path::new(known) == page), "{} is in no list", page.display());
    }
}

#[test]
fn the_page_for_operators_names_every_command() {
    let text = read("src/docs/operating.md");
    let (_, commands) = text.split_once("* **Commands**: ").expect("it has such an entry");
    let (commands, _) = commands.split_once(". `task-creator").expect("the names are a sentence of their own");
    let named = code(commands);
    let known: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    assert_eq!(named, known);
}

// The README in Russian.

#[test]
fn the_russian_readme_has_the_same_headings_in_the_same_order() {
    // The words differ, so the levels are compared, and the blocks of code below each heading.
    let outline = |page| -> Vec<(usize, Vec<String>)> {
        sections(&read(page))
            .into_iter()
            .map(|(level, text)| (level, blocks(&text).into_iter().map(|(kind, _)| kind).collect()))
            .collect()
    };
    assert_eq!(outline(README), outline(RUSSIAN));
    assert!(outline(README).len() > 5, "the headings are found");
}

#[test]
fn the_russian_readme_has_the_same_commands() {
    assert_eq!(commands(README), commands(RUSSIAN));
    assert!(commands(README).len() > 8, "the commands are found");
}

#[test]
fn the_russian_readme_names_the_same_settings_and_other_code() {
    assert_eq!(code(&read(README)), code(&read(RUSSIAN)));
    assert!(code(&read(README)).iter().any(|code| code == "BITRIX_WEBHOOK_URL"), "code is found");
}

#[test]
fn the_russian_readme_leads_to_the_same_places() {
    let [english, russian] = [README, RUSSIAN].map(|page| {
        let targets = links(&read(page)).into_iter().map(|link| resolved(page, &link)).collect::<Vec<String>>();
        // The first one leads to the other language.
        assert_eq!(targets[0], if page == README { RUSSIAN } else { README });
        targets[1..].to_vec()
    });
    assert_eq!(english, russian);
}

// All pages.

#[test]
fn every_link_to_a_file_leads_to_it_and_to_its_heading() {
    for page in PAGES {
        for link in links(&read(page)).iter().filter(|link| !link.contains(':')) {
            let target = resolved(page, link);
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            assert!(Path::new(file).exists(), "{page}: {link}");
            assert!(heading.is_empty() || anchors(&read(file)).contains(heading), "{page}: {link}");
        }
    }
}

#[test]
fn every_page_that_is_named_in_brackets_is_a_link() {
    for page in PAGES {
        let text = read(page);
        let named = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        for (label, rest) in named.filter(|(label, _)| label.ends_with(".md") || label.ends_with(".example")) {
            assert!(
                rest.starts_with('(') || text.contains(&format!("\n[{label}]: ")),
                "{page}: [{label}] leads nowhere"
            );
        }
    }
}

#[test]
fn every_setting_that_a_page_names_exists() {
    let example = read("config.env.example");
    let exists = |name: &str| example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name}=")));
    for page in PAGES {
        for code in code(&read(page)) {
            let name: String = code.chars().take_while(|sign| sign.is_ascii_uppercase() || *sign == '_').collect();
            let is_ours =
                ["RABBITMQ_", "BITRIX_", "ONEC_", "OPENPROJECT_", "DEFAULT_", "CAMUNDA_", "ALERT_", "MONITOR_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix) && name != *prefix);
            assert!(!is_ours || exists(&name), "{page}: {name} is no setting");
        }
    }
}

#[test]
fn every_message_in_troubleshooting_is_one_of_the_program() {
    let source = source();
    let page = read("src/docs/failures.md");
    let (_, table) = page.split_once("\n## Troubleshooting\n").expect("the section is there");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let messages: Vec<String> = rows.flat_map(|cell| code(&format!("`{cell}"))).collect();
    assert!(messages.len() > 20, "the messages are found");
    for message in messages {
        let known = pieces(&message).iter().filter(|piece| piece.len() >= 10 && source.contains(*piece)).count();
        assert!(known > 0, "no message of the program is like {message:?}");
    }
}

#[test]
fn pages_and_comments_keep_to_their_width() {
    let mut wide: Vec<String> = Vec::new();
    let mut note = |file: &Path, lines: Vec<(usize, &str)>| {
        let is_wide = |line: &str| line.chars().count() > WIDTH && !line.contains("://");
        let found = lines.into_iter().filter(|(_, line)| is_wide(line));
        wide.extend(found.map(|(at, line)| format!("{}:{at}: {line}", file.display())));
    };
    for page in PAGES {
        note(Path::new(page), prose(&read(page)));
    }
    for file in ["src", "tests"].iter().flat_map(|folder| files(Path::new(folder), &["rs", "js", "mjs"])) {
        note(&file, comments(&fs::read_to_string(&file).expect("it is text")));
    }
    assert!(wide.is_empty(), "longer than {WIDTH}:\n{}", wide.join("\n"));
}

// Parts.

/// How long a line of text may be. Tables, code and addresses may be longer.
const WIDTH: usize = 120;

/// The lines of a page, with their numbers, outside of tables and blocks of code.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_block = false;
    let mut is_prose = |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence && !line.starts_with('|')
    };
    (1..).zip(text.lines()).filter(|(_, line)| is_prose(line)).collect()
}

/// The lines that are comments, with their numbers, without those of tables.
fn comments(text: &str) -> Vec<(usize, &str)> {
    let is_comment = |line: &str| line.trim_start().starts_with("//") && !line.trim_start().starts_with("//! |");
    (1..).zip(text.lines()).filter(|(_, line)| is_comment(line)).collect()
}

/// The files below a folder that end so.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it can be read").path());
    let fits = |path: &Path| path.extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension));
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path, extensions),
        false => vec![path].into_iter().filter(|path| fits(path)).collect(),
    };
    paths.flat_map(below).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(page).unwrap_or_else(|err| panic!("{page}: {err}"))
}

/// The code of the program, with texts that go over several lines in one.
fn source() -> String {
    let files = files(Path::new("src"), &["rs"]);
    let source: String = files.iter().map(|path| fs::read_to_string(path).expect("it is text")).collect();
    source.split("\\\n").map(str::trim_start).collect()
}

/// The words of a message between its signs, names and numbers.
fn pieces(message: &str) -> Vec<String> {
    let parts = message.split(['…', ':', ';', '(', '=']).map(|part| part.split(' ').collect::<Vec<&str>>());
    let is_prose = |word: &&str| word.chars().any(char::is_lowercase);
    let pieces =
        parts.map(|words| words.split(|word| !is_prose(word)).map(|words| words.join(" ")).collect::<Vec<String>>());
    pieces.flatten().collect()
}

/// Level and text of each section, up to the next heading.
fn sections(text: &str) -> Vec<(usize, String)> {
    let mut sections = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        let level = line.chars().take_while(|sign| *sign == '#').count();
        if level > 0 && !in_block {
            sections.push((level, String::new()));
        } else if let Some((_, section)) = sections.last_mut() {
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

/// Language and text of each block of code.
fn blocks(text: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = text.split("```").collect();
    let blocks = parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.map(|(kind, block)| (kind.to_owned(), block.to_owned())).collect()
}

/// The lines of all blocks for the shell, without comments.
fn commands(page: &str) -> Vec<String> {
    let blocks = blocks(&read(page)).into_iter().filter(|(kind, _)| kind == "sh");
    let lines = blocks.flat_map(|(_, block)| block.lines().map(String::from).collect::<Vec<String>>());
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned()).collect()
}

/// What is between backticks in the text, in its order.
fn code(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    prose.iter().flat_map(|part| part.split('`').skip(1).step_by(2)).map(String::from).collect()
}

/// The targets of all links, in their order.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let inline: Vec<String> = inline.map(|(target, _)| target.to_owned()).collect();
    let defined = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    inline.into_iter().chain(defined.map(|(_, target)| target.to_owned())).collect()
}

/// The target of a link as a path from the root, with its heading.
fn resolved(page: &str, link: &str) -> String {
    if link.starts_with('#') {
        return format!("{page}{link}");
    }
    let mut path = PathBuf::from(page);
    path.pop();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
    }
    path.display().to_string()
}

/// What a heading is called in a link.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |sign: &char| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}
