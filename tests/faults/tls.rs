//! Encrypted connections, to RabbitMQ and to Bitrix24. With a right certificate a task goes all the way round. With a
//! wrong one nothing is sent, and log and `check` say what is wrong and what to do.

use std::sync::OnceLock;

use crate::support::*;
use serde_json::{Value, json};

/// The host of both servers in the settings.
const HOST: &str = "127.0.0.1";

/// A server's certificate, the CA file of the worker, and the expected error text.
struct Wrong {
    identity: Identity,
    ca_file: PemFile,
    told: String,
}

/// Every way in which a certificate can be wrong; `setting` names the CA file.
fn wrong_certificates(setting: &str) -> Vec<Wrong> {
    let (ours, other) = (Authority::new("our CA"), Authority::new("another CA"));
    let wrong = |identity: Identity, trusted: &Authority, told: String| {
        let ca_file = PemFile::write(&trusted.pem());
        Wrong { identity, ca_file, told: format!("TLS: the server's certificate is {told}") }
    };
    let (for_name, signed) =
        ("not for 127.0.0.1, but for", "signed by nobody whom this program trusts: name a PEM file");
    vec![
        Wrong {
            told: "TLS: the server's certificate has expired: have it renewed".into(),
            ..wrong(ours.expired(HOST), &ours, String::new())
        },
        wrong(ours.identity("other.example"), &ours, format!("{for_name} other.example:")),
        wrong(ours.identity(HOST), &other, format!("{signed} with the certificate of its CA \"our CA\" in {setting}")),
    ]
}

/// A message that is larger than any buffer on its way.
fn large_task() -> Value {
    let mut message = field_message("large");
    message["variables"]["payload"] = "Ж".repeat(1 << 20).into();
    message
}

/// Publishes the message, finishes the task as a person would, and waits for the answer.
fn assert_goes_round(queues: &Queues, tasks: &Tasks) {
    queues.publish_task(&large_task());
    eventually("the create", PATIENCE, || tasks.ids_of("large").len() == 1);
    tasks.set("large", "UF_RESULT_ANSWER", json!("26"));
    tasks.set_status("large", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
}

// amqps.

fn node() -> Option<&'static Node> {
    static NODE: OnceLock<Option<Node>> = OnceLock::new();
    NODE.get_or_init(Node::start).as_ref()
}

fn queues_at(node: &Node) -> Queues {
    let queues = Queues::through(Broker::connect_to(node.rabbitmq()), "amqps");
    [queues.input(), queues.responses(), queues.errors()].iter().for_each(|queue| queues.declare(queue));
    queues
}

#[test]
fn a_task_goes_round_over_amqps() {
    let Some(node) = node() else { return };
    let (queues, tasks, authority) = (queues_at(node), Tasks::new(), Authority::new("our CA"));
    let portal = Portal::of(&tasks);
    let (port, ca_file) = (node.listen_with_tls(&authority.identity(HOST)), PemFile::write(&authority.pem()));
    let port = port.to_string();
    let amqps = [
        ("RABBITMQ_HOST", HOST),
        ("RABBITMQ_PORT", port.as_str()),
        ("RABBITMQ_TLS", "true"),
        ("RABBITMQ_CA_FILE", ca_file.path()),
    ];
    let mut worker = Worker::start(&queues, &portal.webhook(), &amqps);
    assert_goes_round(&queues, &tasks);
    let listed = node.ctl(&["list_connections", "client_properties", "ssl"]);
    let ours: Vec<&str> = listed.lines().filter(|line| line.contains("task-creator")).collect();
    assert!(!ours.is_empty() && ours.iter().all(|line| line.ends_with("true")), "{listed}");
    let check = run_with(&["check"], &queues, &portal.webhook(), &amqps);
    check.ended_with(0).has("virtual host /, encrypted");
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_wrong_certificate_of_rabbitmq_is_reported_and_no_password_is_sent() {
    let Some(node) = node() else { return };
    let (queues, portal) = (queues_at(node), Portal::of(&Tasks::new()));
    for Wrong { identity, ca_file, told } in wrong_certificates("RABBITMQ_CA_FILE") {
        let port = node.listen_with_tls(&identity).to_string();
        let amqps = [
            ("RABBITMQ_HOST", HOST),
            ("RABBITMQ_PORT", port.as_str()),
            ("RABBITMQ_TLS", "true"),
            ("RABBITMQ_CA_FILE", ca_file.path()),
        ];
        let mut worker = Worker::start(&queues, &portal.webhook(), &amqps);
        worker.await_log(&format!("RabbitMQ at {HOST}:{port}: {told}"), PATIENCE);
        worker.stop();
        let check = run_with(&["check"], &queues, &portal.webhook(), &amqps);
        check.ended_with(1).has(&format!("FAIL  RabbitMQ at {HOST}:{port}: {told}"));
    }
}

#[test]
fn exactly_the_certificate_of_rabbitmq_is_trusted_and_no_other_that_is_signed_by_itself() {
    let Some(node) = node() else { return };
    let (queues, portal) = (queues_at(node), Portal::of(&Tasks::new()));
    let no_ca = |about: &mut rcgen::CertificateParams| about.is_ca = rcgen::IsCa::NoCa;
    let (own, other) = ([Identity::own(&[HOST]), Identity::own_but(&[HOST], no_ca)], Identity::own(&[HOST]));
    for own in own {
        let port = node.listen_with_tls(&own).to_string();
        let check = |trusted: &Identity| {
            let ca_file = PemFile::write(&trusted.certificate);
            let amqps = [
                ("RABBITMQ_HOST", HOST),
                ("RABBITMQ_PORT", port.as_str()),
                ("RABBITMQ_TLS", "true"),
                ("RABBITMQ_CA_FILE", ca_file.path()),
            ];
            run_with(&["check"], &queues, &portal.webhook(), &amqps)
        };
        check(&own).ended_with(0).has("virtual host /, encrypted");
        check(&other).ended_with(1).has("certificate is signed by itself").has("in RABBITMQ_CA_FILE");
    }
}

#[test]
fn a_port_without_tls_is_reported() {
    let queues = Queues::new("not amqps");
    let portal = Portal::of(&Tasks::new());
    let plain = queues.broker().rabbitmq().port.to_string();
    let changes = [("RABBITMQ_TLS", "true"), ("RABBITMQ_PORT", plain.as_str())];
    let told = "TLS: AMQP without TLS is spoken there: name the port with TLS (5671), or set RABBITMQ_TLS=false";
    run_with(&["check"], &queues, &portal.webhook(), &changes).ended_with(1).has(told);
    let told = "TLS: what answers there does not speak TLS: correct the port";
    let webhook = format!("https://127.0.0.1:{}/rest/1/portal-canary-token", queues.broker().rabbitmq().port);
    run_with(&["check"], &queues, &webhook, &[]).ended_with(1).has(told);
}

// https.

#[test]
fn a_task_goes_round_over_https() {
    let (queues, tasks, authority) = (Queues::new("https"), Tasks::new(), Authority::new("our CA"));
    let portal = Portal::of(&tasks);
    let front = TlsFront::to(portal.address(), &authority.identity(HOST));
    let (webhook, ca_file) = (front.before(&portal.webhook()), PemFile::write(&authority.pem()));
    let https = [("HTTPS_CA_FILE", ca_file.path())];
    let mut worker = Worker::start(&queues, &webhook, &https);
    assert_goes_round(&queues, &tasks);
    worker.stop();
    run_with(&["check"], &queues, &webhook, &https).ended_with(0).has("ok    bitrix24: https://127.0.0.1:");
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_wrong_certificate_of_the_portal_is_reported_and_the_task_waits_for_a_right_one() {
    for Wrong { identity, ca_file, told } in wrong_certificates("HTTPS_CA_FILE") {
        let (queues, tasks) = (Queues::new("not https"), Tasks::new());
        let portal = Portal::of(&tasks);
        let front = TlsFront::to(portal.address(), &identity);
        let webhook = front.before(&portal.webhook());
        let changes = [("HTTPS_CA_FILE", ca_file.path()), ("RETRY_ATTEMPTS", "1")];
        let mut worker = Worker::start(&queues, &webhook, &changes);
        queues.publish_task(&field_text("waiting"));
        worker.await_log("pausing, messages stay in their queue", PATIENCE);
        worker.await_log(&told, PATIENCE);
        worker.stop();
        assert_eq!(portal.requests().len(), 0);
        assert_eq!(queues.count(&queues.input()), 1);
        let check = run_with(&["check"], &queues, &webhook, &changes);
        check.ended_with(1).has("FAIL  bitrix24: https://").has(&told);
        Audit::take(&queues, tasks.markers()).may_wait("the certificate is wrong").assert_holds();
    }
}
