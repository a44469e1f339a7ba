//! The method `batch`: up to 50 commands in one request. Knows how commands are written and answered, and leaves
//! calling them to its caller, so that no lock is held over a whole batch.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::reply::{Outcome, Refusal, php_list, time};
use super::request::{Call, integer, nest, pairs, text};

const MAX_COMMANDS: usize = 50;

/// Runs a batch: `run` is called for one command after the other.
///
/// # Errors
/// Only what `run` gives up with; a command's own refusal becomes part of the outcome.
pub(super) fn run<E>(params: &Value, mut run: impl FnMut(&Call) -> Result<Outcome, E>) -> Result<Outcome, E> {
    let commands = commands(&params["cmd"]);
    if commands.len() > MAX_COMMANDS {
        let refusal = Refusal::new(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded");
        return Ok(Err(refusal));
    }
    let halt = integer(&params["halt"]).is_some_and(|halt| halt != 0) || params["halt"] == true;
    let mut reply = Reply::default();
    for (key, command) in commands {
        let start = SystemTime::now();
        let outcome = match parse(&command, &reply.result) {
            call if call.method.eq_ignore_ascii_case("batch") => Err(nested()),
            call => run(&call)?,
        };
        let failed = outcome.is_err();
        reply.put(key, outcome, start);
        if failed && halt {
            break;
        }
    }
    Ok(Ok(reply.into_value().into()))
}

fn nested() -> Refusal {
    Refusal::new(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
}

/// Keys and commands in the order of running. JSON maps lose their order here, so keys run in counting order (`k2`
/// before `k10`), the order that clients write them in.
fn commands(cmd: &Value) -> Vec<(String, String)> {
    let keyed: Vec<(String, &Value)> = match cmd {
        Value::Array(list) => list.iter().enumerate().map(|(key, value)| (key.to_string(), value)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        _ => Vec::new(),
    };
    let mut commands: Vec<_> = keyed.into_iter().map(|(key, value)| (key, text(value).unwrap_or_default())).collect();
    commands.sort_by_key(|(key, _)| (key.len(), key.clone()));
    commands
}

/// Reads `method?query`. References to earlier results are resolved in the decoded values.
fn parse(command: &str, results: &Map<String, Value>) -> Call {
    let (method, query) = command.split_once('?').unwrap_or((command, ""));
    let params = nest(pairs(query).map(|(key, value)| (key, resolve(value, results))));
    Call { method: method.strip_suffix(".json").unwrap_or(method).to_owned(), params }
}

/// Replaces a value that is a reference, like `$result[k1][task][id]`. One that leads nowhere stays as it is.
fn resolve(value: String, results: &Map<String, Value>) -> String {
    let path = value.strip_prefix("$result[").and_then(|rest| rest.strip_suffix(']'));
    let found = path.and_then(|path| {
        let mut keys = path.split("][");
        let first = results.get(keys.next()?)?;
        keys.try_fold(first, |value, key| match value {
            Value::Array(list) => list.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    });
    found.and_then(text).unwrap_or(value)
}

/// The five maps of a batch's reply. A command that did not run is in none of them.
#[derive(Default)]
struct Reply {
    result: Map<String, Value>,
    error: Map<String, Value>,
    total: Map<String, Value>,
    next: Map<String, Value>,
    time: Map<String, Value>,
}

impl Reply {
    fn put(&mut self, key: String, outcome: Outcome, start: SystemTime) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(refusal) => {
                self.error.insert(key, refusal.body());
                return;
            }
        };
        if let Some(total) = answer.total {
            self.total.insert(key.clone(), total.into());
        }
        if let Some(next) = answer.next {
            self.next.insert(key.clone(), next.into());
        }
        self.time.insert(key.clone(), time(start));
        self.result.insert(key, answer.result);
    }

    fn into_value(self) -> Value {
        json!({
            "result": php_list(self.result),
            "result_error": php_list(self.error),
            "result_total": php_list(self.total),
            "result_next": php_list(self.next),
            "result_time": php_list(self.time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn run_all(params: &Value, run: impl FnMut(&Call) -> Result<Outcome, Infallible>) -> Outcome {
        match super::run(params, run) {
            Ok(outcome) => outcome,
        }
    }

    /// Answers with the parameters, fails for the method "fail", and notes what ran.
    fn batch(params: Value, ran: &mut Vec<String>) -> Value {
        let run = |call: &Call| {
            ran.push(call.method.clone());
            let failed = call.method == "fail";
            Ok(if failed { Err(Refusal::core("no")) } else { Ok(call.params.clone().into()) })
        };
        run_all(&params, run).expect("a batch of fitting length").result
    }

    #[test]
    fn results_and_errors_are_told_by_key_and_empty_maps_are_lists() {
        let reply = batch(json!({"cmd": {"a": "echo?x[y]=%D0%94+1", "b": "fail"}}), &mut Vec::new());
        assert_eq!(reply["result"], json!({"a": {"x": {"y": "Д 1"}}}));
        assert_eq!(reply["result_error"]["b"]["error"], "ERROR_CORE");
        assert_eq!((&reply["result_total"], &reply["result_next"]), (&json!([]), &json!([])));
    }

    #[test]
    fn numeric_keys_become_lists() {
        let reply = batch(json!({"cmd": ["echo?x=1", "echo?x=2"]}), &mut Vec::new());
        assert_eq!(reply["result"], json!([{"x": "1"}, {"x": "2"}]));
    }

    #[test]
    fn halt_stops_at_the_first_failure() {
        let mut ran = Vec::new();
        let reply = batch(json!({"halt": 1, "cmd": {"k1": "echo", "k2": "fail", "k10": "echo"}}), &mut ran);
        assert_eq!(ran, ["echo", "fail"]);
        assert!(reply["result"].get("k10").is_none() && reply["result_error"].get("k10").is_none());
    }

    #[test]
    fn a_command_may_refer_to_an_earlier_result() {
        let reply = batch(
            json!({"cmd": {"a": "echo?task[id]=7", "b": "echo?id=$result[a][task][id]", "c": "echo?id=$result[z]"}}),
            &mut Vec::new(),
        );
        assert_eq!(reply["result"]["b"], json!({"id": "7"}));
        assert_eq!(reply["result"]["c"], json!({"id": "$result[z]"}));
    }

    #[test]
    fn a_nested_batch_and_a_long_batch_are_refused() {
        let mut ran = Vec::new();
        let reply = batch(json!({"cmd": {"a": "batch?cmd[x]=scope"}}), &mut ran);
        assert_eq!(reply["result_error"]["a"]["error"], "ERROR_BATCH_METHOD_NOT_ALLOWED");
        assert!(ran.is_empty());
        let long = json!({"cmd": vec!["echo"; 51]});
        let refusal = run_all(&long, |_| Ok(Ok(Value::Null.into()))).expect_err("too long");
        assert_eq!(refusal.code, "ERROR_BATCH_LENGTH_EXCEEDED");
    }
}
