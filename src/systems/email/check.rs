//! Is the mail server ready for the worker? For `task-creator check`. It signs in, says who would send, and sends
//! nothing.

use super::Settings;
use super::settings::{ALLOWED_DOMAINS, SECURITY, Security};
use super::smtp::Server;
use crate::report::Report;
use crate::settings::address::is_this_machine;

/// Looks at everything that the worker will need.
pub fn run(settings: &Settings, report: &mut Report) {
    if settings.security == Security::None && !is_this_machine(&settings.host) {
        report.warn(format!("email: {SECURITY}=none: mails and password travel unencrypted"));
    }
    if settings.allowed_domains.is_empty() {
        report.warn(format!("email: {ALLOWED_DOMAINS} is not set: a process may write to anybody"));
    }
    match Server::new(settings).try_out() {
        Ok(()) if settings.sign_in.is_some() => report.ok("email: the server lets us in and takes EMAIL_FROM"),
        Ok(()) => report.ok("email: the server answers; EMAIL_USERNAME is not set, so it must take mail without"),
        Err(why) => report.fail(format!("email: {}:{}: {why}", settings.host, settings.port)),
    }
}
