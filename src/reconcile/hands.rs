//! What the running worker has taken, as it has said whenever it was asked, and whether anybody else may have more. It
//! asks nobody.

use std::collections::HashSet;

use super::class::Sight;
use super::queues::Places;
use crate::systems::table::DEFAULT;

/// The tasks that the running worker has taken, as whoever asks has found out.
#[derive(Clone, Debug)]
pub enum Told {
    /// No worker was asked, or it has not named all, and why.
    Nothing(String),
    /// All of them.
    Tasks {
        /// Their ids.
        tasks: HashSet<String>,
        /// The systems whose queues it consumes just now.
        consuming: HashSet<String>,
    },
}

/// What the worker has said, whenever it was asked.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// The tasks that it has had.
    pub(super) tasks: HashSet<String>,
    /// The systems whose queues it has consumed each time; `None`: it was not asked yet.
    consuming: Option<HashSet<String>>,
    /// The last time it did not name all, and why.
    pub(super) silent: Option<String>,
}

impl Hands {
    pub(super) fn hear(&mut self, told: Told) {
        let now = match told {
            Told::Tasks { tasks, consuming } => {
                self.tasks.extend(tasks);
                consuming
            }
            Told::Nothing(why) => {
                self.silent = Some(why);
                HashSet::new()
            }
        };
        match &mut self.consuming {
            Some(consuming) => consuming.retain(|system| now.contains(system)),
            None => self.consuming = Some(now),
        }
    }

    /// How much of a system's messages was seen. A consumer of its queues is the asked worker's only if that has
    /// consumed them all the time: while it opens a session, the consumer is somebody else's.
    pub(super) fn sight(&self, system: &str, looks: [&Places; 2]) -> Sight {
        let is_consumed_by_others = |places: &Places| {
            [system, DEFAULT].into_iter().any(|system| {
                let own = self.consuming.as_ref().is_some_and(|consuming| consuming.contains(system));
                places.consumers.get(system).copied().unwrap_or_default() > u32::from(own)
            })
        };
        match () {
            () if looks.iter().any(|places| places.unseen(system).is_some()) => Sight::Partial,
            () if looks.into_iter().any(is_consumed_by_others) => Sight::WorkerNotAsked,
            () => Sight::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(consumers: &[(&str, u32)]) -> Places {
        let consumers = consumers.iter().map(|(system, count)| ((*system).to_owned(), *count)).collect();
        Places { consumers, ..Places::default() }
    }

    fn consuming(systems: &[&str]) -> Told {
        let consuming = systems.iter().map(|system| (*system).to_owned()).collect();
        Told::Tasks { tasks: Default::default(), consuming }
    }

    #[test]
    fn a_consumer_is_the_asked_worker_s_only_while_that_consumes() {
        let sight = |told: Vec<Told>, consumers: &[(&str, u32)]| {
            let mut hands = Hands::default();
            told.into_iter().for_each(|told| hands.hear(told));
            hands.sight("email", [&consumed(consumers), &consumed(consumers)])
        };
        let consumes = || consuming(&["email"]);
        assert_eq!(sight(vec![consumes(), consumes()], &[("email", 1)]), Sight::Whole);
        assert_eq!(sight(vec![consumes()], &[("email", 2)]), Sight::WorkerNotAsked);
        assert_eq!(sight(vec![consumes()], &[("email", 1), ("default", 1)]), Sight::WorkerNotAsked);
        assert_eq!(sight(vec![consuming(&[])], &[]), Sight::Whole, "every worker is stopped");
        let reconnects = vec![consumes(), consuming(&[]), consumes()];
        assert_eq!(sight(reconnects, &[("email", 1)]), Sight::WorkerNotAsked, "the consumer is another worker's");
        let silent = vec![consumes(), Told::Nothing("no answer".into())];
        assert_eq!(sight(silent, &[("email", 1)]), Sight::WorkerNotAsked);
    }
}
