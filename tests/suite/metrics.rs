//! The metrics and all that names them: the alert rules, the dashboard and the manual. `tests/metrics/promtool` checks
//! the same with Prometheus' own program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use task_creator::config::Config;
use task_creator::stats::figures::{Common, LaneFigures, LaneGauges, LastReconciliation, QueueFigures};
use task_creator::stats::histogram::Requests;
use task_creator::stats::{Declared, Stats, prometheus};
use task_creator::stop;
use task_creator::systems::Surroundings;
use task_creator::systems::table::Setup;

const PREFIX: &str = "task_creator_";
/// What a name ends in that is no counter: its unit, or for a condition what is so.
const UNITS: &[&str] = &[
    "_seconds",
    "_bytes",
    "_ratio",
    "_messages",
    "_tasks",
    "_requests",
    "_consumers",
    "_fds",
    "_threads",
    "_info",
    "_ready",
    "_paused",
    "_away",
    "_connected",
];

/// The text with every metric that there is.
fn text() -> String {
    let settings = BTreeMap::from([
        ("BITRIX_WEBHOOK_URL", "https://bitrix.example/rest/1/token0123456789/"),
        ("RABBITMQ_PASSWORD", "password"),
    ]);
    let setup = Setup::read(|name| settings.get(name).map(|value| (*value).to_owned())).expect("right settings");
    let (_running, stop) = stop::signal();
    let (routes, Config { https, rabbitmq, .. }) = (setup.routes(), &setup.config);
    let around = Surroundings { https, threads: 1, routes: &routes, stop: &stop, rabbitmq };
    let (_, system) = setup.on().find(|(name, _)| *name == "bitrix24").expect("it is on");
    let bitrix24 = Stats::with(system.connect(&around).expect("nothing is connected yet").handler.counters());
    let requests = Requests::default();
    requests.note("GET", Duration::from_secs(1), Some(200));
    let count = |name| Declared::count(name, "The worker declares it.", &Arc::default());
    let others = vec![
        // These have no sample before the first request.
        Declared::requests(&requests),
        Declared::gauges("cool_down_seconds", "How long a method rests.", "method", || vec![("a", 0.0)]),
        // These are there with CAMUNDA_URL.
        count("incidents_reported"),
        count("incidents_unreported"),
    ];
    let other = Stats::with(others);
    let lane = |system, stats| LaneFigures { system, stats, gauges: known(), queues: queue() };
    let reconciliation = Some(LastReconciliation { ended_ms: 1, classes: vec![("lost", 0)] });
    prometheus::text(&[lane("bitrix24", &bitrix24), lane("other", &other)], &Common { queues: queue(), reconciliation })
}

fn known() -> LaneGauges {
    let (flag, number) = (Some(false), Some(1));
    LaneGauges {
        ready: flag,
        paused: flag,
        target_away: flag,
        waiting: number,
        oldest_waiting_seconds: number,
        in_hand: number,
        retrying: number,
    }
}

fn queue() -> Vec<QueueFigures<'static>> {
    vec![QueueFigures { queue: "a.queue", messages: Some(1), consumers: Some(1) }]
}

/// Each family with its kind and its help text.
fn families(text: &str) -> BTreeMap<String, (String, String)> {
    let part = |line: &str, start: &str| -> Option<(String, String)> {
        let (name, rest) = line.strip_prefix(start)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let mut kinds: BTreeMap<_, _> = text.lines().filter_map(|line| part(line, "# TYPE ")).collect();
    let helps = text.lines().filter_map(|line| part(line, "# HELP "));
    helps.map(|(name, help)| (name.clone(), (kinds.remove(&name).unwrap_or_default(), help))).collect()
}

/// The metrics that a text names. Those of a histogram end in a part of it.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let metrics = words.filter(|word| word.starts_with(PREFIX) || word.starts_with("process_"));
    let whole =
        |word: &str| ["_bucket", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned();
    metrics.map(whole).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|err| panic!("{path}: {err}"))
}

#[test]
fn every_metric_has_a_help_text_and_a_unit() {
    let families = families(&text());
    assert!(families.len() > 50, "{:?}", families.keys());
    for (name, (kind, help)) in families {
        assert!(help.len() > 10 && help.ends_with('.') || name == "process_threads", "{name}: {help}");
        match kind.as_str() {
            "counter" => assert!(name.ends_with("_total"), "{name}"),
            "gauge" => assert!(UNITS.iter().any(|unit| name.ends_with(unit)), "{name}"),
            "histogram" => assert!(name.ends_with("_seconds"), "{name}"),
            other => panic!("{name} is of the kind {other:?}"),
        }
    }
}

#[test]
fn the_alert_rules_and_the_dashboard_name_metrics_that_exist() {
    let families = families(&text());
    let dashboard = read("src/packaging/dashboard.json");
    serde_json::from_str::<Value>(&dashboard).expect("it is JSON");
    for (file, text, fewest) in [
        ("alerts.yaml", read("src/packaging/alerts.yaml"), 12),
        ("alerts.test.yaml", read("src/packaging/alerts.test.yaml"), 12),
        ("dashboard.json", dashboard, 25),
    ] {
        let named = named(&text);
        assert!(named.len() >= fewest, "{file}: {named:?}");
        let unknown: Vec<_> = named.iter().filter(|name| !families.contains_key(*name)).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "{file}");
    }
}

/// The names of labels in an expression, or in a legend.
fn labels(text: &str) -> BTreeSet<String> {
    let is_of_a_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut names = BTreeSet::new();
    for (start, end) in [("{", "}"), ("by (", ")"), ("on (", ")")] {
        let lists = text.split(start).skip(1).filter_map(|rest| rest.split_once(end));
        for label in lists.flat_map(|(list, _)| list.split(',')) {
            names.insert(label.trim_start_matches(['{', ' ']).chars().take_while(|one| is_of_a_name(*one)).collect());
        }
    }
    names.remove("");
    names
}

/// The metrics and labels that are in these samples together; Prometheus adds the job and the instance.
fn labels_of(metrics: &BTreeSet<String>, samples: &str) -> BTreeSet<String> {
    let whole = |line: &&str| metrics.iter().any(|metric| line.starts_with(metric.as_str()));
    let known = samples.lines().filter(whole).flat_map(labels);
    known.chain(["job", "instance"].map(str::to_owned)).collect()
}

/// The panels of the dashboard.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("src/packaging/dashboard.json")).expect("it is JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("it has variables");
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "system"]);
    assert_eq!((&variables[0]["type"], &variables[0]["query"]), (&json!("datasource"), &json!("prometheus")));
    assert_eq!(variables[1]["datasource"], source());
    dashboard["panels"].as_array().expect("it has panels").clone()
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

#[test]
fn every_panel_of_the_dashboard_has_its_own_place_and_asks_for_labels_that_exist() {
    let samples = text();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        let title = panel["title"].as_str().expect("it has a title");
        assert!(ids.insert(panel["id"].as_u64().expect("it has a number")), "{title}: its number is taken");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("it has a place"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: {}", panel["gridPos"]);
        let mut cells = (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row)));
        assert!(cells.all(|cell| taken.insert(cell)), "{title} lies over another");
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        let names: BTreeSet<&str> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        assert_eq!(names.len(), targets.len(), "{title}");
        for target in &targets {
            assert_eq!((&panel["datasource"], &target["datasource"]), (&source(), &source()), "{title}");
            let [expression, legend] = ["expr", "legendFormat"].map(|name| target[name].as_str().expect("it has it"));
            let mut known = labels_of(&named(expression), &samples);
            let (asked, shown) = (labels(expression), labels(legend));
            assert!(asked.iter().all(|label| label == "le" || known.contains(label)), "{title}: {asked:?} {known:?}");
            if expression.starts_with("sum by") {
                known = labels(expression.split_inclusive(')').next().unwrap_or_default());
            }
            assert!(shown.is_subset(&known), "{title}: {shown:?} {known:?}");
        }
    }
}

#[test]
fn the_manual_has_every_metric_and_every_alert_and_no_other() {
    let manual = read("src/docs/metrics.md");
    let section = |title: &str| {
        let from = manual.split_once(&format!("\n## {title}\n")).expect("the section").1;
        from.split("\n## ").next().unwrap_or_default().to_owned()
    };
    let first_column = |section: &str| -> BTreeSet<String> {
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
        // What follows "by" is a label.
        let parts = cells.flat_map(|cell| cell.split(',')).map(|part| part.split(" by ").next().unwrap_or_default());
        parts.map(|part| part.trim().trim_matches('`').to_owned()).collect()
    };
    let families: BTreeSet<String> =
        families(&text()).into_keys().map(|name| name.trim_start_matches(PREFIX).to_owned()).collect();
    assert_eq!(first_column(&section("Metrics")), families);
    let rules = read("src/packaging/alerts.yaml");
    let rules: BTreeSet<String> =
        rules.lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect();
    assert_eq!(first_column(&section("Alert rules")), rules);
}
