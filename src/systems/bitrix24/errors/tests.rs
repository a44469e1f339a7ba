//! Each row of the table of errors, as a plain answer and as a command of a batch.

use serde_json::json;

use super::*;

const TOO_FAST: Kind = Kind::TooFast;
const SETTLE: Duration = Duration::from_secs(30);

/// Status, code, meaning.
const ROWS: &[(u16, &str, Kind)] = &[
    (503, "QUERY_LIMIT_EXCEEDED", TOO_FAST),
    (429, "OPERATION_TIME_LIMIT", Kind::CoolingDown),
    (503, "OVERLOAD_LIMIT", Kind::Blocked),
    (500, "PORTAL_DELETED", Kind::Blocked),
    (410, "PORTAL_DELETED", Kind::Blocked),
    (500, "INTERNAL_SERVER_ERROR", Kind::Unknown),
    (500, "ERROR_UNEXPECTED_ANSWER", Kind::Unknown),
    (400, "ERROR_CORE", Kind::Refused),
    (400, "ERROR_TASK_CREATE_ACCESS_DENIED", Kind::Refused),
    (400, "4", Kind::Refused),
    (400, "8", Kind::Refused),
    (400, "256", Kind::Refused),
    (400, "1048578", Kind::Refused),
    (400, "ERROR_UNKNOWN_ADD_TASK_ERROR", Kind::Unknown),
    (401, "OVERLOAD_LIMIT", Kind::Blocked),
    (400, "100", Kind::Refused),
    (400, "0", Kind::Refused),
    (400, "1048582", Kind::Refused),
    (400, "INVALID_ARG_VALUE", Kind::Refused),
    (400, "ERROR_BATCH_LENGTH_EXCEEDED", Kind::Refused),
    (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", Kind::Refused),
    (400, "INVALID_REQUEST", Kind::Configuration),
    (401, "NO_AUTH_FOUND", Kind::Configuration),
    (401, "expired_token", Kind::Configuration),
    (401, "invalid_token", Kind::Configuration),
    (401, "METHOD_CONFIRM_WAITING", Kind::Configuration),
    (401, "PAYMENT_REQUIRED", Kind::Configuration),
    (401, "authorization_error", Kind::Configuration),
    (401, "INVALID_CREDENTIALS", Kind::Configuration),
    (403, "INVALID_CREDENTIALS", Kind::Configuration),
    (401, "insufficient_scope", Kind::Configuration),
    (403, "insufficient_scope", Kind::Configuration),
    (403, "ACCESS_DENIED", Kind::Configuration),
    (403, "user_access_error", Kind::Configuration),
    (403, "WRONG_AUTH_TYPE", Kind::Configuration),
    (403, "allowed_only_intranet_user", Kind::Configuration),
    (404, "ERROR_METHOD_NOT_FOUND", Kind::Configuration),
    (400, "ERROR_METHOD_NOT_FOUND", Kind::Configuration),
    (404, "NOT_FOUND", Kind::Configuration),
    (404, "ERROR_MANIFEST_IS_NOT_AVAILABLE", Kind::Configuration),
];

fn error(code: &str) -> Value {
    json!({"error": code, "error_description": "Почему"})
}

#[test]
fn each_row_of_the_table_has_its_meaning() {
    for (status, code, kind) in ROWS {
        let err = ApiError::from_reply(*status, &error(code));
        assert_eq!(err.kind, *kind, "{status} {code}");
        assert_eq!(err.to_string(), format!("http status {status}: {code}: Почему"));
    }
}

#[test]
fn a_command_of_a_batch_is_judged_by_its_code_alone() {
    for (status, code, kind) in ROWS {
        let err = ApiError::from_command(&error(code));
        assert_eq!(err.kind, *kind, "{status} {code}");
        assert_eq!(err.to_string(), format!("{code}: Почему"));
    }
    for nobody_knows in [error("NEW_CODE"), error(""), json!("ERROR_CORE"), json!(null), json!([])] {
        assert_eq!(ApiError::from_command(&nobody_knows).kind, Kind::Unknown, "{nobody_knows}");
    }
}

#[test]
fn codes_are_compared_ignoring_case_and_may_be_numbers_or_objects() {
    for code in ["error_core", "Error_Core"] {
        assert_eq!(ApiError::from_reply(400, &error(code)).kind, Kind::Refused);
        assert_eq!(ApiError::from_command(&error(code)).kind, Kind::Refused);
    }
    for number in [json!(0), json!(100), json!(1_048_582)] {
        assert_eq!(ApiError::from_command(&json!({"error": number})).kind, Kind::Refused);
    }
    let rest3 = json!({"error": {"code": "ACCESS_DENIED", "message": "Нет<br>", "validation": []}});
    let err = ApiError::from_reply(200, &rest3);
    assert_eq!((err.kind, err.to_string()), (Kind::Configuration, "http status 200: ACCESS_DENIED: Нет".into()));
}

#[test]
fn an_unknown_code_is_judged_by_the_status() {
    for (status, kind) in [
        (200, Kind::Unknown),
        (302, Kind::Configuration),
        (400, Kind::Refused),
        (401, Kind::Configuration),
        (403, Kind::Configuration),
        (404, Kind::Refused),
        (408, Kind::Unknown),
        (422, Kind::Refused),
        (429, TOO_FAST),
        (500, Kind::Unknown),
        (502, Kind::Unknown),
        (503, Kind::Unknown),
    ] {
        for code in ["", "NEW_CODE"] {
            assert_eq!(ApiError::from_reply(status, &error(code)).kind, kind, "{status} {code:?}");
        }
    }
}

#[test]
fn an_error_with_status_200_is_judged_by_its_code() {
    for (_, code, kind) in ROWS {
        assert_eq!(ApiError::from_reply(200, &error(code)).kind, *kind, "{code}");
    }
}

#[test]
fn a_server_that_fails_is_not_believed_when_it_says_refused() {
    for code in ["ERROR_CORE", "0"] {
        assert_eq!(ApiError::from_reply(500, &error(code)).kind, Kind::Unknown);
    }
}

#[test]
fn an_answer_that_is_no_reply_may_have_been_executed() {
    for nothing in [json!({}), json!([]), json!(null), json!({"time": {}}), json!("x")] {
        let err = ApiError::from_reply(200, &nothing);
        assert_eq!(err.kind, Kind::Unknown);
        assert_eq!(err.to_string(), "http status 200 with neither a result nor an error");
    }
}

#[test]
fn a_page_is_judged_by_the_status() {
    for (status, kind) in [
        (200, Kind::Unknown),
        (302, Kind::Configuration),
        (400, Kind::Unknown),
        (401, Kind::Configuration),
        (403, Kind::Unknown),
        (404, Kind::Configuration),
        (413, Kind::Refused),
        (429, TOO_FAST),
        (500, Kind::Unknown),
        (502, Kind::Unknown),
        (504, Kind::Unknown),
    ] {
        let err = ApiError::from_page(status, b"<html>broken</html>");
        assert_eq!(err.kind, kind, "{status}");
        let text = err.to_string();
        let start = format!("http status {status} and 19 bytes that are not JSON");
        assert!(text.starts_with(&start) && text.ends_with(": broken"), "{text}");
    }
    assert!(ApiError::from_page(302, b"").to_string().ends_with("correct BITRIX_WEBHOOK_URL"));
}

#[test]
fn each_kind_leads_to_its_failure() {
    let failure = |kind| ApiError::new(kind, "why".into()).of("tasks.task.add").into_failure().of_create(SETTLE);
    for kind in [TOO_FAST, Kind::Unreachable] {
        assert!(matches!(failure(kind), Failure::Unavailable { until: Some(Duration::ZERO), .. }));
    }
    assert!(matches!(failure(Kind::Blocked), Failure::Unavailable { until: Some(BLOCKED), .. }));
    let held = ApiError::new(Kind::CoolingDown, "why".into()).cooling_down(SETTLE * 2).into_failure();
    assert!(matches!(held, Failure::Unavailable { until, .. } if until == Some(SETTLE * 2)));
    assert!(matches!(failure(Kind::Refused), Failure::Permanent(_)));
    assert!(matches!(failure(Kind::Unknown), Failure::OutcomeUnknown { visible_in: SETTLE, .. }));
    assert!(matches!(ApiError::new(Kind::Unknown, "why".into()).into_failure(), Failure::Transient { .. }));
    let Failure::Unavailable { error, until: None } = failure(Kind::Configuration) else { panic!("another failure") };
    let said = format!("{error:#}");
    assert_eq!(said, "check BITRIX_WEBHOOK_URL and the rights of the webhook's owner: tasks.task.add: why");
}
