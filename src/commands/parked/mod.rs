//! `task-creator parked`: lists, shows, replays, exports and discards parked messages.
//!
//! Only replay and discard take messages out of the error queue; replay acknowledges a message when its publish is
//! confirmed. A command can be interrupted at any point: RabbitMQ requeues what it holds. [`arguments`] is the command
//! line, [`listing`], [`replaying`] and [`mod@export`] write the text; what is done is in [`crate::parked`].

pub mod arguments;
pub mod export;
pub mod listing;
pub mod replaying;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use export::Export;
use replaying::{Manner, Terminal};

use super::complain;
use super::interrupts::{self, INTERRUPTED};
use crate::config::Config;
use crate::message::Cause;
use crate::nearest::did_you_mean;
use crate::parked::Selection;
use crate::parked::entry::ParkedEntry;
use crate::parked::groups::Groups;
use crate::parked::queue::{self, End};
use crate::parked::replay::{self, Outcome, Plan};
use crate::rabbitmq::browse::LONGEST;
use crate::redact::{clean, clean_json};
use crate::stop::Stop;
use crate::terminal::{self, say, tell};

/// How many ids are named when a prefix fits several.
const MOST_NAMED: usize = 5;

/// A subcommand, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// List messages, or groups of similar ones.
    List {
        /// Count them by cause, system and error.
        group: bool,
        /// For scripts.
        json: bool,
    },
    /// Show one in full.
    Show {
        /// Its id, or the beginning of it.
        id: String,
        /// For scripts.
        json: bool,
    },
    /// Publish them to the queues they came from.
    Replay {
        /// Which.
        which: Which,
        /// How.
        manner: Manner,
    },
    /// Write all of them to a file.
    Export {
        /// The file.
        file: PathBuf,
        /// Replace an existing file.
        force: bool,
    },
    /// Delete them for good.
    Discard {
        /// Their ids, or the beginnings of them.
        ids: Vec<String>,
    },
}

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with these ids, or with ids that start so.
    Ids(Vec<String>),
    /// Those of one cause.
    Cause(String),
    /// All.
    All,
}

/// Runs the subcommand. The exit code is 0, 1 when something could not be done, or 130 after an interrupt.
///
/// # Errors
/// A setting is wrong, RabbitMQ is not there, or it has no error queue.
pub fn run(action: Action) -> anyhow::Result<ExitCode> {
    let (setup, stop) = (super::settings()?, &interrupts::stop()?);
    let config = &setup.config;
    match action {
        Action::List { group: false, json } => list(config, stop, json),
        Action::List { group: true, json } => groups(config, stop, json),
        Action::Show { id, json } => show(config, stop, &id, json),
        Action::Replay { which, manner } => replay(config, stop, which, &manner),
        Action::Export { file, force } => export(config, stop, &file, force),
        Action::Discard { ids } => discard(config, stop, &ids),
    }
}

/// Shows all messages and leaves them in the queue. After an interrupt only the first ones were shown.
fn look(
    config: &Config,
    stop: &Stop,
    mut visit: impl FnMut(&ParkedEntry) -> anyhow::Result<()>,
) -> anyhow::Result<End> {
    Ok(queue::look(config, stop, LONGEST, |entry| visit(&entry))?.end)
}

/// The lines are printed when no message is held any more: who reads them may be slow.
fn list(config: &Config, stop: &Stop, json: bool) -> anyhow::Result<ExitCode> {
    let mut lines = Vec::new();
    let end = look(config, stop, |entry| {
        lines.push(if json { clean_json(&entry.summary()) } else { listing::line(entry, terminal::width()) });
        Ok(())
    })?;
    let count = lines.len();
    if !json && count > 0 {
        say(listing::heading(terminal::width()));
    }
    lines.iter().for_each(|line| say(line));
    if !json {
        tell(&format!("{count} message(s) in {}", clean(&config.error_queue)), 0);
    }
    Ok(ended(end, true))
}

fn groups(config: &Config, stop: &Stop, json: bool) -> anyhow::Result<ExitCode> {
    let (mut groups, mut count) = (Groups::default(), 0);
    let end = look(config, stop, |entry| {
        groups.add(listing::key(entry), entry);
        count += 1;
        Ok(())
    })?;
    let lines = listing::of_groups(groups, json, terminal::width());
    if json {
        lines.iter().for_each(|line| say(&clean_json(line)));
        return Ok(ended(end, true));
    }
    if count > 0 {
        say(listing::groups_heading(terminal::width()));
    }
    lines.iter().for_each(|line| say(line));
    tell(&format!("{count} message(s) in {} group(s) in {}", lines.len(), clean(&config.error_queue)), 0);
    Ok(ended(end, true))
}

fn show(config: &Config, stop: &Stop, id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let Resolved { ids, end, all_found } = resolve(config, stop, &[id.to_owned()])?;
    if ids.is_empty() || end == End::Interrupted {
        return Ok(ended(end, all_found));
    }
    let mut shown = Vec::new();
    let end = look(config, stop, |entry| {
        if ids.contains(&entry.id) {
            let fate = match replay::outgoing(config, entry) {
                Ok(outgoing) => format!("would go to {}", outgoing.queue),
                Err(why) => format!("not possible: {why}"),
            };
            shown.push(if json {
                clean_json(&entry.whole())
            } else {
                listing::in_full(entry, &fate, terminal::width())
            });
        }
        Ok(())
    })?;
    shown.iter().for_each(|text| say(text.trim_end()));
    Ok(ended(end, !shown.is_empty()))
}

fn replay(config: &Config, stop: &Stop, which: Which, manner: &Manner) -> anyhow::Result<ExitCode> {
    let all = which == Which::All;
    let (selection, all_found) = match which {
        Which::All => (Selection::all(), true),
        Which::Cause(cause) => (Selection::of_cause(cause), true),
        Which::Ids(ids) => {
            let Resolved { ids, end, all_found } = resolve(config, stop, &ids)?;
            if ids.is_empty() || end == End::Interrupted {
                return Ok(ended(end, all_found));
            }
            (Selection::of_ids(ids), all_found)
        }
    };
    let plan = Plan { selection, limit: manner.limit, selected: None, held_at_most: LONGEST, dry_run: manner.dry_run };
    let mut terminal = Terminal { manner, stop, started: false };
    let Outcome { replayed, skipped, other_causes, end } = replay::run(config, stop, &plan, &mut terminal)?;
    let done = if manner.dry_run { "would replay" } else { "replayed" };
    let told = format!("{done} {replayed}, skipped {skipped}");
    if manner.json {
        complain(&told)
    } else {
        say(&told)
    }
    let any = replayed + skipped > 0;
    if let (Some(cause), false, End::All) = (&plan.selection.cause, any, end) {
        complain(&no_such_cause(cause, &other_causes));
    }
    // Somebody else may have taken a named one meanwhile.
    let any = any || all;
    Ok(ended(end, all_found && any && skipped == 0))
}

/// What to say when no message was parked for this cause.
fn no_such_cause(cause: &str, there: &BTreeSet<String>) -> String {
    let ours = Cause::ALL.map(Cause::name);
    let is_ours = ours.iter().any(|name| name.eq_ignore_ascii_case(cause));
    let meant = did_you_mean(cause, there.iter().map(String::as_str).chain(ours).filter(|_| !is_ours));
    let list = |names: Vec<&str>| names.join(", ");
    match there.is_empty() {
        true => format!(
            "no parked message has the cause {cause}{meant} (no message is parked at all; causes are {})",
            list(ours.into())
        ),
        false => format!(
            "no parked message has the cause {cause}{meant} (there are: {})",
            list(there.iter().map(String::as_str).collect())
        ),
    }
}

fn export(config: &Config, stop: &Stop, file: &Path, force: bool) -> anyhow::Result<ExitCode> {
    let (mut export, mut count) = (Export::start(file, force)?, 0);
    let end = look(config, stop, |entry| {
        count += 1;
        export.add(&entry.whole())
    })?;
    if matches!(end, End::All | End::Enough) {
        export.finish()?;
        tell(&clean(&format!("exported {count} message(s) to {}", file.display())), 0);
    } else {
        complain("nothing exported: only a part was read");
    }
    Ok(ended(end, true))
}

fn discard(config: &Config, stop: &Stop, ids: &[String]) -> anyhow::Result<ExitCode> {
    let Resolved { ids, end, all_found } = resolve(config, stop, ids)?;
    if ids.is_empty() || end == End::Interrupted {
        return Ok(ended(end, all_found));
    }
    let mut discarded = 0;
    let end = queue::take_out(config, stop, &Selection::of_ids(ids), usize::MAX, |entry| {
        discarded += 1;
        tell(&clean(&format!("discarded     {}", entry.id)), 0);
    })?;
    say(&format!("discarded {discarded}"));
    Ok(ended(end, all_found && discarded > 0))
}

/// The full ids of the messages that are meant.
struct Resolved {
    ids: HashSet<String>,
    end: End,
    /// Was exactly one id found for each?
    all_found: bool,
}

/// Finds the full ids, and prints on stderr which of them fit none or several.
fn resolve(config: &Config, stop: &Stop, wanted: &[String]) -> anyhow::Result<Resolved> {
    let mut found: Vec<BTreeSet<String>> = vec![BTreeSet::new(); wanted.len()];
    let end = look(config, stop, |entry| {
        for (wanted, found) in wanted.iter().zip(&mut found) {
            let fits = entry.id.starts_with(wanted) || clean(&entry.id).starts_with(wanted);
            if fits && (found.len() <= MOST_NAMED || entry.id == *wanted) {
                found.insert(entry.id.clone());
            }
        }
        Ok(())
    })?;
    let mut resolved = Resolved { ids: HashSet::new(), end, all_found: true };
    for (wanted, found) in wanted.iter().zip(found) {
        let mut names = found.iter();
        match (found.contains(wanted), names.next(), names.next()) {
            (true, _, _) => drop(resolved.ids.insert(wanted.clone())),
            (false, Some(id), None) => drop(resolved.ids.insert(id.clone())),
            (false, None, _) => {
                resolved.all_found = false;
                let list = terminal::command(&["parked", "list"]);
                complain(&format!("there is no parked message {wanted}; `{list}` shows all"));
            }
            (false, Some(_), Some(_)) => {
                resolved.all_found = false;
                let several: Vec<&str> = found.iter().take(MOST_NAMED).map(String::as_str).collect();
                complain(&format!("{wanted} fits several parked messages: {}, …", several.join(", ")));
            }
        }
    }
    Ok(resolved)
}

fn ended(end: End, all_done: bool) -> ExitCode {
    match end {
        End::Interrupted => {
            complain("interrupted; the rest is where it was");
            ExitCode::from(INTERRUPTED)
        }
        End::OutOfTime(left) => {
            complain(&format!("stopped after 15 minutes with {left} message(s) not read"));
            ExitCode::FAILURE
        }
        End::All | End::Enough if all_done => ExitCode::SUCCESS,
        End::All | End::Enough => ExitCode::FAILURE,
    }
}
