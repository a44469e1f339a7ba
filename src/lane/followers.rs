//! Tells somebody outside what has become of replayed messages that he follows: settled with success, or parked again.
//!
//! While nobody follows a message, it costs the lane one look at a number. It never waits, and it does not know who
//! follows, nor why.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::ledger::Replay;
use super::outgoing;
use crate::message::ParkedTask;
use crate::rabbitmq::publisher::OutgoingMessage;

/// So many messages may be followed at once.
const MOST: usize = 10_000;

/// What has become of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is created or found and recorded, or answered at once, and followed up; its message is acknowledged.
    Settled,
    /// It is parked, for this reason.
    Parked(String),
}

/// A task that was followed, and what has become of it.
pub type News = (String, Became);

/// The tasks of a lane that are followed. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Followers(Arc<Followed>);

#[derive(Debug, Default)]
struct Followed {
    /// How many there are.
    count: AtomicUsize,
    tasks: Mutex<HashMap<String, Follower>>,
}

#[derive(Debug)]
struct Follower {
    /// What becomes of an earlier message of the task does not count.
    since: Option<Replay>,
    news: Sender<News>,
}

impl Followers {
    /// Tells `news` once what becomes of the message that is replayed under this id. `false`: too many are followed
    /// already.
    pub fn follow(&self, message: &OutgoingMessage, news: &Sender<News>) -> bool {
        let mut tasks = self.tasks();
        if tasks.len() >= MOST && !tasks.contains_key(&message.message_id) {
            return false;
        }
        let follower = Follower { since: outgoing::replay(&message.headers), news: news.clone() };
        tasks.insert(message.message_id.clone(), follower);
        self.0.count.store(tasks.len(), Ordering::Relaxed);
        true
    }

    /// Nobody reads these news any more.
    pub fn forget(&self, news: &Sender<News>) {
        let mut tasks = self.tasks();
        tasks.retain(|_, follower| !follower.news.same_channel(news));
        self.0.count.store(tasks.len(), Ordering::Relaxed);
    }

    /// The task is settled, and this was the last replay among its messages.
    pub(super) fn settled(&self, id: &str, replay: Option<Replay>) {
        self.tell(id, replay, || Became::Settled);
    }

    /// RabbitMQ has confirmed this parked message, and this was the last replay among the messages of its task.
    pub(super) fn parked(&self, message: &OutgoingMessage, replay: Option<Replay>) {
        self.tell(&message.message_id, replay, || {
            let in_header = message.headers.text("error_message").map(str::to_owned);
            Became::Parked(in_header.or_else(|| ParkedTask::error_in(&message.body)).unwrap_or_default())
        });
    }

    fn tell(&self, id: &str, replay: Option<Replay>, became: impl FnOnce() -> Became) {
        // Relaxed: whoever follows a message does so before he publishes it.
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut tasks = self.tasks();
        if tasks.get(id).is_none_or(|follower| replay < follower.since) {
            return;
        }
        let Some(follower) = tasks.remove(id) else { return };
        self.0.count.store(tasks.len(), Ordering::Relaxed);
        // Whoever has followed it may be gone.
        let _ = follower.news.try_send((id.to_owned(), became()));
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Follower>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    fn replayed(id: &str) -> OutgoingMessage {
        outgoing::for_replay(OutgoingMessage::new("q".into(), id.into(), Vec::new()))
    }

    #[test]
    fn each_message_is_told_once_and_no_more_than_so_many_are_followed() {
        let (followers, (news, heard)) = (Followers::default(), unbounded());
        followers.settled("nobody follows it", None);
        assert!((0..MOST).all(|number| followers.follow(&replayed(&number.to_string()), &news)));
        assert!(!followers.follow(&replayed("one too many"), &news) && followers.follow(&replayed("7"), &news));
        let later = Some(Replay(Some(i64::MAX)));
        followers.settled("7", later);
        followers.settled("7", later);
        let body = br#"{"original_message": null, "error_type": "X", "error_message": "http status 400"}"#;
        followers.parked(&OutgoingMessage::new("errors".into(), "8".into(), body.to_vec()), later);
        let expected = [("7", Became::Settled), ("8", Became::Parked("http status 400".into()))];
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), expected.map(|(id, became)| (id.to_owned(), became)));
        followers.forget(&news);
        followers.settled("9", later);
        assert!(heard.is_empty() && followers.0.count.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn what_becomes_of_an_earlier_message_of_the_task_is_not_told() {
        let (followers, (news, heard)) = (Followers::default(), unbounded());
        let message = replayed("task-1");
        assert!(followers.follow(&message, &news));
        for earlier in [None, Some(Replay(None)), Some(Replay(Some(1_700_000_000_000)))] {
            followers.settled("task-1", earlier);
            assert!(heard.is_empty(), "{earlier:?}");
        }
        followers.settled("task-1", outgoing::replay(&message.headers));
        assert_eq!(heard.try_recv(), Ok(("task-1".to_owned(), Became::Settled)));
    }
}
