//! What clients that are slow, silent or too many may do to the others.

use super::*;

#[test]
fn a_connection_too_many_is_refused_until_there_is_room() {
    let server = start(Limits { connections: 2, ..Limits::default() }).0;
    let first = connect(&server);
    let second = connect(&server);
    for stream in [&first, &second] {
        send(stream, &post("/", "in"));
        await_text(stream, "POST / in");
    }
    assert!(rest(&connect(&server)).starts_with("HTTP/1.1 503 "));
    drop(first);
    await_room(&server);
}

/// Waits until one more connection is served.
#[track_caller]
fn await_room(server: &Server) {
    let started = Instant::now();
    loop {
        let reply = ask(server);
        if reply.ends_with("POST / in") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{reply}");
    }
}

/// What one more connection is told, once. A refused one may be reset after it has sent its request.
fn ask(server: &Server) -> String {
    let (mut stream, mut reply) = (connect(server), String::new());
    let request = post("/", "in").replace("Host", "Connection: close\r\nHost");
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut reply));
    reply
}

/// Sends the text, then a byte now and then for as long as the server listens; returns the server's answer.
fn trickle(server: &Server, beginning: &str) -> (String, Duration) {
    let stream = connect(server);
    send(&stream, beginning);
    stream.set_read_timeout(Some(SHORT / 10)).expect("a timeout can be set");
    let started = Instant::now();
    loop {
        let mut reply = [0; 1024];
        match (&stream).read(&mut reply) {
            Ok(read) => return (String::from_utf8_lossy(&reply[..read]).into_owned(), started.elapsed()),
            Err(err) => assert_eq!(err.kind(), ErrorKind::WouldBlock),
        }
        send(&stream, "x");
        assert!(started.elapsed() < PATIENCE, "it listens for ever");
    }
}

#[test]
fn a_head_and_a_body_have_their_time_however_slowly_the_bytes_come() {
    let limits = Limits { head_time: SHORT, body_time: SHORT, ..Limits::default() };
    let (server, heard) = start(limits);
    let body = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let pipelined = format!("{}GET /", post("/before", ""));
    for beginning in ["G", "GET / HTTP/1.1\r\nX: ", body] {
        let (reply, took) = trickle(&server, beginning);
        assert!(reply.starts_with("HTTP/1.1 408 ") && took >= SHORT, "{beginning:?}: {took:?} {reply}");
    }
    assert!(heard.lock().expect("no panic").is_empty());
    // The rest of a request that came together with another one has no more time either.
    let stream = connect(&server);
    send(&stream, &pipelined);
    assert!(rest(&stream).contains("HTTP/1.1 408 "));
}

#[test]
fn a_connection_without_a_request_is_closed_silently() {
    let server = start(Limits { idle: SHORT, ..Limits::default() }).0;
    let stream = connect(&server);
    assert_eq!(rest(&stream), "");
    let stream = connect(&server);
    send(&stream, &post("/", "once"));
    assert!(rest(&stream).ends_with("POST / once"));
}

#[test]
fn a_client_that_does_not_read_its_answer_delays_no_other() {
    let server = start(Limits { reply_time: SHORT, connections: 1, ..Limits::default() }).0;
    let stream = connect(&server);
    send(&stream, &post("/huge", ""));
    // Until then it has the only place.
    assert!(rest(&connect(&server)).starts_with("HTTP/1.1 503 "));
    await_room(&server);
}

#[test]
fn clients_that_hold_all_connections_and_ask_nothing_keep_no_other_out() {
    let limits = Limits { connections: 4, give_way: Some(SHORT), ..Limits::default() };
    let (server, heard) = start(limits);
    let stalled = connect(&server);
    send(&stalled, &post("/stall", ""));
    await_heard(&heard, "/stall");
    // A silent one, a slow head, a slow body.
    let body = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let slow = ["", "GET / HTTP/1.1\r\nX: ", body].map(|beginning| {
        let stream = connect(&server);
        send(&stream, beginning);
        stream
    });
    let started = Instant::now();
    (0..8).for_each(|_| await_room(&server));
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    // The oldest of the slow ones was cut, and no request that is being answered.
    assert_eq!((&slow[0]).read(&mut [0; 16]).unwrap_or(0), 0);
    drop(server);
    assert_eq!(rest(&stalled), "");
}

#[test]
fn a_client_is_served_at_its_first_try_while_others_come_again_and_again() {
    let limits = Limits { connections: 4, give_way: Some(SHORT / 10), ..Limits::default() };
    let server = start(limits).0;
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            let (server, stopped) = (&server, stopped.clone());
            // Holds its connection until it is cut or refused, and takes another one at once.
            scope.spawn(move || {
                while stopped.try_recv() != Err(TryRecvError::Disconnected) {
                    let stream = connect(server);
                    stream.set_read_timeout(Some(SHORT)).expect("a timeout can be set");
                    let _ = (&stream).write_all(b"GET / HT");
                    let _ = (&stream).read(&mut [0; 16]);
                }
            });
        }
        let answers: Vec<String> = (0..10).map(|_| ask(&server)).collect();
        drop(stop);
        assert!(answers.iter().all(|answer| answer.ends_with("POST / in")), "{answers:?}");
    });
}
