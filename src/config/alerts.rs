//! Who is told of what is wrong, by which system, and with which link. It asks nobody, and sends nothing.

use std::time::Duration;

use crate::settings::{Variables, address};

/// The address of the monitor's page, as those who are told reach it.
const PAGE: &str = "ALERT_PAGE_URL";
const UNANSWERED_AFTER: &str = "ALERT_UNANSWERED_AFTER";
/// In seconds.
const DAY: u32 = 86_400;

/// Who is told of what is wrong, and what they are told.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Who is told; nobody: nothing is watched.
    pub people: Vec<People>,
    /// The address of the monitor's page, without a slash at its end.
    pub page: Option<String>,
    /// How long a task may be finished without an answer before somebody is told.
    pub unanswered_after: Duration,
}

/// People whom one system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct People {
    /// The setting that names them.
    pub setting: &'static str,
    /// The system that tells them.
    pub system: &'static str,
    /// Who they are at that system.
    pub to: String,
}

impl Alerts {
    /// What the variables say. Who is told depends on the systems that are on, so [`crate::systems::table`] adds that.
    pub fn from_variables(variables: &mut Variables) -> Alerts {
        Alerts {
            people: Vec::new(),
            page: variables.parsed(PAGE, "ALERT_PAGE_URL=https://monitor.example", page),
            unanswered_after: variables.seconds_up_to(UNANSWERED_AFTER, DAY, 30 * DAY),
        }
    }
}

fn page(given: &str) -> Result<String, String> {
    let address::Url { scheme, sign_in, place, path } = address::base(given)?;
    let separator = if path.is_empty() { "" } else { "/" };
    match sign_in {
        Some(_) => Err("has a user in it, whom everybody would see who is told".into()),
        None => Ok(format!("{scheme}://{place}{separator}{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_user_and_no_slash_at_its_end() {
        assert_eq!(page("https://monitor.example/").as_deref(), Ok("https://monitor.example"));
        assert_eq!(page("http://10.0.0.5:9180/worker/").as_deref(), Ok("http://10.0.0.5:9180/worker"));
        for wrong in ["monitor.example", "ftp://monitor.example", "https://u:p@monitor.example"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
