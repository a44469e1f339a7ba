//! Threads that share requests. How a portal answers them is tested in `tests/`.

use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Answers each number with the size of its request, when the test says so; one request at a time.
struct Counter {
    started: Mutex<Sender<Vec<u32>>>,
    go_on: Mutex<Receiver<()>>,
}

impl Carrier for Counter {
    type Item = u32;
    type Reply = Result<usize, &'static str>;

    fn may_start(&self, _: usize, under_way: usize) -> bool {
        under_way == 0
    }

    fn await_permit(&self, _: &dyn Fn() -> usize, _: usize) -> Result<(), Self::Reply> {
        Ok(())
    }

    fn share<'a>(&self, _: impl Iterator<Item = &'a u32>, waiting: usize) -> usize {
        waiting.min(3)
    }

    fn carry(&self, items: Vec<u32>) -> Carried<Self::Reply> {
        lock(&self.started).send(items.clone()).expect("the test listens");
        lock(&self.go_on).recv().expect("the test goes on");
        assert!(!items.contains(&13), "a request that breaks off");
        let to_the_rest = items.contains(&99).then_some(Err("in vain"));
        Carried { replies: vec![Ok(items.len()); items.len()], to_the_rest }
    }

    fn broken(&self) -> Self::Reply {
        Err("broken")
    }
}

/// Hands `first` in. While its request is under way, hands each of `others` in by a thread of its own. Returns all
/// replies, sorted.
fn replies(first: u32, others: &[u32]) -> Vec<Result<usize, &'static str>> {
    let ((started, requests), (go, go_on)) = (channel(), channel());
    let counter = Counter { started: Mutex::new(started), go_on: Mutex::new(go_on) };
    let (combiner, barrier) = (Combiner::default(), Barrier::new(others.len() + 1));
    let run = |number: u32| combiner.run(&counter, vec![number]).remove(0);
    thread::scope(|scope| {
        let mut threads = vec![scope.spawn(|| run(first))];
        assert_eq!(requests.recv().expect("the first request"), [first]);
        threads.extend(others.iter().map(|number| {
            scope.spawn(|| {
                barrier.wait();
                run(*number)
            })
        }));
        barrier.wait();
        while lock(&combiner.0).waiting.len() < others.len() {
            thread::yield_now();
        }
        // As many requests as possible.
        (0..=others.len()).for_each(|_| go.send(()).expect("the carrier listens"));
        let mut replies: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        replies.sort();
        replies
    })
}

#[test]
fn items_that_wait_while_a_request_is_under_way_share_the_next_one() {
    assert_eq!(replies(1, &[2, 3, 4]), [Ok(1), Ok(3), Ok(3), Ok(3)]);
    assert_eq!(replies(1, &[2, 3, 4, 5]), [Ok(1), Ok(1), Ok(3), Ok(3), Ok(3)]);
}

#[test]
fn a_request_that_breaks_off_is_answered_and_the_next_one_is_sent() {
    assert_eq!(replies(13, &[2, 3]), [Ok(2), Ok(2), Err("broken")]);
}

#[test]
fn items_are_answered_without_a_request_when_asking_would_be_useless() {
    assert_eq!(replies(99, &[2, 3]), [Ok(1), Err("in vain"), Err("in vain")]);
}

#[test]
fn many_items_of_one_thread_come_back_in_order() {
    let ((started, requests), (go, go_on)) = (channel(), channel());
    let counter = Counter { started: Mutex::new(started), go_on: Mutex::new(go_on) };
    (0..3).for_each(|_| go.send(()).expect("the carrier listens"));
    let replies = Combiner::default().run(&counter, vec![1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(replies, [3, 3, 3, 3, 3, 3, 1].map(Ok));
    assert_eq!(requests.try_iter().collect::<Vec<_>>(), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
}
