//! The help: of all commands, of one, or of a setting. It fits 80 columns. Commands in it start as the user called the
//! program. What it says of them is in `grammar`, what it says of settings in `config.env.example`.

use super::example::{self, Explained};
use super::grammar::{self, EXIT_CODES, OPTIONS, TOPICS, Topic, about_option, term};
use crate::terminal::{command, program, wrapped};

const WIDTH: usize = 80;
/// From the beginning of a term to that of its text.
const TEXT: usize = 17;
/// The same of an exit code.
const MEANING: usize = 5;

/// The help of the command or the setting of this name, or of all commands.
pub fn help(name: Option<&str>) -> String {
    match (name.and_then(grammar::topic), name.and_then(example::named)) {
        (Some(topic), _) => of_one(topic),
        (None, Some(setting)) => of_setting(setting),
        (None, None) => of_all(),
    }
}

fn of_one(topic: &Topic) -> String {
    let usage = term(topic.name, topic.takes);
    format!("Usage: {} {usage}\n\n{}\nAll commands: {}\n", program(), of_topic(topic), command(&["--help"]))
}

fn of_all() -> String {
    let commands: String = TOPICS.iter().map(of_topic).collect();
    let options: String =
        OPTIONS.iter().map(|(short, long, about)| entry(2, TEXT, &format!("{short}, {long}"), about)).collect();
    let codes: String =
        EXIT_CODES.iter().map(|(code, meaning)| entry(2, MEANING, &code.to_string(), meaning)).collect();
    format!(
        "\
Task Creator carries Camunda's tasks from RabbitMQ to the systems where people
do the work, follows each one until it is finished, and answers on
camunda.responses.queue.

Usage: {} [COMMAND]

Commands:
{commands}
Options:
{options}
Settings come from the environment and from .env in the working directory; the
environment wins. \"help SETTING\" explains one, \"print env\" all of them.

Exit codes:
{codes}",
        program()
    )
}

fn of_topic(topic: &Topic) -> String {
    let Topic { name, takes, about, actions, options, note, .. } = topic;
    let own = entry(2, TEXT, &term(name, takes), about);
    let actions = actions.iter().map(|word| entry(4, TEXT, &term(word.name, word.takes), word.about));
    let options = options.iter().map(|word| entry(4, TEXT, &term(word.name, word.takes), &about_option(word)));
    let note = (!note.is_empty()).then(|| wrapped(&format!("    {note}"), WIDTH, 4) + "\n");
    [own].into_iter().chain(actions).chain(options).chain(note).collect()
}

/// A term and its text, side by side or, if the term is long, one below the other.
fn entry(indent: usize, text: usize, term: &str, about: &str) -> String {
    let (start, column) = (format!("{:indent$}{term}", ""), indent + text);
    let lines = match term.chars().count() < text {
        true => wrapped(&format!("{start:column$}{about}"), WIDTH, column),
        false => format!("{start}\n{}", wrapped(&format!("{:column$}{about}", ""), WIDTH, column)),
    };
    lines + "\n"
}

fn of_setting(setting: &Explained) -> String {
    let Explained { name, meaning, default, example, .. } = setting;
    let example = (default != example).then(|| format!("For example: {name}={example}\n"));
    let in_a_file = setting.in_a_file().map(|other| format!("In a file of its own: {other}=path\n"));
    format!(
        "{name}\n\n{}\n\nDefault: {default}\n{}{}\nAll settings: {}\n",
        wrapped(meaning, WIDTH, 0),
        example.unwrap_or_default(),
        in_a_file.unwrap_or_default(),
        command(&["print", "env"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_a_help_of_its_own_and_all_fit_a_terminal() {
        let all = help(None);
        for topic in TOPICS {
            // The path of a test is longer than what anybody types.
            let help = help(Some(topic.name)).replace(program(), "./task-creator");
            assert!(help.starts_with(&format!("Usage: ./task-creator {}", topic.name)), "{help}");
            assert!(TOPICS.iter().filter(|other| help.contains(&of_topic(other))).count() == 1, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= WIDTH), "{help}");
            assert!(all.contains(&of_topic(topic)), "{help}");
        }
        assert!(
            all.lines().filter(|line| !line.starts_with("Usage")).all(|line| line.chars().count() <= WIDTH),
            "{all}"
        );
    }

    #[test]
    fn a_setting_is_explained_under_both_of_its_names() {
        for name in ["RABBITMQ_PASSWORD", "RABBITMQ_PASSWORD_FILE"] {
            let help = help(Some(name));
            assert!(help.starts_with("RABBITMQ_PASSWORD\n\nRequired.\n\nDefault: none\n"), "{help}");
            assert!(help.contains("In a file of its own: RABBITMQ_PASSWORD_FILE=path\n"), "{help}");
        }
        assert!(help(Some("HTTPS_CA_FILE")).starts_with("HTTPS_CA_FILE\n"));
    }
}
