//! Title and description of a task, and how a text is cut to what a target takes. It knows no target: each says by
//! itself how it measures a text, and what a task without a title is called.

use super::{Place, Sourced, Warnings, first_text};
use crate::message::{Task, text};

/// At the end of a title that was cut.
pub const CUT_TITLE: &str = "…";
/// At the end of a description that was cut.
pub const CUT_DESCRIPTION: &str = "[Описание обрезано]";

/// How long a text may be, and how its characters are counted.
pub struct Limit {
    /// The most.
    pub most: usize,
    /// What a character counts.
    pub of: fn(char) -> usize,
    /// What is counted, for people.
    pub unit: &'static str,
}

impl Limit {
    /// Each character counts one.
    pub fn characters(most: usize) -> Limit {
        Limit { most, of: |_| 1, unit: "characters" }
    }

    fn measure(&self, text: &str) -> usize {
        text.chars().map(self.of).sum()
    }

    /// How many characters of the text fit beside the mark.
    fn kept(&self, text: &str, mark: &str) -> usize {
        let room = self.most.saturating_sub(self.measure(mark));
        let used = text.chars().scan(0, |used, c| {
            *used += (self.of)(c);
            Some(*used)
        });
        used.take_while(|used| *used <= room).count()
    }
}

/// The title that the message gives, if it does.
pub fn title(task: &Task, warnings: &mut Warnings) -> Option<Sourced<String>> {
    let activity = || Some(Sourced::new(task.activity_name.clone()?, "metadata.activityInfo.name"));
    first_text(task, Place::Variables, &["title"], warnings).and_then(trimmed).or_else(|| trimmed(activity()?))
}

/// A target trims NUL bytes too, and refuses a title that has nothing else.
fn trimmed(title: Sourced<String>) -> Option<Sourced<String>> {
    let title = title.map(|title| title.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned());
    (!title.value.is_empty()).then_some(title)
}

/// The description that the message gives, with what is added to it; `instead` replaces a missing one.
pub fn description(task: &Task, instead: &Sourced<String>, warnings: &mut Warnings) -> Sourced<String> {
    let mut description = prose(task, &["description"], warnings).unwrap_or_else(|| instead.clone());
    if let Some(additional) = prose(task, &["description_additional"], warnings) {
        description.value.push('\n');
        description.value.push_str(&additional.value);
        description.origin.extend(additional.origin);
    }
    description
}

/// The first of these variables that has a value: a text, or any other value as JSON, so that people can read it there.
pub fn prose(task: &Task, names: &[&str], warnings: &mut Warnings) -> Option<Sourced<String>> {
    let given = names.iter().find_map(|name| super::value(task, Place::Variables, name, warnings))?;
    Some(given.map(|value| text(value).unwrap_or_else(|| value.to_string())))
}

/// The text, cut so that it keeps within each limit with `mark` at its end.
pub fn shortened(text: Sourced<String>, limits: &[Limit], mark: &str) -> Sourced<String> {
    let Sourced { value, mut origin } = text;
    if limits.iter().all(|limit| limit.measure(&value) <= limit.most) {
        return Sourced { value, origin };
    }
    let kept = limits.iter().map(|limit| (limit.kept(&value, mark), limit)).min_by_key(|(kept, _)| *kept);
    let Some((kept, limit)) = kept else { return Sourced { value, origin } };
    origin.push(format!("cut to {} {}", limit.most, limit.unit));
    Sourced { value: value.chars().take(kept).chain(mark.chars()).collect(), origin }
}
