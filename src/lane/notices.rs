//! Tells somebody outside of every task whose parked message RabbitMQ has confirmed.
//!
//! It never waits: a notice that nobody takes in time is dropped, counted and logged. It knows that incidents in
//! Camunda are made of its notices, and not how. Of the last such task it keeps id and cause, for those who are told of
//! alerts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError};

use super::log_throttle::LogThrottle;
use crate::message::ParkedTask;
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::stats::Counter;

/// A task is parked.
#[derive(Debug)]
pub struct Notice {
    /// The task.
    pub task: ParkedTask,
    /// Where its lane counts what becomes of the notice.
    pub counts: Counts,
}

/// What has become of a lane's notices.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// They have arrived.
    pub reported: Arc<Counter>,
    /// They have not.
    pub unreported: Arc<Counter>,
}

/// The task that a lane has parked last. Clones share it; it is locked for an instant only.
#[derive(Clone, Debug, Default)]
pub struct LastParked(Arc<Mutex<Option<ParkedLast>>>);

/// A task that is parked, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedLast {
    /// The how manieth task it is that was parked.
    pub number: u64,
    /// The task's id.
    pub id: String,
    /// Why it is parked, as one word.
    pub cause: String,
}

impl LastParked {
    /// The task, if there is one.
    pub fn get(&self) -> Option<ParkedLast> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, ParkedTask { id, cause, .. }: &ParkedTask) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.as_ref().map_or(0, |last| last.number) + 1;
        *last = Some(ParkedLast { number, id: id.clone(), cause: cause.clone() });
    }
}

/// A lane's end. By default nobody listens.
#[derive(Debug, Default)]
pub struct Notices {
    listener: Option<Sender<Notice>>,
    counts: Counts,
    last: Option<LastParked>,
    /// The reader and the tracker share it.
    dropped: Mutex<LogThrottle>,
}

impl Notices {
    /// Notices for this listener.
    pub fn to(listener: Sender<Notice>, counts: Counts) -> Notices {
        Notices { listener: Some(listener), counts, ..Notices::default() }
    }

    /// The same, which note the last task here, too.
    #[must_use]
    pub fn noting(self, last: LastParked) -> Notices {
        Notices { last: Some(last), ..self }
    }

    /// The task in a message for the error queue, to be [told](Notices::tell) when that is confirmed. `None`: nobody
    /// listens, or it names no task.
    pub fn task_in(&self, parked: &OutgoingMessage) -> Option<ParkedTask> {
        if self.listener.is_none() && self.last.is_none() {
            return None;
        }
        let header = |name| parked.headers.text(name);
        match header("error_type") {
            Some(cause) => ParkedTask::of(&parked.body, cause, header("error_message").unwrap_or_default()),
            None => ParkedTask::read(&parked.body),
        }
    }

    /// RabbitMQ has confirmed the parked message of this task.
    pub fn tell(&self, task: ParkedTask) {
        self.last.iter().for_each(|last| last.note(&task));
        let Some(listener) = &self.listener else { return };
        let why = match listener.try_send(Notice { task, counts: self.counts.clone() }) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "too many wait to be reported",
            Err(TrySendError::Disconnected(_)) => "the worker stops",
        };
        self.counts.unreported.count();
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.say(why, Instant::now()).inspect(|why| log::warn!("parked without an incident in Camunda: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::rabbitmq::Headers;

    fn parked(body: &str, headers: Headers) -> OutgoingMessage {
        OutgoingMessage { headers, ..OutgoingMessage::new("errors".into(), "task-1".into(), body.into()) }
    }

    fn task(id: &str, worker_id: Option<&str>) -> ParkedTask {
        let worker_id = worker_id.map(str::to_owned);
        ParkedTask { id: id.into(), worker_id, cause: "REQUEST_ERROR".into(), error: "http status 400".into() }
    }

    #[test]
    fn the_task_is_found_in_a_message_and_in_a_record_wrapped_or_as_it_came() {
        let notices = Notices::to(bounded(1).0, Counts::default());
        let message = r#"{"task_id": "task-1", "worker_id": "bridge", "half": "\ud83d"}"#;
        let record = format!(r#"{{"original_message": {message}}}"#);
        let wrapped = |original: &str| {
            format!(
                r#"{{"original_message": {original}, "error_type": "REQUEST_ERROR", "error_message": "http status 400"}}"#
            )
        };
        let found = |body: &str, headers| notices.task_in(&parked(body, headers));
        for original in [message, &record] {
            assert_eq!(found(&wrapped(original), Headers::new()), Some(task("task-1", Some("bridge"))));
            let headers = [("error_type", "REQUEST_ERROR"), ("error_message", "http status 400")];
            assert_eq!(found(original, headers.into_iter().collect()), Some(task("task-1", Some("bridge"))));
        }
        assert_eq!(found(&wrapped(r#"{"task_id": 7}"#), Headers::new()), Some(task("7", None)));
        for nameless in ["null", "[]", r#"{"task_id": " "}"#] {
            assert_eq!(found(&wrapped(nameless), Headers::new()), None, "{nameless}");
        }
        assert_eq!(Notices::default().task_in(&parked(&wrapped(message), Headers::new())), None);
    }

    #[test]
    fn a_notice_that_nobody_takes_is_counted_and_never_waited_for() {
        let (sender, receiver) = bounded(1);
        let counts = Counts::default();
        let notices = Notices::to(sender, counts.clone());
        notices.tell(task("task-1", None));
        notices.tell(task("task-2", None));
        assert_eq!(receiver.try_recv().map(|notice| notice.task.id).as_deref(), Ok("task-1"));
        drop(receiver);
        notices.tell(task("task-3", None));
        assert_eq!(counts.unreported.get(), 2);
    }
}
