//! Which rights at RabbitMQ a lane needs: looked for before anything is created at the target, whose record could not
//! be published or followed, and by `check`. Says the command that gives them.
//!
//! How a right is found out is the business of [`crate::rabbitmq::rights`].

use crate::config::RabbitMq;
use crate::queues::Queues;
use crate::rabbitmq::ConnectionError;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::rights::{may_configure, may_read};

/// The exchange that has no name is called so where rights are given.
const DEFAULT_EXCHANGE: &str = "^amq\\.default$";

/// What a session does not meet by itself at its beginning: the right to follow the created tasks.
///
/// # Errors
/// It lacks, or the connection is gone.
pub fn follow(connection: &mut Connection, queues: &Queues) -> Result<(), ConnectionError> {
    may_read(connection, &queues.sent).map_err(|error| error.at(&queues.sent))?;
    may_configure(connection, &queues.sweep_lock).map_err(|error| error.at(&queues.sweep_lock))
}

/// The command that gives a user all rights which these lanes need, and no others.
pub fn command(rabbitmq: &RabbitMq, lanes: &[Queues]) -> String {
    let own = |queues: &Queues| format!("{}.*", escaped(queues.stem()));
    let mut read: Vec<String> = lanes.iter().map(own).collect();
    read.extend(lanes.first().map(|queues| escaped(&queues.errors)));
    let mut configure = read.clone();
    configure.extend(lanes.first().map(|queues| escaped(&queues.responses)));
    let any = |names: Vec<String>| quoted(&format!("^({})$", names.join("|")));
    let (vhost, user) = (quoted(&rabbitmq.vhost), quoted(&rabbitmq.username));
    let (configure, write, read) = (any(configure), quoted(DEFAULT_EXCHANGE), any(read));
    format!("rabbitmqctl set_permissions -p {vhost} {user} {configure} {write} {read}")
}

/// What to do about a right that lacks.
pub fn advice(rabbitmq: &RabbitMq, lanes: &[Queues]) -> String {
    format!(
        "where RabbitMQ runs, as its administrator (replaces the user's rights in this virtual host): {}",
        command(rabbitmq, lanes)
    )
}

/// The text as a regular expression that means just it.
fn escaped(text: &str) -> String {
    let special = |char: char| if "\\.+*?()|[]{}^$".contains(char) { format!("\\{char}") } else { char.into() };
    text.chars().map(special).collect()
}

/// The text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/_-.".contains(char);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn command_with(changes: &[(&str, &str)]) -> String {
        let lookup = |name: &str| {
            let changed = changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| value.to_string());
            changed.or_else(|| (name == "RABBITMQ_PASSWORD").then(|| "secret".into()))
        };
        let config = Config::read(lookup).expect("right settings");
        command(&config.rabbitmq, &[Queues::of("bitrix24", &config)])
    }

    #[test]
    fn the_command_of_the_manual_is_the_one_that_is_told() {
        let told = command_with(&[("RABBITMQ_USERNAME", "task-creator")]);
        assert!(include_str!("../docs/operating.md").contains(&told), "{told}");
    }

    #[test]
    fn names_are_neither_patterns_nor_commands() {
        let told = command_with(&[
            ("RABBITMQ_USERNAME", "o'brien; rm -r ."),
            ("RABBITMQ_VHOST", "a b"),
            ("QUEUE_PREFIX", "test."),
            ("ERROR_QUEUE", "errors(1)"),
            ("RESPONSES_QUEUE", "$answers"),
        ]);
        assert_eq!(
            told,
            "rabbitmqctl set_permissions -p 'a b' 'o'\\''brien; rm -r .' \
             '^(test\\.bitrix24\\..*|errors\\(1\\)|\\$answers)$' '^amq\\.default$' \
             '^(test\\.bitrix24\\..*|errors\\(1\\))$'"
        );
    }
}
