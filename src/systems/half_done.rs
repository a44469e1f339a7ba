//! What was done, or may be under way, of a task whose try failed, so that the next try minds it.
//!
//! It is noted in the task, and so in its message in the retry queue: another worker, or this one after a restart,
//! reads it there. It is also kept here, for a message that comes again as it was. It does not know what was done.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::message::{Task, fingerprint};

/// Tasks at the most; beyond that only their messages know.
const MOST: usize = 1000;

/// What was done, step by step, by the content of the message: the same task with another text is other work.
#[derive(Debug, Default)]
pub struct HalfDone {
    /// Several threads work on different tasks; it is held for an instant.
    tasks: Mutex<HashMap<String, Vec<Value>>>,
}

impl HalfDone {
    /// What was done of this task, which is forgotten here.
    pub fn take(&self, task: &Task) -> Vec<Value> {
        let noted = task.note.text().and_then(|note| serde_json::from_str(&note).ok());
        let kept = self.tasks().remove(&key(task));
        // Both only grow, and either may be the older one.
        noted.into_iter().chain(kept).max_by_key(Vec::len).unwrap_or_default()
    }

    /// This was done of it.
    pub fn keep(&self, task: &Task, done: Vec<Value>) {
        if done.is_empty() {
            return;
        }
        task.note.set(Value::from(done.clone()).to_string());
        let mut tasks = self.tasks();
        if tasks.len() >= MOST {
            tasks.clear();
        }
        tasks.insert(key(task), done);
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Vec<Value>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(task: &Task) -> String {
    fingerprint(task.body.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Note;

    fn task(id: usize) -> Task {
        Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task")
    }

    #[test]
    fn what_was_done_is_known_once_and_memory_is_bounded() {
        let half_done = HalfDone::default();
        half_done.keep(&task(1), vec![1.into()]);
        assert_eq!((half_done.take(&task(1)), half_done.take(&task(1))), (vec![json!(1)], vec![]));
        (0..=MOST).for_each(|id| half_done.keep(&task(id), vec![id.into()]));
        assert_eq!((half_done.take(&task(0)), half_done.take(&task(MOST))), (vec![], vec![json!(MOST)]));
    }

    #[test]
    fn the_longer_of_what_is_noted_and_what_is_kept_counts() {
        let half_done = HalfDone::default();
        half_done.keep(&task(1), vec!["a".into(), "b".into()]);
        // The message that was to say so is lost, and the one before comes again.
        let before = Task { note: Note::new(Some(r#"["a"]"#.into())), ..task(1) };
        assert_eq!(half_done.take(&before), ["a", "b"]);
    }

    #[test]
    fn another_process_reads_it_in_the_message() {
        let first = task(1);
        HalfDone::default().keep(&first, vec!["a".into(), "b".into()]);
        let again = Task { note: Note::new(first.note.text()), ..task(1) };
        assert_eq!(HalfDone::default().take(&again), ["a", "b"]);
        let odd = Task { note: Note::new(Some("{".into())), ..task(1) };
        assert!(HalfDone::default().take(&odd).is_empty());
    }
}
