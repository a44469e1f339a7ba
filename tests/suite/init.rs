//! `task-creator init` as its user sees it, at a pseudo-terminal: what it asks, what it writes, and that a task goes
//! round with what it has written.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, process, thread};

use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;
use task_creator::settings::dotenv::syntax::{self, Statement, Value as Written};

use crate::support::worker::{binary, settings};
use crate::support::*;

/// As `interrupts` has it.
const INTERRUPTED: i32 = 130;
/// What Ctrl+C and Ctrl+D send.
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const PASSWORD: &str = "canary #1 it's a 'pass\\word'";

/// A folder for `.env`; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("task-creator-init-suite-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("the temporary folder is writable");
        Folder(folder)
    }

    fn dotenv(&self) -> PathBuf {
        self.0.join(".env")
    }

    /// The values in `.env`.
    fn written(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.dotenv()).expect("it is written");
        let value = |Statement { name, value, .. }| match value {
            Written::Text { text, .. } => Some((name, text)),
            Written::Absent | Written::Unreadable(_) => None,
        };
        syntax::parse(&text).into_iter().filter_map(value).collect()
    }

    /// A program of ours here, with nothing in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(&self.0).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `init` at a terminal.
struct Init {
    child: Child,
    /// The side of the user.
    keyboard: File,
    /// The side of the program, which stays open after its end.
    terminal: OwnedFd,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was awaited already.
    seen: usize,
}

impl Init {
    fn start(folder: &Folder) -> Init {
        let OpenptyResult { master, slave } = openpty(None, None).expect("there are pseudo-terminals");
        let end = || Stdio::from(slave.try_clone().expect("it can be cloned"));
        let child =
            folder.command(&["init"]).stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary starts");
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("it can be cloned");
        let screen: Arc<Mutex<String>> = Arc::default();
        let shown = screen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Its end is an error: nobody is at the other side any more.
            while let Ok(size) = output.read(&mut buffer) {
                shown.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..size]));
            }
        });
        Init { child, keyboard, terminal: slave, screen, seen: 0 }
    }

    fn screen(&self) -> String {
        self.screen.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn shows(&mut self, text: &str) -> &mut Init {
        let at = eventually_ok(&format!("{text:?}"), PATIENCE, || {
            let screen = self.screen();
            screen[self.seen..].find(text).map(|at| self.seen + at + text.len()).ok_or(screen)
        });
        self.seen = at;
        self
    }

    /// Whether the terminal shows what is typed, and makes signals of keys.
    fn echoes(&self) -> bool {
        let flags = tcgetattr(&self.terminal).expect("it is a terminal").local_flags;
        flags.contains(LocalFlags::ECHO | LocalFlags::ISIG)
    }

    fn press(&mut self, keys: &str) -> &mut Init {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes it");
        self
    }

    /// Answers a question, when it has come.
    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) -> &mut Init {
        self.shows(question).shows(": ").press(answer).press("\n")
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) -> String {
        let status = eventually_some("the end", PATIENCE, || self.child.try_wait().expect("our own child"));
        assert_eq!(status.code(), Some(code), "{}", self.screen());
        self.screen()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker in this folder; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).expect("it is there").permissions().mode() & 0o777
}

/// The settings of a test that `init` does not ask for.
fn others(settings: &[(String, String)]) -> String {
    let asked = |name: &str| name.starts_with("RABBITMQ_") || name.starts_with("BITRIX_");
    settings.iter().filter(|(name, _)| !asked(name)).map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[test]
fn after_its_questions_a_task_goes_round_and_other_lines_have_stayed() {
    let queues = Queues::new("init");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let settings = settings(&queues, &portal.webhook());
    let value = |name: &str| &*settings.iter().find(|(known, _)| known == name).expect("it is a setting").1;
    let folder = Folder::new();
    let before = format!("# mine\n{}UNKNOWN='two\nlines'\nRABBITMQ_HOST=rmq.example # later\n", others(&settings));
    fs::write(folder.dotenv(), &before).expect("our own folder");
    fs::set_permissions(folder.dotenv(), fs::Permissions::from_mode(0o600)).expect("it is ours");

    let mut init = Init::start(&folder);
    init.answer("Change it, yes or no [no]", "yes");
    init.answer("Host name or address [localhost]", "amqp://rmq");
    init.shows("✗ RABBITMQ_HOST is not a plain host name or address");
    init.answer("Host name or address [localhost]", value("RABBITMQ_HOST"));
    init.answer("Port [5672]", "many").shows("✗ RABBITMQ_PORT is \"many\", not a whole number from 1 to 65535");
    init.answer("Port [5672]", value("RABBITMQ_PORT"));
    init.answer("User [task-creator]", value("RABBITMQ_USERNAME"));
    init.answer("Password (not shown)", "").shows("✗ RABBITMQ_PASSWORD must have a value");
    init.answer("Password (not shown)", value("RABBITMQ_PASSWORD"));
    init.answer("Virtual host [/]", value("RABBITMQ_VHOST"));
    init.answer("Webhook (not shown) [none]", "https://bitrix.example/canary-token");
    init.shows("✗ BITRIX_WEBHOOK_URL has no user and token in its path");
    init.answer("Webhook (not shown) [none]", &portal.webhook());
    init.answer("Who gets a task that names nobody", "");
    init.shows("0 failed").shows("What is left: start the worker.").shows("nohup ").shows("install-service` says");
    let screen = init.ends_with(0);
    let token = portal.webhook().rsplit('/').find(|part| !part.is_empty()).expect("a token").to_owned();
    assert!(!screen.contains(&token) && !screen.contains("canary"), "{screen}");

    let after = fs::read_to_string(folder.dotenv()).expect("it is text");
    let kept = before.strip_suffix("RABBITMQ_HOST=rmq.example # later\n").expect("the last line");
    assert!(after.starts_with(kept) && !after.contains("rmq.example"), "{after}");
    assert_eq!(mode(&folder.dotenv()), 0o600);

    let worker = folder.command(&[]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _worker = Running(worker.expect("the binary starts"));
    queues.publish_task(&field_text("init-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    tasks.set("init-1", "UF_RESULT_ANSWER", serde_json::json!("26"));
    tasks.set_status("init-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let response: Value = queues.peek_all(&queues.responses())[0].json();
    assert_eq!(response["processing_status"], "completed_by_tracker");
}

#[test]
fn what_is_typed_is_what_is_read_whatever_it_is() {
    let folder = Folder::new();
    let mut init = Init::start(&folder);
    init.answer("Host name or address", "127.0.0.1").answer("Port", "1").answer("User", "task creator #1");
    init.answer("Password", "a\x1b[Db").shows("✗ RABBITMQ_PASSWORD has a control character");
    init.answer("Password", "a${HOME}").shows("✗ RABBITMQ_PASSWORD has ${ in it");
    init.answer("Password", PASSWORD).answer("Virtual host", "").answer("Webhook", "");
    init.shows("FAIL  RabbitMQ").shows("What is left: mend what FAIL tells above.");
    let screen = init.ends_with(1);
    assert!(!screen.contains("canary"), "{screen}");
    let expected = [
        ("RABBITMQ_HOST", "127.0.0.1"),
        ("RABBITMQ_PORT", "1"),
        ("RABBITMQ_USERNAME", "task creator #1"),
        ("RABBITMQ_PASSWORD", PASSWORD),
        ("RABBITMQ_VHOST", "/"),
        ("RABBITMQ_HEARTBEAT", "10"),
    ];
    assert_eq!(folder.written(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(mode(&folder.dotenv()), 0o600);

    // Enter at every question changes nothing.
    let before = fs::read_to_string(folder.dotenv()).expect("it is text");
    let mut again = Init::start(&folder);
    again.answer("Change it", "y").answer("address [127.0.0.1]", "").answer("Port [1]", "");
    again.answer("User [task creator #1]", "").answer("Password (not shown) [the one that is set]", "");
    again.answer("Virtual host", "").answer("Webhook", "").ends_with(1);
    assert_eq!(fs::read_to_string(folder.dotenv()).expect("it is text"), before);
}

#[test]
fn a_host_elsewhere_is_asked_for_its_encryption_which_decides_the_port() {
    let folder = Folder::new();
    let mut init = Init::start(&folder);
    init.answer("Host name or address", "rmq.example.org").answer("Encrypted connection (amqps), yes or no [no]", "да");
    init.shows("✗ RABBITMQ_TLS is \"да\", neither true nor false");
    init.answer("Encrypted connection (amqps), yes or no [no]", "yes").shows("Port [5671]");
    init.press("\n").shows("User [task-creator]").press(CTRL_D).ends_with(1);
    assert!(!folder.dotenv().exists());

    // Neither another port nor the older name of a setting gets lost.
    fs::write(folder.dotenv(), "RABBITMQ_TLS=yes\nRABBITMQ_VIRTUAL_HOST=tasks\n").expect("our own folder");
    let mut init = Init::start(&folder);
    init.answer("Change it", "y").answer("address", "127.0.0.1").answer("yes or no [yes]", "").answer("[5671]", "5672");
    init.answer("User", "").answer("Password", PASSWORD).answer("Virtual host [tasks]", "").answer("Webhook", "");
    init.ends_with(1);
    let written = folder.written();
    let has = |name: &str, value: &str| written.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("RABBITMQ_PORT", "5672") && has("RABBITMQ_VHOST", "tasks"), "{written:?}");
}

#[test]
fn before_the_last_answer_nothing_is_written_and_no_terminal_stays_mute() {
    let folder = Folder::new();
    let until_password = |folder: &Folder| {
        let mut init = Init::start(folder);
        init.answer("Host name or address", "localhost").answer("Port", "").answer("User", "");
        init.shows("Password (not shown): ");
        assert!(!init.echoes());
        init
    };
    let mut init = until_password(&folder);
    init.press("half a secret").press(CTRL_C).shows("interrupted; nothing was written").ends_with(INTERRUPTED);
    assert!(init.echoes());
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut init = until_password(&folder);
        kill(Pid::from_raw(init.child.id() as i32), signal).expect("it runs");
        init.ends_with(128 + signal as i32);
        assert!(init.echoes(), "{signal}");
    }
    let mut init = Init::start(&folder);
    init.shows("Host name or address").shows(": ").press("rmq").press(CTRL_C);
    init.shows("interrupted; nothing was written").ends_with(INTERRUPTED);
    let mut init = until_password(&folder);
    init.press(CTRL_D).shows("the input has ended before the last answer; nothing was written").ends_with(1);
    assert!(init.echoes());
    assert!(fs::read_dir(&folder.0).expect("our own folder").next().is_none());

    fs::write(folder.dotenv(), "UNKNOWN=1\n").expect("our own folder");
    Init::start(&folder).answer("Change it, yes or no [no]", "").shows("it stays as it is").ends_with(0);
    let mut init = Init::start(&folder);
    init.answer("Change it", "what?").shows("✗ it is yes or no").answer("Change it", "нет").ends_with(0);
    assert_eq!(fs::read_to_string(folder.dotenv()).expect("it is text"), "UNKNOWN=1\n");
}

#[test]
fn what_open_quotes_hold_and_what_is_the_same_stays() {
    let folder = Folder::new();
    let open = "RABBITMQ_PASSWORD='canary\nERROR_QUEUE=mine\n# of the users'\n";
    fs::write(folder.dotenv(), open).expect("our own folder");
    let mut init = Init::start(&folder);
    init.shows(".env, line 1: the quotes of RABBITMQ_PASSWORD are closed only in line 3; close them in their line");
    let screen = init.ends_with(1);
    assert!(!screen.contains("canary") && !screen.contains("Host name"), "{screen}");
    assert_eq!(fs::read_to_string(folder.dotenv()).expect("it is text"), open);

    let before = "DOMAIN=127.0.0.1\nexport RABBITMQ_HOST=${DOMAIN} # ours\nRABBITMQ_TLS=no\nRABBITMQ_PORT=5672\n";
    fs::write(folder.dotenv(), before).expect("our own folder");
    let mut init = Init::start(&folder);
    init.answer("Change it", "да").answer("address [127.0.0.1]", "").answer("yes or no [no]", "yes");
    init.answer("Port [5671]", "").answer("User", "").answer("Password", PASSWORD).answer("Virtual host", "");
    init.answer("Webhook", "").ends_with(1);
    let after = fs::read_to_string(folder.dotenv()).expect("it is text");
    let expected = before.replace("TLS=no", "TLS=yes").replace("5672", "5671");
    assert!(after.starts_with(&expected), "{after}");
}

#[test]
fn without_a_terminal_and_beside_the_environment_it_asks_nothing() {
    let folder = Folder::new();
    let output = folder.command(&["init"]).stdin(Stdio::null()).output().expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("init asks its questions at a terminal") && told.contains("nothing was written"), "{told}");

    let OpenptyResult { master: _master, slave } = openpty(None, None).expect("there are pseudo-terminals");
    let end = || Stdio::from(slave.try_clone().expect("it can be cloned"));
    let mut command = folder.command(&["init"]);
    let child = command.env("RABBITMQ_PASSWORD_FILE", "x").stdin(end()).stdout(end()).stderr(Stdio::piped()).spawn();
    let output = child.expect("the binary starts").wait_with_output().expect("our own child");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("RABBITMQ_PASSWORD_FILE is set in the environment, before which .env does not"), "{told}");
    assert!(!folder.dotenv().exists());
}
