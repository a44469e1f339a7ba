//! The built binary as a child process: a clean environment, a folder of its own, real signals. It knows the worker's
//! settings and log files, and of its code only the reading of `.env`.
//!
//! Every test fails if a secret of the settings comes out of the program, whatever the test is about.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, process, thread};

use task_creator::settings::dotenv::syntax::{self, Statement, Value};

use super::broker::RabbitMq;
use super::queues::Queues;
use super::secrets;
use super::wait::{PATIENCE, eventually_ok};

/// How much of a log a failing test shows.
const TAIL_LINES: usize = 60;

/// Killed when dropped. Its folder is removed, unless the test is failing: then it stays, and the end of its log is
/// printed.
pub struct Worker {
    child: Child,
    /// The shell command that runs in place of the program, where a test asks for one; `$0` is the program.
    under: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    folder: PathBuf,
}

impl Worker {
    /// Starts it with [`settings`], in which `changes` replace or add.
    pub fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
        let mut settings = settings(queues, webhook);
        for (name, value) in changes {
            settings.retain(|(known, _)| known != name);
            settings.push((name.to_string(), value.to_string()));
        }
        Worker::run(&[], &settings)
    }

    /// Runs it with these arguments and nothing in its environment but these variables, `PATH` and `LOG_DIR`.
    pub fn run(arguments: &[&str], environment: &[(String, String)]) -> Worker {
        let folder = fresh_folder();
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        let child = spawn(&folder, None, &arguments, environment);
        Worker { child, under: None, arguments, environment: environment.to_vec(), folder }
    }

    /// The same, without arguments. This line of shell runs in its folder first; it ends with `exec "$0"`.
    pub fn run_under(line: &str, environment: &[(String, String)]) -> Worker {
        let (folder, under) = (fresh_folder(), Some(line.to_string()));
        let child = spawn(&folder, under.as_deref(), &[], environment);
        Worker { child, under, arguments: Vec::new(), environment: environment.to_vec(), folder }
    }

    /// Starts the program again in the same folder, after it has ended. Logs and output go on.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.exited().is_some(), "the worker is still running");
        self.child = spawn(&self.folder, self.under.as_deref(), &self.arguments, &self.environment);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be awaited");
    }

    /// `"INT"`, `"TERM"`, `"HUP"`, `"STOP"`, `"CONT"`. A process that has ended already gets no signal.
    pub fn signal(&mut self, name: &str) {
        if self.exited().is_some() {
            return;
        }
        // The shell's own `kill`: small images do not have the program.
        let line = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &line]).status().expect("sh runs");
        assert!(status.success(), "{line}: {status}");
    }

    /// `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }

    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of worker {}", self.pid());
        eventually_ok(&what, deadline, || self.exited().ok_or_else(|| tail(&self.output(), 3)))
    }

    /// SIGTERM, and a clean end: unfinished work is settled, and no delivery is unacknowledged.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        let status = self.wait(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", tail(&self.log(), 10));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `worker.log` so far; empty while there is none.
    pub fn log(&self) -> String {
        read(&self.folder.join("logs/worker.log"))
    }

    /// `worker_errors.log` so far.
    pub fn errors(&self) -> String {
        read(&self.folder.join("logs/worker_errors.log"))
    }

    /// What it has written to stdout and stderr so far.
    pub fn output(&self) -> String {
        read(&self.folder.join("output"))
    }

    #[track_caller]
    pub fn await_log(&self, text: &str, deadline: Duration) {
        await_text("worker.log", text, deadline, || self.log());
    }

    #[track_caller]
    pub fn await_output(&self, text: &str, deadline: Duration) {
        await_text("the output", text, deadline, || self.output());
    }

    /// Resident memory; 0 when it has ended.
    pub fn memory_kib(&self) -> usize {
        self.status_number("VmRSS:")
    }

    pub fn threads(&self) -> usize {
        self.status_number("Threads:")
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, |entries| entries.count())
    }

    /// The secrets of its environment and of its `.env`, in every form.
    fn secrets(&self) -> Vec<String> {
        let of_line = |Statement { name, value, .. }| match value {
            Value::Text { text, .. } => Some((name, text)),
            // A line that cannot be read has no value to look for.
            Value::Absent | Value::Unreadable(_) => None,
        };
        let from_dotenv: Vec<(String, String)> =
            syntax::parse(&read(&self.folder.join(".env"))).into_iter().filter_map(of_line).collect();
        [secrets::in_settings(&self.environment), secrets::in_settings(&from_dotenv)].concat()
    }

    fn status_number(&self, name: &str) -> usize {
        let status = read(Path::new(&format!("/proc/{}/status", self.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            let leak = secrets::found_in(&secrets::files(&self.folder), &self.secrets());
            let _ = fs::remove_dir_all(&self.folder);
            assert!(leak.is_none(), "a secret came out of `task-creator {}`: {leak:?}", self.arguments.join(" "));
            return;
        }
        eprintln!("--- worker {} left its files in {}", self.pid(), self.folder.display());
        eprintln!("--- end of its output\n{}", tail(&self.output(), TAIL_LINES));
        eprintln!("--- end of worker.log\n{}", tail(&self.log(), TAIL_LINES));
    }
}

/// Settings for tests: these queues, this portal, short intervals, everything else by default.
pub fn settings(queues: &Queues, webhook: &str) -> Vec<(String, String)> {
    let mut settings = broker_settings(queues.broker().rabbitmq());
    let own = [
        ("QUEUE_PREFIX", queues.prefix().to_string()),
        ("ERROR_QUEUE", queues.errors()),
        ("RESPONSES_QUEUE", queues.responses()),
        ("BITRIX_WEBHOOK_URL", webhook.to_string()),
        ("HEARTBEAT_INTERVAL", "1".into()),
        ("RETRY_DELAY", "1".into()),
        ("SHUTDOWN_TIMEOUT", "10".into()),
    ];
    settings.extend(own.map(|(name, value)| (name.to_string(), value)));
    settings
}

fn broker_settings(rabbitmq: &RabbitMq) -> Vec<(String, String)> {
    let settings = [
        ("RABBITMQ_HOST", rabbitmq.host.clone()),
        ("RABBITMQ_PORT", rabbitmq.port.to_string()),
        ("RABBITMQ_USERNAME", rabbitmq.username.clone()),
        ("RABBITMQ_PASSWORD", rabbitmq.password.clone()),
        ("RABBITMQ_VHOST", rabbitmq.vhost.clone()),
        ("RABBITMQ_HEARTBEAT", "5".into()),
    ];
    settings.map(|(name, value)| (name.to_string(), value)).to_vec()
}

fn spawn(folder: &Path, under: Option<&str>, arguments: &[String], environment: &[(String, String)]) -> Child {
    let output = append(&folder.join("output"));
    let errors = output.try_clone().expect("a file handle can be cloned");
    let mut command = match under {
        Some(line) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).arg(binary());
            shell
        }
        None => Command::new(binary()),
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LOG_DIR", folder.join("logs"))
        .envs(environment.iter().cloned())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .expect("the built binary starts")
}

/// Cargo gives tests its path. An example has to look beside itself.
pub fn binary() -> PathBuf {
    option_env!("CARGO_BIN_EXE_task-creator").map(PathBuf::from).unwrap_or_else(|| {
        let example = env::current_exe().expect("a running program has a path");
        let folder = example.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        folder.join("task-creator")
    })
}

fn fresh_folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("task-creator-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = env::temp_dir().join(name);
    // Process ids come again, and a failed test left its folder.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}

fn append(file: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(file).expect("the worker's folder is writable")
}

#[track_caller]
fn await_text(place: &str, text: &str, deadline: Duration, look: impl Fn() -> String) {
    eventually_ok(&format!("\"{text}\" in {place}"), deadline, || {
        let seen = look();
        if seen.contains(text) { Ok(()) } else { Err(format!("\n{}", tail(&seen, 10))) }
    });
}

/// Anything but a file counts as empty: a device may have no end.
fn read(file: &Path) -> String {
    if !file.is_file() {
        return String::new();
    }
    fs::read(file).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
