//! Which rights at RabbitMQ a lane needs, and the command that gives them. They are checked by `check`, and before
//! anything is created at the target: without them its record could not be published or followed.
//!
//! [`crate::rabbitmq::rights`] knows how a right is checked.

use crate::config::RabbitMq;
use crate::queues::Queues;
use crate::rabbitmq::ConnectionError;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::rights::{may_configure, may_read};

/// The name of the default exchange where rights are given.
const DEFAULT_EXCHANGE: &str = "^amq\\.default$";

/// Checks the right to follow the created tasks, which a session does not use when it starts.
///
/// # Errors
/// The right is missing, or the connection is gone.
pub fn follow(connection: &mut Connection, queues: &Queues) -> Result<(), ConnectionError> {
    may_read(connection, &queues.sent).map_err(|error| error.at(&queues.sent))?;
    may_configure(connection, &queues.sweep_lock).map_err(|error| error.at(&queues.sweep_lock))
}

/// The command that gives a user all rights that these lanes and the commands need, and no others.
pub fn command(rabbitmq: &RabbitMq, lanes: &[Queues]) -> String {
    let own = |queues: &Queues| format!("{}.*", escaped(queues.stem()));
    let own: Vec<String> = lanes.iter().map(own).collect();
    let shared = lanes.first().into_iter().flat_map(|queues| [&queues.errors, &queues.responses]);
    // Whoever browses a shared queue holds a name that starts with that of the queue.
    let configure = own
        .iter()
        .cloned()
        .chain(shared.clone().flat_map(|queue| [escaped(queue), escaped(&Queues::browse_lock(queue))]));
    let configure: Vec<String> = configure.collect();
    let read: Vec<String> = own.into_iter().chain(shared.map(|queue| escaped(queue))).collect();
    let any = |names: Vec<String>| quoted(&format!("^({})$", names.join("|")));
    let (vhost, user) = (quoted(&rabbitmq.vhost), quoted(&rabbitmq.username));
    let (configure, write, read) = (any(configure), quoted(DEFAULT_EXCHANGE), any(read));
    format!("rabbitmqctl set_permissions -p {vhost} {user} {configure} {write} {read}")
}

/// What to do about a missing right.
pub fn advice(rabbitmq: &RabbitMq, lanes: &[Queues]) -> String {
    format!(
        "where RabbitMQ runs, as its administrator (replaces the user's rights in this virtual host): {}",
        command(rabbitmq, lanes)
    )
}

/// A regular expression that matches just this text.
fn escaped(text: &str) -> String {
    let special = |char: char| if "\\.+*?()|[]{}^$".contains(char) { format!("\\{char}") } else { char.into() };
    text.chars().map(special).collect()
}

/// The text as one word for a shell.
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
    fn the_manual_shows_the_same_command() {
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
             '^(test\\.bitrix24\\..*|errors\\(1\\)|errors\\(1\\)\\.browse|\\$answers|\\$answers\\.browse)$' \
             '^amq\\.default$' '^(test\\.bitrix24\\..*|errors\\(1\\)|\\$answers)$'"
        );
    }
}
