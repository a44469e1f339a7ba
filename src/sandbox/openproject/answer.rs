//! What a request is answered with: a resource, or an error in OpenProject's form. It does not know what was asked.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::http::server::Page;

const URN: &str = "urn:openproject-org:api:v3:errors:";

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// As JSON.
    pub body: Value,
}

/// A request that is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    status: u16,
    code: String,
    text: Cow<'static, str>,
    attribute: Option<String>,
}

impl Refusal {
    /// With this status, the end of its identifier, and a text for people.
    pub fn new(status: u16, code: &str, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, code: code.into(), text: text.into(), attribute: None }
    }

    /// A member of the body that cannot be.
    pub fn of(attribute: &str, text: impl Into<Cow<'static, str>>) -> Refusal {
        let attribute = Some(attribute.to_owned());
        Refusal { attribute, ..Refusal::new(422, "PropertyConstraintViolation", text) }
    }

    /// What is not there, or not shown.
    pub fn not_found() -> Refusal {
        Refusal::new(404, "NotFound", "Запрошенный ресурс не может быть найден.")
    }

    /// What the user may not do.
    pub fn forbidden() -> Refusal {
        Refusal::new(403, "MissingPermission", "У вас нет прав доступа к этому ресурсу.")
    }

    /// A filter, or a value in it, that is not known.
    pub fn query(text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(400, "InvalidQuery", text)
    }

    /// Several at once.
    pub fn all(mut refusals: Vec<Refusal>) -> Option<Answer> {
        if refusals.len() < 2 {
            return refusals.pop().map(Refusal::into_answer);
        }
        let errors: Vec<Value> = refusals.into_iter().map(|refusal| refusal.into_answer().body).collect();
        let text = "Несколько ограничений полей были нарушены.";
        let mut answer = Refusal::new(422, "MultipleErrors", text).into_answer();
        answer.body["_embedded"] = json!({ "errors": errors });
        Some(answer)
    }

    pub fn into_answer(self) -> Answer {
        let Refusal { status, code, text, attribute } = self;
        let mut body = json!({"_type": "Error", "errorIdentifier": format!("{URN}{code}"), "message": text});
        if let Some(attribute) = attribute {
            body["_embedded"] = json!({"details": {"attribute": attribute}});
        }
        Answer { status, body }
    }
}

/// As it goes over the wire.
pub fn page(answer: &Answer) -> Page {
    Page::new(answer.status, "application/hal+json; charset=utf-8", answer.body.to_string())
}
