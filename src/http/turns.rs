//! No more than so many requests at once, for a target that is not to be flooded.
//!
//! It sends nothing and knows no target.

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::stop::Stop;

/// The turns that there are. Whoever has one holds it for one request, which has a deadline.
pub struct Turns {
    free: Receiver<()>,
    back: Sender<()>,
}

/// The right to send a request; it ends when this is dropped.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// So many at once.
    pub fn new(most: usize) -> Turns {
        let (back, free) = bounded(most.max(1));
        (0..most.max(1)).for_each(|_| {
            let _ = back.try_send(());
        });
        Turns { free, back }
    }

    /// Waits for a turn; `None` when the stop comes first.
    pub fn next(&self, stop: &Stop) -> Option<Turn<'_>> {
        // What is in hand may go on while the worker stops.
        if self.free.try_recv().is_ok() {
            return Some(Turn(self));
        }
        select! {
            recv(self.free) -> turn => turn.ok().map(|()| Turn(self)),
            recv(stop.receiver()) -> _ => None,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // There is room: it was taken out.
        let _ = self.0.back.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop;

    #[test]
    fn there_are_as_many_turns_as_there_should_be_and_each_comes_back() {
        let (stopper, stop) = stop::signal();
        let turns = Turns::new(2);
        let first = turns.next(&stop);
        let second = turns.next(&stop);
        assert!(first.is_some() && second.is_some() && turns.free.is_empty());
        drop(first);
        let third = turns.next(&stop);
        assert!(third.is_some());
        stopper.raise();
        assert!(turns.next(&stop).is_none(), "nobody waits for a turn while the worker stops");
        drop(second);
        assert!(turns.next(&stop).is_some(), "one that is free may be had");
    }
}
