//! Parked messages: what the command line and the API do with the error queue.
//!
//! [`entry`] is a message as it was read, [`queue`] reads the queue, [`summary`] and [`groups`] are what a list shows,
//! [`mod@replay`] publishes messages to the queues they came from. Only a replay and [`queue::take_out`] take messages
//! out. Nothing here prints, and nothing waits for a person.

pub mod entry;
pub mod groups;
pub mod queue;
pub mod replay;
pub mod summary;

use std::collections::HashSet;

use self::entry::ParkedEntry;

/// Which messages are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those with these ids.
    pub ids: Option<HashSet<String>>,
    /// Only those of this cause.
    pub cause: Option<String>,
    /// Only those that the lane of this system has parked.
    pub system: Option<String>,
    /// Only those with this text in their id, process, title or error.
    pub text: Option<String>,
    /// Only messages with these marks, see [`ParkedEntry::etag`].
    pub etags: Option<HashSet<String>>,
}

impl Selection {
    /// All messages.
    pub fn all() -> Selection {
        Selection::default()
    }

    /// Those with these ids.
    pub fn of_ids(ids: impl IntoIterator<Item = String>) -> Selection {
        Selection { ids: Some(ids.into_iter().collect()), ..Selection::default() }
    }

    /// Those of this cause.
    pub fn of_cause(cause: String) -> Selection {
        Selection { cause: Some(cause), ..Selection::default() }
    }

    /// Is this message among them?
    pub fn includes(&self, entry: &ParkedEntry) -> bool {
        let about = &entry.about;
        self.ids.as_ref().is_none_or(|ids| ids.contains(&entry.id))
            && is_same(self.cause.as_deref(), about.error_type.as_deref())
            && is_same(self.system.as_deref(), about.system.as_deref())
            && self.text.as_deref().is_none_or(|text| entry.texts().any(|own| contains(own, text)))
            && self.etags.as_ref().is_none_or(|etags| etags.contains(&entry.etag()))
    }
}

/// Is this what is wanted, in capitals or not? Nothing wanted is anything.
fn is_same(wanted: Option<&str>, own: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| own.is_some_and(|own| own.eq_ignore_ascii_case(wanted)))
}

/// Does the text contain this one, in capitals or not?
fn contains(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

#[cfg(test)]
mod tests;
