//! Is the service ready? For `task-creator check`; asks each address with a method that changes nothing.
//!
//! Nothing is posted, so what a service does with a task is not looked at.

use std::collections::BTreeMap;

use url::Url;

use super::Settings;
use super::client::Client;
use crate::http::{self, Class, Method};
use crate::report::Report;
use crate::settings::address::is_this_machine;
use crate::systems::Surroundings;

const NOT_FOUND: u16 = 404;

/// Looks at every address, each once.
pub fn run(settings: &Settings, around: &Surroundings, report: &mut Report) {
    let client = Client::new(settings, around.https);
    let urls: BTreeMap<&str, &Url> = settings.urls.all().map(|url| (url.as_str(), url)).collect();
    for url in urls.values() {
        at_protection(settings, url, report);
        at_answer(settings, &client, url, report);
    }
    let topics: Vec<&str> = settings.urls.topics().collect();
    if settings.urls.of("").is_none() {
        let (named, topics) = (settings.named.setting("URL"), topics.join(", "));
        report.warn(format!(
            "{}: every topic but {topics} is parked; {named} is the address for the others",
            settings.named.system
        ));
    }
}

fn at_protection(settings: &Settings, url: &Url, report: &mut Report) {
    let host = url.host_str().unwrap_or_default();
    if url.scheme() == "http" && !is_this_machine(host) {
        let what = if settings.token.is_some() { "the token and all tasks travel" } else { "all tasks travel" };
        report.warn(format!("{}: {what} to {host} unencrypted; advised: https://", settings.named.system));
    }
}

/// A route for POST alone answers OPTIONS with 405, which is as good as a success.
fn at_answer(settings: &Settings, client: &Client, url: &Url, report: &mut Report) {
    let system = settings.named.system;
    match http::classify(client.ask(Method::OPTIONS, url)) {
        Ok(answer) => report.ok(format!("{system}: {url} answers (http status {})", answer.status)),
        Err(failed) if failed.status == Some(NOT_FOUND) => {
            report.warn(format!("{system}: {url}: {failed}; is the path right? Every task would be parked"));
        }
        Err(failed) => match (failed.class, failed.status) {
            (Class::Permanent, Some(status)) => report.ok(format!("{system}: {url} answers (http status {status})")),
            _ => report.fail(format!("{system}: {url}: {failed}")),
        },
    }
}
