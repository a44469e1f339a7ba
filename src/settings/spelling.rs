//! Which setting an unknown name may mean. It knows names only, and no values.

use std::collections::BTreeSet;

use crate::nearest::distance;

/// From this length on two letters may be wrong, below it one.
const LONG: usize = 9;

/// The setting whose name is nearest to this one, if it is near enough to be meant; `None` for a name that is a
/// setting.
pub fn nearest<'a>(name: &str, settings: &'a BTreeSet<String>) -> Option<&'a str> {
    if settings.contains(name) {
        return None;
    }
    let is_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = name.trim_matches(|c| !is_of_a_name(c)).to_uppercase();
    let errors = |setting: &&String| distance(&name, setting);
    let (wrong, nearest) = settings.iter().map(|setting| (errors(&setting), setting)).min()?;
    let allowed = if nearest.len() < LONG { 1 } else { 2 };
    if wrong <= allowed {
        return Some(nearest);
    }
    // RABBITMQ_USER, RABBITMQ_PASS, BITRIX_WEBHOOK: cut short.
    let is_most_of = |setting: &&String| setting.starts_with(&name) && name.len() * 4 >= setting.len() * 3;
    settings.iter().find(is_most_of).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(name: &str) -> Option<String> {
        let settings = [
            "HEARTBEAT_INTERVAL",
            "LOG_DIR",
            "PREFETCH",
            "RABBITMQ_HOST",
            "RABBITMQ_PASSWORD",
            "RABBITMQ_PORT",
            "RABBITMQ_USERNAME",
        ];
        nearest(name, &settings.map(String::from).into()).map(str::to_owned)
    }

    #[test]
    fn a_misspelt_name_has_a_nearest_one() {
        for (name, expected) in [
            ("HEARTBEAT_INTREVAL", "HEARTBEAT_INTERVAL"),
            ("HEARTBEAT-INTERVAL", "HEARTBEAT_INTERVAL"),
            ("RABBITMQ_PASWORD", "RABBITMQ_PASSWORD"),
            ("rabbitmq_host", "RABBITMQ_HOST"),
            // A Cyrillic А.
            ("RАBBITMQ_HOST", "RABBITMQ_HOST"),
            ("RABBITMQ_HOST:", "RABBITMQ_HOST"),
            ("RABBITMQ_USER", "RABBITMQ_USERNAME"),
            ("RABBITMQ_PASS", "RABBITMQ_PASSWORD"),
            ("LOGDIR", "LOG_DIR"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_names_have_none() {
        for name in [
            "",
            "RABBITMQ_HOST",
            "RABBITMQ_URL",
            "RABBITMQ_NODENAME",
            "1C_HOST",
            "DEBUG",
            "LANG",
            "LOG",
            "PATH",
            "LOG_DIR_MODE",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
