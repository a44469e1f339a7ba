//! What may stand on the command line: a table of all commands, with their actions, options and values, and of the exit
//! codes. This file says what an entry of it is; the entries are in `grammar/table.rs`.
//!
//! `help` prints it, `manual` makes the man page of it, `completions` what shells complete. The parsers take from it
//! what may have been meant by an unknown word. It reads no arguments itself: each command does that, and tests hold
//! both together.

mod table;

pub use self::table::{EXIT_CODES, OPTIONS, TOPICS};

/// A command.
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// What may follow the name, for people.
    pub takes: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What may stand behind it that is no action and no option.
    pub offers: Offers,
    /// Of which one follows the name.
    pub actions: &'static [Word],
    /// Beside `--help`, which all commands have.
    pub options: &'static [Word],
    /// What remains to be said, or nothing.
    pub note: &'static str,
}

/// An action of a command, or an option.
pub struct Word {
    /// As it is typed.
    pub name: &'static str,
    /// What follows it, for people; nothing if nothing may.
    pub takes: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What may follow it, for a shell.
    pub offers: Offers,
    /// The actions that take this option: all, if it names none. An empty name is the command without an action.
    pub of: &'static [&'static str],
}

/// What a shell may offer.
#[derive(Clone, Copy)]
pub enum Offers {
    /// Nothing: nobody knows what is meant.
    Nothing,
    /// The names of files.
    Files,
    /// One of these.
    Names(fn() -> Vec<String>),
}

impl Word {
    const fn files(self) -> Word {
        Word { offers: Offers::Files, ..self }
    }

    const fn names(self, names: fn() -> Vec<String>) -> Word {
        Word { offers: Offers::Names(names), ..self }
    }

    const fn of(self, of: &'static [&'static str]) -> Word {
        Word { of, ..self }
    }
}

/// The command of this name.
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The names of a command's actions.
pub fn actions(command: &str) -> Vec<&'static str> {
    topic(command).into_iter().flat_map(|topic| topic.actions).map(|action| action.name).collect()
}

/// The options of a command with this action; with an empty one, of the command before an action.
pub fn options(command: &str, action: &str) -> Vec<&'static str> {
    let own = topic(command).into_iter().flat_map(|topic| topic.options_of(action)).map(|option| option.name);
    own.chain(["--help"]).collect()
}

impl Topic {
    /// Its options with this action.
    pub fn options_of(&self, action: &str) -> impl Iterator<Item = &'static Word> {
        self.options.iter().filter(move |option| option.of.is_empty() || option.of.contains(&action))
    }
}

/// A name, and what follows it.
pub fn term(name: &str, takes: &str) -> String {
    if takes.is_empty() { name.to_owned() } else { format!("{name} {takes}") }
}

/// What an option does, after the actions that it is for.
pub fn about_option(option: &Word) -> String {
    let of: Vec<&str> = option.of.iter().copied().filter(|action| !action.is_empty()).collect();
    if of.is_empty() { option.about.to_owned() } else { format!("{}: {}", of.join(", "), option.about) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::commands::parse;

    fn error(line: &[&str]) -> String {
        parse(line.iter().map(Into::into)).err().map(|wrong| wrong.text).unwrap_or_default()
    }

    #[test]
    fn every_action_and_every_option_of_the_table_is_read() {
        for topic in TOPICS {
            for action in [""].into_iter().chain(actions(topic.name)) {
                let line: Vec<&str> = [topic.name, action].into_iter().filter(|word| !word.is_empty()).collect();
                assert!(!error(&line).contains("there is no"), "{}", error(&line));
                for option in topic.options_of(action) {
                    let told = error(&[line.as_slice(), &[option.name]].concat());
                    assert!(!told.contains("there is no option"), "{told}");
                    let has_value = told.contains(&format!("{} needs a value", option.name));
                    assert_eq!(has_value, !option.takes.is_empty(), "{line:?} {}: {told}", option.name);
                }
            }
        }
    }

    #[test]
    fn every_option_that_is_read_is_in_the_table() {
        let mut read = BTreeSet::new();
        options_in(Path::new("src/commands"), &mut read);
        let known = TOPICS.iter().flat_map(|topic| topic.options).map(|option| option.name);
        let known: BTreeSet<String> = known.chain(OPTIONS.iter().map(|(_, name, _)| *name)).map(String::from).collect();
        assert_eq!(read, known);
    }

    fn options_in(folder: &Path, read: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("it is part of the repository") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                options_in(&path, read);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                let found = text.split("Arg::Long(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                read.extend(found.filter(|(_, rest)| rest.starts_with(')')).map(|(name, _)| format!("--{name}")));
            }
        }
    }

    #[test]
    fn what_the_table_says_of_others_is_so() {
        for topic in TOPICS {
            for option in topic.options {
                assert!(
                    option.of.iter().all(|of| of.is_empty() || actions(topic.name).contains(of)),
                    "{}",
                    option.name
                );
            }
        }
        let about = |command: &str, option: &str| {
            let topic = topic(command).expect("it is in the table");
            let found = topic.options.iter().chain(topic.actions).find(|word| word.name == option);
            let word = found.expect("it is in the table");
            let Offers::Names(names) = word.offers else { panic!("{option} offers no names") };
            (format!("{} {}", word.about, topic.note), names())
        };
        for (command, option) in [
            ("demo", "--system"),
            ("sandbox", "--system"),
            ("parked", "--cause"),
            ("send", "--sample"),
            ("sandbox", "--answer"),
            ("sandbox", "--status"),
            ("control", "log-level"),
            ("print", "completions"),
        ] {
            let (about, names) = about(command, option);
            assert!(!names.is_empty() && names.iter().all(|name| about.contains(name.as_str())), "{command} {option}");
        }
    }
}
