//! `task-creator check`: checks the settings, RabbitMQ, the target of every system that is on, and Camunda's engine.
//!
//! It changes nothing, except with `--create-field`. It goes on when a part is down, so that one run shows all errors.
//! It knows no system: each system checks its own target, behind [`System::check`](crate::systems::System::check).

use std::path::Path;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::arguments::unexpected;
use super::grammar;
use crate::config::{Config, People, RabbitMq};
use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::publisher::Publisher;
use crate::rabbitmq::queues::{self, Found};
use crate::rabbitmq::{Blocked, ConnectionError, rights};
use crate::report::Report;
use crate::settings::Environment;
use crate::settings::address::is_this_machine;
use crate::stop;
use crate::systems::table::{self, Setup};
use crate::systems::{Configured, Surroundings};
use crate::{lane, logging};

/// In seconds. RabbitMQ as installed proposes 60, and the smaller value counts. A dead connection is noticed after
/// twice that.
const LONGEST_HEARTBEAT: u16 = 60;

/// RabbitMQ's own default, and the one in `config.env.example`.
const DEFAULT_PASSWORDS: &[&str] = &["guest", "change me"];

/// The options of `check`.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// First make what is missing at the targets.
    pub create_field: bool,
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut create_field = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("create-field") => create_field = true,
            other => return Err(unexpected(&other, &grammar::options("check", ""))),
        }
    }
    Ok(Some(Options { create_field }))
}

/// Prints a line for each thing; the exit code is 1 when one of them failed.
///
/// # Errors
/// [`SettingsErrors`](crate::settings::SettingsErrors): with wrong settings nothing can be checked.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(u8::from(!is_well(options)?)))
}

/// The same; true when nothing has failed.
///
/// # Errors
/// As [`run`].
pub fn is_well(options: &Options) -> anyhow::Result<bool> {
    let file = Path::new(super::DOTENV);
    let environment = Environment::read(file, table::settings())?;
    // The advice may explain one of the errors.
    let setup = Setup::from_env(&environment).inspect_err(|_| super::tell(&environment))?;
    setup.hide_secrets();
    let config = &setup.config;
    let mut report = Report::default();
    report.ok(match file.exists() {
        true => "settings: no errors in the environment and .env",
        false => "settings: no errors in the environment; this folder has no .env",
    });
    environment.advice.iter().for_each(|advice| report.warn(advice));
    match &config.log_dir {
        Some(folder) => log_files(folder, &mut report),
        None => report.ok("LOG_DIR=none: the log goes to the terminal only"),
    }
    // Kept until the end: dropping it would raise the signal.
    let (_stopper, stop) = stop::signal();
    rabbitmq(&setup, &mut report);
    let (https, rabbitmq) = (&config.https, &config.rabbitmq);
    let around = Surroundings { https, threads: 1, routes: &setup.routes(), stop: &stop, rabbitmq };
    for (name, configured) in &setup.systems {
        match configured {
            Configured::On(system) => {
                if options.create_field {
                    system.prepare(&around, &mut report);
                }
                system.check(&around, &mut report);
            }
            Configured::Off(why) => report.off(format!("{name}: {why}")),
        }
    }
    match &config.camunda {
        Some(camunda) => camunda.check(https, &mut report),
        None => report.off("Camunda: CAMUNDA_URL is not set, so what is parked shows no incident there"),
    }
    match &config.monitor {
        Some(monitor) => report.ok(format!("monitor at http://{}: {}", monitor.address, monitor.rules())),
        None => report.off("monitor: MONITOR_ADDR is not set, so there is no page, no control and no metrics"),
    }
    told_of_alerts(&setup, &mut report);
    report.sum_up();
    Ok(!report.failed())
}

fn log_files(folder: &Path, report: &mut Report) {
    let shown = folder.display();
    match logging::look_at(folder) {
        Ok(None) => report.ok(format!("LOG_DIR={shown}: logs can be written")),
        Ok(Some(pid)) => report.ok(format!("LOG_DIR={shown}: a worker ({pid}) writes its logs there now")),
        Err(why) => report.fail(format!("LOG_DIR={shown}: {why}")),
    }
}

fn told_of_alerts(setup: &Setup, report: &mut Report) {
    let messengers = setup.messengers();
    if messengers.is_empty() {
        report.off("alerts: ALERT_TELEGRAM_CHAT and ALERT_EMAIL_TO are not set, so nobody is told what is wrong");
    }
    for (People { setting, system, .. }, messenger) in messengers {
        match messenger.look() {
            Ok(told) => report.ok(format!("alerts: {system} tells {told} ({setting})")),
            Err(err) => report.fail(format!("alerts: {setting}: {err}; the worker works, but tells nobody")),
        }
    }
}

fn rabbitmq(setup: &Setup, report: &mut Report) {
    let config = &setup.config;
    let settings = &config.rabbitmq;
    let RabbitMq { host, port, username, vhost, .. } = settings;
    match Connection::open(settings, "task-creator: check") {
        Ok(mut connection) => {
            let tls = if settings.tls.is_some() { ", encrypted" } else { "" };
            report.ok(format!("RabbitMQ at {host}:{port} as {username}, virtual host {vhost}{tls}"));
            let lanes: Vec<Queues> = setup.on().map(|(name, _)| Queues::of(name, config)).collect();
            let blocked = connection.within_deadline(Connection::blocked);
            if let Some(missing) = look_at_queues(&lanes, config, &mut connection, report)
                && !lanes.is_empty()
            {
                look_at_rights(&lanes, &missing, config, &mut connection, report);
            }
            // RabbitMQ says so only to a connection that has published.
            if let Some(Blocked::Blocked(why)) = blocked.ok().and_then(|told| told.try_recv().ok()).map(Blocked::from) {
                report.warn(format!("RabbitMQ takes no messages for now ({why}): free memory or disk there"));
            }
            // Nothing was to be sent, so a failed close does no harm.
            let _ = connection.close();
        }
        Err(error) if error.refused => {
            report.fail(format!("{error}; now: RABBITMQ_USERNAME={username}, RABBITMQ_VHOST={vhost}"));
        }
        Err(error) => report.fail(format!("{error}; fix that, or correct RABBITMQ_HOST and RABBITMQ_PORT")),
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

/// Who makes a queue first. It decides how a missing one is reported.
enum Owner {
    Bridge,
    Worker,
}

/// Checks the queues. Returns the missing ones, which the worker would make; `None` if they cannot be looked at.
fn look_at_queues(
    lanes: &[Queues],
    config: &Config,
    connection: &mut Connection,
    report: &mut Report,
) -> Option<Vec<String>> {
    let mut missing = Vec::new();
    for (name, owner) in queue_names(lanes, config) {
        match connection.within_deadline(|connection| queues::look(connection, &name)) {
            Ok(Some(Found { ready, consumers })) => {
                report.ok(format!("{name}: ready {ready}, consumers {consumers}"));
            }
            Ok(None) => {
                match owner {
                    Owner::Bridge => report.warn(format!(
                        "{name}: missing in virtual host {}; the worker declares it at its start, but nobody else uses \
                         it now. Start the bridge, or correct RABBITMQ_VHOST and the queues' names",
                        config.rabbitmq.vhost
                    )),
                    Owner::Worker => report.ok(format!("{name}: not there yet; the worker declares it at its start")),
                }
                missing.push(name);
            }
            Err(error) => {
                report.fail(format!("{name}: cannot be looked at: {error}"));
                return None;
            }
        }
    }
    Some(missing)
}

fn queue_names(lanes: &[Queues], config: &Config) -> Vec<(String, Owner)> {
    let of_lane = |Queues { input, sent, retry, .. }: &Queues| {
        [(input.clone(), Owner::Bridge), (sent.clone(), Owner::Worker), (retry.clone(), Owner::Worker)]
    };
    let shared = [config.responses_queue.clone(), config.error_queue.clone()].map(|name| (name, Owner::Bridge));
    lanes.iter().flat_map(of_lane).chain(shared).collect()
}

/// Does the worker have the rights that it needs? `missing` are the queues that it will make.
fn look_at_rights(
    lanes: &[Queues],
    missing: &[String],
    config: &Config,
    connection: &mut Connection,
    report: &mut Report,
) {
    let mut refused = Vec::new();
    let mut note = |what: String, found: Result<(), ConnectionError>| {
        refused.extend(found.err().map(|error| format!("{what}: {error}")));
    };
    let mut alone = Ok(());
    let parked = connection.within_deadline(|connection| {
        for Queues { input, sent, retry, sweep_lock, .. } in lanes {
            for queue in [input, sent, retry] {
                note(format!("{queue}: may not be read"), rights::may_read(connection, queue));
            }
            note(format!("{sweep_lock}: may not be made"), rights::may_configure(connection, sweep_lock));
        }
        for queue in missing {
            note(format!("{queue}: may not be made"), rights::may_configure(connection, queue));
        }
        let parked = rights::may_read(connection, &config.error_queue);
        let shared = [&config.error_queue, &config.responses_queue].map(|queue| Queues::browse_lock(queue));
        alone = shared.iter().try_for_each(|lock| rights::may_configure(connection, lock));
        // Last: during an alarm the connection cannot be used after this.
        let closing = connection.closing();
        let written = Publisher::open(connection);
        note(
            "messages may not be published".into(),
            written.and_then(|mut publisher| rights::may_write(&mut publisher)),
        );
        drop(closing);
        parked
    });
    match refused.is_empty() {
        true => report.ok("RabbitMQ: the worker may read, make and publish what it needs"),
        false => {
            refused.iter().for_each(|refused| report.fail(refused));
            report.fail(format!("RabbitMQ: rights are missing; {}", lane::rights::advice(&config.rabbitmq, lanes)));
        }
    }
    if let Err(error) = alone
        && refused.is_empty()
    {
        report.warn(format!("a browse lock may not be made, so `reconcile` calls no task lost: {error}"));
    }
    if let Err(error) = parked
        && refused.is_empty()
    {
        report.warn(format!("{}: may not be read, so `parked` shows nothing: {error}", config.error_queue));
    }
}
