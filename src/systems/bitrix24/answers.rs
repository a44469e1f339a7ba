//! The texts of the answers: a portal stores the id of a list value, and Camunda wants "ДА" or "НЕТ".
//!
//! They come from the setting `BITRIX_ANSWER_TEXTS` or from the portal's own method `imena.camunda.userfield.list`. It
//! knows no task, and decides nothing about one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Call, Client};
use super::errors::ApiError;
use crate::message::text;

/// An unknown id may mean that the list has changed; the list is read again, but not more often than this.
const RELOAD: Duration = Duration::from_secs(60);

/// The texts known so far.
pub struct Answers {
    client: Arc<Client>,
    texts: BTreeMap<String, String>,
    asked: Option<Instant>,
    /// Why the portal's own list is not known, if it is not.
    error: Option<String>,
}

impl Answers {
    /// Starts with the texts of the setting; the portal's are read when the first unknown answer comes.
    pub fn new(client: Arc<Client>, texts: BTreeMap<String, String>) -> Answers {
        Answers { client, texts, asked: None, error: None }
    }

    /// The text of an answer as the portal stores it.
    ///
    /// # Errors
    /// The text is not known, and why.
    pub fn text(&mut self, stored: &str) -> Result<String, String> {
        if !stored.bytes().all(|byte| byte.is_ascii_digit()) {
            // A portal whose field holds the text itself.
            return Ok(stored.to_owned());
        }
        if !self.texts.contains_key(stored) {
            self.reload();
        }
        let why = || format!("; {}", self.error.as_deref().unwrap_or("the portal's list does not have it"));
        let text = self.texts.get(stored).cloned();
        text.ok_or_else(|| {
            format!("the text of answer {stored} is not known (BITRIX_ANSWER_TEXTS can tell it){}", why())
        })
    }

    fn reload(&mut self) {
        if self.asked.is_some_and(|asked| asked.elapsed() < RELOAD) {
            return;
        }
        self.asked = Some(Instant::now());
        match known_to(&self.client) {
            Ok(texts) => {
                self.texts.extend(texts);
                self.error = None;
            }
            Err(err) => self.error = Some(err.to_string()),
        }
    }
}

/// The answers' ids and texts, as the portal's own method tells them.
///
/// # Errors
/// The portal has no such method, or does not answer.
pub fn known_to(client: &Client) -> Result<Vec<(String, String)>, ApiError> {
    let reply = client.call(&Call { method: "imena.camunda.userfield.list", params: Vec::new() })?;
    Ok(enumeration(&reply["result"]))
}

/// Id and text of each value of `UF_RESULT_ANSWER`.
fn enumeration(result: &Value) -> Vec<(String, String)> {
    let fields = result["userFields"].as_array().into_iter().flatten();
    let answer = fields.filter(|field| field["FIELD_NAME"] == "UF_RESULT_ANSWER");
    let values = answer.flat_map(|field| field["ENUM_VALUES"].as_array().into_iter().flatten());
    values.filter_map(|value| Some((text(&value["ID"])?, text(&value["VALUE"])?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::settings;
    use super::*;
    use crate::stop;
    use crate::tls::RootCertificates;

    fn answers(texts: &[(&str, &str)]) -> Answers {
        // Nobody listens there: a list that is asked for is not to be had.
        let settings = settings(&[("BITRIX_WEBHOOK_URL", "http://127.0.0.1:1/rest/1/canary-token")]);
        let texts = texts.iter().map(|(id, text)| (id.to_string(), text.to_string())).collect();
        Answers::new(Arc::new(Client::new(&settings, &RootCertificates::public(), 4, &stop::signal().1)), texts)
    }

    #[test]
    fn the_setting_tells_the_texts() {
        let mut answers = answers(&[("26", "ДА"), ("27", "НЕТ")]);
        assert_eq!(answers.text("26").as_deref(), Ok("ДА"));
        assert_eq!(answers.text("27").as_deref(), Ok("НЕТ"));
        assert_eq!(answers.asked, None);
    }

    #[test]
    fn a_field_that_holds_the_text_itself_is_taken_as_it_is() {
        assert_eq!(answers(&[]).text("ДА").as_deref(), Ok("ДА"));
        assert_eq!(answers(&[]).text("26a").as_deref(), Ok("26a"));
    }

    #[test]
    fn an_unknown_text_is_an_error_that_says_why_and_the_list_is_asked_for_once_a_minute() {
        let mut answers = answers(&[("26", "ДА")]);
        let why = answers.text("28").expect_err("nobody knows it");
        let start =
            "the text of answer 28 is not known (BITRIX_ANSWER_TEXTS can tell it); imena.camunda.userfield.list: ";
        assert!(why.starts_with(start) && !why.contains("canary"), "{why}");
        let asked = answers.asked.expect("the list was asked for");
        assert!(answers.text("29").is_err());
        assert_eq!(answers.asked, Some(asked));
        let long_ago = asked.checked_sub(RELOAD).expect("the machine has run for a minute");
        answers.asked = Some(long_ago);
        assert!(answers.text("29").is_err());
        assert_ne!(answers.asked, Some(long_ago));
    }

    #[test]
    fn the_values_of_the_answer_are_read_and_nothing_else() {
        let result = json!({"userFields": [
            {"FIELD_NAME": "UF_OTHER", "ENUM_VALUES": [{"ID": "1", "VALUE": "other"}]},
            {"FIELD_NAME": "UF_RESULT_ANSWER", "ENUM_VALUES": [
                {"ID": "26", "VALUE": "ДА"}, {"ID": 27, "VALUE": " НЕТ "}, {"ID": "28"}, {"VALUE": "x"}, null
            ]},
        ]});
        let expected = [("26", "ДА"), ("27", "НЕТ")].map(|(id, text)| (id.to_owned(), text.to_owned()));
        assert_eq!(enumeration(&result), expected);
        for nothing in [
            json!([]),
            json!(null),
            json!({"userFields": []}),
            json!({"userFields": [{"FIELD_NAME": "UF_RESULT_ANSWER"}]}),
        ] {
            assert_eq!(enumeration(&nothing), []);
        }
    }
}
