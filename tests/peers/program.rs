//! A program of others, which ends with its test. What it prints can be read. It knows no peer.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, thread};

use crate::support::eventually;

/// Node and Python take seconds to start on a busy machine.
pub const START: Duration = Duration::from_secs(60);

/// What `tests/peers/run` has put into this variable. `None`, said aloud, where that could not be had; with
/// `PEERS=required` the test fails.
pub fn found(variable: &str) -> Option<String> {
    let value = env::var(variable).ok();
    if value.is_none() {
        assert!(env::var("PEERS").as_deref() != Ok("required"), "{variable} is not set, and PEERS is \"required\"");
        let thread = thread::current();
        // Past what the test harness keeps to itself.
        let _ = writeln!(
            io::stderr(),
            "!! SKIPPED in {}: {variable} is not set; tests/peers/run sets it",
            thread.name().unwrap_or_default()
        );
    }
    value
}

/// An address on loopback where nobody listens.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback has a free port")
}

/// Killed when dropped; if the test is failing, what it has printed is shown.
pub struct Program {
    child: Child,
    /// Filled by threads that end with the program.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts it. It leaves no file outside `target`.
    pub fn start(command: &mut Command) -> Program {
        command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{command:?}: {err}"));
        let lines = Arc::default();
        read(child.stdout.take().expect("it is piped"), Arc::clone(&lines));
        read(child.stderr.take().expect("it is piped"), Arc::clone(&lines));
        Program { child, lines }
    }

    /// Starts it with a free port as its last argument, and waits until it listens there.
    #[track_caller]
    pub fn listening(command: &mut Command) -> (Program, SocketAddr) {
        let address = free_address();
        let mut program = Program::start(command.arg(address.port().to_string()));
        program.await_listener(address);
        (program, address)
    }

    /// Waits until it listens there.
    #[track_caller]
    pub fn await_listener(&mut self, address: SocketAddr) {
        eventually("a listener", START, || {
            assert!(self.child.try_wait().is_ok_and(|ended| ended.is_none()), "it has ended");
            TcpStream::connect(address).is_ok()
        });
    }

    /// What it has printed.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.lines().join("\n"));
        }
    }
}

fn read(output: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| lock(&lines).push(line))
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
