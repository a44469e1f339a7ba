//! The script for fish.

use std::fmt::Write as _;

use super::{Candidate, Place, names, paths, places};
use crate::commands::grammar::Offers;

/// The script.
pub fn script() -> String {
    let places = places();
    let lines: String = places.iter().map(lines).collect();
    SCRIPT.replace("PATHS", &paths(&places).join(" ")) + &lines
}

/// What fish offers at a place.
fn lines(place: &Place) -> String {
    let here = format!("complete -c task-creator -n '__task_creator_at \"{}\"'", place.path);
    let mut lines = String::new();
    for Candidate { name, about, .. } in &place.words {
        let _ = writeln!(lines, "{here} -a '{name}'{}", described(about));
    }
    for Candidate { name, about, value } in &place.options {
        let (kind, letters) = match name.strip_prefix("--") {
            Some(long) => ("-l", long),
            None => ("-s", name.trim_start_matches('-')),
        };
        let value = match value {
            None => String::new(),
            Some(Offers::Files) => " -r -F".to_owned(),
            Some(Offers::Nothing) => " -x".to_owned(),
            Some(offers) => format!(" -x -a '{}'", names(*offers).join(" ")),
        };
        let _ = writeln!(lines, "{here} {kind} {letters}{value}{}", described(about));
    }
    if place.files {
        let _ = writeln!(lines, "{here} -F");
    }
    lines
}

fn described(about: &str) -> String {
    let about = about.replace('\\', r"\\").replace('\'', r"\'");
    if about.is_empty() { about } else { format!(" -d '{about}'") }
}

const SCRIPT: &str = r#"# What fish needs to complete the commands of task-creator. Either in ~/.config/fish/config.fish:
#
#     task-creator print completions fish | source
#
# or as a file: ~/.config/fish/completions/task-creator.fish

function __task_creator_at --description 'Are we behind this command and this action?'
    set -l place ''
    for word in (commandline -opc)
        switch "$place/$word"
            case PATHS
                set place "$place/$word"
        end
    end
    test "$place" = "$argv[1]"
end

complete -c task-creator -f
"#;
