//! The command line of `task-creator demo`: arguments → the systems that it shows, and whether it goes on. It knows no
//! fake but its name.

use lexopt::{Arg, Parser};

use crate::commands::arguments::unexpected;
use crate::commands::fakes::{self, FAKES, FakeEntry, USUAL};
use crate::commands::grammar;

/// What the demo shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// These systems.
    pub systems: Systems,
    /// It goes on until Ctrl+C, and has a page.
    pub monitor: bool,
}

/// The systems of a demo, by their names, in the order of [`FAKES`].
#[derive(Debug, PartialEq, Eq)]
pub struct Systems(Vec<&'static str>);

impl Systems {
    /// Their entries.
    pub fn entries(&self) -> Vec<&'static FakeEntry> {
        FAKES.iter().filter(|entry| self.0.contains(&entry.name)).collect()
    }
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let (mut named, mut all, mut monitor) = (Vec::new(), false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("all") => all = true,
            Arg::Long("monitor") => monitor = true,
            Arg::Long("system") => named.push(fakes::read(parser, |_| true)?.name),
            other => return Err(unexpected(&other, &grammar::options("demo", ""))),
        }
    }
    let systems = match (all, named.is_empty()) {
        (true, true) => FAKES.iter().map(|entry| entry.name).collect(),
        (true, false) => return Err("--all names every system: leave --system out".into()),
        (false, true) => vec![USUAL.name],
        (false, false) => named,
    };
    Ok(Some(Options { systems: Systems(systems), monitor }))
}
