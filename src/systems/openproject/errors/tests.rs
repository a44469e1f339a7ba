//! Every answer has its class, by its identifier and not by its text.

use serde_json::json;

use super::*;
use crate::http::Http;
use crate::http::server::{Limits, Page, Reply, Request, Respond, Server};
use crate::tls::RootCertificates;

/// Answers everything with this.
struct Always(u16, String, Option<&'static str>);

impl Respond for Always {
    fn respond(&self, _: &Request<'_>) -> Reply {
        let page = Page::new(self.0, "application/hal+json", self.1.clone());
        Reply::Page(match self.2 {
            Some(after) => page.with("Retry-After", after),
            None => page,
        })
    }
}

fn told(status: u16, body: &str, after: Option<&'static str>) -> Result<Value, ApiError> {
    let answer = Always(status, body.to_owned(), after);
    let server = Server::start("test", ([127, 0, 0, 1], 0).into(), Limits::default(), |_| answer).expect("a free port");
    let http = Http::new(Duration::from_secs(10), &RootCertificates::public());
    let url = format!("http://{}/", server.address());
    reply(http.send(http::Request::new(http::Method::GET, &url)))
}

fn error(status: u16, name: &str) -> ApiError {
    let body = json!({"_type": "Error", "errorIdentifier": format!("{URN}{name}"), "message": "Слова <b>цели</b>"});
    told(status, &body.to_string(), None).expect_err("an error")
}

#[test]
fn every_identifier_has_its_class() {
    for (status, name, kind) in [
        (400, "InvalidQuery", Kind::InvalidQuery),
        (400, "InvalidRequestBody", Kind::Refused),
        (400, "InvalidUserStatusTransition", Kind::Refused),
        (401, "Unauthenticated", Kind::Unavailable),
        (403, "MissingPermission", Kind::Forbidden),
        (404, "NotFound", Kind::NotFound),
        (406, "TypeNotSupported", Kind::Refused),
        (409, "UpdateConflict", Kind::Conflict),
        (422, "PropertyConstraintViolation", Kind::Refused),
        (422, "PropertyMissingError", Kind::Refused),
        (422, "MultipleErrors", Kind::Refused),
        (422, "SomethingNew", Kind::Refused),
        (429, "SomethingNew", Kind::Unavailable),
        (500, "InternalServerError", Kind::TooMuch),
        (500, "NotFound", Kind::Unknown),
        (503, "SomethingNew", Kind::Unknown),
    ] {
        let err = error(status, name);
        assert_eq!(err.kind, kind, "{status} {name}");
        assert!(err.to_string().ends_with(": Слова цели") && err.to_string().contains(name), "{err}");
    }
}

#[test]
fn what_somebody_between_answers_goes_by_its_status() {
    for (status, body, kind) in [
        (200, "<html>Log in</html>", Kind::Unknown),
        (302, "", Kind::Unavailable),
        (401, "", Kind::Unavailable),
        (403, "<html>Forbidden</html>", Kind::Unavailable),
        // Where OpenProject itself does not have something it says so.
        (404, "<html>Not found</html>", Kind::Unavailable),
        (400, "<html>Bad request</html>", Kind::Refused),
        (413, "", Kind::Refused),
        (502, "<html>Bad gateway</html>", Kind::Unknown),
    ] {
        assert_eq!(told(status, body, None).expect_err("an error").kind, kind, "{status} {body}");
    }
    let elsewhere = told(404, "<html>Not found</html>", None).expect_err("an error").to_string();
    assert!(elsewhere.contains("correct OPENPROJECT_URL"), "{elsewhere}");
}

#[test]
fn how_long_it_wants_to_be_left_alone_is_obeyed() {
    let body = json!({"_type": "Error", "errorIdentifier": format!("{URN}TooMany"), "message": ""}).to_string();
    for body in [body.as_str(), ""] {
        match told(429, body, Some("7")).expect_err("an error").into_failure() {
            Failure::Unavailable { until, .. } => assert_eq!(until, Some(Duration::from_secs(7))),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn several_errors_are_told_together_with_all_that_they_blame() {
    let part = |attribute: &str, message: &str| {
        json!({
            "_type": "Error", "errorIdentifier": format!("{URN}PropertyConstraintViolation"), "message": message,
            "_embedded": {"details": {"attribute": attribute}},
        })
    };
    let parts = json!([part("assignee", "Кто это?"), part("parent", "Нет такой.")]);
    let body = json!({
        "_type": "Error", "errorIdentifier": format!("{URN}MultipleErrors"), "message": "Несколько.",
        "_embedded": {"errors": parts},
    });
    let err = told(422, &body.to_string(), None).expect_err("an error");
    assert_eq!(err.attributes, ["assignee", "parent"]);
    assert!(err.to_string().contains("Несколько.; Кто это?; Нет такой."), "{err}");
}

#[test]
fn a_refused_question_says_nothing_of_a_task() {
    for (status, name) in [(400, "InvalidQuery"), (403, "MissingPermission"), (404, "NotFound")] {
        assert!(matches!(not_looked_up(error(status, name)), Failure::Unavailable { .. }), "{name}");
    }
    assert!(matches!(not_looked_up(error(500, "InternalServerError")), Failure::Transient { .. }));
    assert!(matches!(error(422, "PropertyFormatError").into_failure(), Failure::Permanent(_)));
    assert!(matches!(error(409, "UpdateConflict").into_failure(), Failure::Transient { .. }));
}
