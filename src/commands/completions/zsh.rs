//! The script for zsh.

use std::fmt::Write as _;

use super::{Candidate, filled, names, places, values};
use crate::commands::grammar::Offers;

/// The script.
pub fn script() -> String {
    let places = places();
    let (mut followed, mut words) = (String::new(), String::new());
    for (option, offers) in values(&places) {
        let found = match offers {
            Offers::Files => "_files".to_owned(),
            Offers::Nothing => "_message 'a value'".to_owned(),
            Offers::Names(_) => format!("compadd -- {}", names(offers).join(" ")),
        };
        let _ = writeln!(followed, "    {option}) {found}; return ;;");
    }
    for place in &places {
        let path = if place.path.is_empty() { "''" } else { &place.path };
        let (named, options) = (described(&place.words), described(&place.options));
        let files = if place.files { "yes" } else { "" };
        let _ = writeln!(
            words,
            "    {path})\n        names=({named})\n        options=({options})\n        files={files} ;;"
        );
    }
    filled(SCRIPT, &places, &followed, &words)
}

/// Names with their descriptions, as `_describe` takes them.
fn described(candidates: &[Candidate]) -> String {
    let described = candidates.iter().map(|Candidate { name, about, .. }| match about.as_str() {
        "" => format!("'{name}'"),
        about => format!("'{name}:{}'", about.replace('\'', r"'\''")),
    });
    described.collect::<Vec<_>>().join(" ")
}

const SCRIPT: &str = r#"#compdef task-creator

# What zsh needs to complete the commands of task-creator. Either in ~/.zshrc, behind compinit:
#
#     source <(task-creator print completions zsh)
#
# or as a file of the name _task-creator in a folder of $fpath.

_task-creator() {
    local place= word before=$words[CURRENT-1] files=
    local -a names options
    for word in "${(@)words[2,CURRENT-1]}"; do
        case $place/$word in
        PATHS) place+=/$word ;;
        esac
    done
    if [[ $PREFIX == --*=* ]]; then
        before=${PREFIX%%=*}
        compset -P '*='
    fi
    case $place/$before in
VALUES
    esac
    case $place in
WORDS
    esac
    if [[ $PREFIX == -* ]] || [[ -z $names && -z $files ]]; then
        _describe -o option options
    elif [[ -n $files ]]; then
        _files
    else
        _describe argument names
    fi
}

if [[ $funcstack[1] == _task-creator ]]; then
    _task-creator "$@"
else
    compdef _task-creator task-creator
fi
"#;
