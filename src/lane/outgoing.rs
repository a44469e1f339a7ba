//! What a lane publishes, and what it reads from the headers of deliveries: records, retried and parked messages. It
//! decides nothing.

use std::collections::BTreeMap;
use std::slice;
use std::time::Duration;

use serde_json::value::RawValue;

use super::ledger::Replay;
use super::{Job, Lane};
use crate::message::parked::original as original_of;
use crate::message::{
    self, Cause, Earlier, LARGEST_BODY, Note, Original, Parked, ParkedTask, Record, Task, document, fingerprint,
    shorten,
};
use crate::rabbitmq::Headers;
use crate::rabbitmq::browse::Message;
use crate::rabbitmq::consumer::{DELIVERY_COUNT, WORN_OUT, times_requeued};
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::redact;
use crate::systems::Created;
use crate::terminal;

/// How often the message has failed by itself.
const ATTEMPTS: &str = "x-attempts";
/// Milliseconds since 1970 before which a message for the retry queue is not tried again.
const RETRY_AT: &str = "x-retry-at";
/// Milliseconds for which a message for the retry queue is not tried again, counted from its arrival: clocks may
/// disagree about [`RETRY_AT`], which earlier versions go by.
const RETRY_WAIT: &str = "x-retry-wait";
/// Why it failed the last time.
const LAST_ERROR: &str = "x-last-error";
/// In characters.
const LONGEST_ERROR: usize = 500;
/// Set while an earlier delivery of the message may have created its task: what is republished does not count as
/// redelivered.
const MAY_EXIST: &str = "x-may-exist";
/// Set when the task exists and the target does not show it: it is never created again.
const UNSEEN: &str = "x-unseen";
/// What earlier tries have done of the task, as its handler has noted it.
const NOTE: &str = "x-half-done";
/// In bytes. Without a longer one the next try starts from nothing.
const LONGEST_NOTE: usize = 16_000;
/// Set when a person has replayed a parked message.
const REPLAYED: &str = "x-replayed";
/// When that was, in milliseconds since 1970: it tells a replay from the next one.
const REPLAYED_AT: &str = "x-replayed-at";
/// The queue from which a message was moved to that of its system. Set once, and never moved again: it is worked on
/// where it lies, whatever the settings of another worker say of it.
const ORIGINAL_QUEUE: &str = "x-original-queue";
/// Set while an earlier delivery of a message that is to move may have moved it.
const MAY_BE_MOVED: &str = "x-may-be-moved";
/// Set on a record that waits in the retry queue until the sent queue takes it.
const RECORD: &str = "x-record";
/// All headers of a message have to fit into one frame (128 KiB as a rule) together with those that we add; one that
/// does not would end every session that publishes it.
const LONGEST_HEADERS: usize = 100_000;
/// What the bridge copies from the body of a task into its headers, by the names of both.
const FROM_BODY: &[(&str, &str)] = &[
    ("camunda_topic", "topic"),
    ("target_system", "system"),
    ("task_id", "task_id"),
    ("process_instance_id", "process_instance_id"),
];
/// In bytes. What the bridge copies is shorter.
const LONGEST_HEADER: usize = 255;
/// No retried message waits longer than this, even if a clock was set back.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// What follows a create: the response where the task is finished at once, else its sent record. From here on only this
/// message holds the target's reply.
pub fn result(lane: &Lane, task: &Task, created: &mut Created) -> OutgoingMessage {
    let Created { reply, answer, host, .. } = created;
    let (queues, host, reply) = (&lane.queues, host.as_deref(), reply.take());
    let (queue, body) = match answer {
        Some(answer) => (&queues.responses, message::response_at_once(task, &queues.input, answer.take(), host)),
        None => (&queues.sent, message::sent_record(task, &queues.input, reply, host)),
    };
    OutgoingMessage { queue: queue.clone(), message_id: task.id.clone(), body, headers: Headers::new() }
}

/// The response to a finished task.
pub fn response(lane: &Lane, record: &Record, finished: serde_json::Value) -> OutgoingMessage {
    OutgoingMessage {
        queue: lane.queues.responses.clone(),
        message_id: record.task.id.clone(),
        body: record.response(finished),
        headers: Headers::new(),
    }
}

/// The message as it came, for the retry queue: it has failed `attempts` times, now with `error`, and waits for
/// `delay`.
pub fn for_retry(lane: &Lane, job: &Job, attempts: u32, delay: Duration, error: &str) -> OutgoingMessage {
    let at = message::since_1970() + delay;
    let mut headers = kept(job.headers.clone());
    headers.set(ATTEMPTS, i32::try_from(attempts).unwrap_or(i32::MAX));
    headers.set(RETRY_AT, milliseconds(at));
    headers.set(RETRY_WAIT, milliseconds(delay));
    headers.set(LAST_ERROR, redact::clean(error).chars().take(LONGEST_ERROR).collect::<String>());
    // After the last try the task is only looked up once more.
    let may_exist = job.task.earlier == Earlier::MayExist || attempts >= lane.config.retry_attempts;
    headers.set(MAY_EXIST, may_exist);
    headers.set(UNSEEN, job.task.earlier == Earlier::Unseen);
    headers.remove(NOTE);
    if let Some(note) = job.task.note.text().filter(|note| note.len() <= LONGEST_NOTE) {
        headers.set(NOTE, note);
    }
    OutgoingMessage {
        queue: lane.queues.retry.clone(),
        message_id: job.task.id.clone(),
        body: job.task.message(),
        headers,
    }
}

/// The same message for the tail of its own queue, where it is counted from nothing again. It was delivered before.
pub fn republished(queue: &str, message_id: String, body: Vec<u8>, headers: Headers) -> OutgoingMessage {
    that_may_exist(untouched(queue, message_id, body, headers))
}

/// The same where nobody has worked on the message, which is still to move: an earlier delivery may have moved it.
pub fn republished_to_move(queue: &str, message_id: String, body: Vec<u8>, headers: Headers) -> OutgoingMessage {
    let mut outgoing = untouched(queue, message_id, body, headers);
    outgoing.headers.set(MAY_BE_MOVED, true);
    outgoing
}

/// A message of any queue of ours that [`browse`](crate::rabbitmq::browse) has to publish again: whatever it says of
/// itself stays, and the lane that gets it next looks its task up with patience.
pub fn browsed(queue: &str, message: Message) -> OutgoingMessage {
    let Message { body, headers, .. } = message;
    let task = ParkedTask::of(&body, "", "");
    let id = task.map_or_else(|| fingerprint(&body), |task| task.id);
    match may_move(&headers) {
        true => republished_to_move(queue, id, body, headers),
        false => republished(queue, id, body, headers),
    }
}

fn untouched(queue: &str, message_id: String, body: Vec<u8>, headers: Headers) -> OutgoingMessage {
    OutgoingMessage { queue: queue.to_owned(), message_id, body, headers: kept(headers) }
}

/// The message as it came to the queue `from`, for that of another system. `redelivered`: an earlier delivery may have
/// moved it.
pub fn moved(
    (from, to): (&str, &str),
    message_id: String,
    body: Vec<u8>,
    headers: Headers,
    redelivered: bool,
) -> OutgoingMessage {
    let mut outgoing = untouched(to, message_id, body, headers);
    let may_be_moved = redelivered || outgoing.headers.is_set(MAY_BE_MOVED);
    [MAY_BE_MOVED, RETRY_WAIT].iter().for_each(|name| outgoing.headers.remove(name));
    outgoing.headers.set(ORIGINAL_QUEUE, from);
    if may_be_moved { that_may_exist(outgoing) } else { outgoing }
}

/// A message that its new queue does not take, for the retry queue, from where it is moved after a pause.
pub fn to_move_later(lane: &Lane, moved: &OutgoingMessage) -> OutgoingMessage {
    let mut outgoing = OutgoingMessage { queue: lane.queues.retry.clone(), ..moved.clone() };
    outgoing.headers.set(MAY_BE_MOVED, moved.headers.is_set(MAY_EXIST));
    [ORIGINAL_QUEUE, MAY_EXIST].iter().for_each(|name| outgoing.headers.remove(name));
    outgoing.headers.set(RETRY_WAIT, milliseconds(lane.config.retry_delay));
    outgoing
}

/// A record for the retry queue, since the sent queue would soon delete it and does not take it again; or (`back`) the
/// way back.
pub fn record_on_its_way(lane: &Lane, id: String, body: Vec<u8>, mut headers: Headers, back: bool) -> OutgoingMessage {
    headers.remove(RECORD);
    if back {
        return republished(&lane.queues.sent, id, body, headers);
    }
    let mut outgoing = republished(&lane.queues.retry, id, body, headers);
    outgoing.headers.set(RECORD, true);
    outgoing
}

/// A message with the headers that the bridge gives to a task; none for a body that has not their members.
pub fn as_from_bridge(queue: String, message_id: String, body: Vec<u8>) -> OutgoingMessage {
    let members = document::read(&body).unwrap_or_default();
    let present = FROM_BODY.iter().filter_map(|(header, member)| {
        let text = members[*member].as_str().filter(|text| text.len() <= LONGEST_HEADER)?;
        Some((*header, text))
    });
    let headers = present.collect();
    OutgoingMessage { queue, message_id, body, headers }
}

/// The same, replayed by a person: it is done again even if its task was finished before.
pub fn for_replay(mut outgoing: OutgoingMessage) -> OutgoingMessage {
    outgoing.headers.set(REPLAYED, true);
    outgoing.headers.set(REPLAYED_AT, milliseconds(message::since_1970()));
    outgoing
}

/// The same for a task that an earlier delivery may have created: it is looked up with more patience.
pub fn that_may_exist(mut outgoing: OutgoingMessage) -> OutgoingMessage {
    outgoing.headers.set(MAY_EXIST, true);
    outgoing
}

/// The headers that a message keeps when it is republished: all, or only ours where they are too long.
fn kept(mut headers: Headers) -> Headers {
    headers.remove(DELIVERY_COUNT);
    if headers.size() > LONGEST_HEADERS {
        headers.keep_only(&[
            ATTEMPTS,
            RETRY_AT,
            RETRY_WAIT,
            UNSEEN,
            NOTE,
            REPLAYED,
            REPLAYED_AT,
            ORIGINAL_QUEUE,
            MAY_BE_MOVED,
        ]);
    }
    headers
}

/// A message for the error queue. One too large to be wrapped goes as it is, with its cause in headers.
pub fn parked(lane: &Lane, message_id: String, parked: &Parked, original: &Original) -> OutgoingMessage {
    // A portal may repeat in its refusal what it was sent, secrets included.
    let parked = &Parked { error: &redact::clean(parked.error), ..*parked };
    let (body, headers) = match original {
        Original::Bytes(bytes) if bytes.len() > LARGEST_BODY => {
            let headers =
                [("error_type", parked.cause.name()), ("system", parked.system), ("source_queue", parked.source_queue)];
            (bytes.clone(), headers.into_iter().collect())
        }
        original => {
            let replay = terminal::command_with_ids(&["parked", "replay"], slice::from_ref(&message_id));
            (parked.body(original, &replay), Headers::new())
        }
    };
    OutgoingMessage { queue: lane.queues.errors.clone(), message_id, body, headers }
}

/// The outgoing message in at most `most` bytes, and what it lacks; `None` where nothing of it may be left out.
pub fn fitted(outgoing: &OutgoingMessage, most: usize) -> Option<(OutgoingMessage, String)> {
    if let Some((body, left_out)) = shorten::to_fit(&outgoing.body, most) {
        return Some((OutgoingMessage { body, ..outgoing.clone() }, left_out.join(", ")));
    }
    // A parked message goes as it came, with its cause in headers.
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&outgoing.body).ok()?;
    members.get("error_type")?;
    let texts = ["error_type", "error_message", "system", "source_queue"].map(|name| {
        let text: String = serde_json::from_str(members.get(name)?.get()).ok()?;
        Some((name, text.chars().take(LONGEST_ERROR).collect::<String>()))
    });
    let body = original_of(&members).filter(|body| body.len() <= most)?;
    let bare = OutgoingMessage { body, headers: texts.into_iter().flatten().collect(), ..outgoing.clone() };
    Some((bare, "what is wrapped around a parked message".into()))
}

/// May the record of this task be published, as far as the broker's size limit is known?
pub fn can_be_recorded(lane: &Lane, task: &Task) -> bool {
    shorten::can_be_recorded(task.body.get(), lane.largest.bytes())
}

/// The parked form of a task that failed for good.
pub fn parked_job(lane: &Lane, job: Job, attempts: u32, cause: Cause, error: &str) -> OutgoingMessage {
    let source_queue = &lane.queues.input;
    let about = Parked { cause, error, system: lane.name, source_queue, attempts };
    parked(lane, job.task.id, &about, &Original::Json(job.task.body))
}

/// How often the message with these headers has failed by itself.
pub fn attempts(headers: &Headers) -> u32 {
    headers.number(ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0)
}

/// Why the message with these headers failed the last time.
pub fn last_error(headers: &Headers) -> Option<&str> {
    headers.text(LAST_ERROR)
}

/// When the message with these headers is tried again, as a time since 1970.
pub fn retry_at(headers: &Headers) -> Option<Duration> {
    headers.number(RETRY_AT).and_then(|at| u64::try_from(at).ok()).map(Duration::from_millis)
}

/// What an earlier delivery of the message with these headers may have done.
pub fn earlier(headers: &Headers, redelivered: bool) -> Earlier {
    match () {
        () if headers.is_set(UNSEEN) => Earlier::Unseen,
        () if redelivered || headers.is_set(MAY_EXIST) || headers.is_set(MAY_BE_MOVED) => Earlier::MayExist,
        // A create without a clear answer waits in the retry queue until its effect can be seen.
        () if attempts(headers) > 0 => Earlier::WouldShow,
        () => Earlier::None,
    }
}

/// When a person has replayed the message with these headers, if so.
pub fn replay(headers: &Headers) -> Option<Replay> {
    headers.is_set(REPLAYED).then(|| Replay(headers.number(REPLAYED_AT)))
}

/// May the message with these headers be moved to another system's queue? Not once more, and not where it was worked
/// on.
pub fn may_move(headers: &Headers) -> bool {
    let is_untouched = attempts(headers) == 0 && ![MAY_EXIST, UNSEEN].iter().any(|mark| headers.is_set(mark));
    is_untouched && headers.text(ORIGINAL_QUEUE).is_none()
}

/// May an earlier delivery of the message with these headers have been moved here, too? Then there are two of the same.
pub fn may_be_here_twice(headers: &Headers) -> bool {
    headers.text(ORIGINAL_QUEUE).is_some() && headers.is_set(MAY_EXIST)
}

/// Is this a record, waiting for the sent queue to take it?
pub fn is_record(headers: &Headers) -> bool {
    headers.is_set(RECORD)
}

/// How long the message with these headers has to wait, from its arrival on. It is the whole wait, since how long it
/// has been in its queue could be told by a clock only.
pub fn wait(headers: &Headers) -> Duration {
    let milliseconds = |name| headers.number(name).and_then(|number| u64::try_from(number).ok());
    let by_clock = || Duration::from_millis(milliseconds(RETRY_AT).unwrap_or(0)).saturating_sub(message::since_1970());
    milliseconds(RETRY_WAIT).map_or_else(by_clock, Duration::from_millis).min(LONGEST_WAIT)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Has the message been requeued so often that its queue is about to delete it? Then it is to be [`republished`].
pub fn wears_out(headers: &Headers) -> bool {
    times_requeued(headers) >= WORN_OUT
}

/// What earlier tries have done of the task of the message with these headers.
pub fn note(headers: &Headers) -> Note {
    Note::new(headers.text(NOTE).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_moved_once_however_long_its_headers_are() {
        let mut headers = Headers::from_iter([("other", "x".repeat(LONGEST_HEADERS))]);
        assert!(may_move(&headers));
        headers.set(ORIGINAL_QUEUE, "default.queue");
        let moved = moved(("default.queue", "mail.queue"), "task-1".into(), b"{}".to_vec(), headers, false);
        assert!(
            !may_move(&moved.headers)
                && !may_move(&untouched("mail.queue", moved.message_id, moved.body, moved.headers).headers)
        );
    }

    #[test]
    fn what_was_worked_on_is_not_moved() {
        for mark in [MAY_EXIST, UNSEEN] {
            assert!(!may_move(&Headers::from_iter([(mark, true)])), "{mark}");
        }
        assert!(!may_move(&Headers::from_iter([(ATTEMPTS, 1)])));
        assert!(may_move(&Headers::from_iter([(REPLAYED, true)])));
    }

    #[test]
    fn a_message_that_was_browsed_often_may_still_move_and_is_looked_up_with_patience() {
        let message = |headers| Message { body: br#"{"task_id": "task-1"}"#.to_vec(), headers, sent: None };
        let headers = browsed("default.queue", message(Headers::new())).headers;
        assert!(may_move(&headers));
        assert_eq!(earlier(&headers, false), Earlier::MayExist);
        let headers = browsed("bitrix24.retry.queue", message(Headers::from_iter([(ATTEMPTS, 2)]))).headers;
        assert_eq!((attempts(&headers), earlier(&headers, false)), (2, Earlier::MayExist));
        assert_eq!(browsed("q", message(Headers::new())).message_id, "task-1");
    }

    /// How long a message waits that is to be tried this many seconds from now.
    fn waits(seconds: i64) -> Duration {
        let now = message::now_ms();
        let at = i64::try_from(now).unwrap_or_default() + seconds * 1000;
        wait(&Headers::from_iter([(RETRY_AT, at)]))
    }

    #[test]
    fn a_clock_that_was_set_back_cannot_keep_a_message() {
        assert!(waits(5) > Duration::from_secs(4) && waits(5) <= Duration::from_secs(5));
        assert_eq!((waits(-3600), waits(3600)), (Duration::ZERO, LONGEST_WAIT));
        assert_eq!(wait(&Headers::new()), Duration::ZERO);
    }

    #[test]
    fn no_clock_shortens_a_wait_that_is_given_itself() {
        let told = |wait: i64| (RETRY_WAIT, wait);
        let long_ago = (RETRY_AT, 1_700_000_000_000);
        assert_eq!(wait(&Headers::from_iter([long_ago, told(30_000)])), Duration::from_secs(30));
        assert_eq!(wait(&Headers::from_iter([long_ago, told(i64::MAX)])), LONGEST_WAIT);
        assert_eq!(wait(&Headers::from_iter([long_ago, told(-1)])), Duration::ZERO);
    }
}
