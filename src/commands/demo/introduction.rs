//! What the demo says before it starts, and what to do after it. It knows the fakes only by what they say of
//! themselves.

use super::setup::{Shown, log_folder};
use crate::config::Config;
use crate::terminal;

/// What the first row and the last one are about. Between them is one for each system.
const RABBITMQ: &str = "RabbitMQ";
const WORKER: &str = "worker";

/// The lines before the demo, for a screen of this width.
pub fn introduction(run: &str, config: &Config, shown: &[Shown], messages: Option<usize>, width: usize) -> String {
    let what = match messages {
        Some(messages) => format!("{} Times are in seconds.", what(shown, messages)),
        None => "Camunda's tasks go round again and again: simulated users finish them after 20 s.".to_owned(),
    };
    let mut rows =
        vec![(RABBITMQ, format!("{}:{}, only queues named {run}.*", config.rabbitmq.host, config.rabbitmq.port))];
    rows.extend(shown.iter().map(|Shown { entry, fake }| (entry.label, place(entry.port.is_some(), &fake.place()))));
    rows.push((WORKER, format!("the real one; its log is {}", log_folder(config).join("worker.log").display())));
    let longest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let row = |(label, text): &(&str, String)| {
        terminal::wrapped(&format!("  {label:<longest$}   {text}"), width, longest + "     ".len())
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("{}\n\n{}\n\n", terminal::wrapped(&what, width - 1, 0), rows.join("\n"))
}

fn what(shown: &[Shown], messages: usize) -> String {
    let users = match shown.iter().any(|shown| shown.entry.has_users) {
        true => "Simulated users finish the tasks, and the answers come back for Camunda.",
        false => "Each is finished at once, and its answer comes back for Camunda.",
    };
    match shown {
        [one] if one.entry.port.is_none() => {
            "A message goes through RabbitMQ that belongs to no system, so it is parked.".to_owned()
        }
        [one] => format!("{messages} messages go through RabbitMQ to a {} fake. {users}", one.entry.label),
        several => format!("{messages} messages go through RabbitMQ to {} systems. {users}", several.len()),
    }
}

fn place(is_fake: bool, place: &str) -> String {
    if is_fake { format!("a fake at {place}") } else { place.to_owned() }
}

/// What `init` asks for.
const USUAL: &str = "BITRIX_WEBHOOK_URL";

/// What to do after the demo.
pub fn next(shown: &[Shown]) -> String {
    let settings: Vec<&str> =
        shown.iter().filter_map(|Shown { fake, .. }| fake.settings().first().map(|(name, _)| *name)).collect();
    let which = match settings.as_slice() {
        [one] => format!("{one} and RABBITMQ_PASSWORD"),
        several => format!("RABBITMQ_PASSWORD and what switches your systems on ({})", several.join(", ")),
    };
    let [init, all, check] = [&["init"][..], &["print", "env"], &["check"]].map(terminal::command);
    match settings.as_slice() {
        [USUAL] => format!("Next: `{init}` asks for {which}, writes .env and checks it."),
        _ => format!("Next: put {which} into .env (`{all}` explains them). Then `{check}` says what else is missing."),
    }
}
