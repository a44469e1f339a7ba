//! The soak: random faults against the running loop, and the account of every message at the end.
//!
//! ```sh
//! cargo build --release && cargo run --release --example soak -- --minutes 3 --seed 1
//! ```
//!
//! It starts a RabbitMQ node of its own, puts relays around the built worker, publishes a few tasks a second, and every
//! few seconds injects a fault that the seed chooses. In the last third no fault ends the worker's process, so that its
//! memory, threads and descriptors can be compared. Exit code 0: nothing was lost, nothing was doubled. Unlike a test
//! it needs time to pass, so it sleeps.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod operator;
mod producer;
mod random;
mod stage;
mod target;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, process, thread};

use serde_json::Value;

use faults::Fault;
use operator::{Act, Done};
use random::Random;
use stage::Stage;
use support::Audit;
use target::Illness;

/// The time between two tasks.
const EACH: Duration = Duration::from_millis(220);
/// How long the worker may take to finish everything when all faults are over.
const QUIESCENCE: Duration = Duration::from_secs(240);
/// The share of open tasks that simulated users finish in each round.
const FINISHED_PERCENT: u64 = 30;
/// How long an administrator watches a worker that has no session.
const IMPATIENCE: Duration = Duration::from_secs(4);
/// The time from its start until the worker's size is measured.
const STEADY: Duration = Duration::from_secs(20);

struct Arguments {
    minutes: f64,
    seed: u64,
}

/// What the worker uses of the machine.
#[derive(Clone, Copy)]
struct Size {
    memory_kib: usize,
    threads: usize,
    descriptors: usize,
}

struct Soak {
    stage: Stage,
    random: Random,
    started: Instant,
    end: Instant,
    counts: BTreeMap<String, usize>,
    /// Messages that the operator has had published again.
    replayed: usize,
    /// What the operator has seen and must not be.
    wrong: Vec<String>,
}

fn main() {
    let Arguments { minutes, seed } = arguments();
    println!("soak: {minutes} minutes, seed {seed}");
    let stalls = watch_for_stalls();
    let stage = Stage::set(seed, EACH);
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(minutes * 60.0);
    let mut soak =
        Soak { stage, random: Random::of(seed), started, end, counts: BTreeMap::new(), replayed: 0, wrong: Vec::new() };

    soak.calm(STEADY.min(end - started));
    let first = soak.size_between_sweeps();
    let sixth = (end - started) / 6;
    while Instant::now() < end - 2 * sixth {
        soak.round(true);
    }
    // Time for the worker to grow as large as its work makes it.
    while Instant::now() < end - sixth {
        soak.round(false);
    }
    soak.stage.await_session();
    let middle = soak.size_between_sweeps();
    while Instant::now() < end {
        soak.round(false);
    }

    let idle = soak.settle();
    let last = soak.size_between_sweeps();
    let wrong = soak.audit(&[("at first", first), ("with a sixth to go", middle), ("at the end", last)], idle, &stalls);
    if wrong.is_empty() {
        println!("lost 0, doubled 0");
        return;
    }
    // At the very end of the output: more than its end is seldom kept.
    println!("the account does not hold; seed {seed}\n  {}", wrong.join("\n  "));
    process::exit(1);
}

/// The rule, and what the worker's log says about the tasks that it names.
fn about(rule: &str, log: &str) -> String {
    const LINES: usize = 12;
    let is_task = |word: &&str| word.starts_with("task-") || word.starts_with("refused-");
    let words = rule.split(|c: char| !c.is_alphanumeric() && c != '-');
    let tasks: HashSet<&str> = words.filter(is_task).take(3).collect();
    let names_one =
        |line: &&str| line.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| tasks.contains(word));
    let lines: Vec<&str> = log.lines().filter(names_one).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    std::iter::once(rule).chain(last.iter().copied()).collect::<Vec<_>>().join("\n      ")
}

/// Tasks whose checklists are missing or out of order, although their message has them. Parked ones are not followed
/// up.
fn half_done(stage: &Stage) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let published: Vec<Value> =
        stage.queues.published().iter().filter_map(|body| serde_json::from_slice(body).ok()).collect();
    let asks = |message: &&Value| message["metadata"]["extensionProperties"]["checklists"].is_string();
    let asking: HashSet<String> =
        published.iter().filter(asks).filter_map(|message| text(&message["task_id"])).collect();
    let parked = stage.queues.peek_all(&stage.queues.errors());
    let parked: HashSet<String> =
        parked.iter().filter_map(|message| text(&message.json()["original_message"]["task_id"])).collect();
    stage.target.half_done(|marker| asking.contains(marker), |marker| parked.contains(marker))
}

impl Soak {
    fn calm(&self, duration: Duration) {
        thread::sleep(duration);
        self.stage.target.work(FINISHED_PERCENT);
    }

    /// A sick portal, or a fault elsewhere, or both at once.
    fn round(&mut self, may_end_worker: bool) {
        let fault = self.fault(may_end_worker);
        let sick = self.random.percent(50) && !fault.stands_alone();
        let illness = sick.then(|| self.illness()).flatten();
        let strikes = illness.is_none() || self.random.percent(50);
        if let Some((illness, share)) = illness {
            // A copy of a task that nobody may see is a new task to a worker that has just been started.
            self.stage.producer.singly(illness == Illness::Invisible);
            self.stage.target.fall_ill(illness, share);
            self.note(&format!("portal: {illness:?} for {share} %"), &format!("{illness:?}"));
            self.pause(200, 3000);
        }
        if strikes {
            let name = format!("{fault:?}");
            println!("{}  {name}", self.clock());
            if fault.strike(&mut self.stage, &mut self.random) {
                *self.counts.entry(name).or_default() += 1;
            } else {
                println!("{}  {name}: not now, the worker has too much to do", self.clock());
            }
        }
        // A copy of a task that nobody may see, or two workers and two copies: see above.
        if illness.is_none_or(|(illness, _)| illness != Illness::Invisible) && self.random.percent(60) {
            self.operate();
        }
        self.pause(300, 4000);
        self.stage.target.recover();
        self.stage.producer.singly(false);
        self.stage.look_after_worker();
        self.stage.target.work(FINISHED_PERCENT);
        let Size { memory_kib, threads, descriptors } = self.size();
        println!(
            "{}  {} published, {} at the portal, {} faults; worker: {memory_kib} KiB, {threads} threads, {descriptors} descriptors",
            self.clock(),
            self.stage.producer.published(),
            self.stage.target.created(),
            self.counts.values().sum::<usize>(),
        );
        self.pause(500, 3500);
    }

    fn operate(&mut self) {
        let act = Act::draw(&mut self.random);
        let Done { done, replayed, wrong } = operator::act(act, &self.stage.api, &mut self.random);
        self.replayed += replayed;
        self.wrong.extend(wrong);
        match done {
            true => self.note(&format!("operator: {act:?}"), &format!("{act:?}")),
            false => println!("{}  operator: {act:?}: the worker does not do it now", self.clock()),
        }
    }

    /// A fault that meets a worker at work. If the worker waits to connect again, an administrator restarts it instead
    /// of waiting, where a restart is allowed.
    fn fault(&mut self, may_end_worker: bool) -> Fault {
        if may_end_worker && !self.stage.has_session_within(IMPATIENCE) {
            return Fault::WorkerStopped;
        }
        self.stage.await_session();
        loop {
            let fault = Fault::draw(&mut self.random);
            if may_end_worker || !fault.ends_worker() {
                return fault;
            }
        }
    }

    /// No illness that lasts longer than the soak, and seldom one after which the worker leaves the portal alone for
    /// minutes.
    fn illness(&mut self) -> Option<(Illness, u64)> {
        let illness = Illness::ALL[self.random.below(Illness::ALL.len() as u64) as usize];
        let left = self.end.saturating_duration_since(Instant::now());
        let long = illness.aftermath() > Duration::from_secs(60);
        if illness.aftermath() > left || long && !self.random.percent(30) {
            return None;
        }
        Some((illness, if self.random.percent(60) { 100 } else { 30 }))
    }

    fn pause(&mut self, least: u64, most: u64) {
        thread::sleep(Duration::from_millis(least + self.random.below(most - least)));
    }

    fn note(&mut self, line: &str, name: &str) {
        println!("{}  {line}", self.clock());
        *self.counts.entry(name.to_string()).or_default() += 1;
    }

    fn clock(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        format!("{:3}:{:02}", seconds / 60, seconds % 60)
    }

    fn size(&self) -> Size {
        let worker = &self.stage.worker;
        Size { memory_kib: worker.memory_kib(), threads: worker.threads(), descriptors: worker.descriptors() }
    }

    /// The smallest size within three seconds: a sweep has threads and connections of its own.
    fn size_between_sweeps(&self) -> Size {
        let looks = (0..30).map(|_| {
            thread::sleep(Duration::from_millis(100));
            self.size()
        });
        let least = |a: Size, b: Size| Size {
            memory_kib: a.memory_kib.min(b.memory_kib),
            threads: a.threads.min(b.threads),
            descriptors: a.descriptors.min(b.descriptors),
        };
        looks.reduce(least).unwrap_or_else(|| self.size())
    }

    /// The simulated users finish everything, and the worker must process all of it without help. Returns what is
    /// wrong, if anything.
    fn settle(&mut self) -> Vec<String> {
        self.stage.producer.stop();
        let started = Instant::now();
        loop {
            self.stage.look_after_worker();
            self.stage.target.work(100);
            thread::sleep(Duration::from_secs(3));
            let left = self.stage.left();
            if left.is_empty() || started.elapsed() > QUIESCENCE {
                println!("settled within {:.0?}", started.elapsed());
                return left;
            }
            println!("{:4.0?}  still: {}", started.elapsed(), left.join("; "));
        }
    }

    /// Ends the worker, prints everything, and returns each rule that is broken, with the log's last lines about it.
    fn audit(mut self, sizes: &[(&str, Size)], mut wrong: Vec<String>, stalls: &AtomicU64) -> Vec<String> {
        self.stage.end_worker();
        let stage = &mut self.stage;
        wrong.append(&mut stage.unasked);
        wrong.append(&mut self.wrong);
        let log = stage.worker.errors() + &stage.worker.output();
        wrong.extend(log.lines().filter(|line| line.contains("panicked")).take(5).map(str::to_string));
        // What may have doubled a record: every fault, and every message that was published again.
        let faults = self.counts.values().sum::<usize>();
        let audit = Audit::take(&stage.queues, stage.target.markers())
            .after_faults(faults + stage.producer.copies() + self.replayed)
            .with_finished(stage.target.finished());
        wrong.extend(audit.broken_rules());
        wrong.extend(stage.target.doubled());
        wrong.extend(half_done(stage));
        wrong.extend(grown(sizes));

        println!("{} messages, {} of them once more", stage.producer.published(), stage.producer.copies());
        let counts: Vec<String> = self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!("{faults} faults: {}", counts.join(", "));
        for (when, Size { memory_kib, threads, descriptors }) in sizes {
            println!("the worker {when}: {memory_kib} KiB, {threads} threads, {descriptors} descriptors");
        }
        println!(
            "the soak itself used {:.0} % of a core; it stood still for at most {} ms",
            cpu_seconds() * 100.0 / self.started.elapsed().as_secs_f64(),
            stalls.load(Ordering::Relaxed),
        );
        println!("{}", audit.equation());
        println!("{}", audit.doubled());
        let log = stage.worker.log();
        wrong.into_iter().map(|rule| about(&rule, &log)).collect()
    }
}

/// What the worker uses at the end and did not use before.
fn grown(sizes: &[(&str, Size)]) -> Option<String> {
    let [(_, first), .., (_, middle), (_, last)] = sizes else { return None };
    // Idle connections to the portal come and go, and so do threads, which start for bursts of work.
    let flat = last.threads <= middle.threads * 5 / 4 + 16
        && last.descriptors <= first.descriptors + 10
        && last.memory_kib <= middle.memory_kib * 5 / 4 + 8192;
    (!flat).then(|| "the worker uses more and more".into())
}

/// `--minutes N --seed S`; 3 and the clock by default.
fn arguments() -> Arguments {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_millis() as u64);
    let mut arguments = Arguments { minutes: 3.0, seed: clock };
    let mut given = env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().unwrap_or_default();
        let understood = match name.as_str() {
            "--minutes" => value.parse().map(|minutes| arguments.minutes = minutes).is_ok() && arguments.minutes > 0.0,
            "--seed" => value.parse().map(|seed| arguments.seed = seed).is_ok(),
            _ => false,
        };
        if !understood {
            eprintln!("usage: soak [--minutes N] [--seed S]");
            process::exit(64);
        }
    }
    arguments
}

/// The longest time in milliseconds in which this process did not run: on a machine that is too busy a create can
/// become visible too late, which is a documented limit and no defect of the worker.
fn watch_for_stalls() -> Arc<AtomicU64> {
    const LOOK: Duration = Duration::from_millis(50);
    let longest = Arc::new(AtomicU64::new(0));
    let seen = longest.clone();
    let watch = move || loop {
        let started = Instant::now();
        thread::sleep(LOOK);
        seen.fetch_max(started.elapsed().saturating_sub(LOOK).as_millis() as u64, Ordering::Relaxed);
    };
    thread::Builder::new().name("stalls".into()).spawn(watch).expect("the machine has a thread to spare");
    longest
}

/// Of this process and of its children that have ended, in clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
