//! The Python services against a FastAPI service and a real Celery worker, both in `tests/peers/python`.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

const PACKAGES: [&str; 3] = ["fastapi", "uvicorn", "celery"];
const FOLDER: &str = "tests/peers/python";
const TOKEN: &str = "peer-canary-token";
/// Python takes its time to start.
const START: Duration = Duration::from_secs(60);

/// The programs of an environment with all packages; `None`, and a loud word, where it cannot be had.
fn programs() -> Option<&'static Path> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let environment = std::env::current_dir().expect("a folder").join("target/peers/python");
    let programs = environment.join("bin");
    let run = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let is_there = || run(Command::new(programs.join("python")).args(["-c", "import fastapi, uvicorn, celery"]));
    let installed = is_there()
        || run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            && run(Command::new(programs.join("pip")).args(["install", "--quiet"]).args(PACKAGES))
            && is_there();
    if !installed {
        let required = std::env::var("PEERS").is_ok_and(|peers| peers == "required");
        assert!(!required, "{PACKAGES:?} cannot be installed");
        eprintln!("\n*** SKIPPED: {PACKAGES:?} cannot be installed, so nothing was proven against them ***\n");
    }
    installed.then_some(programs)
}

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)], programs: &Path) -> Program {
        let log = File::create(programs.join(format!("{name}-{}.log", std::process::id()))).expect("a log");
        let errors = log.try_clone().expect("a file handle can be cloned");
        let mut command = Command::new(programs.join(name));
        command.args(arguments).envs(environment.iter().copied()).current_dir(FOLDER);
        Program(command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("an installed program starts"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
#[ignore = "installs from PyPI; tests/peers/run"]
fn fastapi_answers_at_once_and_by_jobs() {
    let Some(programs) = programs() else { return };
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let queues = Queues::of("python-services", "peer fastapi");
    let arguments = ["app:app", "--host", "127.0.0.1", "--port", &port.to_string()];
    let _service = Program::start("uvicorn", &arguments, &[("SERVICE_TOKEN", TOKEN)], programs);
    eventually("the service", START, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    for (id, topic, number) in
        [("a", "now", 4), ("b", "now", 3), ("c", "now", -1), ("d", "job", 4), ("e", "job", 5), ("f", "job", -1)]
    {
        // The second one is a copy.
        [(); 2].iter().for_each(|()| queues.publish_task(&message(id, topic, number)));
    }
    let url = format!("http://127.0.0.1:{port}/tasks");
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
#[ignore = "installs from PyPI; tests/peers/run"]
fn a_celery_worker_does_what_is_put_into_its_queue() {
    let Some(programs) = programs() else { return };
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
    let environment = [("CELERY_BROKER_URL", &*broker), ("CELERY_QUEUE", &*celery)];
    let _celery = Program::start("celery", &arguments, &environment, programs);
    assert_outcomes(&queues, &[("a", "ДА"), ("b", "НЕТ"), ("c", "Celery: ValueError: a negative number")]);
    eventually("an empty queue", PATIENCE, || queues.count(&results) == 0);
    worker.stop();
    Audit::take(&queues, ["a", "b", "c"].map(String::from).to_vec()).assert_holds();
}
