//! `task-creator print`: prints the files that this program brings along, so that copying it is the whole installation.
//!
//! It changes nothing and needs no settings. What is in the files is their own affair; the man page and the completions
//! are made of the table of commands.

use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt as _};

use super::arguments::unexpected;
use super::completions::Shell;
use super::{example, grammar, install_service, manual};
use crate::nearest::did_you_mean;
use crate::terminal;

const COMMAND: &str = "print";

/// Each file with its name here.
const FILES: &[(&str, &str)] = &[
    ("unit", install_service::UNIT),
    ("compose", include_str!("../packaging/compose.yaml")),
    ("dockerfile", include_str!("../packaging/Dockerfile")),
    ("alerts", include_str!("../packaging/alerts.yaml")),
    ("dashboard", include_str!("../packaging/dashboard.json")),
    ("bpmn", include_str!("../packaging/sample.bpmn")),
    ("env", example::TEXT),
];

/// What to print.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// A file with this text.
    File(&'static str),
    /// What this shell needs.
    Completions(Shell),
    /// The man page.
    Manual,
}

/// What to print; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<What>, lexopt::Error> {
    let mut words = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(word) => words.push(word.string()?),
            other => return Err(unexpected(&other, &grammar::options(COMMAND, ""))),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    what(&words).map(Some)
}

fn what(words: &[&str]) -> Result<What, lexopt::Error> {
    let all = grammar::actions(COMMAND).join(", ");
    match words {
        [] => Err(format!("print needs one of {all}").into()),
        ["completions"] => Err(format!("print completions needs one of {}", shells()).into()),
        ["completions", name] => shell(name),
        [_, more] | [_, _, more, ..] => Err(format!("{more:?} is one argument too many").into()),
        ["man"] => Ok(What::Manual),
        [name] => match FILES.iter().find(|(known, _)| known == name) {
            Some((_, text)) => Ok(What::File(text)),
            None => {
                let meant = did_you_mean(name, grammar::actions(COMMAND));
                Err(format!("there is no print {name:?}{meant} (there are {all})").into())
            }
        },
    }
}

fn shell(name: &str) -> Result<What, lexopt::Error> {
    let found = Shell::ALL.into_iter().find(|shell| shell.name() == name);
    found.map(What::Completions).ok_or_else(|| {
        let meant = did_you_mean(name, Shell::ALL.map(Shell::name));
        format!("there are no completions for {name:?}{meant} (there are {})", shells()).into()
    })
}

fn shells() -> String {
    Shell::ALL.map(Shell::name).join(", ")
}

/// Prints it.
pub fn run(what: &What) -> ExitCode {
    match what {
        What::File(text) => terminal::print(text),
        What::Completions(shell) => terminal::print(&shell.script()),
        What::Manual => terminal::print(&manual::page()),
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_the_table_is_printed_and_a_misspelt_one_is_told() {
        for name in grammar::actions(COMMAND) {
            assert_eq!(what(&[name]).is_ok(), name != "completions", "{name}");
        }
        assert!(FILES.iter().all(|(name, _)| grammar::actions(COMMAND).contains(name)));
        for (words, told) in [
            (["units"].as_slice(), "there is no print \"units\"; did you mean unit?"),
            (&[], "print needs one of unit, compose"),
            (&["completions"], "needs one of bash, zsh, fish"),
            (&["completions", "bahs"], "did you mean bash?"),
            (&["man", "page"], "\"page\" is one argument too many"),
            (&["completions", "zsh", "x"], "\"x\" is one argument too many"),
        ] {
            let wrong = what(words).expect_err(told).to_string();
            assert!(wrong.contains(told), "{wrong}");
        }
    }
}
