//! The metrics as Prometheus reads them: its text format, version 0.0.4.
//!
//! It knows how a metric is written, and none by name.

use std::fmt::{self, Write as _};

use super::figures::{Common, LaneFigures};
use super::histogram::{BOUNDS, Counted};
use super::list::{Family, Kind, Measured, Sample};
use super::process;

/// The type of the text, for the answer that carries it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Before each name, except those that every program has.
const PREFIX: &str = "task_creator_";
const OF_EVERY_PROGRAM: &str = "process_";

/// All metrics: of these lanes, of what they share, and of this process.
pub fn text(lanes: &[LaneFigures], common: &Common) -> String {
    let samples = lanes.iter().flat_map(LaneFigures::samples);
    write(samples.chain(common.samples()).chain(process::samples()))
}

/// Each family stands once, with all of its samples, in the order in which the families come first.
fn write(samples: impl Iterator<Item = Sample>) -> String {
    let mut families: Vec<(Family, Vec<Sample>)> = Vec::new();
    for sample in samples {
        match families.iter_mut().find(|(family, _)| full_name(*family) == full_name(sample.family)) {
            Some((_, samples)) => samples.push(sample),
            None => families.push((sample.family, vec![sample])),
        }
    }
    let mut text = String::new();
    for (family, samples) in families {
        // A String takes all that is written to it.
        let _ = write_family(&mut text, family, &samples);
    }
    text
}

fn write_family(text: &mut String, family: Family, samples: &[Sample]) -> fmt::Result {
    let name = full_name(family);
    let (help, kind) = (family.help.replace('\\', r"\\").replace('\n', r"\n"), kind(family.kind));
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
    for Sample { labels, value, .. } in samples {
        match value {
            Measured::Number(number) => writeln!(text, "{name}{} {number}", labelled(labels, None))?,
            Measured::Times(times) => write_times(text, &name, labels, times)?,
        }
    }
    Ok(())
}

fn write_times(text: &mut String, name: &str, labels: &[(&'static str, String)], times: &Counted) -> fmt::Result {
    let Counted { up_to, count, sum } = times;
    for (bound, number) in BOUNDS.iter().zip(up_to) {
        writeln!(text, "{name}_bucket{} {number}", labelled(labels, Some(&bound.to_string())))?;
    }
    writeln!(text, "{name}_bucket{} {count}", labelled(labels, Some("+Inf")))?;
    let labels = labelled(labels, None);
    writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {count}")
}

/// The name with all that belongs to it.
fn full_name(Family { name, kind, .. }: Family) -> String {
    let prefix = if name.starts_with(OF_EVERY_PROGRAM) { "" } else { PREFIX };
    let suffix = if kind == Kind::Counter { "_total" } else { "" };
    format!("{prefix}{name}{suffix}")
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn labelled(labels: &[(&'static str, String)], up_to: Option<&str>) -> String {
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let labels: Vec<String> = labels
        .chain(up_to.map(|bound| ("le", bound)))
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
