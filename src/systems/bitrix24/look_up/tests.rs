//! What the rows of a look-up say. Tests with a portal are in `tests/`.

use super::*;

const FIELD: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";

fn row(id: u64, marker: &str) -> Value {
    json!({"id": id.to_string(), "ufCamundaIdExternalTask": marker})
}

fn read<'a>(rows: &[Value], ids: &[&'a str]) -> Result<HashMap<&'a str, Value>, NotAnswered> {
    rows_of(&json!({"result": {"tasks": rows}}), FIELD, ids)
}

#[test]
fn each_id_gets_its_own_row_and_the_older_of_two() {
    let found = read(&[row(7, "b"), row(5, "a"), row(3, "b"), row(9, "b")], &["a", "b", "c"]).expect("an answer");
    let ids: Vec<Option<u64>> = ["a", "b", "c"].iter().map(|id| target_id(found.get(id)?)).collect();
    assert_eq!(ids, [Some(5), Some(3), None]);
}

#[test]
fn a_row_that_is_equal_only_for_the_database_is_another_task() {
    let found = read(&[row(5, "A"), row(6, "a ")], &["a"]).expect("an answer");
    // Blanks at the end do not count in a message either.
    assert_eq!(found.get("a").and_then(target_id), Some(6));
    assert!(read(&[row(5, "A")], &["a"]).expect("an answer").is_empty());
}

#[test]
fn a_row_that_nobody_asked_for_says_that_the_filter_was_ignored() {
    for rows in [vec![row(5, "x")], vec![row(5, "a"), row(6, "x")], vec![json!({"id": "5"})]] {
        assert!(matches!(read(&rows, &["a", "b"]), Err(NotAnswered::NoSearch(_))), "{rows:?}");
    }
}

#[test]
fn a_full_page_may_hide_one_of_several_ids_but_not_a_single_one() {
    let rows: Vec<Value> = (0..50).map(|id| row(id + 1, "a")).collect();
    let hidden = read(&rows, &["a", "b"]).expect_err("b may be on the next page");
    assert!(matches!(hidden, NotAnswered::Failed { err, .. } if err.kind == Kind::Refused));
    assert_eq!(read(&rows, &["a"]).expect("an answer").get("a").and_then(target_id), Some(1));
}

#[test]
fn a_reply_without_rows_is_no_answer() {
    for reply in [json!({"result": []}), json!({"result": {"tasks": {}}}), json!({})] {
        assert!(matches!(rows_of(&reply, FIELD, &["a"]), Err(NotAnswered::Failed { .. })), "{reply}");
    }
}

#[test]
fn both_fields_are_asked_for_the_ids_that_they_can_hold() {
    let fields = |marker: &str, id: &str| -> Vec<String> {
        calls(marker, id).iter().map(|call| call.params[0].1.to_string()).collect()
    };
    assert_eq!(fields(FIELD, "a"), [r#"{"UF_CAMUNDA_ID_EXTERNAL_TASK":"a"}"#, r#"{"XML_ID":"a"}"#]);
    assert_eq!(fields(XML_ID, "a"), [r#"{"XML_ID":"a"}"#]);
    assert_eq!(fields(FIELD, &"x".repeat(51)).len(), 1);
}
