//! What needs a person, in sentences, the worst first. It decides nothing and asks nobody.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::lanes::{LaneState, LaneView};
use super::status::QueueView;

/// A lane that waits for its target for so long needs somebody.
const LONG: Duration = Duration::from_secs(300);
/// Of a reason in a sentence, in characters.
const LONGEST_REASON: usize = 300;

/// Something that needs a person.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct Attention {
    pub level: Level,
    pub system: Option<&'static str>,
    pub code: &'static str,
    pub text: String,
    pub since: Option<String>,
    /// The parts of the sentence, for a page in another language.
    pub values: Value,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Work does not go on.
    Error,
    /// Somebody should look.
    Warning,
}

/// Everything that needs a person. `lost` are the tasks that reconciliations have found lost.
pub fn all(lanes: &[LaneView], queues: &[QueueView], lost_lines: u64, lost: u64) -> Vec<Attention> {
    let mut all: Vec<Attention> = lanes.iter().flat_map(of_lane).collect();
    all.extend(queues.iter().filter_map(parked));
    all.extend(lost_tasks(lost));
    all.extend(lost_log_lines(lost_lines));
    all.sort_by_key(|attention| attention.level);
    all
}

fn of_lane(lane: &LaneView) -> Vec<Attention> {
    let of = |level, code, text: String, values| Attention {
        level,
        system: Some(lane.system),
        code,
        text: format!("{} {text}", lane.system),
        since: lane.since.clone(),
        values,
    };
    let mut all = Vec::new();
    let lasts = lane.lasts.unwrap_or_default();
    if let Some((level, code, does)) = standing(lane.state, lasts) {
        let reason = cut(lane.reason.as_deref().unwrap_or("the reason is not known"));
        let values = json!({ "seconds": lasts.as_secs(), "reason": reason });
        all.push(of(level, code, format!("{does} {}: {reason}", about(lasts)), values));
    } else if let Some(why) = lane.not_ready_because.as_deref().map(cut).filter(|_| lane.state == LaneState::Works) {
        all.push(of(Level::Error, "not_ready", format!("is not ready: {why}"), json!({ "reason": why })));
    }
    if lane.tracking.unanswered > 0 {
        let text = format!(
            "has {} not answered to Camunda",
            counted(lane.tracking.unanswered, "finished task", "finished tasks")
        );
        let unanswered = of(Level::Warning, "unanswered", text, json!({ "count": lane.tracking.unanswered }));
        all.push(Attention { since: None, ..unanswered });
    }
    all
}

/// What is said of a lane that does not work.
fn standing(state: LaneState, lasts: Duration) -> Option<(Level, &'static str, &'static str)> {
    Some(match state {
        LaneState::TargetAway if lasts < LONG => (Level::Warning, "target_away", "waits"),
        LaneState::TargetAway => (Level::Error, "target_away", "waits"),
        LaneState::Paused => (Level::Warning, "paused", "is paused for"),
        LaneState::NoSession => (Level::Error, "no_session", "has no session with RabbitMQ for"),
        LaneState::Alarm => (Level::Error, "alarm", "is held by RabbitMQ for"),
        LaneState::FullQueue => (Level::Error, "full_queue", "waits for room in a queue for"),
        LaneState::Stalled => (Level::Error, "stalled", "is stalled for"),
        LaneState::Works | LaneState::Starting | LaneState::Stopping => return None,
    })
}

fn parked(queue: &QueueView) -> Option<Attention> {
    let count = queue.messages.filter(|count| *count > 0 && queue.role == "errors")?;
    let (verb, text) = (if count == 1 { "is" } else { "are" }, counted(count.into(), "message", "messages"));
    let text = format!("{text} {verb} parked in {}", queue.name);
    Some(Attention::general(Level::Warning, "parked", text, count.into()))
}

fn lost_tasks(count: u64) -> Option<Attention> {
    let text = format!("the last reconciliation has found {}", counted(count, "lost task", "lost tasks"));
    (count > 0).then(|| Attention::general(Level::Error, "lost", text, count))
}

fn lost_log_lines(count: u64) -> Option<Attention> {
    let text = format!("the log lacks {}; stderr says why", counted(count, "line", "lines"));
    (count > 0).then(|| Attention::general(Level::Warning, "log_lines_lost", text, count))
}

impl Attention {
    /// One that is about no lane.
    fn general(level: Level, code: &'static str, text: String, count: u64) -> Attention {
        Attention { level, system: None, code, text, since: None, values: json!({ "count": count }) }
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A length of time as people say it: it changes rarely, so that a sentence is not a new one every second.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => "less than a minute".into(),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn cut(reason: &str) -> String {
    match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}
