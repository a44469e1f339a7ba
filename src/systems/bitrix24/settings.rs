//! What the `BITRIX_…` variables say.
//!
//! It sends nothing; [`super::check`] asks the portal whether they are right.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fields;
use super::webhook::Webhook;
use crate::settings::Variables;
use crate::systems::place;
use crate::systems::question::MissingAnswer;

/// In seconds. A delivery that came before is kept this long before its task is looked up again, and RabbitMQ closes a
/// channel that leaves a delivery unacknowledged for half an hour.
const LONGEST_TIMEOUT: u32 = 300;

/// The states of a task: new, waiting, in progress, awaiting control, completed, deferred, declined.
const STATUSES: RangeInclusive<u64> = 1..=7;
/// Fields of every portal, or of the answers, which hold something other than a task's id.
const NO_MARKERS: &[&str] =
    &["UF_CRM_TASK", "UF_TASK_WEBDAV_FILES", "UF_RESULT_ANSWER", "UF_RESULT_EXPECTED", "UF_RESULT_QUESTION"];

/// What the `BITRIX_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the portal is.
    pub webhook: Webhook,
    /// The user who gets the tasks whose message names nobody.
    pub default_responsible: u64,
    /// 0, 1 or 2.
    pub default_priority: u8,
    /// For one request; also how long a create without an answer may take to become visible.
    pub request_timeout: Duration,
    /// In characters.
    pub max_description_length: usize,
    /// The field that holds the task id, by which a task is found again; `None` switches the look-up off.
    pub marker_field: Option<String>,
    /// The states in which a task counts as finished.
    pub completed_statuses: Vec<u64>,
    /// What to do with a finished task whose answer is missing.
    pub missing_answer: MissingAnswer,
    /// The portal's former hosts, in small letters.
    pub former_hosts: Vec<String>,
    /// The texts of the answers, for a portal that has no method to tell them.
    pub answer_texts: BTreeMap<String, String>,
    /// Requests a second; 0 for no limit.
    pub rate: f64,
    /// Requests at once.
    pub burst: u32,
}

impl Settings {
    /// Reads the settings; without `BITRIX_WEBHOOK_URL` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        // A secret as a whole: its path is the token.
        let url = variables.secret("BITRIX_WEBHOOK_URL")?;
        let webhook = Webhook::parse(url.expose()).unwrap_or_else(|wrong| {
            variables.error("BITRIX_WEBHOOK_URL", &wrong, "BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN");
            Webhook::nowhere()
        });
        Some(Settings::with(webhook, variables))
    }

    /// The same without a portal, when nothing will be sent.
    pub fn without_portal(variables: &mut Variables) -> Settings {
        Settings::with(Webhook::nowhere(), variables)
    }

    fn with(webhook: Webhook, variables: &mut Variables) -> Settings {
        let rate = rate(variables);
        Settings {
            webhook,
            default_responsible: variables.number("BITRIX_DEFAULT_RESPONSIBLE_ID", 1, 1..=u64::MAX),
            default_priority: variables.number("BITRIX_DEFAULT_PRIORITY", 1, 0..=2),
            request_timeout: variables.seconds_up_to("BITRIX_REQUEST_TIMEOUT", 30, LONGEST_TIMEOUT),
            max_description_length: variables.number("BITRIX_MAX_DESCRIPTION_LENGTH", 10_000, 100..=1_000_000),
            marker_field: marker_field(variables),
            completed_statuses: completed_statuses(variables),
            missing_answer: MissingAnswer::from_variables(variables, "BITRIX_MISSING_ANSWER"),
            former_hosts: place::former_hosts(variables, "BITRIX_FORMER_HOSTS"),
            answer_texts: answer_texts(variables),
            rate,
            burst: variables.number("BITRIX_BURST", 50, 1..=10_000),
        }
    }
}

fn rate(variables: &mut Variables) -> f64 {
    let rate = variables.text("BITRIX_RATE").unwrap_or_else(|| "2".into());
    rate.parse().ok().filter(|rate| *rate == 0.0 || (0.001..=10_000.0).contains(rate)).unwrap_or_else(|| {
        variables.error(
            "BITRIX_RATE",
            &format!("is {rate:?}, neither 0 nor a number from 0.001 to 10000"),
            "BITRIX_RATE=2",
        );
        2.0
    })
}

fn marker_field(variables: &mut Variables) -> Option<String> {
    let field = variables.text("BITRIX_TASK_ID_FIELD").unwrap_or_else(|| "UF_CAMUNDA_ID_EXTERNAL_TASK".into());
    if field.eq_ignore_ascii_case("none") {
        return None;
    }
    let example = "BITRIX_TASK_ID_FIELD=UF_CAMUNDA_ID_EXTERNAL_TASK";
    if NO_MARKERS.contains(&&*field) {
        let wrong = format!("is {field}, which holds something else than the id of a task");
        variables.error("BITRIX_TASK_ID_FIELD", &wrong, example);
    }
    if field != "XML_ID" && !fields::is_custom_field(&field) {
        let wrong = format!("is {field:?}, neither UF_ with capitals and digits, nor XML_ID, nor none");
        variables.error("BITRIX_TASK_ID_FIELD", &wrong, example);
    }
    Some(field)
}

fn completed_statuses(variables: &mut Variables) -> Vec<u64> {
    let given = variables.text("BITRIX_COMPLETED_STATUSES").unwrap_or_else(|| "4,5".into());
    let status = |status: &str| status.trim().parse().ok().filter(|status| STATUSES.contains(status));
    given.split(',').map(status).collect::<Option<_>>().unwrap_or_else(|| {
        // No state has such a number, so tasks would never be finished.
        let wrong = format!("is {given:?}, not a list of states, {} to {}", STATUSES.start(), STATUSES.end());
        variables.error("BITRIX_COMPLETED_STATUSES", &wrong, "BITRIX_COMPLETED_STATUSES=4,5");
        Vec::new()
    })
}

fn answer_texts(variables: &mut Variables) -> BTreeMap<String, String> {
    let Some(given) = variables.text("BITRIX_ANSWER_TEXTS") else { return BTreeMap::new() };
    parse_answer_texts(&given).unwrap_or_else(|wrong| {
        let wrong = format!("is {given:?}, {wrong}");
        variables.error("BITRIX_ANSWER_TEXTS", &wrong, "BITRIX_ANSWER_TEXTS=26=ДА,27=НЕТ");
        BTreeMap::new()
    })
}

/// An error that is not noticed here would show late: a process takes an answer for "no", or waits for ever.
fn parse_answer_texts(given: &str) -> Result<BTreeMap<String, String>, String> {
    let mut texts = BTreeMap::new();
    for pair in given.split(',') {
        let (id, text) = pair.split_once('=').ok_or("not a list of id=text")?;
        let (id, text) = (id.trim(), text.trim());
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("in which {id:?} stands for an id, which is a number"));
        }
        if text.is_empty() {
            return Err(format!("in which {id} has no text"));
        }
        // These separate or enclose texts in other lists; here they would be part of the text.
        if text.contains(['=', ';', '"', '\'', '«', '»']) {
            return Err(format!("in which the text of {id} is {text:?}, with a sign that no answer has"));
        }
        if texts.insert(id.to_owned(), text.to_owned()).is_some() {
            return Err(format!("in which {id} has two texts"));
        }
    }
    Ok(texts)
}
