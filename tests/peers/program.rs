//! A program of others, which ends with its test. What it prints can be read. Knows no peer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::support::eventually;

/// Node and Python take seconds to start on a busy machine.
const START: Duration = Duration::from_secs(60);

pub struct Program {
    child: Child,
    address: SocketAddr,
    /// Filled by a thread that ends with the program.
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts what this variable of `tests/peers/run` names, with the arguments and a free port, and waits until it
    /// listens there. `None`, said aloud, where there is no such program.
    pub fn start(variable: &str, arguments: &[&str]) -> Option<Program> {
        let Ok(program) = std::env::var(variable) else {
            // Past what the test harness keeps to itself.
            let _ = writeln!(io::stderr(), "!! SKIPPED: no {variable}; tests/peers/run gets it");
            return None;
        };
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback has a free port");
        let child = Command::new(program).args(arguments).arg(free.port().to_string()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("tests/peers/run has installed it");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (output, read) = (child.stdout.take().expect("it is piped"), Arc::clone(&lines));
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| lock(&read).push(line))
        });
        let program = Program { child, address: free, lines };
        eventually(variable, START, || TcpStream::connect(free).is_ok());
        Some(program)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
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
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
