//! Title and description, cut so that the portal takes them. It knows how the portal measures a text, and no other
//! field.

use super::given::{self, Place, first_text};
use super::{Fields, Sourced};
use crate::message::{Task, text};

/// The portal cuts a longer title without a warning; in characters.
const LONGEST_TITLE: usize = 250;
/// The portal's column for a title, in characters as it stores them.
const TITLE_COLUMN: usize = 255;
/// The portal's column for a description, in bytes as it stores them. A longer one is refused, or cut anywhere.
const DESCRIPTION_COLUMN: usize = 65_535;
/// What the portal stores, in ASCII, in place of one character above U+FFFF.
const REPLACEMENT: usize = 10;
const CUT_TITLE: &str = "…";
const CUT_DESCRIPTION: &str = "[Описание обрезано]";

/// How long a text may be, and how its characters are counted.
struct Limit {
    most: usize,
    of: fn(char) -> usize,
    unit: &'static str,
}

impl Limit {
    fn characters(most: usize) -> Limit {
        Limit { most, of: |_| 1, unit: "characters" }
    }

    fn stored_characters(most: usize) -> Limit {
        let of = |c: char| if c.len_utf8() == 4 { REPLACEMENT } else { 1 };
        Limit { most, of, unit: "characters as the portal stores them" }
    }

    fn stored_bytes(most: usize) -> Limit {
        let of = |c: char| if c.len_utf8() == 4 { REPLACEMENT } else { c.len_utf8() };
        Limit { most, of, unit: "bytes as the portal stores them" }
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

/// Puts title and description. A description that falls back to the title has all of it.
pub fn put(task: &Task, longest_description: usize, made: &mut Fields) {
    let title = title(task, made);
    let description = description(task, &title, made);
    let limits = [Limit::characters(longest_description), Limit::stored_bytes(DESCRIPTION_COLUMN)];
    made.put("DESCRIPTION", Some(shortened(description, &limits, CUT_DESCRIPTION)));
    let limits = [Limit::characters(LONGEST_TITLE), Limit::stored_characters(TITLE_COLUMN)];
    made.put("TITLE", Some(shortened(title, &limits, CUT_TITLE)));
}

fn title(task: &Task, made: &mut Fields) -> Sourced<String> {
    let activity = || Some(Sourced::new(task.activity_name.clone()?, "metadata.activityInfo.name"));
    let named = first_text(task, Place::Variables, &["title"], made).and_then(trimmed).or_else(|| trimmed(activity()?));
    named.unwrap_or_else(|| {
        let by_topic = match task.topic.as_str() {
            "bitrix_create_task" => "Новая задача из процесса Camunda".into(),
            "bitrix_update_task" => "Обновление задачи из процесса Camunda".into(),
            "bitrix_create_deal" => "Новая сделка из процесса Camunda".into(),
            "bitrix_update_deal" => "Обновление сделки из процесса Camunda".into(),
            "bitrix_create_contact" => "Новый контакт из процесса Camunda".into(),
            topic => format!("Задача из Camunda процесса ({topic})"),
        };
        Sourced::new(by_topic, "topic")
    })
}

/// The portal trims NUL bytes too, and refuses a title that has nothing else.
fn trimmed(title: Sourced<String>) -> Option<Sourced<String>> {
    let title = title.map(|title| title.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned());
    (!title.value.is_empty()).then_some(title)
}

fn description(task: &Task, title: &Sourced<String>, made: &mut Fields) -> Sourced<String> {
    let mut description = prose(task, "description", made).unwrap_or_else(|| title.clone());
    if let Some(additional) = prose(task, "description_additional", made) {
        description.value.push('\n');
        description.value.push_str(&additional.value);
        description.origin.extend(additional.origin);
    }
    description
}

/// A text; any other value as JSON, so that people can read it there.
fn prose(task: &Task, name: &str, made: &mut Fields) -> Option<Sourced<String>> {
    let given = given::value(task, Place::Variables, name, made)?;
    Some(given.map(|value| text(value).unwrap_or_else(|| value.to_string())))
}

/// The text, cut so that it keeps within each limit with `mark` at its end.
fn shortened(text: Sourced<String>, limits: &[Limit], mark: &str) -> Sourced<String> {
    let Sourced { value, mut origin } = text;
    if limits.iter().all(|limit| limit.measure(&value) <= limit.most) {
        return Sourced { value, origin };
    }
    let kept = limits.iter().map(|limit| (limit.kept(&value, mark), limit)).min_by_key(|(kept, _)| *kept);
    let Some((kept, limit)) = kept else { return Sourced { value, origin } };
    origin.push(format!("cut to {} {}", limit.most, limit.unit));
    Sourced { value: value.chars().take(kept).chain(mark.chars()).collect(), origin }
}

#[cfg(test)]
mod tests;
