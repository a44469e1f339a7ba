//! The routes of parked messages: lists, causes, one in full, replay one, discard one. What is done is in
//! [`crate::parked`]; [`shelf`] keeps the last reading.

pub mod shelf;

use std::collections::HashSet;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use self::shelf::{Filter, READING_TIME, Turn};
use super::api::{Call, json};
use super::hub::Hub;
use super::problem::{
    ERROR_QUEUE_AWAY, IF_MATCH_MISSING, MESSAGE_CHANGED, NOT_PARKED, Problem, QUEUE_IS_BEING_READ, WRONG_BODY,
};
use super::query::no_body;
use crate::http::server::{Page, Request};
use crate::parked::Selection;
use crate::parked::entry::ParkedEntry;
use crate::parked::queue::{self, Bounds, End, Fate};
use crate::parked::replay;
use crate::parked::summary::Summary;
use crate::rabbitmq::browse::Taken;

/// The list of parked messages.
pub fn list(call: &Call<'_>) -> Result<Page, Problem> {
    let Call { hub, query, .. } = call;
    let text = |name| query.some_text(name);
    let filter = Filter { cause: text("cause"), system: text("system"), text: text("q") };
    let (limit, cursor) = (query.limit()?, query.cursor()?);
    Ok(json(200, &hub.parked.list((&hub.config, &hub.stop), filter, limit, cursor.as_deref())?))
}

/// The parked messages counted by cause and system.
pub fn causes(call: &Call<'_>) -> Result<Page, Problem> {
    let Call { hub, .. } = call;
    Ok(json(200, &hub.parked.causes(&hub.config, &hub.stop)?))
}

/// One message in full.
pub fn one(call: &Call<'_>) -> Result<Page, Problem> {
    let marks = if_match(call.request)?.flatten();
    let entry = found(call.hub, id(call), marks.as_ref(), call.hub.parked.turn_to_look(&call.hub.stop)?)?;
    let whole = Whole::of(call.hub, &entry);
    Ok(json(200, &whole).with("ETag", format!("\"{}\"", entry.etag())))
}

/// Deletes a message for good.
pub fn discard(call: &Call<'_>) -> Result<Page, Problem> {
    let (Call { hub, .. }, id) = (call, id(call));
    no_body(call.request)?;
    let marks = if_match(call.request)?.ok_or_else(|| {
        Problem::new(IF_MATCH_MISSING, "send the message's etag as If-Match, or * for whichever is there")
    })?;
    let taken = {
        let _turn = hub.parked.turn()?;
        let selection = Selection { etags: marks.clone(), ..Selection::of_ids([id.to_owned()]) };
        let mut taken = None;
        let gone = |entry: &ParkedEntry| taken = Some(entry.etag());
        queue::take_out(&hub.config, &hub.stop, &selection, 1, gone).map_err(|err| away(&err))?;
        taken
    };
    let Some(etag) = taken else {
        // It has another mark, or it is gone.
        return Err(find(hub, id, marks.as_ref()).err().unwrap_or_else(|| not_there(id)));
    };
    hub.parked.gone(&etag);
    hub.events.operator(call.caller.name(), &format!("discarded the parked message of task={id}"));
    Ok(Page::new(204, "", Vec::new()))
}

/// A message with everything in it.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    summary: Summary,
    why_not: Option<String>,
    message: Option<Box<RawValue>>,
    body_base64: Option<String>,
}

impl Whole {
    fn of(hub: &Hub, entry: &ParkedEntry) -> Whole {
        let why_not = replay::target(&hub.config, entry).err();
        let bytes = entry.original.as_ref().unwrap_or(&entry.body);
        let message = serde_json::from_slice(bytes).ok().and_then(on_one_line);
        let body_base64 = message.is_none().then(|| STANDARD.encode(bytes));
        let error = entry.about.error_message.clone();
        Whole { summary: Summary { error, ..Summary::of(entry, why_not.is_none()) }, why_not, message, body_base64 }
    }
}

/// The answer is cleaned as one line. In JSON no text contains a line break.
fn on_one_line(message: &RawValue) -> Option<Box<RawValue>> {
    RawValue::from_string(message.get().replace(['\n', '\r', '\t'], " ")).ok()
}

/// The id in the path.
pub fn id<'c>(call: &'c Call<'_>) -> &'c str {
    call.path.first().map(String::as_str).unwrap_or_default()
}

/// The first message of this id, and with one of these marks if there are some; it stays in the queue.
///
/// # Errors
/// [`NOT_PARKED`], [`MESSAGE_CHANGED`], or why the queue cannot be read.
pub fn find(hub: &Hub, id: &str, marks: Option<&HashSet<String>>) -> Result<ParkedEntry, Problem> {
    found(hub, id, marks, hub.parked.turn()?)
}

fn found(hub: &Hub, id: &str, marks: Option<&HashSet<String>>, turn: Turn) -> Result<ParkedEntry, Problem> {
    let (mut found, mut other) = (None, None);
    let bounds = Bounds { most: u32::MAX, time: READING_TIME, patience: queue::PATIENCE };
    let read = queue::read_within(&hub.config, &hub.stop, bounds, |entry| {
        if entry.id != id {
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        let etag = entry.etag();
        if marks.is_some_and(|marks| !marks.contains(&etag)) {
            other = Some(etag);
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        found = Some(entry);
        Ok(ControlFlow::Break(Fate::Stays))
    });
    drop(turn);
    let end = read.map_err(|err| away(&err))?.end;
    match (found, other, end) {
        (Some(entry), ..) => Ok(entry),
        (None, _, End::OutOfTime(left)) => Err(Problem::new(
            ERROR_QUEUE_AWAY,
            format!("it was not among those read within {READING_TIME:?}; {left} message(s) were not read"),
        )),
        (None, Some(etag), _) => Err(Problem::new(MESSAGE_CHANGED, format!("its etag is \"{etag}\" now"))),
        (None, None, _) => Err(not_there(id)),
    }
}

/// No message has this id.
pub fn not_there(id: &str) -> Problem {
    Problem::new(NOT_PARKED, format!("no message is parked as {id}"))
}

/// The marks that a request wants its message to have: `None` without If-Match, `Some(None)` for `*`.
///
/// # Errors
/// [`WRONG_BODY`]: it has no mark in quotes.
pub fn if_match(request: &Request<'_>) -> Result<Option<Option<HashSet<String>>>, Problem> {
    let Some(header) = request.header("if-match") else { return Ok(None) };
    if header.trim() == "*" {
        return Ok(Some(None));
    }
    // A weak mark never fits here.
    let mark = |mark: &str| Some(mark.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let marks: Option<HashSet<String>> =
        header.split(',').filter(|part| !part.trim().starts_with("W/")).map(mark).collect();
    let marks = marks.ok_or_else(|| Problem::new(WRONG_BODY, "If-Match is an etag in quotes, or *"))?;
    Ok(Some(Some(marks)))
}

/// The queue cannot be read.
pub fn away(err: &anyhow::Error) -> Problem {
    let kind = if err.is::<Taken>() { QUEUE_IS_BEING_READ } else { ERROR_QUEUE_AWAY };
    Problem::new(kind, format!("{err:#}"))
}
