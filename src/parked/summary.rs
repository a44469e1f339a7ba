//! What a list of parked messages shows of each, and of each cause. Small, so that thousands can be kept for a while.

use serde::Serialize;

use super::entry::{ParkedEntry, iso};
use super::groups::Group;
use super::{contains, is_same};
use crate::message::Cause;
use crate::redact::clean;

/// The longest error in a list, in characters; the whole message has all of it.
const LONGEST_ERROR: usize = 500;
/// As [`LONGEST_ERROR`].
const LONGEST_TITLE: usize = 200;

/// A parked message in a list.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Summary {
    /// The id of the task in it, or a name of its own.
    pub id: String,
    /// When it was parked.
    pub parked_at: Option<String>,
    /// Why, as one word.
    pub cause: Option<String>,
    /// Why, as a sentence.
    pub error: Option<String>,
    /// The system whose lane parked it.
    pub system: Option<String>,
    /// The queue it came from.
    pub source_queue: Option<String>,
    /// How many attempts had failed.
    pub attempts: Option<u64>,
    /// The title of the task.
    pub title: Option<String>,
    /// The id of the process instance in Camunda.
    pub process_id: Option<String>,
    /// What somebody should do.
    pub advice: Option<String>,
    /// Can it be replayed?
    pub replayable: bool,
    /// See [`ParkedEntry::etag`].
    pub etag: String,
}

/// Messages of one cause and system.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct CauseGroup {
    /// Why they are parked, as one word.
    pub cause: Option<String>,
    /// The system whose lane parked them.
    pub system: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first was parked.
    pub oldest_at: Option<String>,
    /// When the last was parked.
    pub newest_at: Option<String>,
    /// What somebody should do.
    pub advice: Option<String>,
    /// The error of one of them.
    pub example_error: Option<String>,
    /// The id of that one.
    pub example_id: String,
}

impl Summary {
    /// The summary of an entry, which can be replayed or not.
    pub fn of(entry: &ParkedEntry, replayable: bool) -> Summary {
        let (about, task) = (&entry.about, entry.task.as_ref());
        Summary {
            id: entry.id.clone(),
            parked_at: about.parked_at.map(iso),
            cause: about.error_type.clone(),
            error: about.error_message.as_deref().map(|error| cut(&clean(error), LONGEST_ERROR)),
            system: about.system.clone(),
            source_queue: about.source_queue.clone(),
            attempts: entry.attempts(),
            title: task.and_then(|task| task.title.as_deref()).map(|title| cut(title, LONGEST_TITLE)),
            process_id: task.and_then(|task| task.process_id.clone()),
            advice: entry.advice(),
            replayable,
            etag: entry.etag(),
        }
    }

    /// Is it one of this cause and system, with this text in it?
    pub fn fits(&self, cause: Option<&str>, system: Option<&str>, text: Option<&str>) -> bool {
        let own = [&self.process_id, &self.title, &self.cause, &self.error];
        let mut texts = own.into_iter().flatten().chain([&self.id]);
        is_same(cause, self.cause.as_deref())
            && is_same(system, self.system.as_deref())
            && text.is_none_or(|text| texts.any(|own| contains(own, text)))
    }
}

impl CauseGroup {
    /// The messages of this cause and system.
    pub fn of((cause, system): (Option<String>, Option<String>), group: Group) -> CauseGroup {
        let Group { count, oldest, newest, example, error } = group;
        CauseGroup {
            advice: cause.as_deref().and_then(Cause::named).map(|cause| cause.suggested_action("replay it")),
            cause,
            system,
            count,
            oldest_at: oldest.map(iso),
            newest_at: newest.map(iso),
            example_error: error.map(|error| cut(&clean(&error), LONGEST_ERROR)),
            example_id: example,
        }
    }
}

/// So many characters of a text at most.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
