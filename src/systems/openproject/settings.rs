//! What the `OPENPROJECT_…` variables say.
//!
//! It asks nobody: [`super::check`] checks whether OpenProject is as they say.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::settings::{Secret, Variables, address};
use crate::systems::place;
use crate::systems::question::MissingAnswer;

const URL: &str = "OPENPROJECT_URL";
const TASK_ID_FIELD: &str = "OPENPROJECT_TASK_ID_FIELD";
/// In seconds. What was delivered before is kept so long before it is looked up again.
const LONGEST_TIMEOUT: u32 = 300;
/// The words for which `OPENPROJECT_PRIORITIES` may have a number.
pub const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

/// What the `OPENPROJECT_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, without a slash at the end; no secret.
    pub url: String,
    /// Of the user for whom the worker acts.
    pub token: Secret,
    /// For one request; also how long a create without an answer may take to show.
    pub request_timeout: Duration,
    /// Requests at once.
    pub parallel_requests: usize,
    /// The custom field with the task id in it, by which a work package is found again; `None` switches the look-up
    /// off.
    pub marker_field: Option<String>,
    /// The custom field in which people answer.
    pub answer_field: Option<String>,
    /// Where tasks go for which the message names no project.
    pub default_project: Option<u64>,
    /// The type of a work package.
    pub default_type: u64,
    /// The type of a milestone.
    pub milestone_type: u64,
    /// Whose the tasks are for which the message names nobody.
    pub default_assignee: Option<u64>,
    /// What the one whom the message names becomes.
    pub assign: Assign,
    /// The numbers of OpenProject's priorities by the words of messages.
    pub priorities: BTreeMap<String, u64>,
    /// States that finish a task beside the closed ones.
    pub finished_statuses: Vec<u64>,
    /// What to do with a finished task whose answer is missing.
    pub missing_answer: MissingAnswer,
    /// Where it was before: its hosts, in small letters.
    pub former_hosts: Vec<String>,
}

/// What the one whom the message names becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assign {
    /// Does the work.
    Assignee,
    /// Is accountable for it.
    Responsible,
    /// Both.
    Both,
}

impl Assign {
    /// The links that name the person.
    pub fn links(self) -> &'static [&'static str] {
        match self {
            Assign::Assignee => &["assignee"],
            Assign::Responsible => &["responsible"],
            Assign::Both => &["assignee", "responsible"],
        }
    }
}

impl Settings {
    /// Reads the settings; without `OPENPROJECT_URL` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let given = variables.text(URL)?;
        let url = base(&given).unwrap_or_else(|wrong| {
            variables.error(URL, &wrong, "OPENPROJECT_URL=https://openproject.example");
            String::new()
        });
        let token = variables.secret("OPENPROJECT_TOKEN");
        if token.is_none() {
            variables.lacks("OPENPROJECT_TOKEN", "OPENPROJECT_TOKEN=an API token of the user for whom the worker acts");
        }
        let marker_field = marker_field(variables);
        if marker_field.is_none() {
            variables.lacks(TASK_ID_FIELD, "OPENPROJECT_TASK_ID_FIELD=customField7");
        }
        Some(Settings::with(url, token.unwrap_or_default(), marker_field.flatten(), variables))
    }

    /// The same where nothing will be sent.
    pub fn without_target(variables: &mut Variables) -> Settings {
        // Asked for so that their names are known.
        let _ = (variables.text(URL), variables.secret("OPENPROJECT_TOKEN"));
        let marker_field = marker_field(variables).unwrap_or_else(|| Some("customFieldN".into()));
        Settings::with(String::new(), Secret::default(), marker_field, variables)
    }

    fn with(url: String, token: Secret, marker_field: Option<String>, variables: &mut Variables) -> Settings {
        Settings {
            url,
            token,
            marker_field,
            request_timeout: variables.seconds_up_to("OPENPROJECT_REQUEST_TIMEOUT", 30, LONGEST_TIMEOUT),
            parallel_requests: variables.number("OPENPROJECT_PARALLEL_REQUESTS", 8, 1..=256),
            answer_field: custom_field(variables, "OPENPROJECT_ANSWER_FIELD"),
            default_project: id(variables, "OPENPROJECT_DEFAULT_PROJECT"),
            default_type: variables.number("OPENPROJECT_DEFAULT_TYPE", 1, 1..=u64::MAX),
            milestone_type: variables.number("OPENPROJECT_MILESTONE_TYPE", 2, 1..=u64::MAX),
            default_assignee: id(variables, "OPENPROJECT_DEFAULT_ASSIGNEE"),
            assign: assign(variables),
            priorities: priorities(variables),
            finished_statuses: finished_statuses(variables),
            missing_answer: MissingAnswer::from_variables(variables, "OPENPROJECT_MISSING_ANSWER"),
            former_hosts: place::former_hosts(variables, "OPENPROJECT_FORMER_HOSTS"),
        }
    }

    /// Its host, with the port where that is not the usual one.
    pub fn host(&self) -> String {
        address::place(&self.url)
    }

    /// Where a person sees the work package with this id.
    pub fn link(&self, id: u64) -> String {
        format!("{}/work_packages/{id}", self.url)
    }
}

/// The address as requests start.
fn base(given: &str) -> Result<String, String> {
    let address::Url { scheme, sign_in, place, path } = address::base(given)?;
    if sign_in.is_some() {
        return Err("has a name and password in it, which are not used: OPENPROJECT_TOKEN signs in".into());
    }
    if path.contains("api/v3") {
        return Err("names the interface: give the address that people open".into());
    }
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(format!("{scheme}://{place}{slash}{path}"))
}

/// The outer `None`: it is not set.
fn marker_field(variables: &mut Variables) -> Option<Option<String>> {
    let given = variables.text(TASK_ID_FIELD)?;
    if given.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    Some(custom_field(variables, TASK_ID_FIELD))
}

fn custom_field(variables: &mut Variables, name: &str) -> Option<String> {
    let field = variables.text(name)?;
    if is_custom_field(&field) {
        return Some(field);
    }
    let none = if name == TASK_ID_FIELD { ", nor none" } else { "" };
    let wrong = format!("is {field:?}, not customField and its number{none}");
    variables.error(name, &wrong, &format!("{name}=customField7"));
    Some(field)
}

/// Is this what a custom field is called in the interface?
pub fn is_custom_field(name: &str) -> bool {
    let number = name.strip_prefix("customField").unwrap_or_default();
    !number.is_empty() && number.len() < 10 && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number of something, where it is set.
fn id(variables: &mut Variables, name: &str) -> Option<u64> {
    let wrong = |given: &str| format!("is {given:?}, not a positive whole number");
    variables
        .parsed(name, &format!("{name}=1"), |given| given.parse().ok().filter(|id| *id > 0).ok_or_else(|| wrong(given)))
}

fn assign(variables: &mut Variables) -> Assign {
    let given = variables.text("OPENPROJECT_ASSIGN").unwrap_or_else(|| "assignee".into());
    match given.to_lowercase().as_str() {
        "assignee" => Assign::Assignee,
        "responsible" => Assign::Responsible,
        "both" => Assign::Both,
        _ => {
            let wrong = format!("is {given:?}, neither assignee nor responsible nor both");
            variables.error("OPENPROJECT_ASSIGN", &wrong, "OPENPROJECT_ASSIGN=assignee");
            Assign::Assignee
        }
    }
}

fn priorities(variables: &mut Variables) -> BTreeMap<String, u64> {
    let parse = |given: &str| {
        let pair = |pair: &str| {
            let (word, id) = pair.split_once('=')?;
            let word = word.trim().to_lowercase();
            let id = id.trim().parse().ok().filter(|id| *id > 0)?;
            PRIORITIES.contains(&word.as_str()).then_some((word, id))
        };
        let pairs: Option<BTreeMap<String, u64>> = given.split(',').map(pair).collect();
        pairs.ok_or_else(|| format!("is {given:?}, not a list of low, normal, high, each with a number"))
    };
    let example = "OPENPROJECT_PRIORITIES=low=7,normal=8,high=9";
    variables.parsed("OPENPROJECT_PRIORITIES", example, parse).unwrap_or_default()
}

fn finished_statuses(variables: &mut Variables) -> Vec<u64> {
    let parse = |given: &str| {
        let id = |id: &str| id.trim().parse().ok().filter(|id| *id > 0);
        given.split(',').map(id).collect::<Option<Vec<u64>>>().ok_or_else(|| {
            // With a number that no state has, tasks would never be finished.
            format!("is {given:?}, not a list of the numbers of states")
        })
    };
    let name = "OPENPROJECT_FINISHED_STATUSES";
    variables.parsed(name, "OPENPROJECT_FINISHED_STATUSES=10,12", parse).unwrap_or_default()
}
