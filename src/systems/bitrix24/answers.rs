//! The texts of the answers: a portal stores the id of a list value, and Camunda wants "ДА" or "НЕТ".
//!
//! They come from the setting `BITRIX_ANSWER_TEXTS` or from the portal's own method `imena.camunda.userfield.list`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Call, Client};
use crate::message::text;

/// The list may have been changed when an unknown id turns up, but it is not asked for more often than this.
const RELOAD: Duration = Duration::from_secs(60);

/// The texts known so far.
pub struct Answers {
    client: Arc<Client>,
    texts: BTreeMap<String, String>,
    asked: Option<Instant>,
    /// Why the portal's own list is not known, if it is not.
    trouble: Option<String>,
}

impl Answers {
    /// Begins with the texts of the setting; the portal's are read when the first answer is needed.
    pub fn new(client: Arc<Client>, texts: BTreeMap<String, String>) -> Answers {
        Answers { client, texts, asked: None, trouble: None }
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
        let why = || format!("; {}", self.trouble.as_deref().unwrap_or("the portal's list does not have it"));
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
        match self.client.call(&Call { method: "imena.camunda.userfield.list", params: Vec::new() }) {
            Ok(reply) => {
                self.texts.extend(enumeration(&reply["result"]));
                self.trouble = None;
            }
            Err(err) => self.trouble = Some(err.to_string()),
        }
    }
}

/// Id and text of each value of `UF_RESULT_ANSWER`.
fn enumeration(result: &Value) -> Vec<(String, String)> {
    let fields = result["userFields"].as_array().into_iter().flatten();
    let answer = fields.filter(|field| field["FIELD_NAME"] == "UF_RESULT_ANSWER");
    let values = answer.flat_map(|field| field["ENUM_VALUES"].as_array().into_iter().flatten());
    values.filter_map(|value| Some((text(&value["ID"])?, text(&value["VALUE"])?))).collect()
}
