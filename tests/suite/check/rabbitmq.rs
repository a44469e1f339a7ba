//! What `task-creator check` says about RabbitMQ: queues, rights, and other servers at its address.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use crate::support::*;

#[test]
fn a_missing_queue_that_the_worker_will_make_is_a_warning_and_is_not_declared() {
    let queues = Queues::undeclared("missing queues");
    let portal = Portal::of(&Tasks::new());
    let ended = run_with(&["check"], &queues, &portal.webhook(), &[]);
    ended.ended_with(0).has_not("FAIL").has("ok    RabbitMQ: the worker may read, make and publish what it needs");
    for queue in [queues.input(), queues.responses(), queues.errors()] {
        ended.has(&format!("warn  {queue}: missing in virtual host")).has("the worker declares it at its start");
    }
    let sweep_lock = queues.named("bitrix24.sent.queue.sweep");
    for queue in [queues.input(), queues.responses(), queues.errors(), queues.sent(), queues.retry(), sweep_lock] {
        assert!(queues.state(&queue).is_none(), "{queue} was declared");
    }
}

/// Rights at RabbitMQ, and the line for the missing one; `Q` is the queues' prefix.
const MISSING: [([&str; 3], &str); 5] = [
    ([".*", ".*", "^Q.*bitrix24.(retry.|sent.)?queue$"], ""),
    (["", "", ".*"], "messages may not be published: RabbitMQ says: ACCESS_REFUSED - access to exchange"),
    ([".*", ".*", ""], "bitrix24.queue: may not be read: RabbitMQ says: ACCESS_REFUSED - access to queue"),
    ([".*", ".*", "^Q.*bitrix24.(retry.)?queue$"], "bitrix24.sent.queue: may not be read: RabbitMQ says"),
    (["^Q.*errors", ".*", ".*"], "bitrix24.sent.queue.sweep: may not be made: RabbitMQ says: ACCESS_REFUSED"),
];

#[test]
fn a_missing_right_fails_with_the_brokers_reason_and_the_command_that_gives_it() {
    let Some(user) = User::new("missing") else { return };
    let portal = Portal::of(&Tasks::new());
    for (rights, told) in MISSING {
        let queues = Queues::new("rights");
        queues.publish_task(&field_text("waiting"));
        let rights = rights.map(|right| right.replace('Q', queues.prefix()));
        rabbitmqctl(&["set_permissions", &user.0, &rights[0], &rights[1], &rights[2]]);
        let check = || run_with(&["check"], &queues, &portal.webhook(), &user.settings());
        let ended = check();
        if told.is_empty() {
            ended.ended_with(0).has(&format!("warn  {}: may not be read, so `parked`", queues.errors()));
            continue;
        }
        ended.ended_with(1).has("FAIL  ").has(told).has("FAIL  RabbitMQ: rights are missing; where RabbitMQ runs");
        // The command works as it is.
        let (_, pasted) = ended.output.split_once("host): rabbitmqctl ").expect("the command");
        let pasted = format!("\"$TEST_RABBITMQCTL\" {}", pasted.lines().next().unwrap_or_default());
        assert!(std::process::Command::new("sh").args(["-c", &pasted]).status().unwrap().success(), "{pasted}");
        check().ended_with(0).has("ok    RabbitMQ: the worker may read").has_not("may not be");
        // Nothing was taken, made or left.
        let state = queues.state(&queues.input()).expect("it is there");
        assert_eq!((state.ready, state.consumers), (1, 0));
        assert!(queues.state(&queues.sent()).is_none() && queues.state(&queues.retry()).is_none());
    }
}

/// A RabbitMQ user, deleted after the test; `None` if we may not run `rabbitmqctl`.
struct User(String);

impl User {
    fn new(name: &str) -> Option<User> {
        let user = User(format!("{name}-{}", std::process::id()));
        rabbitmqctl(&["add_user", &user.0, "its-password"])?;
        Some(user)
    }

    fn settings(&self) -> [(&str, &str); 2] {
        [("RABBITMQ_USERNAME", &self.0), ("RABBITMQ_PASSWORD", "its-password")]
    }
}

impl Drop for User {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_user", &self.0]);
    }
}

/// A server that answers each client with `words` after it has read bytes that end with `after`.
fn saying(words: &'static [u8], after: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut heard = Vec::new();
            while !heard.ends_with(after) {
                let mut byte = [0];
                match client.read(&mut byte) {
                    Ok(1) => heard.extend(byte),
                    _ => break,
                }
            }
            let _ = client.write_all(words);
            // Until the client closes.
            let _ = if words.is_empty() { Ok(0) } else { client.read_to_end(&mut heard) };
        }
    });
    port
}

#[test]
fn a_port_where_no_amqp_is_spoken_is_told_by_what_answers() {
    const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
    let tls = TlsFront::to(([127, 0, 0, 1], 9).into(), &Authority::new("a CA").identity("127.0.0.1"));
    let not_amqp = "connected, but no AMQP is spoken there: ";
    for (port, told) in [
        // A web server answers to a whole request only.
        (
            saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\r\n\r\n"),
            "a web server answers (15672 is RabbitMQ's management",
        ),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", GREETING), "a web server answers (15672 is RabbitMQ's management"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n", b""), "something else answers, which says \"SSH-2.0-OpenSSH_9.2\""),
        (saying(b"AMQP\x03\x01\0\0", GREETING), "another version of AMQP"),
        (tls.address().port(), "TLS is spoken there: set RABBITMQ_TLS=true"),
        (saying(b"", GREETING), ""),
    ] {
        let port = port.to_string();
        let place = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", port.as_str())];
        let ended = run(&["check"], &changed(&Queues::undeclared("no amqp"), "", &place));
        match told {
            "" => ended
                .has(&format!("RabbitMQ at 127.0.0.1:{port}: connected, but the connection was closed without a word")),
            told => ended.has(&format!("FAIL  RabbitMQ at 127.0.0.1:{port}: {not_amqp}{told}")),
        };
        ended.ended_with(1).has("correct RABBITMQ_HOST and RABBITMQ_PORT").has_not("timeout").has_not("malformed");
    }
}

#[test]
fn without_rabbitmq_the_portal_is_still_checked() {
    let queues = Queues::new("no rabbitmq");
    let portal = Portal::of(&Tasks::new());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let changes = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &*port)];
    // It accepts connections and says nothing.
    let silent = run_with(&["check"], &queues, &portal.webhook(), &changes);
    silent
        .ended_with(1)
        .has(&format!("FAIL  RabbitMQ at 127.0.0.1:{port}: connected, but nobody answers"))
        .has("ok    bitrix24: tasks can be found");
    drop(listener);
    let closed = run_with(&["check"], &queues, &portal.webhook(), &changes);
    closed
        .ended_with(1)
        .has("fix that, or correct RABBITMQ_HOST and RABBITMQ_PORT")
        .has("ok    bitrix24: tasks can be");
}

#[test]
fn what_rabbitmq_refuses_is_told_with_the_settings_to_correct() {
    let queues = Queues::new("refused");
    let portal = Portal::of(&Tasks::new());
    for (change, correct) in [
        (("RABBITMQ_PASSWORD", "not-the-password"), "correct RABBITMQ_USERNAME or RABBITMQ_PASSWORD"),
        (("RABBITMQ_VHOST", "no-such-vhost"), "vhost no-such-vhost not found (530); correct RABBITMQ_VHOST"),
    ] {
        let ended = run_with(&["check"], &queues, &portal.webhook(), &[change]);
        ended
            .ended_with(1)
            .has("FAIL  RabbitMQ at ")
            .has(correct)
            .has("; now: RABBITMQ_USERNAME=")
            .has("ok    bitrix24: ");
    }
}
