//! The man page, made of the table of commands and of `config.env.example`, in mdoc, which mandoc and groff read. It
//! says nothing of its own but how these belong together.

use std::fmt::Write as _;

use super::example::{self, Explained};
use super::grammar::{EXIT_CODES, OPTIONS, TOPICS, Topic, Word, about_option};

/// Of the last change to what the page says by itself. A page has a date, and must be the same from the same source.
const DATE: &str = "November 29, 2026";
/// A line of the page's source, in bytes, is at most this long.
const LONGEST: usize = 76;

/// The page.
pub fn page() -> String {
    let mut page = format!(
        "\
.\\\" Made by `task-creator print man`.
.Dd {DATE}
.Dt TASK-CREATOR 1
.Os
.Sh NAME
.Nm task-creator
.Nd carries Camunda's tasks to the systems where people do the work
.Sh SYNOPSIS
.Nm
.Op Ar COMMAND
.Sh DESCRIPTION
"
    );
    page += &text(&format!("{INTRODUCTION} This page is of version {}.", env!("CARGO_PKG_VERSION")));
    page += ".Pp\nThe commands are:\n.Bl -tag -width Ds\n";
    TOPICS.iter().for_each(|topic| command(&mut page, topic));
    page += ".El\n.Pp\nWithout a command:\n.Bl -tag -width Ds\n";
    for (short, long, about) in OPTIONS {
        item(&mut page, &format!("Fl {} , Fl {}", bare(short), bare(long)), about);
    }
    page += ".El\n.Sh ENVIRONMENT\n";
    page += &text(SETTINGS);
    let mut section = "";
    for setting in example::settings() {
        if setting.section != section {
            page += if section.is_empty() { "" } else { ".El\n" };
            section = setting.section;
            let _ = writeln!(page, ".Ss {section}\n.Bl -tag -width Ds");
        }
        explain(&mut page, setting);
    }
    page += ".El\n.Sh FILES\n.Bl -tag -width Ds\n";
    for (path, about) in FILES {
        item(&mut page, &format!("Pa {path}"), about);
    }
    page += ".El\n.Sh EXIT STATUS\n.Bl -tag -width Ds\n";
    for (code, meaning) in EXIT_CODES {
        item(&mut page, &format!("Er {code}"), meaning);
    }
    page + ".El\n"
}

const INTRODUCTION: &str = "\
The worker takes Camunda's tasks from RabbitMQ and creates them in the systems where people do the work. It follows each \
one until it is finished, and answers on the queue camunda.responses.queue. The other commands check it, look at it and \
steer it.";

const SETTINGS: &str = "\
Settings come from the environment and from the file .env in the working directory. The environment wins. Times are \
seconds. A setting that is marked as new is not known to the Python worker. Each of them is off or has its default if \
nothing sets it.";

const FILES: &[(&str, &str)] = &[
    (".env", "The settings, in the working directory. Only its owner should read it, since it has passwords."),
    ("logs/worker.log", "All that the worker has to say; LOG_DIR names another folder."),
    ("logs/worker_errors.log", "Of that, what went wrong."),
];

fn command(page: &mut String, topic: &Topic) {
    let Topic { name, takes, about, actions, options, note, .. } = topic;
    item(page, &followed("Cm", name, takes), about);
    if !actions.is_empty() || !options.is_empty() {
        *page += ".Bl -tag -width Ds\n";
        for Word { name, takes, about, .. } in *actions {
            item(page, &followed("Cm", name, takes), about);
        }
        for option in *options {
            item(page, &followed("Fl", &bare(option.name), option.takes), &about_option(option));
        }
        *page += ".El\n";
    }
    if !note.is_empty() {
        *page += ".Pp\n";
        *page += &text(&sentence(note));
    }
}

fn explain(page: &mut String, setting: &Explained) {
    let Explained { name, meaning, default, .. } = setting;
    item(page, &format!("Ev {name}"), &format!("{meaning} Default: {default}"));
    if let Some(in_a_file) = setting.in_a_file() {
        item(page, &format!("Ev {in_a_file}"), &format!("A file that has {name} in it"));
    }
}

fn item(page: &mut String, head: &str, about: &str) {
    let _ = writeln!(page, ".It {head}");
    *page += &text(&sentence(about));
}

/// A name, and what follows it as one word.
fn followed(kind: &str, name: &str, takes: &str) -> String {
    if takes.is_empty() { format!("{kind} {name}") } else { format!("{kind} {name} Ar \"{}\"", escaped(takes)) }
}

/// An option as mdoc takes it, which adds a dash.
fn bare(option: &str) -> String {
    option.strip_prefix('-').unwrap_or(option).replace('-', "\\-")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    // The name of a task and the like stay as they are.
    let is_word = text.split(' ').next().is_some_and(|word| word.chars().all(|sign| sign.is_ascii_lowercase()));
    let text = if is_word { first + letters.as_str() } else { text.to_owned() };
    if text.ends_with('.') { text } else { text + "." }
}

/// Text as lines: each sentence starts one, none is long, and none starts as a macro does.
fn text(text: &str) -> String {
    let mut lines = vec![String::new()];
    let mut ended = false;
    for word in text.split(' ').map(escaped) {
        let line = lines.last_mut().filter(|line| !ended && line.len() + 1 + word.len() <= LONGEST);
        match line {
            Some(line) if line.is_empty() => *line = word.clone(),
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.clone()),
        }
        ended = word.trim_end_matches([')', '"']).ends_with(['.', '!', '?', ':']) && word.len() > 1;
    }
    lines
        .iter()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}\n") } else { format!("{line}\n") })
        .collect()
}

/// Text in ASCII that means nothing to mdoc.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace("--", "\\-\\-").replace('"', "\\(dq");
    let letters = text.chars().map(|letter| match letter.is_ascii() {
        true => letter.to_string(),
        false => format!("\\[u{:04X}]", u32::from(letter)),
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_macro_and_a_sentence_starts_a_line() {
        assert_eq!(
            text(".env is read. It \"wins\", as does --all\\."),
            "\\&.env is read.\nIt \\(dqwins\\(dq, as does \\-\\-all\\e.\n"
        );
        assert_eq!(sentence("print it"), "Print it.");
        assert_eq!(sentence("config.env.example: all"), "config.env.example: all.");
        assert!(page().lines().all(|line| line.len() < 120 && !line.is_empty() && !line.ends_with(' ')));
    }
}
