//! A RabbitMQ node of the test's own, for faults that concern the whole node: started by `tests/with-rabbitmq`, gone
//! with the test process. It knows no queue.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::broker::RabbitMq;
use super::certificates::Identity;
use super::wait::{PATIENCE, eventually};

pub struct Node {
    rabbitmq: RabbitMq,
    rabbitmqctl: String,
    life: Mutex<Life>,
    /// `with-rabbitmq` runs a program that ends with this process: then its standard input ends.
    _running: Child,
}

/// A frozen node cannot be asked for its process id, and a killed one has another after its restart.
struct Life {
    pid: String,
    /// The shell that guards the restarted node.
    revived: Option<Child>,
}

impl Node {
    /// Takes some seconds. `None` where no RabbitMQ can be started: then the test has nothing to prove, and ends.
    pub fn start() -> Option<Node> {
        let mut running = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/with-rabbitmq"))
            .args(["--private", "sh", "-c", "env; echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/with-rabbitmq starts");
        let output = BufReader::new(running.stdout.take().expect("its output is ours"));
        let lines = output.lines().map_while(Result::ok).take_while(|line| line != "ready");
        let variables: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_string(), value.to_string())))
            .collect();
        if variables.is_empty() {
            let _ = running.wait();
            return None;
        }
        let variable = |name: &str| variables.get(name).cloned().unwrap_or_else(|| panic!("with-rabbitmq sets {name}"));
        let rabbitmq = RabbitMq {
            host: variable("RABBITMQ_HOST"),
            port: variable("RABBITMQ_PORT").parse().expect("RABBITMQ_PORT is a port number"),
            username: variable("RABBITMQ_USERNAME"),
            password: variable("RABBITMQ_PASSWORD"),
            vhost: variable("RABBITMQ_VHOST"),
        };
        let life = Mutex::new(Life { pid: String::new(), revived: None });
        let node = Node { rabbitmq, rabbitmqctl: variable("TEST_RABBITMQCTL"), life, _running: running };
        let told = node.ctl(&["eval", "io:put_chars(os:getpid())."]);
        node.life().pid = told.lines().next().unwrap_or_default().replace("ok", "");
        Some(node)
    }

    pub fn rabbitmq(&self) -> RabbitMq {
        self.rabbitmq.clone()
    }

    /// Runs `rabbitmqctl` for this node and returns its output.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let done = Command::new(&self.rabbitmqctl).arg("-q").args(arguments).output().expect("rabbitmqctl runs");
        let (output, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "rabbitmqctl {}: {output}{errors}", arguments.join(" "));
        output.trim().to_string()
    }

    /// Makes the node listen with TLS too, with this certificate; returns the port.
    #[track_caller]
    pub fn listen_with_tls(&self, identity: &Identity) -> u16 {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("loopback has a free port").port();
        // In the node's own folder, which is removed with it.
        let file = Path::new(&self.rabbitmqctl).with_file_name(format!("{port}.pem"));
        let pem = format!("{}{}", identity.certificate, identity.key);
        fs::write(&file, pem).expect("the node's folder is writable");
        let options = format!("[{{certfile, {file:?}}}, {{keyfile, {file:?}}}]");
        let listen = format!("rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}, auto}}, {options}, 1)");
        self.ctl(&["eval", &format!("rabbit_networking:ensure_ssl(), {listen}.")]);
        port
    }

    /// Freezes the node, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.life().signal(if frozen { "STOP" } else { "CONT" });
    }

    /// SIGKILL: everything that it has not written to its disk is lost.
    pub fn kill(&self) {
        self.life().signal("KILL");
    }

    /// Restarts the node after a kill. Returns when clients can connect.
    pub fn revive(&self) {
        let mut life = self.life();
        life.end();
        // It ends with this process, however that ends: then the shell's standard input ends.
        let script = "\"$0\" </dev/null >/dev/null 2>&1 & pid=$!; echo $pid; read line; kill -9 $pid";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .arg(Path::new(&self.rabbitmqctl).with_file_name("rabbitmq-server"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let output = shell.stdout.take().expect("its output is ours");
        life.pid = BufReader::new(output).lines().next().and_then(Result::ok).expect("the shell says the process id");
        life.revived = Some(shell);
        eventually("the revived node", PATIENCE * 4, || self.rabbitmq.connect().is_ok());
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid)]).status().expect("sh runs");
        assert!(status.success(), "kill -{name} {}: {status}", self.pid);
    }

    fn end(&mut self) {
        if let Some(mut shell) = self.revived.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

impl Drop for Life {
    /// Ends the node before its folder is removed.
    fn drop(&mut self) {
        self.end();
    }
}
