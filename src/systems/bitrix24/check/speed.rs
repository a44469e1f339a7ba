//! How long does it take to look up one task? Before a task is created it is looked up by the marker's field and by
//! [`XML_ID`], and a portal has an index for neither.
//!
//! This measures and advises; people make the index, in the portal's own database.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::fields::{self, XML_ID};
use super::super::{look_up, rows};
use super::{Answered, Look};
use crate::message::now_ms;

/// A look-up that takes longer than this delays the tasks.
pub(super) const SLOW: Duration = Duration::from_secs(1);

impl Look<'_> {
    /// Looks up a task that does not exist, by each of the fields that hold the marker.
    pub(super) fn at_speed(&mut self, marker: &str) -> Answered {
        let nobody = format!("nobody-{}-{}", std::process::id(), now_ms());
        let (mut told, mut slowest) = (Vec::new(), Duration::ZERO);
        for (field, call) in [marker, XML_ID].into_iter().zip(look_up::calls(marker, &nobody)) {
            let began = Instant::now();
            let answer = self.ask(&call);
            let measured = began.elapsed();
            if answer.is_err() && measured > SLOW {
                self.advise_indexes(marker);
            }
            match answer? {
                Ok(reply) if rows(&reply).is_none_or(|rows| !rows.is_empty()) => self.report.warn(format!(
                    "bitrix24: the portal cannot search tasks by {field}, so a task is not found until the portal has \
                     written its custom fields too"
                )),
                Ok(reply) => {
                    let took = took(&reply, measured);
                    told.push(format!("{} ms by {field}", took.as_millis()));
                    slowest = slowest.max(took);
                }
                Err(err) => self.report.warn(format!("bitrix24: tasks cannot be found by {field}: {err}")),
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        let told = format!("bitrix24: looking up a task takes {}", told.join(", "));
        if slowest <= SLOW {
            self.report.ok(told);
        } else {
            self.report.warn(format!("{told}: the portal reads its whole table for each task"));
            self.advise_indexes(marker);
        }
        Ok(())
    }

    /// Says what makes look-ups fast.
    pub(super) fn advise_indexes(&mut self, marker: &str) {
        if is_in_the_cloud(&self.settings.webhook.to_string()) {
            return self.report.warn("bitrix24: slow look-ups of a cloud portal can be changed by Bitrix24 only");
        }
        for (table, statement) in statements(marker) {
            self.report.warn(format!(
                "bitrix24: an index makes look-ups in {table} fast; run once in the portal's database (PostgreSQL: \
                 without the length in brackets): {statement}"
            ));
        }
    }
}

/// How long the portal worked on it. The portal counts from the whole second before, and the worker from before it had
/// a permit: the smaller of the two is nearer.
fn took(reply: &Value, measured: Duration) -> Duration {
    let told = reply["time"]["duration"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    told.map_or(measured, |told| told.min(measured))
}

/// For each table that is searched, the statement that gives it an index. Custom fields are TEXT columns; MySQL indexes
/// only the first characters of those.
fn statements(marker: &str) -> Vec<(&'static str, String)> {
    let of_marker = fields::is_custom_field(marker).then(|| {
        let table = "b_uts_tasks_task";
        (table, format!("CREATE INDEX ix_task_creator_marker ON {table} ({marker}(50));"))
    });
    let table = "b_tasks";
    let of_xml_id = (table, format!("CREATE INDEX ix_task_creator_xml_id ON {table} ({XML_ID});"));
    of_marker.into_iter().chain([of_xml_id]).collect()
}

/// Whether the vendor runs this portal and its database.
fn is_in_the_cloud(webhook: &str) -> bool {
    webhook.split('/').nth(2).is_some_and(|host| host.contains(".bitrix24."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_searched_column_has_its_statement() {
        let statements = |marker: &str| statements(marker).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let xml_id = "CREATE INDEX ix_task_creator_xml_id ON b_tasks (XML_ID);";
        let marker = "CREATE INDEX ix_task_creator_marker ON b_uts_tasks_task (UF_MARKER(50));";
        assert_eq!(statements("UF_MARKER"), [marker, xml_id]);
        assert_eq!(statements(XML_ID), [xml_id]);
    }

    #[test]
    fn a_portal_of_the_vendor_is_known_by_its_host() {
        assert!(is_in_the_cloud("https://name.bitrix24.ru/rest/1/***"));
        assert!(is_in_the_cloud("https://name.bitrix24.com.br/rest/1/***"));
        assert!(!is_in_the_cloud("https://bitrix24.example.org/rest/1/***"));
        assert!(!is_in_the_cloud("https://bitrix.example/rest/.bitrix24./***"));
    }

    #[test]
    fn the_smaller_of_both_times_counts() {
        let (second, third) = (Duration::from_secs(1), Duration::from_millis(300));
        assert_eq!(took(&json!({"time": {"duration": 0.3}}), second), third);
        assert_eq!(took(&json!({"time": {"duration": 1.0}}), third), third);
        for untold in [json!({}), json!({"time": {"duration": -1}}), json!({"time": {"duration": "0.1"}})] {
            assert_eq!(took(&untold, second), second, "{untold}");
        }
    }
}
