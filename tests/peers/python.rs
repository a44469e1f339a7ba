//! The Python services against a FastAPI service and a real Celery worker, both in `tests/peers/python`.

use std::process::Command;

use serde_json::{Value, json};

use crate::program::{Program, START, found};
use crate::support::*;

const FOLDER: &str = "tests/peers/python";
const TOKEN: &str = "peer-canary-token";

/// Runs this module of Python in the folder.
fn module(python: &str, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", name]).args(arguments).current_dir(FOLDER);
    command
}

fn message(id: &str, topic: &str, number: i64) -> Value {
    json!({
        "task_id": id, "topic": topic, "system": "python-services", "activity_id": "Activity_invented",
        "variables": {"number": {"value": number, "type": "Long"}},
        "metadata": {"activityInfo": {"name": "Посчитать"}, "extensionProperties": {"UF_RESULT_EXPECTED": "true"}},
    })
}

/// By task, what the process is answered, or why the task is parked.
fn outcomes(queues: &Queues) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let id = |message: &Message| text(&message.json()["original_message"]["task_id"]);
    let answered = queues.peek_all(&queues.responses()).into_iter().map(|message| {
        let answer = text(&message.json()["response_data"]["result"]["task"]["ufResultAnswer_text"]);
        (id(&message), answer)
    });
    let parked = queues.peek_all(&queues.errors()).into_iter();
    let parked = parked.map(|message| (id(&message), text(&message.json()["error_message"])));
    let mut outcomes: Vec<(String, String)> = answered.chain(parked).collect();
    outcomes.sort();
    outcomes
}

fn settings(queues: &Queues, own: &[(&str, &str)]) -> Vec<(String, String)> {
    let quick = [("BITRIX_WEBHOOK_URL", ""), ("HEARTBEAT_INTERVAL", "0.3"), ("RETRY_DELAY", "0.2")];
    changed(queues, "", &[&quick, own].concat())
}

#[track_caller]
fn assert_outcomes(queues: &Queues, expected: &[(&str, &str)]) {
    queues.await_count(&queues.responses(), 2 * expected.len() / 3, START);
    queues.await_count(&queues.errors(), expected.len() / 3, START);
    let expected: Vec<(String, String)> =
        expected.iter().map(|(id, outcome)| ((*id).to_owned(), (*outcome).to_owned())).collect();
    assert_eq!(outcomes(queues), expected);
}

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn fastapi_answers_at_once_and_by_jobs() {
    let Some(python) = found("PEER_PYTHON") else { return };
    let mut command = module(&python, "uvicorn", &["app:app", "--host", "127.0.0.1", "--port"]);
    let (_service, address) = Program::listening(command.env("SERVICE_TOKEN", TOKEN));
    let queues = Queues::of("python-services", "peer fastapi");
    for (id, topic, number) in
        [("a", "now", 4), ("b", "now", 3), ("c", "now", -1), ("d", "job", 4), ("e", "job", 5), ("f", "job", -1)]
    {
        // The second one is a copy.
        [(); 2].iter().for_each(|()| queues.publish_task(&message(id, topic, number)));
    }
    let url = format!("http://{address}/tasks");
    let mut worker = Worker::run(&[], &settings(&queues, &[("PYTHON_URL", &url), ("PYTHON_TOKEN", TOKEN)]));
    let (refused, failed) =
        ("http status 422: {\"detail\":\"a negative number\"}", "the job has failed: a negative number");
    let expected = [("a", "ДА"), ("b", "НЕТ"), ("c", refused), ("d", "ДА"), ("e", "НЕТ"), ("f", failed)];
    assert_outcomes(&queues, &expected);
    worker.stop();
    // The third one was refused.
    let done = ["a", "b", "d", "e", "f"].map(String::from).to_vec();
    Audit::take(&queues, done).assert_holds();
}

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn a_celery_worker_does_what_is_put_into_its_queue() {
    let Some(python) = found("PEER_PYTHON") else { return };
    let queues = Queues::of("python-services", "peer celery");
    let (celery, results) = (queues.named("celery"), queues.named("results"));
    let RabbitMq { host, port, username, password, vhost } = queues.broker().rabbitmq();
    let vhost = vhost.replace('/', "%2F");
    let broker = format!("amqp://{username}:{password}@{host}:{port}/{vhost}");
    queues.declare(&celery);
    queues.declare(&results);
    let own =
        [("CELERY_QUEUE", &*celery), ("CELERY_RESULT_QUEUE", &*results), ("CELERY_TASKS", "calculate=svc.calculate")];
    let mut worker = Worker::run(&[], &settings(&queues, &own));
    for (id, topic, number) in [("a", "calculate", 4), ("b", "calculate", 3), ("c", "calculate", -1)] {
        queues.publish_task(&message(id, topic, number));
    }
    // Before there is anybody who does them.
    queues.await_count(&queues.sent(), 3, PATIENCE);
    let arguments = ["-A", "svc", "worker", "-c", "1", "--without-gossip", "--without-mingle", "-n", &celery];
    let mut command = module(&python, "celery", &arguments);
    let _celery = Program::start(command.env("CELERY_BROKER_URL", broker).env("CELERY_QUEUE", &celery));
    assert_outcomes(&queues, &[("a", "ДА"), ("b", "НЕТ"), ("c", "Celery: ValueError: a negative number")]);
    eventually("an empty queue", PATIENCE, || queues.count(&results) == 0);
    worker.stop();
    Audit::take(&queues, ["a", "b", "c"].map(String::from).to_vec()).assert_holds();
}
