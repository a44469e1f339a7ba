//! What was done, or may be under way, of a task whose try failed, so that the next try minds it. It is known to this
//! process alone: after a restart such a task starts anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Tasks at the most; beyond that they all start anew.
const MOST: usize = 1000;

/// What was done, by the id of the task.
#[derive(Debug)]
pub struct HalfDone<V> {
    /// Several threads work on different tasks; it is held for an instant.
    tasks: Mutex<HashMap<String, V>>,
}

impl<V> Default for HalfDone<V> {
    fn default() -> HalfDone<V> {
        HalfDone { tasks: Mutex::default() }
    }
}

impl<V> HalfDone<V> {
    /// What was done of this task, which is forgotten here.
    pub fn take(&self, id: &str) -> Option<V> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    /// This was done of it.
    pub fn keep(&self, id: &str, done: V) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= MOST {
            tasks.clear();
        }
        tasks.insert(id.to_owned(), done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_known_once_and_memory_is_bounded() {
        let half_done = HalfDone::default();
        half_done.keep("a", 1);
        assert_eq!((half_done.take("a"), half_done.take("a")), (Some(1), None));
        (0..=MOST).for_each(|number| half_done.keep(&number.to_string(), number));
        assert_eq!((half_done.take("0"), half_done.take(&MOST.to_string())), (None, Some(MOST)));
    }
}
