//! A message that moves at random while it is looked for, so that the order of the looks is proven, too.

use super::class::{Class, EngineSays, Facts, Sight, TargetSays, class};
use crate::trace::facts::Role;

/// Where the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Queue(Role),
    /// A worker has taken it, and has it for at least so many steps.
    Hands(u32),
    /// The bridge has taken its response, for at most so many steps.
    Bridge(u32),
    Over,
}

/// A look of [`super::queues::look`], or a question to the worker.
#[derive(Clone, Copy)]
enum Look {
    Queue(Role),
    Worker,
}

/// The order in which [`super::queues::look`] looks.
const PASS: [Look; 9] = [
    Look::Worker,
    Look::Queue(Role::Input),
    Look::Queue(Role::Retry),
    Look::Worker,
    Look::Queue(Role::Sent),
    Look::Queue(Role::Errors),
    Look::Queue(Role::Responses),
    Look::Queue(Role::Retry),
    Look::Worker,
];
/// A message that has failed waits in the worker's hands, longer than a look lasts.
const DELAY: u32 = 6;
/// The bridge completes a task in less time than there is between the two passes.
const BETWEEN: u32 = 12;

struct Walk {
    random: u64,
    at: At,
    target: TargetSays,
    just_changed: bool,
    /// A person replays a parked message once.
    is_replayed: bool,
}

impl Walk {
    fn chance(&mut self, of: u64) -> bool {
        // Xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(of)
    }

    fn step(&mut self) {
        let moves = self.chance(2);
        self.at = match self.at {
            At::Hands(left @ 1..) => At::Hands(left - 1),
            At::Bridge(0) => At::Over,
            At::Bridge(left) if !moves => At::Bridge(left - 1),
            at if !moves => at,
            At::Queue(Role::Input) => At::Hands(0),
            At::Queue(Role::Retry) => At::Hands(DELAY),
            At::Queue(Role::Errors) if self.is_replayed => self.at,
            At::Queue(Role::Errors) => {
                self.is_replayed = true;
                At::Queue(Role::Input)
            }
            At::Queue(Role::Sent) => {
                (self.target, self.just_changed) = (TargetSays::Finished, true);
                At::Queue(Role::Responses)
            }
            At::Queue(Role::Responses) => At::Bridge(BETWEEN - 2),
            At::Bridge(_) | At::Over => At::Over,
            At::Hands(0) => match (self.chance(3), self.chance(4)) {
                (true, _) => At::Queue(Role::Retry),
                (_, true) => At::Queue(Role::Errors),
                _ => {
                    if self.target == TargetSays::Nothing {
                        (self.target, self.just_changed) = (TargetSays::Open, true);
                    }
                    At::Queue(Role::Sent)
                }
            },
        };
    }

    /// What a pass finds: a queue, and whether the worker names it.
    fn pass(&mut self) -> (Option<Role>, bool) {
        let (mut place, mut in_hand) = (None, false);
        for look in PASS {
            self.step();
            match (look, self.at) {
                (Look::Queue(role), At::Queue(at)) if role == at => {
                    // Of several the one furthest on; an error queue is the least.
                    place = Some(if role == Role::Errors { place.unwrap_or(role) } else { role });
                }
                (Look::Worker, At::Hands(_)) => in_hand = true,
                _ => {}
            }
        }
        (place, in_hand)
    }

    fn class(&mut self) -> Class {
        let (first, first_hands) = self.pass();
        if first_hands || first.is_some_and(|role| role != Role::Errors) {
            return Class::InHand;
        }
        (0..BETWEEN).for_each(|_| self.step());
        let (second, in_hand) = self.pass();
        self.step();
        let (target, just_changed) = (self.target, self.just_changed);
        self.step();
        let engine = if self.at == At::Over { EngineSays::Gone } else { EngineSays::Waits };
        let sight = Sight::Whole;
        class(&Facts { place: second.or(first), in_hand, sight, engine, target, just_changed, suspended: false })
    }
}

#[test]
fn a_message_that_moves_never_seems_lost() {
    let starts = [
        (At::Queue(Role::Input), TargetSays::Nothing),
        (At::Queue(Role::Retry), TargetSays::Nothing),
        (At::Queue(Role::Errors), TargetSays::Nothing),
        (At::Queue(Role::Sent), TargetSays::Open),
        (At::Hands(0), TargetSays::Nothing),
        (At::Hands(DELAY), TargetSays::Nothing),
        (At::Queue(Role::Responses), TargetSays::Finished),
    ];
    let mut seen = Vec::new();
    for seed in 1..30_000_u64 {
        for (at, target) in starts {
            let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut walk = Walk { random, at, target, just_changed: false, is_replayed: false };
            // It is anywhere when the first look starts.
            (0..seed % 10).for_each(|_| walk.step());
            let class = walk.class();
            assert!(matches!(class, Class::InHand | Class::Parked), "{class:?}, seed {seed}, from {at:?}");
            if !seen.contains(&class) {
                seen.push(class);
            }
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}
