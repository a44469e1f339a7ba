//! What is wrong with a task that Camunda waits for, and whether an unlock may mend it: one table, from what every
//! source says. It asks nobody.
//!
//! A task that may just be moving is never called lost. What cannot be known is said to be unknown.

use serde::{Serialize, Serializer};

use crate::trace::facts::Role;

/// What is wrong with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing: somebody has it, or it has just moved on.
    InHand,
    /// Nobody has its message, and the target has no task.
    Lost,
    /// The target has the task, and nobody follows it.
    Untracked,
    /// The target has finished it, and no answer is on its way.
    Unanswered,
    /// It is parked: a person has to decide.
    Parked,
    /// The target has the task open, and Camunda no longer waits for it.
    Orphan,
    /// A source did not answer.
    Unknown,
}

impl Class {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Class::InHand => "in_hand",
            Class::Lost => "lost",
            Class::Untracked => "untracked",
            Class::Unanswered => "unanswered",
            Class::Parked => "parked",
            Class::Orphan => "orphan",
            Class::Unknown => "unknown",
        }
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.name())
    }
}

/// What the sources say of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The queue that had it, in one of two looks.
    pub place: Option<Role>,
    /// The worker that was asked has taken it.
    pub in_hand: bool,
    /// What its queues may hold besides.
    pub sight: Sight,
    /// What the engine says at last.
    pub engine: EngineSays,
    /// What the target says.
    pub target: TargetSays,
    /// The target has changed it moments ago, so that somebody may be about to act on it.
    pub just_changed: bool,
    /// Its process is suspended, so that nobody would fetch it.
    pub suspended: bool,
}

/// How much could be seen of a system's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of them.
    Whole,
    /// All but those that a worker has taken that was not asked.
    WorkerNotAsked,
    /// Not all of a queue was read, or the worker that was asked did not name all.
    Partial,
}

/// What the engine says of the task, asked again at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineSays {
    /// It waits under the same lock as at the start.
    Waits,
    /// The lock is another one: the task was unlocked, or fetched again.
    Moved,
    /// It has no retries left, which is an incident.
    Incident,
    /// It is over.
    Gone,
    /// The engine did not answer.
    Silent,
}

/// What the target says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSays {
    /// It has no such task.
    Nothing,
    /// A person has it to do.
    Open,
    /// It is finished.
    Finished,
    /// It is there; whether it is finished is not told.
    There,
    /// It cannot be asked for a task by its id.
    CannotBeAsked,
    /// It was asked and did not answer.
    Silent,
    /// There was no need to ask.
    NotAsked,
}

/// The table. The first line that fits counts.
pub fn class(facts: &Facts) -> Class {
    let Facts { place, in_hand, sight, engine, target, just_changed, .. } = *facts;
    match (place, engine) {
        // An answer on its way is never touched.
        (Some(Role::Responses), _) => Class::InHand,
        (Some(Role::Sent), EngineSays::Gone) => match target {
            // It is about to be answered, and nobody minds.
            TargetSays::Finished => Class::InHand,
            _ => Class::Orphan,
        },
        (Some(Role::Input | Role::Retry | Role::Sent), _) => Class::InHand,
        _ if in_hand => Class::InHand,
        (_, EngineSays::Gone | EngineSays::Moved) => Class::InHand,
        (Some(Role::Errors), _) | (None, EngineSays::Incident) => Class::Parked,
        (None, EngineSays::Silent) => Class::Unknown,
        (None, EngineSays::Waits) if sight == Sight::Partial => Class::Unknown,
        (None, EngineSays::Waits) if just_changed => Class::InHand,
        (None, EngineSays::Waits) => match target {
            TargetSays::Nothing | TargetSays::CannotBeAsked => Class::Lost,
            TargetSays::Open | TargetSays::There => Class::Untracked,
            TargetSays::Finished => Class::Unanswered,
            TargetSays::Silent | TargetSays::NotAsked => Class::Unknown,
        },
    }
}

/// Why the task must not be unlocked, if so; what is not wrong in this way is not unlocked either.
pub fn forbidden(class: Class, facts: &Facts) -> Option<&'static str> {
    match class {
        Class::InHand | Class::Parked | Class::Orphan | Class::Unknown => Some("an unlock would not mend it"),
        Class::Lost | Class::Untracked | Class::Unanswered => match facts {
            Facts { target: TargetSays::CannotBeAsked, .. } => Some(
                "its target cannot be asked whether it was done, so it might be done twice: unlock it in Camunda by hand, \
                 if that is right",
            ),
            Facts { sight: Sight::WorkerNotAsked, .. } => Some(
                "a worker that was not asked may have it: set MONITOR_ADDR for the worker and for this command, or stop \
                 every worker",
            ),
            Facts { suspended: true, .. } => Some("its process is suspended, so that the bridge would not fetch it"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Option<Role>; 6] =
        [None, Some(Role::Input), Some(Role::Retry), Some(Role::Sent), Some(Role::Errors), Some(Role::Responses)];
    const SIGHTS: [Sight; 3] = [Sight::Whole, Sight::WorkerNotAsked, Sight::Partial];
    const ENGINES: [EngineSays; 5] =
        [EngineSays::Waits, EngineSays::Moved, EngineSays::Incident, EngineSays::Gone, EngineSays::Silent];
    const TARGETS: [TargetSays; 7] = [
        TargetSays::Nothing,
        TargetSays::Open,
        TargetSays::Finished,
        TargetSays::There,
        TargetSays::CannotBeAsked,
        TargetSays::Silent,
        TargetSays::NotAsked,
    ];

    /// Nobody has it, everything was seen, and Camunda waits.
    const NOWHERE: Facts = Facts {
        place: None,
        in_hand: false,
        sight: Sight::Whole,
        engine: EngineSays::Waits,
        target: TargetSays::Nothing,
        just_changed: false,
        suspended: false,
    };

    fn each(mut visit: impl FnMut(Facts)) {
        for place in ROLES {
            for sight in SIGHTS {
                for engine in ENGINES {
                    for target in TARGETS {
                        for flags in 0..8_u8 {
                            let flag = |bit: u8| flags & (1 << bit) != 0;
                            let (in_hand, just_changed, suspended) = (flag(0), flag(1), flag(2));
                            visit(Facts { place, in_hand, sight, engine, target, just_changed, suspended });
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_task_that_nobody_has_is_called_after_what_its_target_says() {
        let of = |target| class(&Facts { target, ..NOWHERE });
        assert_eq!(
            TARGETS.map(of),
            [
                Class::Lost,
                Class::Untracked,
                Class::Unanswered,
                Class::Untracked,
                Class::Lost,
                Class::Unknown,
                Class::Unknown,
            ]
        );
    }

    #[test]
    fn what_is_in_a_queue_or_in_hand_is_not_lost() {
        let at = |place| class(&Facts { place, ..NOWHERE });
        let classes = [Class::Lost, Class::InHand, Class::InHand, Class::InHand, Class::Parked, Class::InHand];
        assert_eq!(ROLES.map(at), classes);
        assert_eq!(class(&Facts { in_hand: true, ..NOWHERE }), Class::InHand);
        let replayed = Facts { place: Some(Role::Errors), in_hand: true, ..NOWHERE };
        assert_eq!(class(&replayed), Class::InHand, "a replay is under way");
    }

    #[test]
    fn the_engine_s_last_word_counts() {
        let of = |engine| class(&Facts { engine, ..NOWHERE });
        assert_eq!(ENGINES.map(of), [Class::Lost, Class::InHand, Class::Parked, Class::InHand, Class::Unknown]);
    }

    #[test]
    fn an_open_task_for_which_no_process_waits_is_an_orphan() {
        let of = |target| class(&Facts { place: Some(Role::Sent), engine: EngineSays::Gone, target, ..NOWHERE });
        assert_eq!((of(TargetSays::Open), of(TargetSays::Finished)), (Class::Orphan, Class::InHand));
    }

    #[test]
    fn what_could_not_be_seen_is_unknown_and_what_has_just_changed_is_left_alone() {
        assert_eq!(class(&Facts { sight: Sight::Partial, ..NOWHERE }), Class::Unknown);
        assert_eq!(class(&Facts { just_changed: true, target: TargetSays::Finished, ..NOWHERE }), Class::InHand);
    }

    #[test]
    fn only_what_nobody_has_and_everybody_has_answered_for_is_unlocked() {
        let mut unlocked = 0;
        each(|facts| {
            let class = class(&facts);
            if forbidden(class, &facts).is_some() {
                return;
            }
            unlocked += 1;
            assert!(facts.place.is_none() && !facts.in_hand && !facts.suspended && !facts.just_changed, "{facts:?}");
            assert_eq!((facts.sight, facts.engine), (Sight::Whole, EngineSays::Waits), "{facts:?}");
            let answered = [TargetSays::Nothing, TargetSays::Open, TargetSays::Finished, TargetSays::There];
            assert!(answered.contains(&facts.target), "{facts:?}");
        });
        assert_eq!(unlocked, 4);
    }

    #[test]
    fn an_answer_on_its_way_is_in_hand_whatever_else_is_said() {
        each(|facts| {
            let facts = Facts { place: Some(Role::Responses), ..facts };
            assert_eq!(class(&facts), Class::InHand, "{facts:?}");
        });
    }
}
