//! `worker.lock` beside the logs: one folder of logs belongs to one worker.
//!
//! Several workers on the same queues are fine, each with its own logs. Two with the same `LOG_DIR` mean that one was
//! started twice by mistake. The system frees the lock when the process ends, however it ends; the file stays.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::bail;

/// The file's name.
pub const NAME: &str = "worker.lock";
/// The other worker may be about to end, or `check` may be looking.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(50);

/// Held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this folder and writes our process id into its file.
    ///
    /// # Errors
    /// Another worker has it, or its file cannot be written.
    pub fn take(folder: &Path) -> anyhow::Result<Lock> {
        let path = folder.join(NAME);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|err| super::cannot(folder, &err))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(INTERVAL),
                Err(TryLockError::WouldBlock) => bail!(
                    "LOG_DIR={}: another worker ({}) writes its logs there: it was started twice; stop that one, or give \
                     this one a LOG_DIR of its own",
                    folder.display(),
                    pid_in(&path)
                ),
                // Some network file systems have no locks: then nobody is warned.
                Err(TryLockError::Error(_)) => break,
            }
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            writeln!(file, "{}", process::id())
        };
        write(&mut file).map_err(|err| super::cannot(folder, &err))?;
        Ok(Lock { _file: file })
    }
}

/// Who holds the lock of this folder, if anybody does.
pub fn holder(folder: &Path) -> Option<String> {
    let path = folder.join(NAME);
    let file = File::open(&path).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| pid_in(&path))
}

fn pid_in(path: &Path) -> String {
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "process id unknown".into(), |pid| format!("pid {pid}"))
}
