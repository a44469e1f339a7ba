//! The variables of this process, and below them those of `.env`, which adds those that are not set already.
//!
//! `.env` may serve other programs too: a line that is no setting of ours is ignored, readable or not. It holds
//! passwords, so its permissions are checked, and only numbers of lines and names of settings are ever shown.
//! [`syntax`] reads a line. The caller says which names are settings; this file does not know what a value means.

pub mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::env::{self, VarError};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{SettingsErrors, spelling};
use syntax::{Statement, Value};

const NOT_UTF8: &str = "is not UTF-8, but perhaps CP1251 (Windows); save the file as UTF-8";

/// A variable, and where its value was found. It may be a password, so it has no `Debug`.
#[derive(Clone)]
pub struct Given {
    /// Its value.
    pub value: String,
    /// The file and its line; `None` for the environment.
    pub place: Option<String>,
    /// The value stood in quotes, which are not part of it: quotes that it still has are meant.
    pub quoted: bool,
}

/// The variables, and advice about them.
#[derive(Default)]
pub struct Environment {
    /// The lines of the file; one that cannot be read has the reason instead of a value.
    lines: BTreeMap<String, Result<Given, String>>,
    /// A sentence each.
    pub advice: Vec<String>,
}

impl Environment {
    /// The environment and this file, if there is one. Only the settings of these names count.
    ///
    /// # Errors
    /// [`SettingsErrors`] when the file cannot be read, can be written by others, or is no text in UTF-8. A wrong line
    /// of ours is an error only when it is asked for.
    pub fn read(file: &Path, settings: &BTreeSet<String>) -> Result<Environment, SettingsErrors> {
        let mut environment = Environment::default();
        let shown = file.display().to_string();
        let names: Vec<String> = env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        let misspelt = names.iter().filter_map(|name| Some((name, spelling::nearest(name, settings)?)));
        environment.advice.extend(misspelt.map(|(name, meant)| misspelling("the environment", name, meant)));
        let text = match text_of(file, &mut environment.advice) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(environment),
            Err(wrong) => return Err(SettingsErrors(vec![format!("{shown}: {wrong}")])),
        };
        syntax::parse(&text).iter().for_each(|statement| environment.take(statement, &shown, settings));
        Ok(environment)
    }

    /// The variable as it was given. The environment comes first, even if it sets the variable to nothing.
    ///
    /// # Errors
    /// It cannot be read, and why.
    pub fn get(&self, name: &str) -> Option<Result<Given, String>> {
        match env::var(name) {
            Ok(value) => Some(Ok(Given { value, place: None, quoted: false })),
            Err(VarError::NotUnicode(_)) => Some(Err(format!("{name} is not UTF-8"))),
            Err(VarError::NotPresent) => self.lines.get(name).cloned(),
        }
    }

    /// The value of a variable that can be read.
    pub fn value(&self, name: &str) -> Option<String> {
        self.get(name)?.ok().map(|given| given.value)
    }

    /// Adds a line; a later one of the same name replaces an earlier one.
    fn take(&mut self, Statement { line, name, value, .. }: &Statement, file: &str, settings: &BTreeSet<String>) {
        let place = format!("{file}, line {line}");
        if let Some(meant) = spelling::nearest(name, settings) {
            self.advice.push(misspelling(&place, name, meant));
        }
        let is_ours = settings.contains(name);
        if is_ours && self.lines.contains_key(name) {
            self.advice.push(format!("{place}: {name} is set a second time, and this line counts; remove one"));
        }
        if is_ours && env::var(name).is_ok_and(|value| value.trim().is_empty()) {
            let wrong = "is not read, since the environment sets it to nothing; unset it there";
            self.advice.push(format!("{place}: {name} {wrong}"));
        }
        let taken = match value {
            // Nobody meant a value with lost characters.
            Value::Text { text, .. } if is_ours && text.contains(char::REPLACEMENT_CHARACTER) => {
                Err(format!("{name} ({place}) {NOT_UTF8}"))
            }
            Value::Text { text, quoted, cut } => {
                let (value, is_lost) = syntax::interpolated(text, |name| self.value(name));
                self.advise_on_loss(name, is_ours && is_lost, *cut, &place);
                self.advise_on_swallowed(text, &place, settings);
                Ok(Given { value, place: Some(place), quoted: *quoted })
            }
            Value::Absent => Err(format!("{name} ({place}) has no = behind its name; for example: {name}=value")),
            Value::Unreadable(why) => {
                Err(format!("{name} ({place}) {why}; a value with blanks or signs: {name}='a value'"))
            }
        };
        self.lines.insert(name.clone(), taken);
    }

    /// Warns when a part of the value is missing. No part is shown.
    fn advise_on_loss(&mut self, name: &str, is_lost: bool, is_cut: bool, place: &str) {
        if is_lost {
            let wrong = "names no variable, and nothing stands in its place";
            let instead = "a value with ${ in it can only be set in the environment";
            self.advice.push(format!("{place}: a ${{…}} in {name} {wrong}; {instead}"));
        }
        // After other values a comment is nothing unusual.
        if is_cut && name == "RABBITMQ_PASSWORD" {
            let wrong = "ends where # starts a comment; if that belongs to it, put it in single quotes";
            self.advice.push(format!("{place}: {name} {wrong}"));
        }
    }

    /// An open quote swallows the lines up to the next quote, which was meant to open something.
    fn advise_on_swallowed(&mut self, value: &str, place: &str, settings: &BTreeSet<String>) {
        let within = value.split('\n').skip(1).flat_map(syntax::parse);
        let is_set = |found: &Statement| settings.contains(&found.name) && found.value != Value::Absent;
        for Statement { name, .. } in within.filter(is_set) {
            let wrong = "the quotes that open in this line are closed only behind";
            self.advice.push(format!("{place}: {wrong} {name}, which is not read so; close them earlier"));
        }
    }
}

fn misspelling(place: &str, name: &str, meant: &str) -> String {
    format!("{place}: {name} is not a setting and is not read; is {meant} meant?")
}

/// The text of the file, `None` without a file, or what is wrong with it; bytes that are no UTF-8 become U+FFFD.
fn text_of(file: &Path, advice: &mut Vec<String>) -> Result<Option<String>, String> {
    let unreadable = |err: std::io::Error| format!("cannot be read: {err}");
    let mode = match fs::metadata(file) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(unreadable(err)),
    };
    if mode & 0o022 != 0 {
        return Err("others may write to it, and so direct this program; do: chmod 600 .env".into());
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    let shown = file.display();
    if mode & 0o044 != 0 {
        advice.push(format!("{shown} can be read by others; advised: chmod 600 .env"));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        return Err("is UTF-16, as some editors of Windows write it; save the file as UTF-8".into());
    }
    if let Err(err) = std::str::from_utf8(&bytes) {
        let line = bytes[..err.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        advice.push(format!("{shown}, line {line}: the file {NOT_UTF8}"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
