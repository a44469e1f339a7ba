//! The HTTP client: each failure says, within the deadline, whether the request may have had an effect, and no error
//! text holds a part of the URL. No proxy is used.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use serde_json::json;
use task_creator::http::{self, Http, Method, NoAnswer, Request};
use task_creator::tls::RootCertificates;

const DEADLINE: Duration = Duration::from_millis(800);

fn post(address: &str) -> Result<http::Answer, NoAnswer> {
    Http::new(DEADLINE, &RootCertificates::public())
        .post_json(&format!("http://{address}/rest/1/canary-token/method"), b"{}")
}

/// Whether a request that failed may have had an effect.
#[track_caller]
fn may_have_run(address: &str) -> bool {
    judged(address, || post(address))
}

#[track_caller]
fn judged(address: &str, post: impl FnOnce() -> Result<http::Answer, NoAnswer>) -> bool {
    let started = Instant::now();
    let (text, may) = match post().expect_err("no answer") {
        NoAnswer::NotSent(text) => (text, false),
        NoAnswer::Unknown(text) | NoAnswer::TooLarge(text) => (text, true),
    };
    assert!(started.elapsed() < DEADLINE * 4, "{text}: {:?}", started.elapsed());
    for part in ["canary", "rest/1", "http:/", address] {
        assert!(!text.contains(part), "{text}");
    }
    may
}

fn answering(reply: Reply) -> (Portal, String) {
    let portal = Portal::behind(move |_| Some(reply.clone()), |_| panic!("the door is closed"));
    let address = portal.address().to_string();
    (portal, address)
}

/// A server that reads a request and writes these bytes, for ever if `again`.
fn writing(bytes: Vec<u8>, again: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let _ = stream.read(&mut [0; 4096]);
        while stream.write_all(&bytes).is_ok() && again {}
    });
    address
}

#[test]
fn a_request_says_who_asks_and_what_it_sends() {
    let (portal, address) = answering(Reply::Json(200, json!({"result": 1})));
    let answer = post(&address).expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (200, br#"{"result":1}"#.as_slice()));
    let request = &portal.requests()[0];
    assert_eq!((request.verb.as_str(), request.path.as_str()), ("POST", "/rest/1/canary-token/method"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("user-agent").expect("it is there").starts_with("task-creator/"));
    assert_eq!(request.raw_body, b"{}");
}

#[test]
fn a_request_has_the_method_the_headers_and_the_body_that_it_was_given() {
    let (portal, address) = answering(Reply::WithHeaders {
        status: 202,
        headers: vec![("Location".into(), "/jobs/7".into()), ("Retry-After".into(), "3".into())],
        body: b"later".to_vec(),
    });
    let http = Http::new(DEADLINE, &RootCertificates::public());
    let url = format!("http://{address}/path?query=%D0%B4");
    let other = Method::from_bytes(b"BREW").expect("a method");
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, other] {
        let plain = http.send(Request::new(method.clone(), &url).header("Prefer", "respond-async"));
        let answer = plain.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (202, &b"later"[..]));
        assert_eq!((answer.header("location"), answer.retry_after()), (Some("/jobs/7"), Some(Duration::from_secs(3))));
        http.send(Request::new(method.clone(), &url).body("text/plain", b"body")).expect("an answer");
        let requests = portal.requests();
        let [.., plain, with_body] = requests.as_slice() else { panic!("two requests") };
        assert_eq!(
            (plain.verb.as_str(), plain.path.as_str(), plain.query.as_str()),
            (method.as_str(), "/path", "query=%D0%B4")
        );
        assert_eq!((plain.header("prefer"), plain.raw_body.as_slice()), (Some("respond-async"), &[][..]));
        assert_eq!(
            (with_body.header("content-type"), with_body.raw_body.as_slice()),
            (Some("text/plain"), &b"body"[..])
        );
    }
    // The header says how long the body would be.
    let head = http.send(Request::new(Method::HEAD, &url)).expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (202, Some("5")));
}

#[test]
fn a_request_is_signed_in_by_name_and_password_or_by_a_token() {
    let (portal, address) = answering(Reply::Json(200, json!({})));
    let http = Http::new(DEADLINE, &RootCertificates::public());
    let url = format!("http://{address}/");
    http.send(Request::new(Method::GET, &url).basic("Иванов", "пароль:1")).expect("an answer");
    http.send(Request::new(Method::GET, &url).bearer("canary")).expect("an answer");
    let signed_in: Vec<_> =
        portal.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert_eq!(signed_in[0].as_deref(), Some("Basic 0JjQstCw0L3QvtCyOtC/0LDRgNC+0LvRjDox"));
    assert_eq!(signed_in[1].as_deref(), Some("Bearer canary"));
}

#[test]
fn a_request_that_cannot_be_sent_is_not_and_shows_nothing_of_itself() {
    let (portal, address) = answering(Reply::Json(200, json!({})));
    let http = Http::new(DEADLINE, &RootCertificates::public());
    let url = format!("http://{address}/");
    let get = |url: &str| Request::new(Method::GET, url);
    let unusable = [
        get(&url).header("X-Key", "canary\r\nX-Other: 1"),
        get(&url).header("X canary", "1"),
        get(&url).bearer("canary\n"),
        get("http://canary canary/"),
        get("canary"),
        get("ftp://canary/"),
        get(""),
    ];
    for request in unusable {
        match http.send(request).expect_err("nothing was sent") {
            NoAnswer::NotSent(told) => assert!(!told.contains("canary"), "{told}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(portal.requests().len(), 0);
}

#[test]
fn every_status_is_an_answer_and_no_redirect_is_followed() {
    for status in [200, 400, 401, 404, 429, 500, 502, 503] {
        let (_portal, address) = answering(Reply::html(status, "page"));
        let answer = post(&address).expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (status, b"page".as_slice()));
    }
    let (elsewhere, other) = answering(Reply::Json(200, json!({})));
    for status in [301, 302, 303, 307, 308] {
        let headers = vec![("Location".into(), format!("http://{other}/rest/1/canary-token/method"))];
        let (portal, address) = answering(Reply::WithHeaders { status, headers, body: b"moved".to_vec() });
        assert_eq!(post(&address).expect("an answer").status, status);
        assert_eq!(portal.requests().len(), 1);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn a_request_that_found_nobody_has_had_no_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let nobody = listener.local_addr().expect("it has an address").to_string();
    drop(listener);
    assert!(!may_have_run(&nobody));
    assert!(!may_have_run("no-such-host.invalid"));
}

#[test]
fn a_request_whose_answer_breaks_off_may_have_had_its_effect() {
    for reply in [Reply::Half(200, json!({"result": "x".repeat(1000)})), Reply::Close, Reply::Reset] {
        let (_portal, address) = answering(reply);
        assert!(may_have_run(&address));
    }
}

#[test]
fn the_deadline_is_for_the_whole_answer() {
    let (_portal, address) = answering(Reply::Drip(json!({"result": "x".repeat(1000)}), Duration::from_millis(100)));
    assert!(may_have_run(&address));
    let (_portal, address) = answering(Reply::Hang);
    assert!(may_have_run(&address));
}

#[test]
fn an_answer_is_read_only_up_to_the_limit() {
    let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n".to_vec();
    assert!(may_have_run(&writing([huge, vec![b'x'; 1 << 20]].concat(), true).to_string()));
    let endless_head = b"HTTP/1.1 200 OK\r\n".iter().copied().chain(b"X-Flood: 1\r\n".repeat(100_000)).collect();
    assert!(may_have_run(&writing(endless_head, true).to_string()));
}

#[test]
fn what_is_not_http_is_no_answer() {
    for bytes in ["SSH-2.0-OpenSSH\r\n\r\n", "\0\u{1}\u{2}", "", "HTTP/1.1 abc canary-token\r\n\r\n"] {
        assert!(may_have_run(&writing(bytes.into(), false).to_string()), "{bytes:?}");
    }
}

#[test]
fn a_compressed_answer_is_not_unpacked() {
    let headers = vec![("Content-Type".into(), "application/json".into()), ("Content-Encoding".into(), "gzip".into())];
    let (portal, address) = answering(Reply::WithHeaders { status: 200, headers, body: vec![0x1f, 0x8b, 8, 0] });
    assert_eq!(post(&address).expect("an answer").body, [0x1f, 0x8b, 8, 0]);
    assert_eq!(portal.requests()[0].header("accept-encoding").unwrap_or("identity"), "identity");
}

#[test]
fn https_that_fails_in_the_handshake_has_sent_nothing_and_later_it_may_have() {
    let authority = Authority::new("a CA");
    let ca_file = PemFile::write(&authority.pem());
    let trusting = RootCertificates::read(ca_file.path().as_ref()).expect("a CA file");
    let may_have_run = |address: String, root_certificates: &RootCertificates| {
        let url = format!("https://{address}/rest/1/canary-token/method");
        judged(&address, || Http::new(DEADLINE, root_certificates).post_json(&url, b"{}"))
    };
    for reply in [Reply::Half(200, json!({"result": "x".repeat(1000)})), Reply::Close] {
        let (portal, _) = answering(reply);
        let front = TlsFront::to(portal.address(), &authority.identity("127.0.0.1"));
        assert!(may_have_run(front.address().to_string(), &trusting));
        assert_eq!(portal.requests().len(), 1);
        assert!(!may_have_run(front.address().to_string(), &RootCertificates::public()));
        assert_eq!(portal.requests().len(), 1);
    }
    // No TLS, in three ways: the server closes, says something else, or says nothing.
    for bytes in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        assert!(!may_have_run(writing(bytes.into(), false).to_string(), &trusting), "{bytes:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    assert!(!may_have_run(silent.local_addr().expect("it has an address").to_string(), &trusting));
}

#[test]
fn a_proxy_in_the_environment_gets_nothing_to_see() {
    let (queues, tasks) = (Queues::new("proxy"), Tasks::new());
    let portal = Portal::of(&tasks);
    let proxy = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = proxy.local_addr().expect("a bound listener has an address");
    let place = format!("http://somebody:proxy-password@{address}");
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut worker = Worker::start(&queues, &portal.webhook(), &names.map(|name| (name, place.as_str())));
    queues.publish_task(&field_text("direct"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    proxy.set_nonblocking(true).expect("a socket can be non-blocking");
    assert!(proxy.accept().is_err(), "somebody came to the proxy");
    assert!(!format!("{}{}", worker.log(), worker.output()).contains("proxy-password"));
}

/// The error when the server shows this certificate and the client trusts that one; `None` if there is none.
fn told_of(server: &Identity, trusted: &str) -> Option<String> {
    let (portal, _) = answering(Reply::Json(200, json!({"result": 1})));
    let front = TlsFront::to(portal.address(), server);
    let ca_file = PemFile::write(trusted);
    let trusted = RootCertificates::read(ca_file.path().as_ref()).expect("a CA file").and(RootCertificates::public());
    let url = format!("https://{}/rest/1/canary-token/method", front.address());
    match Http::new(DEADLINE * 4, &trusted).post_json(&url, b"{}") {
        Ok(answer) => {
            assert_eq!(answer.status, 200);
            None
        }
        Err(NoAnswer::NotSent(told)) => {
            assert_eq!(portal.requests().len(), 0);
            Some(told)
        }
        Err(err) => panic!("{err:?}"),
    }
}

#[track_caller]
fn assert_told(server: &Identity, trusted: &str, words: &str) {
    let told = told_of(server, trusted).expect("a refusal");
    assert!(told.contains(words), "{told}");
}

const HERE: &str = "127.0.0.1";

#[test]
fn exactly_the_certificate_in_the_ca_file_is_trusted_whoever_has_signed_it() {
    let as_openssl_makes_it = Identity::own(&[HERE]);
    let no_ca = Identity::own_but(&[HERE], |about| about.is_ca = rcgen::IsCa::NoCa);
    // `openssl req -x509 -subj /CN=portal`: for no host at all.
    let without_a_host = Identity::own(&[]);
    let signed = Authority::new("a CA that nobody knows").identity(HERE);
    for own in [as_openssl_makes_it, no_ca, without_a_host, signed] {
        assert_eq!(told_of(&own, &own.certificate), None);
    }
}

#[test]
fn a_servers_certificate_in_the_ca_file_is_trusted_for_nobody_but_its_server() {
    let server = Authority::new("a CA that nobody knows").server_that_signs("portal.example");
    assert_told(&server.identity(HERE), &server.pem(), "signed by nobody whom this program trusts");
    let by_itself = Identity::own_but(&[HERE], |about| about.is_ca = rcgen::IsCa::NoCa);
    let both = server.pem() + &by_itself.certificate;
    assert_eq!(told_of(&by_itself, &both), None);
}

#[test]
fn another_certificate_than_the_one_in_the_ca_file_is_not_trusted() {
    let trusted = Identity::own(&[HERE]).certificate;
    let by_itself =
        "signed by itself: if it is the right one, name a PEM file with exactly this certificate in HTTPS_CA_FILE";
    assert_told(&Identity::own(&[HERE]), &trusted, by_itself);
    assert_told(
        &Identity::own_but(&[HERE], |about| about.is_ca = rcgen::IsCa::NoCa),
        &trusted,
        "TLS: the server's cert",
    );
    // The right one, but it is for another host, or has expired.
    let elsewhere = Identity::own(&["other.example", "10.0.0.1"]);
    assert_told(
        &elsewhere,
        &elsewhere.certificate,
        "is not for 127.0.0.1, but for other.example, 10.0.0.1: use a name",
    );
    let expired = Identity::own_but(&[HERE], |about| about.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert_told(&expired, &expired.certificate, "has expired: have it renewed");
}

#[test]
fn a_server_that_leaves_out_its_intermediate_is_told_which_one() {
    let root = Authority::new("our root");
    let (intermediate, lower) = (root.intermediate("our intermediate"), root.intermediate("not its issuer"));
    let alone = intermediate.identity(HERE);
    let with = |chain: &[&Authority]| Identity {
        certificate: chain.iter().fold(alone.certificate.clone(), |pem, authority| pem + &authority.pem()),
        key: alone.key.clone(),
    };
    let missing =
        "of its CA \"our intermediate\" in HTTPS_CA_FILE; or, if that is an intermediate CA, have the server send";
    assert_told(&alone, &root.pem(), missing);
    assert_told(&with(&[&lower]), &root.pem(), missing);
    assert_eq!(told_of(&with(&[&intermediate]), &root.pem()), None);
    // The advice works: the intermediate itself may be named.
    assert_eq!(told_of(&alone, &intermediate.pem()), None);
    assert_told(&with(&[&intermediate]), &Authority::new("another").pem(), "of its CA \"our root\" in HTTPS_CA_FILE");
    // A CA that was made again under its old name.
    assert_told(&root.identity(HERE), &Authority::new("our root").pem(), "made again under its old name");
}

#[test]
fn a_certificate_for_no_host_is_told_what_it_lacks() {
    let authority = Authority::new("a CA");
    let nobodys = authority.identity_for_nobody();
    assert_told(&nobodys, &authority.pem(), "with openssl: -addext subjectAltName=IP:127.0.0.1");
}
