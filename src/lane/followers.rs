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

/// What has become of a message that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The id of its task.
    pub task: String,
    /// Its replay, which tells it from other messages of the task.
    pub replay: Option<Replay>,
    /// What has become of it.
    pub became: Became,
}

/// The messages of a lane that are followed. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Followers(Arc<Followed>);

#[derive(Debug, Default)]
struct Followed {
    /// How many there are.
    count: AtomicUsize,
    /// By task: two messages of one may be followed, by one replay or by two. The one that was replayed first is first.
    tasks: Mutex<HashMap<String, Vec<Follower>>>,
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
        if self.0.count.load(Ordering::Relaxed) >= MOST {
            return false;
        }
        let follower = Follower { since: outgoing::replay(&message.headers), news: news.clone() };
        tasks.entry(message.message_id.clone()).or_default().push(follower);
        self.0.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Nobody reads these news any more.
    pub fn forget(&self, news: &Sender<News>) {
        let mut tasks = self.tasks();
        tasks.values_mut().for_each(|followers| followers.retain(|follower| !follower.news.same_channel(news)));
        tasks.retain(|_, followers| !followers.is_empty());
        self.0.count.store(tasks.values().map(Vec::len).sum(), Ordering::Relaxed);
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
        let Some(followers) = tasks.get_mut(id) else { return };
        // A later message of the task has news of its own.
        let told: Vec<Follower> = followers.extract_if(.., |follower| follower.since <= replay).collect();
        if followers.is_empty() {
            tasks.remove(id);
        }
        if told.is_empty() {
            return;
        }
        self.0.count.fetch_sub(told.len(), Ordering::Relaxed);
        let became = became();
        // Whoever has followed it may be gone.
        for Follower { since, news } in told {
            let _ = news.try_send(News { task: id.to_owned(), replay: since, became: became.clone() });
        }
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Vec<Follower>>> {
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
        assert!(!followers.follow(&replayed("one too many"), &news));
        let later = Some(Replay(Some(i64::MAX)));
        followers.settled("7", later);
        followers.settled("7", later);
        let body = br#"{"original_message": null, "error_type": "X", "error_message": "http status 400"}"#;
        followers.parked(&OutgoingMessage::new("errors".into(), "8".into(), body.to_vec()), later);
        let told: Vec<_> = heard.try_iter().map(|news| (news.task, news.became)).collect();
        let expected = [("7", Became::Settled), ("8", Became::Parked("http status 400".into()))];
        assert_eq!(told, expected.map(|(id, became)| (id.to_owned(), became)));
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
        let replay = outgoing::replay(&message.headers);
        followers.settled("task-1", replay);
        assert_eq!(heard.try_recv(), Ok(News { task: "task-1".to_owned(), replay, became: Became::Settled }));
    }

    #[test]
    fn two_messages_of_one_task_have_news_of_their_own_in_one_replay_and_in_two() {
        let (followers, (news, heard), (later_news, later_heard)) = (Followers::default(), unbounded(), unbounded());
        let stamped = |at: i64| {
            let mut message = replayed("task-1");
            message.headers.set("x-replayed-at", at);
            message
        };
        assert!(followers.follow(&stamped(1_000), &news) && followers.follow(&stamped(2_000), &later_news));
        followers.settled("task-1", Some(Replay(Some(1_000))));
        assert_eq!((heard.try_iter().count(), later_heard.try_iter().count()), (1, 0));
        assert!(followers.follow(&stamped(3_000), &later_news));
        followers.settled("task-1", Some(Replay(Some(3_000))));
        let told: Vec<_> = later_heard.try_iter().map(|news| news.replay).collect();
        let both = [2_000, 3_000].map(|at| Some(Replay(Some(at))));
        assert_eq!((heard.try_iter().count(), told), (0, both.to_vec()), "settled together");
        assert_eq!(followers.0.count.load(Ordering::Relaxed), 0);
    }
}
