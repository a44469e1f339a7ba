//! The worker as a service: what it tells systemd over the socket in `NOTIFY_SOCKET`, and the unit that it prints.
//! Whether systemd takes the unit is for `tests/packaging/unit`.

use std::env;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{cell::RefCell, process};

use crate::support::worker::settings;
use crate::support::*;

/// Hears what systemd would hear.
struct Systemd {
    socket: UnixDatagram,
    /// As the worker is given it.
    address: String,
    file: Option<PathBuf>,
    heard: RefCell<Vec<String>>,
}

impl Systemd {
    fn at_a_path() -> Systemd {
        let file = env::temp_dir().join(name());
        let socket = UnixDatagram::bind(&file).expect("a new name");
        Systemd::listening(socket, file.to_string_lossy().into_owned(), Some(file))
    }

    fn at_an_abstract_name() -> Systemd {
        let address = SocketAddr::from_abstract_name(name()).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a new name");
        Systemd::listening(socket, format!("@{}", name_of(&address)), None)
    }

    fn listening(socket: UnixDatagram, address: String, file: Option<PathBuf>) -> Systemd {
        socket.set_nonblocking(true).expect("our own socket");
        Systemd { socket, address, file, heard: RefCell::default() }
    }

    /// All lines so far.
    fn lines(&self) -> Vec<String> {
        let mut buffer = [0; 1024];
        while let Ok(size) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            self.heard.borrow_mut().extend(text.lines().map(str::to_owned));
        }
        self.heard.borrow().clone()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|heard| *heard == line).count()
    }

    #[track_caller]
    fn await_line(&self, line: &str) {
        eventually_ok(&format!("{line:?}"), PATIENCE, || match self.count(line) {
            0 => Err(format!("{:?}", self.lines())),
            _ => Ok(()),
        });
    }

    fn settings(&self, queues: &Queues, portal: &Portal, watchdog: &str) -> Vec<(String, String)> {
        let own = [("NOTIFY_SOCKET", self.address.as_str()), ("WATCHDOG_USEC", watchdog)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings(queues, &portal.webhook()).into_iter().chain(own).collect()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.file.iter().for_each(|file| drop(fs::remove_file(file)));
    }
}

fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("task-creator-notify-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn name_of(address: &SocketAddr) -> String {
    String::from_utf8_lossy(address.as_abstract_name().expect("an abstract name")).into_owned()
}

#[test]
fn the_worker_is_ready_when_it_reads_its_queue_and_says_when_it_stops() {
    for systemd in [Systemd::at_a_path(), Systemd::at_an_abstract_name()] {
        let queues = Queues::new("service");
        let portal = Portal::of(&Tasks::new());
        let mut worker = Worker::run(&[], &systemd.settings(&queues, &portal, "900000000"));
        systemd.await_line("READY=1");
        // Whatever is told comes after the fact.
        assert_eq!(queues.consumers(&queues.input()), 1);
        systemd.await_line("STATUS=every lane reads its queues");
        assert_eq!(systemd.count("STOPPING=1"), 0);
        worker.stop();
        systemd.await_line("STOPPING=1");
        systemd.await_line("EXTEND_TIMEOUT_USEC=20000000");
        assert_eq!((systemd.count("READY=1"), systemd.count("STOPPING=1")), (1, 1));
    }
}

#[test]
fn an_idle_lane_feeds_the_watchdog_and_so_does_one_that_waits_for_rabbitmq() {
    let systemd = Systemd::at_a_path();
    let queues = Queues::new("service watchdog");
    let portal = Portal::of(&Tasks::new());
    let settings = systemd.settings(&queues, &portal, "200000");
    let fed_often = || eventually("five feeds", PATIENCE, || systemd.count("WATCHDOG=1") >= 5);
    {
        let _worker = Worker::run(&[], &settings);
        systemd.await_line("READY=1");
        fed_often();
    }
    systemd.lines();
    systemd.heard.borrow_mut().clear();
    let nowhere = settings.into_iter().map(|(name, value)| match name.as_str() {
        // Nothing listens there.
        "RABBITMQ_PORT" => (name, "1".to_owned()),
        _ => (name, value),
    });
    let worker = Worker::run(&[], &nowhere.collect::<Vec<_>>());
    worker.await_log("no session with RabbitMQ", PATIENCE);
    fed_often();
    assert_eq!((systemd.count("READY=1"), systemd.count("STATUS=connecting to RabbitMQ")), (0, 1));
}

#[test]
fn without_a_supervisor_and_with_a_wrong_one_the_worker_works() {
    let queues = Queues::new("service alone");
    let portal = Portal::of(&Tasks::new());
    let mut settings = settings(&queues, &portal.webhook());
    settings.push(("NOTIFY_SOCKET".into(), "vsock:2:1".into()));
    let mut worker = Worker::run(&[], &settings);
    worker.await_log("NOTIFY_SOCKET is \"vsock:2:1\", which cannot be used", PATIENCE);
    worker.await_log("reading ", PATIENCE);
    worker.stop();
}

#[test]
fn the_printed_unit_has_the_paths_of_this_machine_and_changes_nothing() {
    let ended = run(&["install-service", "--user", "nobody-here"], &[]);
    // The folder of a test is a temporary one, which a service does not see.
    ended.ended_with(1).has("is a temporary file for the service").has_not("[Unit]");
    run(&["install-service", "--user", "root"], &[]).ended_with(64).has("the name of a user, not root");
}
