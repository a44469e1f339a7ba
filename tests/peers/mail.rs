//! E-mail to aiosmtpd, which sends a recipient away once, and to maildev, which people look into: what arrives is read
//! by their parsers, and compared with what was meant.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use task_creator::http::{Http, Method, Request};
use task_creator::tls::RootCertificates;

use crate::program::{Program, START, found, free_address};
use crate::support::{PATIENCE, Queues, Worker, changed, run};

const USER: &str = "user";
const PASSWORD: &str = "пароль 7";
const SUBJECT: &str = "Договор №7 «Ромашка» на согласование: просим не задерживать, срок до конца недели 😀";
const TEXT: &str =
    "Строка\n.\n..две\nдлинная: яяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяяя";
const HTML: &str = "<p>Привет, <b>Иван</b></p>";

/// Checks that the server at this address lets us in, then lets the worker send one mail to these and a copy to Anna.
/// Returns the status that Camunda gets.
fn send(server: SocketAddr, queues: &Queues, to: &[&str]) -> Value {
    let port = server.port().to_string();
    let settings = [
        ("EMAIL_SMTP_HOST", "127.0.0.1"),
        ("EMAIL_SMTP_PORT", port.as_str()),
        ("EMAIL_SECURITY", "none"),
        ("EMAIL_USERNAME", USER),
        ("EMAIL_PASSWORD", PASSWORD),
        ("EMAIL_FROM", "Отдел кадров <camunda@firma.example>"),
        ("EMAIL_ALLOWED_DOMAINS", "firma.example,портал.example"),
        ("EMAIL_RETRY_AFTER", "0.2"),
        ("RETRY_ATTEMPTS", "2"),
        ("RETRY_DELAY", "0.2"),
    ];
    let settings = changed(queues, "", &settings);
    run(&["check"], &settings).has("email: the server lets us in and takes EMAIL_FROM").ended_with(0);
    let mut worker = Worker::run(&[], &settings);
    let variables =
        json!({"to": to, "cc": "Анна Ёлкина <anna@портал.example>", "subject": SUBJECT, "text": TEXT, "html": HTML});
    queues.publish_task(&json!({"task_id": "task-1", "topic": "send_email", "variables": variables}));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    let response = queues.peek_all(&queues.responses())[0].json();
    response["response_data"]["result"]["task"]["status"].clone()
}

/// A mail as Python's parser has read it.
fn assert_as_meant(mail: &Value, to: &str) {
    assert_eq!((&mail["subject"], &mail["defects"]), (&json!(SUBJECT), &json!([])));
    assert_eq!(mail["from"], "Отдел кадров <camunda@firma.example>");
    assert_eq!((&mail["to"], &mail["cc"]), (&json!(to), &json!("Анна Ёлкина <anna@xn--80awhdgm.example>")));
    assert_eq!(mail["message_id"], "<task-1@firma.example>");
    assert_eq!(mail["auto_submitted"], "auto-generated");
    assert_eq!((text(&mail["text"]), text(&mail["html"])), (TEXT.to_owned(), HTML.to_owned()));
}

/// Without what servers do to the ends of lines.
fn text(part: &Value) -> String {
    part.as_str().unwrap_or_default().replace("\r\n", "\n").trim_end().to_owned()
}

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn aiosmtpd_puts_one_recipient_off_and_refuses_another_and_each_of_the_rest_gets_one_mail() {
    let Some(python) = found("PEER_PYTHON") else { return };
    let (server, address) = Program::listening(Command::new(python).arg("tests/peers/mail/server.py"));
    let queues = Queues::of("email", "peer aiosmtpd");
    let to = ["\"Иванов, Иван\" <ivan@firma.example>", "grey@firma.example", "nobody@firma.example"];
    let status = send(address, &queues, &to);
    let mails: Vec<Value> = server.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let recipients: Vec<&Value> = mails.iter().map(|mail| &mail["envelope_to"]).collect();
    // The second mail is for the one who was put off.
    assert_eq!(
        recipients,
        [&json!(["ivan@firma.example", "anna@xn--80awhdgm.example"]), &json!(["grey@firma.example"])]
    );
    let to = "\"Иванов, Иван\" <ivan@firma.example>, grey@firma.example, nobody@firma.example";
    mails.iter().for_each(|mail| assert_as_meant(mail, to));
    assert_eq!(status, "partly sent");
}

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn maildev_and_python_read_in_a_mail_what_was_meant() {
    let (Some(modules), Some(python)) = (found("PEER_NODE_MODULES"), found("PEER_PYTHON")) else { return };
    let smtp = free_address();
    let mut command = Command::new(Path::new(&modules).join(".bin/maildev"));
    command.args(["--ip", "127.0.0.1", "--smtp", &smtp.port().to_string(), "--web-ip", "127.0.0.1"]);
    command.args(["--incoming-user", USER, "--incoming-pass", PASSWORD, "--web"]);
    let (mut maildev, web) = Program::listening(&mut command);
    maildev.await_listener(smtp);
    let queues = Queues::of("email", "peer maildev");
    assert_eq!(send(smtp, &queues, &["\"Иванов, Иван\" <ivan@firma.example>", "petr@firma.example"]), "sent");
    let mails: Vec<Value> = serde_json::from_slice(&get(web, "")).expect("maildev speaks JSON");
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((&mail["subject"], text(&mail["text"]).as_str()), (&json!(SUBJECT), TEXT));
    let person = |name: &str, address: &str| json!({"name": name, "address": address});
    assert_eq!(mail["from"], json!([person("Отдел кадров", "camunda@firma.example")]));
    assert_eq!(mail["to"], json!([person("Иванов, Иван", "ivan@firma.example"), person("", "petr@firma.example")]));
    let envelope: Vec<&Value> =
        mail["envelope"]["to"].as_array().into_iter().flatten().map(|to| &to["address"]).collect();
    // It shows people the name of the host, and not as it travels.
    assert_eq!(envelope, ["ivan@firma.example", "petr@firma.example", "anna@портал.example"]);
    let source = get(web, &format!("/{}/source", mail["id"].as_str().expect("an id")));
    assert_as_meant(&parsed(&python, &source), "\"Иванов, Иван\" <ivan@firma.example>, petr@firma.example");
}

/// What maildev shows at this path below its mails.
fn get(maildev: SocketAddr, path: &str) -> Vec<u8> {
    let http = Http::new(START, &RootCertificates::public());
    http.send(Request::new(Method::GET, &format!("http://{maildev}/api/email{path}"))).expect("maildev answers").body
}

/// The mail as Python's parser reads it.
fn parsed(python: &str, source: &[u8]) -> Value {
    let mut command = Command::new(python);
    command.arg("tests/peers/mail/parsed.py").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut parser = command.spawn().expect("Python starts");
    parser.stdin.take().expect("it is piped").write_all(source).expect("it reads");
    let output = parser.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}
