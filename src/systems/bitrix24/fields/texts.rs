//! Title and description, cut so that the portal takes them. It knows how the portal measures a text, and no other
//! field.

use super::Fields;
use crate::message::Task;
use crate::message::given::Sourced;
use crate::message::given::texts::{self, CUT_DESCRIPTION, CUT_TITLE, Limit, shortened};

/// The portal cuts a longer title without a warning; in characters.
const LONGEST_TITLE: usize = 250;
/// The portal's column for a title, in characters as it stores them.
const TITLE_COLUMN: usize = 255;
/// The portal's column for a description, in bytes as it stores them. A longer one is refused, or cut anywhere.
const DESCRIPTION_COLUMN: usize = 65_535;
/// What the portal stores, in ASCII, in place of one character above U+FFFF.
const REPLACEMENT: usize = 10;

fn stored_characters(most: usize) -> Limit {
    let of = |c: char| if c.len_utf8() == 4 { REPLACEMENT } else { 1 };
    Limit { most, of, unit: "characters as the portal stores them" }
}

fn stored_bytes(most: usize) -> Limit {
    let of = |c: char| if c.len_utf8() == 4 { REPLACEMENT } else { c.len_utf8() };
    Limit { most, of, unit: "bytes as the portal stores them" }
}

/// Puts title and description. A description that falls back to the title has all of it.
pub fn put(task: &Task, longest_description: usize, made: &mut Fields) {
    let title = texts::title(task, &mut made.warnings).unwrap_or_else(|| Sourced::new(by_topic(&task.topic), "topic"));
    let description = texts::description(task, &title, &mut made.warnings);
    let limits = [Limit::characters(longest_description), stored_bytes(DESCRIPTION_COLUMN)];
    made.put("DESCRIPTION", Some(shortened(description, &limits, CUT_DESCRIPTION)));
    let limits = [Limit::characters(LONGEST_TITLE), stored_characters(TITLE_COLUMN)];
    made.put("TITLE", Some(shortened(title, &limits, CUT_TITLE)));
}

/// What a task without a title is called.
fn by_topic(topic: &str) -> String {
    match topic {
        "bitrix_create_task" => "Новая задача из процесса Camunda".into(),
        "bitrix_update_task" => "Обновление задачи из процесса Camunda".into(),
        "bitrix_create_deal" => "Новая сделка из процесса Camunda".into(),
        "bitrix_update_deal" => "Обновление сделки из процесса Camunda".into(),
        "bitrix_create_contact" => "Новый контакт из процесса Camunda".into(),
        topic => format!("Задача из Camunda процесса ({topic})"),
    }
}

#[cfg(test)]
mod tests;
