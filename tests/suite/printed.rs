//! What the program tells of itself: every command, option, setting and exit code is in the help, in the man page and,
//! if people type it, in what shells complete. `tests/packaging/printed` shows these to mandoc and to the shells.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::pipe;
use std::path::Path;
use std::process::Command;

use crate::support::*;
use task_creator::systems::table;

fn printed(arguments: &[&str]) -> String {
    run(arguments, &[]).ended_with(0).output.clone()
}

#[test]
fn half_of_an_output_is_no_success_unless_nobody_wants_the_rest() {
    let program = env!("CARGO_BIN_EXE_task-creator");
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let ended = Command::new(program).args(["print", "env"]).stdout(full).output().expect("it starts");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("not all of the output could be written: No space left on device"), "{told}");

    let (reader, writer) = pipe().expect("a new pipe");
    drop(reader);
    let ended = Command::new(program).args(["print", "env"]).stdout(writer).output().expect("it starts");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), [].as_slice()), "as with head");
}

/// All lines of the sources in this folder.
fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("it is part of the repository") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => lines.extend(self::lines(&path)),
            false => lines.extend(fs::read_to_string(&path).unwrap_or_default().lines().map(String::from)),
        }
    }
    lines
}

/// What stands between these two in the lines; in each, the first.
fn between(lines: &[String], start: &str, end: &str) -> BTreeSet<String> {
    let found = lines.iter().filter_map(|line| Some(line.split_once(start)?.1.split_once(end)?.0.to_owned()));
    found.collect()
}

fn options() -> BTreeSet<String> {
    let mut options = between(&lines(Path::new("src/commands")), "Arg::Long(\"", "\")");
    // The table's own test names it.
    options.retain(|name| name.chars().all(|sign| sign.is_ascii_lowercase() || sign == '-'));
    assert!(options.len() > 25 && options.contains("dry-run"), "they are found: {options:?}");
    options
}

fn commands() -> BTreeSet<String> {
    let text = fs::read_to_string("src/commands/mod.rs").expect("it is part of the repository");
    let arms: Vec<String> = text.lines().filter(|line| line.starts_with("        \"")).map(String::from).collect();
    let commands = between(&arms, "\"", "\" => ");
    assert!(commands.len() > 12 && commands.contains("print"), "they are found: {commands:?}");
    commands
}

#[test]
fn help_manual_and_completions_have_every_command_and_every_option() {
    let (help, page) = (printed(&["--help"]), printed(&["print", "man"]));
    for name in commands() {
        assert!(help.contains(&format!("\n  {name}")), "the help has no {name}");
        assert!(page.contains(&format!("\n.It Cm {name}")), "the man page has no {name}");
    }
    for name in options() {
        assert!(help.contains(&format!("--{name}")), "the help has no --{name}");
        assert!(page.contains(&format!("Fl \\-{}", name.replace('-', "\\-"))), "the man page has no --{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["print", "completions", shell]);
        let has = |word: &str| script.split(|sign: char| " \n':=".contains(sign)).any(|other| other == word);
        assert!(commands().iter().all(|name| has(name)), "{shell} lacks a command");
        for name in options() {
            assert!(has(&if shell == "fish" { name.clone() } else { format!("--{name}") }), "{shell} lacks --{name}");
        }
        assert!(table::settings().iter().all(|name| has(name)), "{shell} lacks a setting");
    }
}

#[test]
fn help_and_manual_explain_every_setting() {
    let (page, example) = (printed(&["print", "man"]), printed(&["print", "env"]));
    assert_eq!(example, fs::read_to_string("config.env.example").expect("it is part of the repository"));
    for name in table::settings() {
        assert!(page.contains(&format!("\n.It Ev {name}\n")), "the man page has no {name}");
    }
    for name in ["RABBITMQ_HOST", "PREFETCH", "EMAIL_PASSWORD_FILE"] {
        printed(&["help", name]).contains("\nDefault: ").then_some(()).expect(name);
    }
    run(&["help", "RABITMQ_HOST"], &[]).ended_with(64).has("did you mean RABBITMQ_HOST?");
}

#[test]
fn help_and_manual_explain_every_exit_code() {
    let (help, page) = (printed(&["--help"]), printed(&["print", "man"]));
    let codes = help.split_once("Exit codes:\n").expect("they have a heading").1;
    let mut constants = lines(Path::new("src/commands"));
    constants.retain(|line| line.starts_with("pub const "));
    let numbers = between(&constants, ": u8 = ", ";");
    assert_eq!(numbers, ["130", "3", "64", "78"].map(String::from).into());
    for code in ["0", "1"].into_iter().chain(numbers.iter().map(String::as_str)) {
        assert!(codes.lines().any(|line| line.starts_with(&format!("  {code} "))), "the help has no {code}");
        assert!(page.contains(&format!("\n.It Er {code}\n")), "the man page has no {code}");
    }
}

#[test]
fn each_file_is_printed_as_it_is() {
    for (name, file) in [
        ("unit", "task-creator.service"),
        ("compose", "compose.yaml"),
        ("dockerfile", "Dockerfile"),
        ("alerts", "alerts.yaml"),
        ("dashboard", "dashboard.json"),
    ] {
        let text = fs::read_to_string(Path::new("src/packaging").join(file)).expect("it is part of the repository");
        assert_eq!(printed(&["print", name]), text);
    }
}
