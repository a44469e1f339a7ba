//! `task-creator send`: puts one message into a queue, the way the bridge does.
//!
//! The bytes are sent as they are: a message that is no task is how one tests parking. It declares no queue and waits
//! until the broker has the message.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use anyhow::{anyhow, bail};

use crate::config::Config;
use crate::lane::{Queues, letters};
use crate::logging;
use crate::message::{self, Task};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::publisher::{Letter, Publisher};
use crate::rabbitmq::{Trouble, queues};
use crate::terminal;

/// Sends the message in `file` (`-`: from standard input; none: a sample) to `queue` (none: that of Bitrix24).
///
/// # Errors
/// The message cannot be read, or is not in its queue.
pub fn run(config: &Config, file: Option<&Path>, queue: Option<&str>) -> anyhow::Result<()> {
    logging::hide(config.secrets());
    let body = match file {
        None => sample().into_bytes(),
        Some(file) => terminal::read(file)?,
    };
    let queue = queue.map_or_else(|| Queues::of("bitrix24", config).input, str::to_owned);
    let (message_id, what) = match Task::parse(body.clone()) {
        Ok(task) => (task.id.clone(), format!("task_id={}", task.id)),
        Err(unreadable) => {
            let fate = format!("the worker parks this message in {}", config.error_queue);
            let warning = logging::clean(&format!("{fate}: {}", unreadable.reason));
            terminal::complain(&format!("warning: {warning}"));
            (format!("no-task-{}", unique_id()), format!("{} byte(s) that are not a task", body.len()))
        }
    };
    publish(config, &letters::as_from_bridge(queue.clone(), message_id, body))?;
    terminal::say(&logging::clean(&format!("sent to {queue}: {what}")));
    Ok(())
}

fn publish(config: &Config, letter: &Letter) -> anyhow::Result<()> {
    let mut connection = Connection::open(&config.rabbitmq, "task-creator: send")?;
    let opened = connection.within_deadline(|connection| match queues::look(connection, &letter.queue)? {
        Some(_) => Publisher::open(connection).map(Some),
        None => Ok(None),
    });
    let Some(mut publisher) = opened.map_err(Trouble::from)? else {
        bail!(
            "there is no queue {} in virtual host {}; start the bridge or the worker, which declare theirs, or name \
             another with --queue",
            letter.queue,
            config.rabbitmq.vhost
        );
    };
    // Without its chain: amiquip's text holds the cause already.
    publisher.deliver(letter).map_err(|err| anyhow!("{err}"))?;
    drop(publisher);
    // The message is confirmed, so a poor end of the connection is nobody's concern.
    let _ = connection.close();
    Ok(())
}

/// A message of the form that the bridge sends, with invented values and ids that nobody has.
fn sample() -> String {
    let now = chrono::Utc::now();
    SAMPLE
        .replace("TASK_ID", &unique_id())
        .replace("INSTANCE_ID", &unique_id())
        .replace("CREATED_TIME", &now.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string())
        .replace("\"TIMESTAMP\"", &message::now_ms().to_string())
}

/// 128 random bits in the shape of a UUID; std has no other source of them than the keys of its hash maps.
fn unique_id() -> String {
    let random = || RandomState::new().hash_one(message::now_ms());
    let digits = format!("{:016x}{:016x}", random(), random());
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// It names no user and no group: they would have to be at the portal, which refuses the task otherwise.
const SAMPLE: &str = r#"{
  "task_id": "TASK_ID",
  "topic": "bitrix_create_task",
  "system": "bitrix24",
  "variables": {
    "description": "Пробная задача: её поставила команда «task-creator send».",
    "contractNumber": "17-П",
    "counterparty": "ООО «Ромашка»",
    "amount": 125000.50,
    "urgent": false,
    "comment": null
  },
  "process_instance_id": "INSTANCE_ID",
  "process_definition_key": "Process_contract_approval",
  "activity_id": "Activity_approve_contract",
  "activity_instance_id": "Activity_approve_contract:INSTANCE_ID",
  "worker_id": "universal-worker",
  "retries": null,
  "created_time": "CREATED_TIME",
  "priority": 0,
  "tenant_id": null,
  "business_key": "contract-17",
  "timestamp": "TIMESTAMP",
  "metadata": {
    "extensionProperties": {
      "UF_RESULT_EXPECTED": "true",
      "UF_RESULT_QUESTION": "Договор согласован?",
      "checklists": "[{\"name\": \"Документы\", \"items\": [\"Устав\", \"Доверенность\"]}]"
    },
    "inputParameters": {"stage": "approval"},
    "activityInfo": {
      "id": "Activity_approve_contract",
      "name": "Согласовать договор с ООО «Ромашка»",
      "type": "external",
      "topic": "bitrix_create_task"
    },
    "processProperties": {}
  }
}
"#;
