//! A variable's text → a number, a name, a switch. Each error is noted with the variable's name, its place in `.env`
//! and a correct line; this file knows no setting and no system. A secret may be in a file of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::dotenv::{Environment, Given};
use super::{Secret, file};

/// The quotes of a keyboard, and those that a word processor makes of them.
const QUOTES: &[char] = &['"', '\'', '`', '«', '»', '“', '”', '„', '‘', '’'];

/// The longest secret in a file, in bytes. Whoever names a device has made an error.
const LONGEST_SECRET: u64 = 64 << 10;

/// Returns a variable's value, or the reason why it cannot be read.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Result<Given, String>>;

/// The variables while they are read, and the errors found so far.
pub struct Variables<'a> {
    lookup: Lookup<'a>,
    errors: Vec<String>,
    /// Variables with an error: one error each is enough, since further ones would follow from it.
    wrong: BTreeSet<String>,
}

impl Variables<'_> {
    /// What `make` makes of these values, and the errors it has found.
    pub fn read<T>(value: impl Fn(&str) -> Option<String>, make: impl FnOnce(&mut Variables) -> T) -> (T, Vec<String>) {
        Variables::found(&|name| Some(Ok(Given { value: value(name)?, place: None, quoted: false })), make)
    }

    /// The same when it is known where each value was read from.
    pub fn found<T>(lookup: Lookup, make: impl FnOnce(&mut Variables) -> T) -> (T, Vec<String>) {
        let mut variables = Variables { lookup, errors: Vec::new(), wrong: BTreeSet::new() };
        let made = make(&mut variables);
        (made, variables.errors)
    }

    /// What `make` makes of the variables of this process, and the errors in them.
    pub fn of<T>(environment: &Environment, make: impl FnOnce(&mut Variables) -> T) -> (T, Vec<String>) {
        Variables::found(&|name| environment.get(name), make)
    }

    /// The variable's value, trimmed; a variable that is set to nothing counts as not set. Quotes around it are an
    /// error and are removed: nothing else has removed them, and they would become part of a name or a password.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let Given { value, .. } = self.given(name)?;
        let text = value.trim();
        let bare = text.trim_matches(QUOTES);
        if bare != text {
            self.note_quotes(name);
        }
        Some(bare.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The same for a password: blanks and quotes within the quotes of `.env` are meant, and so is a quote at one end
    /// only. It may also be in a file, which the variable with `_FILE` behind its name names.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let in_file = format!("{name}_FILE");
        let (own, path) = (self.own_secret(name), self.text(&in_file));
        match (own, path) {
            (own, None) => own,
            (None, Some(path)) => in_a_file(Path::new(&path))
                .map_err(|wrong| {
                    self.error(&in_file, &format!("is {path:?}, {wrong}"), &format!("{in_file}=secret.txt"))
                })
                .ok(),
            (own, Some(_)) => {
                self.error(&in_file, &format!("is set, and {name} is too: set one of them"), &format!("{name}=value"));
                own
            }
        }
    }

    fn own_secret(&mut self, name: &str) -> Option<Secret> {
        let Given { value, quoted, .. } = self.given(name)?;
        let text = if quoted { &*value } else { value.trim() };
        let is_enclosed = text.chars().count() > 1 && text.starts_with(QUOTES) && text.ends_with(QUOTES);
        if is_enclosed && !quoted {
            self.note_quotes(name);
        }
        (!text.trim().is_empty()).then(|| Secret::new(text))
    }

    fn note_quotes(&mut self, name: &str) {
        let wrong =
            "has quotes around it, which would be part of the value (docker --env-file keeps them): remove them";
        self.error(name, wrong, &format!("{name}=value"));
    }

    /// The value as it was given.
    fn given(&mut self, name: &str) -> Option<Given> {
        let given = (self.lookup)(name)?;
        given.map_err(|wrong| self.note(name, wrong)).ok()
    }

    /// A name for RabbitMQ, of at most `longest` bytes.
    pub fn name(&mut self, name: &str, longest: usize) -> Option<String> {
        let text = self.text(name)?;
        let example = format!("{name}=tasks");
        if text.len() > longest {
            self.error(name, &format!("is longer than {longest} bytes"), &example);
        }
        if text.contains(char::is_control) || text.contains(" #") {
            self.error(name, "has a control character or a comment in it, which would be part of the name", &example);
        }
        Some(text)
    }

    /// A whole number in `range`.
    pub fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let wrong = format!("is {text:?}, not a whole number from {} to {}", range.start(), range.end());
                self.error(name, &wrong, &format!("{name}={default}"));
                default
            }
        }
    }

    /// A number of seconds, a fraction allowed, above zero and at most a day.
    pub fn seconds(&mut self, name: &str, default: u32) -> Duration {
        self.seconds_up_to(name, default, 86_400)
    }

    /// The same up to `most` seconds.
    pub fn seconds_up_to(&mut self, name: &str, default: u32, most: u32) -> Duration {
        let default_duration = Duration::from_secs(default.into());
        let Some(text) = self.text(name) else { return default_duration };
        match text.parse::<f64>() {
            Ok(seconds) if (0.001..=most.into()).contains(&seconds) => Duration::from_secs_f64(seconds),
            _ => {
                let wrong = format!("is {text:?}, not a number of seconds above 0 and up to {most}");
                self.error(name, &wrong, &format!("{name}={default}"));
                default_duration
            }
        }
    }

    /// A switch.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.text(name) else { return default };
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.error(name, &format!("is {text:?}, neither true nor false"), &format!("{name}={default}"));
                default
            }
        }
    }

    /// What `parse` makes of the value; its error is noted.
    pub fn parsed<T>(&mut self, name: &str, example: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|wrong| self.error(name, &wrong, example)).ok()
    }

    /// Notes that a variable has no value and needs one, with a correct line.
    pub fn lacks(&mut self, name: &str, example: &str) {
        let wrong = match (self.lookup)(name) {
            Some(Ok(Given { place: None, .. })) => {
                "is set to nothing in the environment, before which .env does not count"
            }
            Some(_) => "is set to nothing",
            None => "is not set, neither in the environment nor in .env of this folder",
        };
        self.error(name, wrong, example);
    }

    /// Notes an error: what is wrong with this variable, and a correct line.
    pub fn error(&mut self, name: &str, wrong: &str, example: &str) {
        let place = (self.lookup)(name).and_then(|given| given.ok()?.place);
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        self.note(name, format!("{name}{place} {wrong}; for example: {example}"));
    }

    fn note(&mut self, name: &str, error: String) {
        if self.wrong.insert(name.to_owned()) {
            self.errors.push(error);
        }
    }
}

/// The secret in this file, without what editors add: line breaks at its end, a byte order mark at its beginning.
fn in_a_file(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    file::open(path)
        .and_then(|file| file.take(LONGEST_SECRET + 1).read_to_string(&mut text))
        .map_err(|err| format!("which cannot be read: {err}"))?;
    if text.len() as u64 > LONGEST_SECRET {
        return Err(format!("which has more than {LONGEST_SECRET} bytes"));
    }
    match text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']) {
        empty if empty.trim().is_empty() => Err("which is empty".into()),
        secret => Ok(Secret::new(secret)),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    fn secret(given: &[(&str, &str)]) -> (Option<Secret>, Vec<String>) {
        let value = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Variables::read(value, |variables| variables.secret("TOKEN"))
    }

    #[test]
    fn a_secret_may_be_in_a_file_and_no_error_shows_it() {
        let path = env::temp_dir().join(format!("task-creator-secret-{}", process::id()));
        let file = path.to_str().expect("a plain path");
        for (text, expected) in [
            ("of the file\n", "of the file"),
            (" blanks \r\n\n", " blanks "),
            ("\"q\"", "\"q\""),
            ("\u{feff}of Windows\r\n", "of Windows"),
        ] {
            fs::write(&path, text).expect("the folder is writable");
            assert_eq!(secret(&[("TOKEN_FILE", file)]), (Some(Secret::new(expected)), vec![]));
        }
        let (_, errors) = secret(&[("TOKEN", "canary"), ("TOKEN_FILE", file)]);
        assert!(errors[0].contains("TOKEN_FILE is set, and TOKEN is too: set one of them"), "{errors:?}");
        for (text, told) in [(" \n", "is empty"), (&*"x".repeat(70_000), "more than 65536 bytes")] {
            fs::write(&path, text).expect("the folder is writable");
            let (none, errors) = secret(&[("TOKEN_FILE", file)]);
            assert!(none.is_none() && errors[0].contains(told), "{errors:?}");
        }
        fs::remove_file(&path).expect("it is there");
        let (_, errors) = secret(&[("TOKEN_FILE", file)]);
        assert!(errors[0].contains("cannot be read: No such file"), "{errors:?}");
    }
}
