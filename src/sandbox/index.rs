//! Tasks by the value of a field, so that a look-up need not read every one of 100,000. (A portal reads them.) It knows
//! no task.

use std::collections::HashMap;

use serde_json::Value;

use super::request::text;

/// The fields with an index: the markers, by which a task is found again.
pub(super) const INDEXED: [&str; 2] = ["UF_CAMUNDA_ID_EXTERNAL_TASK", "XML_ID"];

/// Ids by value, one map for each of [`INDEXED`].
#[derive(Default)]
pub(super) struct Index([HashMap<String, Vec<u64>>; INDEXED.len()]);

impl Index {
    /// The ids of the tasks whose field has this value, as the database compares; `None` when the field has no index.
    pub fn find(&self, name: &str, value: &str) -> Option<&[u64]> {
        let number = INDEXED.iter().position(|indexed| *indexed == name)?;
        Some(self.0[number].get(&collated(value)).map_or(&[], Vec::as_slice))
    }

    /// A task's field has changed.
    pub fn change(&mut self, name: &str, id: u64, old: Option<&Value>, new: Option<&Value>) {
        let Some(number) = INDEXED.iter().position(|indexed| *indexed == name) else {
            return;
        };
        let ids = &mut self.0[number];
        if let Some(value) = old.and_then(text).map(|old| collated(&old)) {
            let known = ids.entry(value.clone()).or_default();
            known.retain(|known| *known != id);
            if known.is_empty() {
                ids.remove(&value);
            }
        }
        if let Some(value) = new.and_then(text) {
            ids.entry(collated(&value)).or_default().push(id);
        }
    }
}

/// What the database compares: letter case and trailing blanks make no difference.
pub(super) fn collated(value: &str) -> String {
    value.trim_end_matches(' ').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_changes() {
        let mut index = Index::default();
        let (one, two) = (Value::from("One"), Value::from("two "));
        index.change("XML_ID", 7, None, Some(&one));
        assert_eq!(index.find("XML_ID", "oNE  "), Some([7].as_slice()));
        index.change("XML_ID", 7, Some(&one), Some(&two));
        assert_eq!(index.find("XML_ID", "one"), Some([].as_slice()));
        assert_eq!(index.find("XML_ID", "TWO"), Some([7].as_slice()));
        index.change("XML_ID", 7, Some(&two), None);
        assert_eq!(index.find("XML_ID", "two"), Some([].as_slice()));
        assert_eq!(index.find("TITLE", "two"), None);
    }
}
