//! The command line of `task-creator parked`: arguments → [`Action`]. It knows no queue.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt as _};

use super::replaying::Manner;
use super::{Action, Which};
use crate::commands::arguments::{unexpected, value};
use crate::commands::grammar;
use crate::message::Cause;
use crate::nearest::did_you_mean;
use crate::terminal;

/// The arguments as given, before it is known whether they go together.
#[derive(Default)]
struct Given {
    names: Vec<OsString>,
    group: bool,
    all: bool,
    cause: Option<String>,
    yes: bool,
    force: bool,
    manner: Manner,
}

/// The subcommand; `None` when its help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Action>, lexopt::Error> {
    let name = match parser.next()? {
        Some(Arg::Value(name)) => name.string()?,
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(None),
        Some(_) => return Err("options come after list, show, replay, export or discard".into()),
        None => return Err("parked needs list, show, replay, export or discard".into()),
    };
    let name = name.as_str();
    let actions = grammar::actions("parked");
    if !actions.contains(&name) {
        let all = actions.join(", ");
        let meant = did_you_mean(name, actions);
        return Err(format!("there is no parked {name:?}{meant} (there are {all})").into());
    }
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        match (name, argument) {
            (_, Arg::Short('h') | Arg::Long("help")) => return Ok(None),
            ("list", Arg::Long("group")) => given.group = true,
            ("list" | "show" | "replay", Arg::Long("json")) => given.manner.json = true,
            ("replay", Arg::Long("all")) => given.all = true,
            ("replay", Arg::Long("cause")) => {
                let causes = Cause::ALL.map(Cause::name).join(", ");
                given.cause = Some(value(parser, "--cause", &causes, |cause| Some(cause.to_owned()))?);
            }
            ("replay", Arg::Long("limit")) => {
                given.manner.limit = Some(value(parser, "--limit", "a whole number above 0", at_least_one)?);
            }
            ("replay", Arg::Long("rate")) => {
                given.manner.pause = Some(value(parser, "--rate", "a number from 0.01 to 10000", pause)?);
            }
            ("replay", Arg::Long("dry-run")) => given.manner.dry_run = true,
            ("discard", Arg::Long("yes")) => given.yes = true,
            ("export", Arg::Long("force")) => given.force = true,
            ("show" | "replay" | "export" | "discard", Arg::Value(name)) if !name.is_empty() => given.names.push(name),
            (_, argument) => return Err(unexpected(&argument, &grammar::options("parked", name))),
        }
    }
    action(name, given).map(Some)
}

fn action(name: &str, given: Given) -> Result<Action, lexopt::Error> {
    let Given { names, group, all, cause, yes, force, manner } = given;
    if name == "export" {
        let [file] = <[OsString; 1]>::try_from(names).map_err(|_| "parked export needs one FILE")?;
        return Ok(Action::Export { file: file.into(), force });
    }
    let ids = names.into_iter().map(|id| id.string()).collect::<Result<Vec<String>, _>>()?;
    match (name, ids.len()) {
        ("list", _) => Ok(Action::List { group, json: manner.json }),
        ("show", 1) => Ok(Action::Show { id: ids.concat(), json: manner.json }),
        ("show", _) => Err("parked show needs one ID".into()),
        ("discard", 0) => Err("parked discard needs an ID".into()),
        ("discard", _) if !yes => {
            let pasted = terminal::command_with_ids(&["parked", "discard", "--yes"], &ids);
            Err(format!("parked discard cannot be undone: it needs --yes (export keeps a copy), as in `{pasted}`")
                .into())
        }
        ("discard", _) => Ok(Action::Discard { ids }),
        (_, count) => match (count, cause, all) {
            (0, None, true) => Ok(Action::Replay { which: Which::All, manner }),
            (0, Some(cause), false) => Ok(Action::Replay { which: Which::Cause(cause), manner }),
            (1.., None, false) => Ok(Action::Replay { which: Which::Ids(ids), manner }),
            _ => Err("parked replay needs either IDs, or --cause CAUSE, or --all".into()),
        },
    }
}

fn at_least_one(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0)
}

/// The pause between two messages at this rate. It is far shorter than a delivery may stay unacknowledged.
fn pause(rate: &str) -> Option<Duration> {
    let rate: f64 = rate.parse().ok().filter(|rate| (0.01..=10_000.0).contains(rate))?;
    Some(Duration::from_secs_f64(1.0 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_messages_are_named_in_one_way_at_a_time() {
        let action = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            read(&mut Parser::from_args(words)).map_err(|err| err.to_string())
        };
        let ids = |ids: &[&str]| Which::Ids(ids.iter().map(|id| id.to_string()).collect());
        let replay = |which, manner| Ok(Some(Action::Replay { which, manner }));
        assert_eq!(action("list --group"), Ok(Some(Action::List { group: true, json: false })));
        assert_eq!(action("replay a b"), replay(ids(&["a", "b"]), Manner::default()));
        assert_eq!(action("replay -- --all"), replay(ids(&["--all"]), Manner::default()));
        let manner = Manner { limit: Some(5), pause: Some(Duration::from_millis(500)), dry_run: true, json: true };
        assert_eq!(action("replay --all --limit 5 --rate 2 --dry-run --json"), replay(Which::All, manner));
        let cause = Which::Cause("REQUEST_ERROR".into());
        assert_eq!(action("replay --cause REQUEST_ERROR"), replay(cause, Manner::default()));
        let discard = Action::Discard { ids: vec!["a".into()] };
        assert_eq!(action("discard a --yes"), Ok(Some(discard)));
        let export = |force| Ok(Some(Action::Export { file: "a".into(), force }));
        assert_eq!((action("export a"), action("export a --force")), (export(false), export(true)));
        assert_eq!(action("--help"), Ok(None));
        assert_eq!(action("replay --help"), Ok(None));
        for wrong in [
            "",
            "lits",
            "list a",
            "list --yes",
            "show",
            "show a b",
            "show --group a",
            "replay",
            "replay a --all",
            "replay --all --cause X",
            "replay --all --limit 0",
            "replay --all --rate 0",
            "replay --all --rate NaN",
            "replay --all --yes",
            "export",
            "export a b",
            "export a --json",
            "list --force",
            "discard --yes",
            "discard a",
            "--json list",
        ] {
            assert!(action(wrong).is_err(), "{wrong}");
        }
        let discard = action("discard a -- -b;").expect_err("it is not confirmed");
        assert!(discard.ends_with(&format!("`{} parked discard --yes -- a '-b;'`", terminal::program())), "{discard}");
        let rate = action("replay --all --rate fast");
        assert_eq!(rate.unwrap_err(), r#"--rate: "fast" is not a number from 0.01 to 10000"#);
    }
}
