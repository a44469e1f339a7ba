//! `tests/with-rabbitmq cargo bench`: what the worker reaches, each figure with the floor or the demand that it is
//! compared with. `cargo bench -- create sweep` runs only the named cases.
//!
//! The cases: (a) create at a target that answers at once, (b) at a slow one, (c) at the cloud's limit, (d) sweep, (e)
//! latency, (f) start and rest, (g) at a target that more requests slow down, (h) memory with large messages, (i) each
//! lane at a fake that answers at once, (j) the monitor.
//!
//! The real release binary, a real RabbitMQ, and the sandbox's fakes. Figures are compared within one run, since
//! the machine may be shared; nothing here fails because something was slow.

#[path = "../support/mod.rs"]
mod support;

mod create;
mod floor;
mod idle;
mod lanes;
mod latency;
mod machine;
mod memory;
mod monitor;
mod sweep;

use std::io::{IsTerminal as _, Write as _};

/// One line of the table.
pub struct Figure {
    what: String,
    value: String,
    demand: &'static str,
    reached: Option<bool>,
}

impl Figure {
    /// A figure that is compared with a demand.
    pub fn held(what: impl Into<String>, value: impl Into<String>, demand: &'static str, reached: bool) -> Figure {
        Figure { what: what.into(), value: value.into(), demand, reached: Some(reached) }
    }

    /// A figure that explains another one.
    pub fn plain(what: impl Into<String>, value: impl Into<String>) -> Figure {
        Figure { what: what.into(), value: value.into(), demand: "", reached: None }
    }
}

/// Says what is running, on one line that is overwritten on a terminal.
pub fn progress(text: &str) {
    let (start, end) = if std::io::stderr().is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
    let _ = write!(std::io::stderr(), "{start}{text}{end}");
}

type Case = (&'static str, fn() -> Vec<Figure>);

const CASES: &[Case] = &[
    ("create", create::at_once),
    ("slow", create::slow),
    ("cloud", create::cloud),
    ("checklists", create::cloud_checklists),
    ("sweep", sweep::large),
    ("latency", latency::at_twenty_a_second),
    ("idle", idle::start_and_rest),
    ("strained", create::strained),
    ("memory", memory::large_messages),
    ("lanes", lanes::all),
    ("monitor", monitor::cost_and_parked),
];

fn main() {
    // cargo itself adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mut figures = Vec::new();
    for (name, run) in CASES.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name)) {
        progress(&format!("{name} …"));
        figures.extend(run());
    }
    progress("");
    let out = &mut std::io::stdout();
    let _ = writeln!(out, "{}\n\n| figure | measured | demanded | reached |\n|---|---|---|---|", machine::describe());
    for Figure { what, value, demand, reached } in figures {
        let reached = reached.map_or("", |reached| if reached { "yes" } else { "**no**" });
        let _ = writeln!(out, "| {what} | {value} | {demand} | {reached} |");
    }
}
