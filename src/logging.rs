//! Where log lines go, and what they look like: `worker.log`, `worker_errors.log` and the terminal; or the terminal
//! only.
//!
//! One event is one line, whatever a message contains, and no line holds a secret ([`crate::redact`]). Each place has a
//! `sink`, whose own thread writes the lines: a thread that logs never waits for a full disk, a full pipe or a halted
//! terminal. `file` is a log file that may be renamed or removed at any time, `lock` keeps two workers from writing the
//! same files, [`history`] reads lines back. `threshold` is the level from which on there are lines, which may change
//! for a time. It does not know what the lines say.

mod file;
pub mod history;
mod lock;
mod sink;
mod threshold;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, process, thread};

use anyhow::{Context as _, anyhow};
use chrono::Local;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, access};

use self::file::LogFile;
use self::lock::Lock;
use self::sink::{Out, Sink};
use self::threshold::Threshold;
use crate::config::Config;
use crate::redact::clean;
use crate::stats::LOST_LOG_LINES;

const WORKER_LOG: &str = "worker.log";
const ERRORS_LOG: &str = "worker_errors.log";
/// How a line starts that tells of an operator's action.
pub const OPERATOR: &str = "operator (";
/// A failure of the logs themselves is not reported more often than this.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the end waits for lines that are not written yet: a disk may hang, or somebody may have halted the
/// terminal.
const FILES_PATIENCE: Duration = Duration::from_secs(2);
const TERMINAL_PATIENCE: Duration = Duration::from_millis(500);
/// The size of the file that is written and removed to see whether the disk has room, in bytes.
const PROBE: usize = 64 << 10;

static LOGGER: OnceLock<Logger> = OnceLock::new();
/// Who sees warnings and errors.
static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Is called with the level, the thread's name and the text of a line. It must not log, nor wait.
pub type Watcher = Box<dyn Fn(Level, &str, &str) + Send + Sync>;

/// Logging that has been started. When it is dropped, the waiting lines are written and the folder is free for another
/// worker.
#[derive(Debug)]
pub struct Logging {
    _lock: Option<Lock>,
}

impl Logging {
    /// Waits until the lines so far are written, but not for long.
    pub fn flush(&self) {
        log::logger().flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging to the files and the terminal, as the only worker that writes to this folder; without a folder to the
/// terminal only.
///
/// # Errors
/// The folder or a file cannot be written, or another worker writes there; the error says where, and what to do.
pub fn start(config: &Config) -> anyhow::Result<Logging> {
    let lock = config.log_dir.as_deref().map(|folder| make_folder(folder).and_then(|()| Lock::take(folder)));
    let lock = lock.transpose()?;
    append_to_stderr();
    let terminal = terminal()?;
    let files = config.log_dir.as_deref().map(|folder| Files::open(folder, &terminal)).transpose()?;
    start_with(config, files, Some(terminal))?;
    Ok(Logging { _lock: lock })
}

/// The same in this folder without the terminal and beside a worker, for a command with its own output there.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn start_in_files(config: &Config, folder: &Path) -> anyhow::Result<Logging> {
    make_folder(folder)?;
    start_with(config, Some(Files::open(folder, &terminal()?)?), None)?;
    Ok(Logging { _lock: None })
}

fn start_with(config: &Config, files: Option<Files>, on_terminal: Option<Arc<Sink>>) -> anyhow::Result<()> {
    let logger = LOGGER.get_or_init(|| Logger { threshold: Threshold::new(config.log_level), files, on_terminal });
    log::set_logger(logger).map_err(|_| anyhow!("logging has been started before"))?;
    logger.threshold.tell_macros();
    log_panics();
    Ok(())
}

fn terminal() -> anyhow::Result<Arc<Sink>> {
    Ok(Arc::new(Sink::start("log/terminal", Terminal::new()?)?))
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).map_err(|err| cannot(folder, &err))
}

fn cannot(folder: &Path, err: &io::Error) -> anyhow::Error {
    anyhow!(
        "LOG_DIR={}: cannot write the logs there: {err}; correct the owner of the folder and of worker*.log in it, make \
         room, or set another LOG_DIR",
        folder.display()
    )
}

/// Opens the log files again before the next line.
pub fn reopen() {
    if let Some(logger) = LOGGER.get() {
        logger.files.iter().flat_map(Files::each).for_each(Sink::reopen);
    }
}

/// Logs from this level on, for so long; then again from that of the settings on.
pub fn change_level(level: LevelFilter, lasts: Duration) {
    if let Some(logger) = LOGGER.get() {
        logger.threshold.change(level, lasts);
    }
}

/// The level from which on lines are logged now.
pub fn level() -> LevelFilter {
    LOGGER.get().map_or(LevelFilter::Off, |logger| {
        logger.end_changed_level();
        logger.threshold.level()
    })
}

/// What an operator has done: it is in the log whatever the level is, as `operator (NAME): …`.
pub fn audit(by: &str, text: &str) {
    if let Some(logger) = LOGGER.get() {
        logger.end_changed_level();
        logger.write(Level::Info, &clean(&format!("{OPERATOR}{by}): {text}")));
    }
}

/// Lets this see the warnings and errors from now on, without secrets; only the first watcher does.
pub fn watch(watcher: Watcher) {
    let _ = WATCHER.set(watcher);
}

/// How many lines did not get into a log file since the start.
pub fn lost_lines() -> u64 {
    LOST_LOG_LINES.get()
}

/// Whether [`start`] could write logs to this folder; leaves no file behind. Returns the process id of the worker that
/// writes there now, as far as it is known.
///
/// # Errors
/// Why not, and what to do.
pub fn look_at(folder: &Path) -> Result<Option<String>, String> {
    let place = |path: &Path| if path.as_os_str().is_empty() { Path::new(".").into() } else { path.to_owned() };
    // A missing folder is made at the start, in the nearest existing one.
    let existing: PathBuf = folder.ancestors().map(place).find(|path| path.exists()).unwrap_or_else(|| ".".into());
    if !existing.is_dir() {
        return Err(format!("{} is not a folder; set LOG_DIR to one", existing.display()));
    }
    let why = |path: &Path, err: &io::Error| {
        format!("{} cannot be written: {err}; correct its owner, make room, or set LOG_DIR", path.display())
    };
    let logs = [WORKER_LOG, ERRORS_LOG, lock::NAME].map(|name| folder.join(name));
    for log in logs.iter().filter(|log| log.exists()) {
        access(log, AccessFlags::W_OK).map_err(|err| why(log, &err.into()))?;
    }
    probe(&existing).map_err(|err| why(&existing, &err))?;
    Ok(lock::holder(folder))
}

/// Writes a file and removes it: only this shows that a disk is full, or mounted read-only.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!("worker.probe.{}", process::id()));
    // A process with this id may have been killed here, as in containers, where all have the same id.
    let _ = fs::remove_file(&path);
    let written = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE])?;
        file.sync_data()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// The terminal, or the file or pipe in its place.
struct Terminal(File);

impl Terminal {
    /// With a handle of its own: a thread that hangs in it does not hold std's lock.
    fn new() -> io::Result<Terminal> {
        Ok(Terminal(io::stderr().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Out for Terminal {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines)
    }

    fn lost(&mut self, _: u64, _: &str) {}
}

/// A file that somebody truncates (`> worker.out`) goes on at its new end, not at the old place after NUL bytes.
fn append_to_stderr() {
    let stderr = io::stderr();
    // On a terminal the flag would outlive this process.
    if stderr.is_terminal() {
        return;
    }
    if let Ok(flags) = fcntl(stderr.as_fd(), FcntlArg::F_GETFL) {
        // A best effort: a file that cannot be appended to is written as before.
        let _ = fcntl(stderr.as_fd(), FcntlArg::F_SETFL(OFlag::from_bits_truncate(flags) | OFlag::O_APPEND));
    }
}

/// A log file whose failures are reported.
struct Watched {
    file: LogFile,
    complaints: Arc<Complaints>,
}

impl Out for Watched {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write(lines)
    }

    fn reopen(&mut self) {
        if let Err(err) = self.file.reopen() {
            self.lost(0, &err.to_string());
        }
    }

    fn lost(&mut self, lines: u64, why: &str) {
        LOST_LOG_LINES.add(lines);
        self.complaints.complain(&self.file, why);
    }
}

/// Reports failures of the log files on the terminal, once a minute.
struct Complaints {
    terminal: Arc<Sink>,
    last: Mutex<Option<Instant>>,
}

impl Complaints {
    fn complain(&self, file: &LogFile, why: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < SILENCE) {
            return;
        }
        *last = Some(Instant::now());
        let text = format!(
            "{} cannot be written, {} line(s) lost so far; make room, correct its owner, or set LOG_DIR: {why}",
            file.path().display(),
            lost_lines()
        );
        self.terminal.put(&line(Level::Error, &clean(&text)));
    }
}

/// The log files of a folder.
struct Files {
    all: Sink,
    errors: Sink,
}

impl Files {
    /// Opens them; their failures are told on this terminal.
    fn open(folder: &Path, terminal: &Arc<Sink>) -> anyhow::Result<Files> {
        probe(folder).map_err(|err| cannot(folder, &err))?;
        let complaints = Arc::new(Complaints { terminal: Arc::clone(terminal), last: Mutex::default() });
        let file = |name: &str| {
            let file = LogFile::open(folder.join(name)).map_err(|err| cannot(folder, &err))?;
            Sink::start(&format!("log/{name}"), Watched { file, complaints: Arc::clone(&complaints) })
                .context("cannot start a thread")
        };
        Ok(Files { all: file(WORKER_LOG)?, errors: file(ERRORS_LOG)? })
    }

    fn each(&self) -> [&Sink; 2] {
        [&self.all, &self.errors]
    }

    fn put(&self, level: Level, line: &str) {
        self.all.put(line);
        if level == Level::Error {
            self.errors.put(line);
        }
    }
}

/// Hands each line to its places.
struct Logger {
    threshold: Threshold,
    files: Option<Files>,
    on_terminal: Option<Arc<Sink>>,
}

impl Logger {
    /// To every place that has lines of this level.
    fn write(&self, level: Level, text: &str) {
        let line = line(level, text);
        if let Some(files) = &self.files {
            files.put(level, &line);
        }
        if let Some(terminal) = &self.on_terminal {
            terminal.put(&line);
        }
    }

    fn end_changed_level(&self) {
        if self.threshold.end() {
            log::info!("the log level is {} again", self.threshold.level());
        }
    }
}

impl Log for Logger {
    /// Our own lines from the level on. amiquip logs passwords at DEBUG, and warns of every missing queue; we report
    /// its errors ourselves.
    fn enabled(&self, metadata: &Metadata) -> bool {
        let most = match metadata.target().split("::").next() {
            Some("task_creator") => self.threshold.level(),
            Some("amiquip") => LevelFilter::Error,
            _ => LevelFilter::Warn.min(self.threshold.level()),
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record) {
        self.end_changed_level();
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = clean(&record.args().to_string());
        if record.level() <= Level::Warn
            && let Some(watcher) = WATCHER.get()
        {
            watcher(record.level(), thread::current().name().unwrap_or_default(), &text);
        }
        self.write(record.level(), &text);
    }

    fn flush(&self) {
        self.files.iter().flat_map(Files::each).for_each(|sink| sink.flush(FILES_PATIENCE));
        if let Some(terminal) = &self.on_terminal {
            terminal.flush(TERMINAL_PATIENCE);
        }
    }
}

fn line(level: Level, text: &str) -> String {
    let (now, thread) = (Local::now().format("%Y-%m-%d %H:%M:%S%.3f%:z"), thread::current());
    format!("{now} {level:<5} [{}] {text}\n", thread.name().unwrap_or("-"))
}

/// Makes a panic one error line, instead of several lines on the terminal.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no text");
        log::error!("panicked at {place}: {what}");
    }));
}
