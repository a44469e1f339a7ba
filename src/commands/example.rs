//! The settings as `config.env.example` explains them, for `help SETTING`, the man page and the shells. It knows none
//! by its name.

use std::sync::OnceLock;

use crate::systems::table;

/// The file, which is also for copying.
pub const TEXT: &str = include_str!("../../config.env.example");

/// What is behind the name of a secret, if a file has it.
const IN_A_FILE: &str = "_FILE";

/// A setting, as the file explains it.
pub struct Explained {
    /// The heading of its part of the file.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it means, in sentences.
    pub meaning: String,
    /// Its default, or "none".
    pub default: &'static str,
    /// The value that the file shows.
    pub example: &'static str,
}

impl Explained {
    /// Its second name, if a file may have its value.
    pub fn in_a_file(&self) -> Option<String> {
        let name = format!("{}{IN_A_FILE}", self.name);
        table::settings().contains(&name).then_some(name)
    }
}

/// All settings, in the order of the file.
pub fn settings() -> &'static [Explained] {
    static SETTINGS: OnceLock<Vec<Explained>> = OnceLock::new();
    SETTINGS.get_or_init(read)
}

fn read() -> Vec<Explained> {
    let (mut settings, mut section, mut meaning, mut default) = (Vec::new(), "", Vec::new(), None);
    for line in TEXT.lines() {
        let comment = line.strip_prefix("# ");
        if let Some(heading) = comment.and_then(|comment| comment.strip_prefix("---- ")) {
            section = heading.trim_end_matches('-').trim_end();
        } else if let Some(told) = comment.and_then(|comment| comment.strip_prefix("Default: ")) {
            default = Some(told);
        } else if let Some(comment) = comment {
            meaning.push(comment);
        } else if let Some((name, value)) = line.trim_start_matches('#').split_once('=') {
            let meaning = std::mem::take(&mut meaning).join(" ");
            let default = default.take().unwrap_or(value);
            settings.push(Explained { section, name, meaning, default, example: value });
        } else {
            meaning.clear();
        }
    }
    settings
}

/// The setting of this name, which may be that for its file.
pub fn named(name: &str) -> Option<&'static Explained> {
    settings()
        .iter()
        .find(|setting| setting.name == name || setting.in_a_file().is_some_and(|in_a_file| in_a_file == name))
}

/// The names of all settings, those for files included.
pub fn names() -> impl Iterator<Item = String> {
    settings().iter().flat_map(|setting| [setting.name.to_owned()].into_iter().chain(setting.in_a_file()))
}
