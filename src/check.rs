//! `task-creator check`: looks at the settings, at RabbitMQ and at the target of every system that is on.
//!
//! It changes nothing, but for what `--create-field` asks for, and goes on when a part is down, so that one look shows
//! all that is wrong. It knows no system: what there is to see at a target is in the system's own folder, behind
//! [`Entry::check`](crate::systems::Entry::check).

use std::path::Path;

use crate::config::{Config, RabbitMq, is_this_machine};
use crate::dotenv::Environment;
use crate::lane::Queues;
use crate::logging;
use crate::rabbitmq::Trouble;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::queues::{self, Found};
use crate::report::Report;
use crate::stop::{self, Stop};
use crate::systems::{Entry, TABLE};

/// In seconds. Above this the server's own proposal counts, 60 as installed, and a frozen server is noticed after twice
/// that.
const LONGEST_HEARTBEAT: u16 = 60;

/// RabbitMQ's own, and the one in `config.env.example`.
const DEFAULT_PASSWORDS: &[&str] = &["guest", "change me"];

/// Prints a line for each thing; `create_field` first makes what is missing at the targets. Returns whether nothing
/// failed.
///
/// # Errors
/// [`Mistakes`](crate::config::Mistakes): with wrong settings there is nothing to look at.
pub fn run(create_field: bool) -> anyhow::Result<bool> {
    let file = Path::new(".env");
    let environment = Environment::read(file)?;
    // One of the mistakes may come of what the advice is about.
    let config = Config::from_env(&environment).inspect_err(|_| environment.tell())?;
    logging::hide(config.secrets());
    let mut report = Report::default();
    report.ok(match file.exists() {
        true => "settings: no mistakes in the environment and .env",
        false => "settings: no mistakes in the environment; this folder has no .env",
    });
    environment.advice.iter().for_each(|advice| report.warn(advice));
    match logging::look_at(&config.log_dir) {
        Ok(None) => report.ok(format!("LOG_DIR={}: logs can be written", config.log_dir.display())),
        Ok(Some(pid)) => {
            report.ok(format!("LOG_DIR={}: a worker ({pid}) writes its logs there now", config.log_dir.display()));
        }
        Err(why) => report.fail(format!("LOG_DIR={}: {why}", config.log_dir.display())),
    }
    // Kept until the end: dropping it would raise the signal.
    let (_stopper, stop) = stop::signal();
    rabbitmq(&config, &stop, &mut report);
    for entry in TABLE {
        match (entry.open)(&config, &stop) {
            Ok(_) if create_field => {
                (entry.prepare)(&config, &stop, &mut report);
                (entry.check)(&config, &stop, &mut report);
            }
            Ok(_) => (entry.check)(&config, &stop, &mut report),
            Err(why) => report.off(format!("{}: {why}", entry.name)),
        }
    }
    report.sum_up();
    Ok(!report.failed())
}

fn rabbitmq(config: &Config, stop: &Stop, report: &mut Report) {
    let settings = &config.rabbitmq;
    let RabbitMq { host, port, username, vhost, .. } = settings;
    match Connection::open(settings, "task-creator: check") {
        Ok(mut connection) => {
            let tls = if settings.tls.is_some() { ", encrypted" } else { "" };
            report.ok(format!("RabbitMQ at {host}:{port} as {username}, virtual host {vhost}{tls}"));
            look_at_queues(config, stop, &mut connection, report);
            // We were only looking: there is nothing to lose.
            let _ = connection.close();
        }
        Err(trouble) if trouble.refused => report.fail(format!(
            "{trouble}; correct RABBITMQ_USERNAME (now {username}), RABBITMQ_PASSWORD or RABBITMQ_VHOST (now {vhost})"
        )),
        Err(trouble) => report.fail(format!("{trouble}; mend that, or correct RABBITMQ_HOST and RABBITMQ_PORT")),
    }
    if settings.tls.is_none() && !is_this_machine(host) {
        report
            .warn(format!("RabbitMQ: password and messages travel to {host} unencrypted; advised: RABBITMQ_TLS=true"));
    }
    let password = settings.password.expose();
    if password == username || DEFAULT_PASSWORDS.contains(&password) {
        report.warn(
            "RabbitMQ: the password is the user's name or a default one; advised: a user of its own for this worker, \
             with a password that nobody can guess",
        );
    }
    if settings.heartbeat > LONGEST_HEARTBEAT {
        report.warn(format!(
            "RABBITMQ_HEARTBEAT={}: a dead connection is noticed after minutes; advised: RABBITMQ_HEARTBEAT=10",
            settings.heartbeat
        ));
    }
}

/// Whose a queue is decides what it means when it is missing.
enum Owner {
    Bridge,
    Worker,
}

fn look_at_queues(config: &Config, stop: &Stop, connection: &mut Connection, report: &mut Report) {
    for (name, owner) in queue_names(config, stop) {
        match connection.within_deadline(|connection| queues::look(connection, &name)).map_err(Trouble::from) {
            Ok(Some(Found { ready, consumers })) => {
                report.ok(format!("{name}: ready {ready}, consumers {consumers}"));
            }
            Ok(None) => match owner {
                Owner::Bridge => report.fail(format!(
                    "{name}: missing in virtual host {}; start the bridge, which declares it (or the worker, which does so too)",
                    config.rabbitmq.vhost
                )),
                Owner::Worker => report.ok(format!("{name}: not there yet; the worker declares it at its start")),
            },
            Err(trouble) => return report.fail(format!("{name}: cannot be looked at: {trouble}")),
        }
    }
}

fn queue_names(config: &Config, stop: &Stop) -> Vec<(String, Owner)> {
    let is_on = |entry: &&Entry| (entry.open)(config, stop).is_ok();
    let of_system = |entry: &Entry| {
        let Queues { input, sent, retry, .. } = Queues::of(entry.name, config);
        [(input, Owner::Bridge), (sent, Owner::Worker), (retry, Owner::Worker)]
    };
    let shared = [config.responses_queue.clone(), config.error_queue.clone()].map(|name| (name, Owner::Bridge));
    TABLE.iter().filter(is_on).flat_map(of_system).chain(shared).collect()
}
