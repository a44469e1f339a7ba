//! Tells systemd, or whatever else supervises the process in the same way, how the worker is (`sd_notify`).
//!
//! The worker is ready when the first lane reads its queues. The readers of the lanes feed the watchdog as part of
//! their loop, and no timer does: it is fed when every reader has gone round since the last time. So a single reader
//! that hangs gets the process restarted. Nothing here can hold up a reader, and without `NOTIFY_SOCKET`, as with
//! nohup, nothing is told. It does not know what a lane does.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, io, process};

/// The supervisor of this process, if it has one. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    socket: Option<Socket>,
    /// The process is restarted when it feeds the watchdog no more for so long.
    watchdog: Option<Duration>,
    /// Locked for an instant only.
    told: Mutex<Told>,
}

/// What the supervisor has been told, and of whom.
#[derive(Debug, Default)]
struct Told {
    lanes: Vec<Reader>,
    /// A lane reads its queues, or has, or there is none.
    is_ready: bool,
    /// The supervisor has taken that.
    knows_ready: bool,
    is_stopping: bool,
    fed: Option<Instant>,
}

#[derive(Debug)]
struct Reader {
    name: &'static str,
    reads: bool,
    /// Since the watchdog was fed.
    has_gone_round: bool,
}

/// By which the reader of one lane shows that it lives. The default one tells nobody.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    supervisor: Supervisor,
    lane: usize,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Supervisor {
        let Some(address) = env::var("NOTIFY_SOCKET").ok().filter(|address| !address.is_empty()) else {
            return Supervisor::default();
        };
        let variable = |name: &str| env::var(name).ok();
        Supervisor::at(&address, watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"))).unwrap_or_else(|err| {
            log::warn!("NOTIFY_SOCKET is {address:?}, which cannot be used, so the supervisor is told nothing: {err}");
            Supervisor::default()
        })
    }

    fn at(address: &str, watchdog: Option<Duration>) -> io::Result<Supervisor> {
        let inner = Inner { socket: Some(Socket::to(address)?), watchdog, told: Mutex::default() };
        Ok(Supervisor(Arc::new(inner)))
    }

    /// Pulses for the readers of these lanes. A worker without lanes is ready at once, and is never restarted.
    pub fn pulses(&self, lanes: impl IntoIterator<Item = &'static str>) -> Vec<Pulse> {
        let readers = lanes.into_iter().map(|name| Reader { name, reads: false, has_gone_round: false }).collect();
        let count = self.change(|told| {
            told.lanes = readers;
            told.is_ready = told.lanes.is_empty();
            let watchdog = if told.is_ready { "WATCHDOG_USEC=0\n" } else { "" };
            (Some(format!("{watchdog}STATUS={}", told.status())), told.lanes.len())
        });
        (0..count).map(|lane| Pulse { supervisor: self.clone(), lane }).collect()
    }

    /// The worker stops, and may need so long for it, whatever the supervisor would allow by itself. The watchdog ends:
    /// some readers end before others.
    pub fn stopping(&self, longest: Duration) {
        self.change(|told| {
            told.is_stopping = true;
            let text = "STOPPING=1\nWATCHDOG_USEC=0\nSTATUS=finishing what is unsettled";
            (Some(format!("{text}\nEXTEND_TIMEOUT_USEC={}", longest.as_micros())), ())
        });
    }

    /// Changes what is known and sends the text that follows from it, in the same order; with it that the worker is
    /// ready, until the supervisor has taken that: it would wait for it for ever.
    fn change<T>(&self, change: impl FnOnce(&mut Told) -> (Option<String>, T)) -> T {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, result) = change(&mut told);
        let Some(socket) = &self.0.socket else { return result };
        if told.is_ready && !told.knows_ready {
            told.knows_ready = socket.send(&format!("READY=1\n{}", text.unwrap_or_default()));
        } else if let Some(text) = text {
            socket.send(&text);
        }
        result
    }

    /// The watchdog is not fed more often: a reader may go round thousands of times a second.
    fn interval(&self) -> Option<Duration> {
        self.0.watchdog.map(|watchdog| watchdog / 4)
    }
}

impl Pulse {
    /// The reader must go round this often at least.
    pub fn interval(&self) -> Duration {
        self.supervisor.interval().unwrap_or(Duration::MAX)
    }

    /// The reader goes round.
    pub fn beat(&self) {
        if self.supervisor.0.socket.is_none() {
            return;
        }
        let now = Instant::now();
        self.supervisor.change(|told| {
            let Some(interval) = self.supervisor.interval() else { return (None, ()) };
            told.lanes[self.lane].has_gone_round = true;
            let is_due = told.fed.is_none_or(|fed| now.saturating_duration_since(fed) >= interval);
            if !is_due || !told.lanes.iter().all(|reader| reader.has_gone_round) {
                return (None, ());
            }
            told.fed = Some(now);
            told.lanes.iter_mut().for_each(|reader| reader.has_gone_round = false);
            (Some("WATCHDOG=1".into()), ())
        });
    }

    /// Whether the lane reads its queues. The first one that does makes the worker ready.
    pub fn reads(&self, reads: bool) {
        self.supervisor.change(|told| {
            // A pulse that tells nobody has no lane.
            let Some(reader) = told.lanes.get_mut(self.lane).filter(|reader| reader.reads != reads) else {
                return (None, ());
            };
            reader.reads = reads;
            told.is_ready |= reads;
            ((!told.is_stopping).then(|| format!("STATUS={}", told.status())), ())
        });
    }
}

impl Told {
    /// How the worker is, for people.
    fn status(&self) -> String {
        let waiting: Vec<&str> = self.lanes.iter().filter(|reader| !reader.reads).map(|reader| reader.name).collect();
        match (self.lanes.len(), waiting.len()) {
            (0, _) => "no system is on, so there is nothing to do".into(),
            (_, 0) => "every lane reads its queues".into(),
            (all, some) if all == some => "connecting to RabbitMQ".into(),
            _ => format!("connecting to RabbitMQ for {}; the other lanes read their queues", waiting.join(", ")),
        }
    }
}

#[derive(Debug)]
struct Socket {
    socket: UnixDatagram,
    address: SocketAddr,
    has_failed: AtomicBool,
}

impl Socket {
    fn to(address: &str) -> io::Result<Socket> {
        let socket = UnixDatagram::unbound()?;
        // What it does not take at once is not worth the wait.
        socket.set_nonblocking(true)?;
        Ok(Socket { socket, address: parse(address)?, has_failed: AtomicBool::new(false) })
    }

    /// `false`: the supervisor has not taken it.
    fn send(&self, text: &str) -> bool {
        let sent = self.socket.send_to_addr(text.as_bytes(), &self.address);
        let had_failed = self.has_failed.swap(sent.is_err(), Ordering::Relaxed);
        if let (Err(err), false) = (&sent, had_failed) {
            log::warn!("the supervisor cannot be told how the worker is: {err}");
        }
        sent.is_ok()
    }
}

/// A path, or an abstract name with `@` before it.
fn parse(address: &str) -> io::Result<SocketAddr> {
    match address.strip_prefix('@') {
        Some(name) => from_abstract_name(name),
        None if address.starts_with('/') => SocketAddr::from_pathname(address),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a path nor an abstract name")),
    }
}

#[cfg(target_os = "linux")]
fn from_abstract_name(name: &str) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn from_abstract_name(_: &str) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract names"))
}

/// The watchdog of this process: `WATCHDOG_PID` may name another one.
fn watchdog(microseconds: Option<String>, pid: Option<String>) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid == process::id().to_string());
    let microseconds = microseconds.filter(|_| is_ours)?.parse().ok()?;
    Some(Duration::from_micros(microseconds)).filter(|watchdog| !watchdog.is_zero())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// What speaks as systemd does.
    struct Ear(UnixDatagram, String);

    impl Ear {
        fn new() -> Ear {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("task-creator-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let address = env::temp_dir().join(name).to_string_lossy().into_owned();
            let socket = UnixDatagram::bind(&address).expect("a new name");
            socket.set_nonblocking(true).expect("our own socket");
            Ear(socket, address)
        }

        /// All that has come, in order.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 1024];
            let next = || self.0.recv(&mut buffer).ok().map(|size| buffer[..size].to_vec());
            std::iter::from_fn(next).map(|text| String::from_utf8(text).expect("it is text")).collect()
        }
    }

    impl Drop for Ear {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.1);
        }
    }

    #[test]
    fn the_first_lane_that_reads_makes_the_worker_ready_once() {
        let ear = Ear::new();
        let supervisor = Supervisor::at(&ear.1, None).expect("a path");
        let pulses = supervisor.pulses(["bitrix24", "1c"]);
        assert_eq!(ear.heard(), ["STATUS=connecting to RabbitMQ"]);
        pulses[1].reads(true);
        pulses[1].reads(true);
        let one = "STATUS=connecting to RabbitMQ for bitrix24; the other lanes read their queues";
        assert_eq!(ear.heard(), [format!("READY=1\n{one}")]);
        pulses[0].reads(true);
        pulses[1].reads(false);
        pulses[1].reads(true);
        let (all, other) = ("STATUS=every lane reads its queues", one.replace("bitrix24", "1c"));
        assert_eq!(ear.heard(), [all, &other, all]);
        supervisor.stopping(Duration::from_secs(40));
        pulses[0].reads(false);
        assert_eq!(
            ear.heard(),
            ["STOPPING=1\nWATCHDOG_USEC=0\nSTATUS=finishing what is unsettled\nEXTEND_TIMEOUT_USEC=40000000"],
            "the end of a lane is no news then"
        );
    }

    #[test]
    fn the_watchdog_is_fed_by_all_lanes_together_and_not_too_often() {
        let ear = Ear::new();
        let fed = |watchdog: Duration, beats: &[usize]| {
            let pulses = Supervisor::at(&ear.1, Some(watchdog)).expect("a path").pulses(["a", "b"]);
            ear.heard();
            beats.iter().for_each(|lane| pulses[*lane].beat());
            ear.heard().iter().filter(|text| *text == "WATCHDOG=1").count()
        };
        let [short, long] = [Duration::from_nanos(4), Duration::from_secs(3600)];
        assert_eq!(fed(short, &[0, 0, 0, 0]), 0, "the other one hangs");
        assert_eq!(fed(short, &[0, 1, 1, 1, 0, 0, 0]), 2);
        assert_eq!(fed(long, &[0, 1, 0, 1, 0, 1]), 1);
    }

    #[test]
    fn a_worker_without_lanes_is_ready_and_has_no_watchdog() {
        let ear = Ear::new();
        assert!(Supervisor::at(&ear.1, None).expect("a path").pulses([]).is_empty());
        assert_eq!(ear.heard(), ["READY=1\nWATCHDOG_USEC=0\nSTATUS=no system is on, so there is nothing to do"]);
    }

    #[test]
    fn a_full_a_missing_and_no_supervisor_hold_up_nobody() {
        let ear = Ear::new();
        let pulses = Supervisor::at(&ear.1, None).expect("a path").pulses(["a"]);
        (0..10_000).for_each(|number| pulses[0].reads(number % 2 == 0));
        assert!(ear.heard().len() < 10_000, "some were dropped");
        drop(ear);
        pulses[0].reads(true);
        let nobody = Pulse::default();
        nobody.beat();
        nobody.reads(true);
        assert_eq!(nobody.interval(), Duration::MAX);
    }

    #[test]
    fn that_the_worker_is_ready_is_told_until_the_supervisor_has_taken_it() {
        for watchdog in [None, Some(Duration::from_secs(3600))] {
            let ear = Ear::new();
            let supervisor = Supervisor::at(&ear.1, watchdog).expect("a path");
            let pulses = supervisor.pulses(["a"]);
            let socket = supervisor.0.socket.as_ref().expect("it has one");
            while socket.send("STATUS=busy") {}
            pulses[0].reads(true);
            let is_ready = |heard: Vec<String>| heard.iter().filter(|text| text.starts_with("READY=1\n")).count();
            assert_eq!(is_ready(ear.heard()), 0, "there was no room");
            pulses[0].beat();
            pulses[0].beat();
            assert_eq!(is_ready(ear.heard()), 1, "{watchdog:?}");
        }
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        assert!(parse("/run/systemd/notify").is_ok());
        assert_eq!(parse("@org/notify").is_ok(), cfg!(target_os = "linux"));
        assert!(parse("vsock:2:1234").is_err() && parse("run/notify").is_err());
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let watchdog = |time: &str, pid: Option<String>| watchdog(Some(time.into()), pid);
        assert_eq!(watchdog("2000000", None), Some(Duration::from_secs(2)));
        assert_eq!(watchdog("2000000", Some(process::id().to_string())), Some(Duration::from_secs(2)));
        assert_eq!(watchdog("2000000", Some("1".into())), None);
        assert_eq!((watchdog("0", None), watchdog("soon", None)), (None, None));
    }
}
