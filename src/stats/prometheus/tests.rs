//! The text is read by a parser of the format, as its specification gives it, which knows nothing of the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::figures::{LaneGauges, LastReconciliation, QueueFigures};
use super::super::histogram::Requests;
use super::super::{Counter, Declared, REQUEST_BUDGET, Stats};
use super::*;
use crate::message::Cause;

/// The metrics of a text, by family.
#[derive(Debug, Default)]
struct Parsed(BTreeMap<String, ParsedFamily>);

#[derive(Debug, Default)]
struct ParsedFamily {
    kind: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Fails on whatever the format does not allow.
fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let (mut current, mut seen) = (String::new(), BTreeSet::new());
    assert!(text.ends_with('\n'), "the last line ends too");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(parsed.0.insert(name.into(), ParsedFamily { help: help.into(), ..Default::default() }).is_none());
            current = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            let family = parsed.0.get_mut(name).expect("its help comes first");
            assert!(name == current && family.kind.is_empty() && family.samples.is_empty(), "{line}");
            family.kind = kind.into();
        } else {
            let (name, labels, value) = sample(line);
            let family = parsed.0.get_mut(&current).expect("a family");
            let ends: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(ends.iter().any(|end| name == format!("{current}{end}")), "{name} among {current}");
            assert!(!family.kind.is_empty() && seen.insert((name.clone(), labels.clone())), "twice: {line}");
            family.samples.push((name, labels, value));
        }
    }
    parsed
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |text: &str| {
        let mut characters = text.chars();
        let first = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        first && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let (value, after) = quoted(after);
            assert!(is_name(label) && labels.insert(label.into(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("a space").parse().expect("a number");
    (name.into(), labels, value)
}

/// The text up to the quote that ends it, and the rest.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next().expect("an escape").1 {
                'n' => '\n',
                known @ ('\\' | '"') => known,
                other => panic!("the format knows no \\{other}"),
            }),
            other => value.push(other),
        }
    }
    panic!("no end: {text}")
}

impl Parsed {
    fn value(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let samples = &self.0.get(family)?.samples;
        samples.iter().find(|(_, labels, _)| *labels == wanted).map(|(_, _, value)| *value)
    }
}

fn lane<'a>(system: &'a str, stats: &'a Stats) -> LaneFigures<'a> {
    let gauges = LaneGauges { ready: Some(true), waiting: Some(7), ..LaneGauges::default() };
    let queues = vec![QueueFigures { queue: "a.queue", messages: Some(3), consumers: None }];
    LaneFigures { system, stats, gauges, queues }
}

#[test]
fn each_family_stands_once_and_holds_the_samples_of_all_lanes() {
    let (stats, other) = (Stats::default(), Stats::default());
    stats.total_messages.add(5);
    other.total_messages.add(6);
    stats.parked.count(Cause::RequestError);
    stats.last_ack_time.set(1_500);
    let shared = vec![QueueFigures { queue: "errors.queue", messages: Some(9), consumers: Some(0) }];
    let classes = vec![("lost", 2)];
    let reconciliation = Some(LastReconciliation { ended_ms: 2_000, classes });
    let text = text(&[lane("one", &stats), lane("two", &other)], &Common { queues: shared, reconciliation });
    let parsed = parse(&text);
    let of = |family: &str, labels: &[(&str, &str)]| parsed.value(&format!("task_creator_{family}"), labels);
    let one = ("system", "one");
    assert_eq!([of("received_total", &[one]), of("received_total", &[("system", "two")])], [Some(5.0), Some(6.0)]);
    assert_eq!(of("parked_total", &[one, ("cause", "REQUEST_ERROR")]), Some(1.0));
    assert_eq!(of("settled_total", &[one, ("outcome", "parked")]), Some(1.0));
    assert_eq!(parsed.0["task_creator_parked_total"].samples.len(), 2 * Cause::ALL.len());
    assert_eq!(of("last_ack_timestamp_seconds", &[one]), Some(1.5));
    assert_eq!((of("lane_ready", &[one]), of("waiting_messages", &[one])), (Some(1.0), Some(7.0)));
    assert_eq!(of("lane_paused", &[one]), None, "what is unknown is left out");
    assert_eq!(of("queue_messages", &[one, ("queue", "a.queue")]), Some(3.0));
    assert_eq!(of("queue_consumers", &[("queue", "errors.queue")]), Some(0.0));
    assert_eq!(of("reconciled_tasks", &[("class", "lost")]), Some(2.0));
    assert!(of("build_info", &[("version", env!("CARGO_PKG_VERSION"))]) == Some(1.0));
}

#[test]
fn a_histogram_s_buckets_grow_and_the_last_one_is_its_count() {
    let requests = Requests::default();
    for milliseconds in [1, 200, 7_200_000] {
        requests.note("tasks.task.add", Duration::from_millis(milliseconds), Some(200));
    }
    let stats = Stats::with(vec![Declared::requests(&requests)]);
    stats.handling.observe(Duration::from_secs(2));
    let parsed = parse(&text(&[lane("one", &stats)], &Common::default()));
    let (family, mut last) = (&parsed.0["task_creator_http_request_seconds"], (0.0, 0.0));
    for (_, labels, value) in family.samples.iter().filter(|(name, ..)| name.ends_with("_bucket")) {
        let bound: f64 = labels["le"].parse().expect("a bound; +Inf is a number too");
        assert!(bound > last.0 && *value >= last.1, "{labels:?}");
        last = (bound, *value);
    }
    assert_eq!((family.kind.as_str(), last), ("histogram", (f64::INFINITY, 3.0)));
    let end = |end: &str| family.samples.iter().find(|(name, ..)| name.ends_with(end)).map(|(_, _, value)| *value);
    assert_eq!((end("_count"), end("_sum")), (Some(3.0), Some(7200.201)));
    let labels = [("system", "one"), ("method", "tasks.task.add"), ("class", "2xx")];
    assert_eq!(parsed.value("task_creator_http_requests_total", &labels), Some(3.0));
    assert!(parsed.0.contains_key("task_creator_handling_seconds"));
}

#[test]
fn a_system_s_own_numbers_and_those_of_the_process_are_there() {
    let counter = Arc::new(Counter::default());
    counter.add(4);
    let own = vec![
        Declared::count("missing_parts", "Parts.", &counter),
        Declared::rate("rate", &counter, &counter),
        Declared::gauge(REQUEST_BUDGET, "Budget.", || 0.5),
        Declared::gauges("cool_down_seconds", "Rest.", "method", || vec![("batch", 1.5)]),
    ];
    let stats = Stats::with(own);
    let parsed = parse(&text(&[lane("one", &stats)], &Common::default()));
    let one = ("system", "one");
    assert_eq!(parsed.value("task_creator_missing_parts_total", &[one]), Some(4.0));
    assert_eq!(parsed.value("task_creator_request_budget_ratio", &[one]), Some(0.5));
    assert_eq!(parsed.value("task_creator_cool_down_seconds", &[one, ("method", "batch")]), Some(1.5));
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "threads"] {
        let value = parsed.value(&format!("process_{name}"), &[]);
        assert!(value.is_some_and(|value| value >= 0.0), "{name}: {value:?}");
    }
    let started = parsed.value("process_start_time_seconds", &[]).expect("a time");
    let now = crate::message::since_1970().as_secs_f64();
    assert!((now - 86_400.0..=now + 1.0).contains(&started), "{started} and {now}");
}

#[test]
fn hostile_names_stay_in_their_labels_and_help_in_its_line() {
    let queue = "a\"} 1\nevil{x=\"\\n";
    let queues = vec![QueueFigures { queue, messages: Some(1), consumers: None }];
    let parsed = parse(&text(&[], &Common { queues, reconciliation: None }));
    assert_eq!(parsed.value("task_creator_queue_messages", &[("queue", queue)]), Some(1.0));
    assert!(parsed.0.values().all(|family| !family.help.is_empty()));
    let odd = Family::gauge("odd_bytes", "two\nlines \\");
    let text = write([Sample::new(odd, Vec::new(), 1.0)].into_iter());
    assert_eq!(text.lines().next(), Some("# HELP task_creator_odd_bytes two\\nlines \\\\"));
}
