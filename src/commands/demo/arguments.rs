//! The command line of `task-creator demo`: arguments → the systems that it shows. It knows no fake but its name.

use lexopt::{Arg, Parser};

use crate::commands::arguments::unexpected;
use crate::commands::fakes::{self, FAKES, FakeEntry, USUAL};

/// The systems of a demo, by their names, in the order of [`FAKES`].
#[derive(Debug, PartialEq, Eq)]
pub struct Systems(Vec<&'static str>);

impl Systems {
    /// Their entries.
    pub fn entries(&self) -> Vec<&'static FakeEntry> {
        FAKES.iter().filter(|entry| self.0.contains(&entry.name)).collect()
    }
}

/// The systems; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Systems>, lexopt::Error> {
    let (mut named, mut all) = (Vec::new(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("all") => all = true,
            Arg::Long("system") => named.push(fakes::read(parser, |_| true)?.name),
            other => return Err(unexpected(&other, &["--system", "--all", "--help"])),
        }
    }
    match (all, named.is_empty()) {
        (true, true) => Ok(Some(Systems(FAKES.iter().map(|entry| entry.name).collect()))),
        (true, false) => Err("--all names every system: leave --system out".into()),
        (false, true) => Ok(Some(Systems(vec![USUAL.name]))),
        (false, false) => Ok(Some(Systems(named))),
    }
}
