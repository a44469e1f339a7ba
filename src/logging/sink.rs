//! A place for log lines: a bounded buffer, and the thread that writes it out.
//!
//! Putting a line in never waits for the writing. A line that finds the buffer full is dropped and counted, and a line
//! at that very place says how many are missing. It does not know what it writes to.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::Level;

/// How much may wait, in bytes: seconds of the busiest lane.
const MOST_WAITING: usize = 8 << 20;

/// What a sink writes to.
pub trait Out: Send {
    /// Writes these whole lines.
    ///
    /// # Errors
    /// They are lost.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Forgets what is open, and opens it again.
    fn reopen(&mut self) {}

    /// Is called when lines were lost.
    fn lost(&mut self, lines: u64, why: &str);
}

/// The side that puts lines in. Its thread ends when this is dropped; nobody waits for that, since the thread may hang
/// in a write for ever.
pub struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    /// The thread is writing a batch.
    writing: bool,
    closed: bool,
}

/// What the thread writes at once.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
    /// Lines after these for which there was no room.
    dropped: u64,
    reopen: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.dropped == 0 && !self.reopen
    }
}

impl Sink {
    /// A sink whose thread has this name.
    ///
    /// # Errors
    /// The machine has no thread to spare.
    pub fn start(name: &str, out: impl Out + 'static) -> io::Result<Sink> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let sink = Sink(Arc::clone(&shared));
        thread::Builder::new().name(name.into()).spawn(move || shared.write_to(out))?;
        Ok(sink)
    }

    /// Adds a line, which ends with its line break.
    pub fn put(&self, line: &str) {
        let mut state = self.0.lock();
        let waiting = &mut state.waiting;
        // Once a line is dropped the next ones are too, so that there is one gap and not many.
        if waiting.dropped > 0 || waiting.text.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        let first = waiting.is_empty();
        waiting.text.extend_from_slice(line.as_bytes());
        waiting.lines += 1;
        drop(state);
        if first {
            self.0.changed.notify_all();
        }
    }

    /// Makes the thread open its place again.
    pub fn reopen(&self) {
        self.0.lock().waiting.reopen = true;
        self.0.changed.notify_all();
    }

    /// Waits until all lines so far are written, but no longer than this.
    pub fn flush(&self, patience: Duration) {
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), patience, unwritten));
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Out) {
        // Lines that could not be written, and why; reported at their place as soon as a write succeeds.
        let mut missing: Option<(u64, String)> = None;
        while let Some(mut batch) = self.next() {
            if batch.reopen {
                out.reopen();
            }
            if batch.dropped > 0 {
                batch
                    .text
                    .extend_from_slice(gap(batch.dropped, "they came faster than they could be written").as_bytes());
                out.lost(batch.dropped, "lines come faster than they can be written");
            }
            if let Some((lines, why)) = &missing {
                // A line break first: the disk may have become full in the middle of a line.
                batch.text.splice(0..0, format!("\n{}", gap(*lines, why)).into_bytes());
            }
            if batch.text.is_empty() {
                continue;
            }
            match out.write(&batch.text) {
                Ok(()) => missing = None,
                Err(err) => {
                    let before = missing.map_or(0, |(lines, _)| lines);
                    missing = Some((before + batch.lines, err.to_string()));
                    out.lost(batch.lines, &err.to_string());
                }
            }
        }
    }

    /// What the thread does next; `None` when no more lines can come.
    fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let batch = std::mem::take(&mut state.waiting);
        state.writing = !batch.is_empty();
        state.writing.then_some(batch)
    }
}

fn gap(lines: u64, why: &str) -> String {
    super::line(Level::Warn, &format!("{lines} line(s) are missing here: {why}"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Passes its lines on when the test takes them, and fails when the test says so.
    struct Slow {
        written: SyncSender<String>,
        fails: Receiver<bool>,
    }

    impl Out for Slow {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            if self.fails.recv().unwrap_or_default() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.send(String::from_utf8_lossy(lines).into_owned()).map_err(io::Error::other)
        }

        fn lost(&mut self, _: u64, _: &str) {}
    }

    fn slow() -> (Sink, SyncSender<bool>, Receiver<String>) {
        let ((written, writes), (fail, fails)) = (sync_channel(100), sync_channel(0));
        (Sink::start("slow", Slow { written, fails }).expect("a thread"), fail, writes)
    }

    #[test]
    fn putting_a_line_in_never_waits_and_the_gap_is_reported() {
        let (sink, fail, writes) = slow();
        let line = "x".repeat(1 << 20) + "\n";
        // Nothing is written meanwhile. The thread may have one batch already.
        (0..20).for_each(|_| sink.put(&line));
        sink.flush(Duration::from_millis(1));
        let mut all = String::new();
        while !all.contains("missing here") {
            fail.send(false).expect("the thread waits for us");
            all.push_str(&writes.recv_timeout(PATIENCE).expect("something is written"));
        }
        let kept = all.lines().filter(|line| line.starts_with('x')).count();
        let told = format!("{} line(s) are missing here: they came faster", 20 - kept);
        assert!(kept < 16 && all.contains(&told), "{kept} {}", all.lines().last().unwrap_or_default());
    }

    #[test]
    fn lines_that_could_not_be_written_are_reported_where_they_are_missing() {
        let (sink, fail, writes) = slow();
        sink.put("lost\n");
        fail.send(true).expect("the thread waits for us");
        sink.put("after\n");
        fail.send(false).expect("the thread waits for us");
        let written = writes.recv_timeout(PATIENCE).expect("something is written");
        let lines: Vec<&str> = written.lines().collect();
        assert!(matches!(lines[..], ["", gap, "after"] if gap.contains("1 line(s) are missing here: ")), "{lines:?}");
    }

    #[test]
    fn a_flush_waits_for_the_lines_and_not_for_ever() {
        let (sink, fail, writes) = slow();
        sink.put("one\n");
        sink.flush(Duration::from_millis(1));
        assert!(writes.try_recv().is_err());
        fail.send(false).expect("the thread waits for us");
        sink.flush(PATIENCE);
        assert_eq!(writes.try_recv().as_deref(), Ok("one\n"));
    }
}
