//! The script for bash. It needs nothing of the package bash-completion.

use std::fmt::Write as _;

use super::{filled, list, names, places, values};
use crate::commands::grammar::Offers;

/// The script.
pub fn script() -> String {
    let places = places();
    let (mut followed, mut words) = (String::new(), String::new());
    for (option, offers) in values(&places) {
        let found = match offers {
            Offers::Files => "files=yes".to_owned(),
            _ => format!("names='{}'", names(offers).join(" ")),
        };
        let _ = writeln!(followed, "        {option}) {found} ;;");
    }
    for place in &places {
        let path = if place.path.is_empty() { "''" } else { &place.path };
        let (named, options) = (list(&place.words), list(&place.options));
        let files = if place.files { "yes" } else { "" };
        let _ = writeln!(words, "        {path}) names='{named}' options='{options}' files={files} ;;");
    }
    filled(SCRIPT, &places, &followed, &words)
}

const SCRIPT: &str = r#"# What bash needs to complete the commands of task-creator. Either in ~/.bashrc:
#
#     source <(task-creator print completions bash)
#
# or as a file: /usr/share/bash-completion/completions/task-creator

_task_creator() {
    local word=$2 before=$3 place='' names='' options='' files='' i
    # A = is a word of its own.
    if [[ ${COMP_WORDS[COMP_CWORD]} == = ]]; then
        word=''
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case $place/${COMP_WORDS[i]} in
        PATHS) place+=/${COMP_WORDS[i]} ;;
        esac
    done
    case $place/$before in
VALUES
    *)
        case $place in
WORDS
        esac
        if [[ $word == -* || -z $names$files ]]; then
            names=$options files=''
        fi
        ;;
    esac
    COMPREPLY=()
    if [[ -n $names ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
    elif [[ -n $files ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _task_creator task-creator
"#;
