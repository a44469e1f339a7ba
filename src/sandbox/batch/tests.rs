//! Reading, running and answering batches.

use super::*;
use std::convert::Infallible;

/// Answers with the parameters, refuses the method "fail" with its parameters as code and text, and notes what ran.
fn run(batch: &Batch, ran: &mut Vec<String>) -> Value {
    let answer = batch.run(|call| {
        ran.push(call.method.clone());
        let member = |name: &str| text(&call.params[name]).unwrap_or_default();
        Ok::<_, Infallible>(match call.method.as_str() {
            "fail" => Err(Refusal::new(400, member("code"), member("text"))),
            "count" => Ok(Answer { result: call.params.clone(), total: Some(70), next: Some(50), ..Answer::default() }),
            _ => Ok(call.params.clone().into()),
        })
    });
    match answer {
        Ok(answer) => answer.result,
    }
}

fn read(json: &str) -> Batch {
    Batch::read("application/json", "", json.as_bytes())
}

fn batch(json: &str) -> Value {
    run(&read(json), &mut Vec::new())
}

#[test]
fn commands_run_in_the_order_in_which_they_were_sent() {
    let form = "cmd[z]=zz&cmd%5Ba%5D=aa&halt=0&cmd[k10]=kk&cmd[k2]=k2";
    for batch in [
        read(r#"{"halt": 0, "cmd": {"z": "zz", "a": "aa", "k10": "kk", "k2": "k2"}}"#),
        Batch::read("application/x-www-form-urlencoded", "", form.as_bytes()),
        Batch::read("", form, b""),
        read(r#"{"cmd": {"z": "old", "a": "aa", "z": "zz", "k10": "kk", "k2": "k2"}}"#),
    ] {
        let mut ran = Vec::new();
        run(&batch, &mut ran);
        assert_eq!(ran, ["zz", "aa", "kk", "k2"]);
    }
}

#[test]
fn a_batch_that_cannot_be_read_is_empty() {
    for json in ["{", "[]", r#"{"cmd": 7}"#, r#"{"cmd": null}"#] {
        assert_eq!(batch(json)["result"], json!([]), "{json}");
    }
    let with_other_type = Batch::read("text/json", "", br#"{"cmd": {"a": "x"}}"#);
    assert_eq!(with_other_type, Batch::default());
}

#[test]
fn results_and_errors_have_their_keys_and_empty_maps_are_lists() {
    let reply = batch(r#"{"cmd": {"a": "echo?x[y]=%D0%94+1", "b": "fail?code=ERROR_CORE"}}"#);
    assert_eq!(reply["result"], json!({"a": {"x": {"y": "Д 1"}}}));
    assert_eq!(reply["result_error"]["b"]["error"], "ERROR_CORE");
    assert_eq!((&reply["result_total"], &reply["result_next"]), (&json!([]), &json!([])));
}

#[test]
fn numeric_keys_become_lists() {
    let reply = batch(r#"{"cmd": ["echo?x=1", "fail", "echo?x=2"]}"#);
    assert_eq!(reply["result"], json!({"0": {"x": "1"}, "2": {"x": "2"}}));
    let reply = batch(r#"{"cmd": ["echo?x=1", "echo?x=2", "fail"]}"#);
    assert_eq!(reply["result"], json!([{"x": "1"}, {"x": "2"}]));
}

#[test]
fn halt_stops_at_the_first_failure() {
    for halt in ["1", "\"1\"", "true"] {
        let mut ran = Vec::new();
        let text = format!(r#"{{"halt": {halt}, "cmd": {{"k1": "echo", "k2": "fail", "k10": "echo"}}}}"#);
        let reply = run(&read(&text), &mut ran);
        assert_eq!(ran, ["echo", "fail"]);
        assert!(reply["result"].get("k10").is_none() && reply["result_error"].get("k10").is_none());
    }
}

#[test]
fn the_first_fifty_run_and_each_further_one_is_refused() {
    let mut ran = Vec::new();
    let commands: Vec<String> = (0..53).map(|number| format!(r#""k{number}": "echo""#)).collect();
    let reply = run(&read(&format!(r#"{{"cmd": {{{}}}}}"#, commands.join(","))), &mut ran);
    assert_eq!(ran.len(), 50);
    let errors = reply["result_error"].as_object().expect("errors by key");
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["k50", "k51", "k52"]);
    assert!(errors.values().all(|error| error["error"] == "ERROR_BATCH_LENGTH_EXCEEDED"));
}

#[test]
fn a_nested_batch_is_refused() {
    let mut ran = Vec::new();
    let reply = run(&read(r#"{"cmd": {"a": "batch?cmd[x]=scope"}}"#), &mut ran);
    assert_eq!(reply["result_error"]["a"]["error"], "ERROR_BATCH_METHOD_NOT_ALLOWED");
    assert!(ran.is_empty());
}

#[test]
fn a_missing_right_is_refused_with_an_earlier_commands_text() {
    for (code, told) in [
        ("OPERATION_TIME_LIMIT", json!({"error": "ERROR_CORE", "error_description": "old"})),
        ("ERROR_TASK_CREATE_ACCESS_DENIED", json!({"error": "ERROR_CORE", "error_description": "old"})),
        ("insufficient_scope", json!({"error": "ERROR_CORE", "error_description": "old"})),
        ("100", json!({"error": "100", "error_description": "new"})),
    ] {
        let new = format!("fail?code={code}&text=new");
        let old = "fail?code=ERROR_CORE&text=old";
        let reply = batch(&format!(r#"{{"cmd": {{"a": "{new}", "b": "{old}", "c": "echo", "d": "{new}"}}}}"#));
        assert_eq!(reply["result_error"]["a"]["error"], code, "nothing was refused before");
        assert_eq!(reply["result_error"]["d"], told);
    }
}

#[test]
fn a_reference_to_an_earlier_result_is_replaced_anywhere_in_a_value() {
    let cmd = |value: &str| {
        format!(
            r#"{{"cmd": {{"a": "count?task[id]=7&list[0]=x", "f": "fail?code=NO&text=why", "b": "echo?v={value}"}}}}"#
        )
    };
    for (value, arrives) in [
        ("$result[a][task][id]", "7"),
        ("Task $RESULT[a][task][id]!", "Task 7!"),
        ("$result[a][list][0]$Total[a]/$next[a]", "x70/50"),
        ("$error[f][error]: $error[f][error_description]", "NO: why"),
        ("%24result%5Ba%5D%5Btask%5D%5Bid%5D", "7"),
        ("costs $5 [a]", "costs $5 [a]"),
        // The path ends in no scalar, or nowhere.
        ("$result[a][task]", "$result[a][task]"),
        ("$result[a][task][id][0]", "$result[a][task][id][0]"),
        ("$result[f]", "$result[f]"),
        ("$result[b]", "$result[b]"),
        ("$results[a][task][id]", "$results[a][task][id]"),
        ("$result[a", "$result[a"),
        ("$result", "$result"),
    ] {
        assert_eq!(batch(&cmd(value))["result"]["b"]["v"], arrives, "{value}");
    }
    let seconds = batch(&cmd("$time[a][start]"))["result"]["b"]["v"].clone();
    assert!(seconds.as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{seconds}");
}
