//! (i) Each lane at a fake that answers at once: how many tasks a second it creates, with how many requests, and how
//! many requests a sweep of 1,000 open tasks takes.
//!
//! Each fake keeps its tasks in memory and has no delay and no limit. The settings are the default ones, but for the
//! rate of Bitrix24.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use task_creator::sandbox::http_fake::{HttpFake, Target};
use task_creator::sandbox::job_service::{self, JobService};
use task_creator::sandbox::onec::{self, Onec};
use task_creator::sandbox::openproject;
use task_creator::sandbox::smtp::{self, SmtpFake};
use task_creator::sandbox::telegram::{self, Telegram};
use task_creator::sandbox::{Limits, Sandbox};

use crate::support::{Broker, Queues, Worker, changed, eventually, field_message};
use crate::{Figure, progress};

/// Of these the rate is taken. With many more, the fakes that look through all their tasks would be measured.
const TASKS: usize = 2_000;
/// So many are swept.
const OPEN: usize = 1_000;
/// No case takes longer.
const DEADLINE: Duration = Duration::from_secs(120);

/// A lane, and the fake that it works for.
struct Lane {
    /// As the table shows it.
    name: &'static str,
    system: &'static str,
    topic: &'static str,
    then: Then,
    start: fn(&Queues) -> Fake,
}

/// What becomes of a task that is created.
enum Then {
    /// It is answered at once.
    Finished,
    /// Its result comes by itself: no request asks for it.
    Awaited,
    /// A sweep asks for it.
    Swept,
    /// A sweep asks for it. [`OPEN`] tasks may take so many requests; the words are for the table.
    SweptWithin(usize, &'static str),
}

/// A fake. It ends when it is dropped.
struct Fake {
    /// With these the worker finds it.
    settings: Vec<(&'static str, String)>,
    /// How often it was asked so far.
    requests: Box<dyn Fn() -> usize>,
}

/// The first one is what the others are compared with.
const LANES: &[Lane] = &[
    Lane { name: "Bitrix24", system: "bitrix24", topic: "bitrix_create_task", then: Then::Swept, start: bitrix24 },
    Lane {
        name: "1C, OData",
        system: "1c",
        topic: "1c_create_document",
        then: Then::SweptWithin(35, "≤ 35"),
        start: onec_odata,
    },
    Lane { name: "1C, HTTP service", system: "1c", topic: "1c_ask", then: Then::Swept, start: onec_service },
    Lane {
        name: "OpenProject",
        system: "openproject",
        topic: "op_create_task",
        then: Then::SweptWithin(12, "≤ 12"),
        start: openproject,
    },
    Lane { name: "Python, at once", system: "python-services", topic: "sum", then: Then::Finished, start: python },
    Lane {
        name: "Python, jobs",
        system: "python-services",
        topic: "sum",
        then: Then::SweptWithin(OPEN, "≤ 1,000, all are due"),
        start: python_jobs,
    },
    Lane { name: "Python, Celery", system: "python-services", topic: "sum", then: Then::Awaited, start: celery },
    Lane { name: "E-mail", system: "email", topic: "send_email", then: Then::Finished, start: email },
    Lane { name: "Telegram", system: "telegram", topic: "send_telegram", then: Then::Finished, start: telegram },
    Lane { name: "Default, recorded", system: "default", topic: "unknown", then: Then::Finished, start: default },
];

/// All of them, one after the other.
pub fn all() -> Vec<Figure> {
    let mut first = None;
    let figures = |lane: &Lane| {
        let (rate, requests) = created(lane);
        let first: f64 = *first.get_or_insert(rate);
        let told = format!("{rate:.0}/s = {:.2} of Bitrix24's, {requests:.2} requests a task", rate / first);
        let created = Figure::plain(format!("(i) {}: tasks created", lane.name), told);
        [Some(created), swept(lane)]
    };
    LANES.iter().flat_map(figures).flatten().collect()
}

/// Tasks a second, from the first delivery until all are recorded or answered; and requests for each.
fn created(lane: &Lane) -> (f64, f64) {
    progress(&format!("lanes: {}", lane.name));
    let queues = Queues::of(lane.system, "bench lane");
    let fake = (lane.start)(&queues);
    queues.publish_tasks(&lane.messages(TASKS));
    let mut worker = lane.worker(&queues, &fake, "INFO");
    eventually("the first delivery", DEADLINE, || queues.count(&queues.input()) < TASKS);
    let started = Instant::now();
    eventually("the last task", DEADLINE, || queues.count(&lane.end(&queues)) == TASKS);
    let took = started.elapsed();
    // What follows a create is done before it ends.
    worker.stop();
    (TASKS as f64 / took.as_secs_f64(), (fake.requests)() as f64 / TASKS as f64)
}

/// The requests of one sweep; `None` where there is none.
fn swept(lane: &Lane) -> Option<Figure> {
    let demand = match lane.then {
        Then::Finished | Then::Awaited => return None,
        Then::Swept => None,
        Then::SweptWithin(most, told) => Some((most, told)),
    };
    progress(&format!("lanes: {}: sweep", lane.name));
    let queues = Queues::of(lane.system, "bench lane sweep");
    let fake = (lane.start)(&queues);
    queues.publish_tasks(&lane.messages(OPEN));
    let mut worker = lane.worker(&queues, &fake, "INFO");
    eventually("all records", DEADLINE, || queues.count(&lane.end(&queues)) == OPEN);
    worker.stop();
    let before = (fake.requests)();
    let started = Instant::now();
    let worker = lane.worker(&queues, &fake, "DEBUG");
    worker.await_log("swept", DEADLINE);
    let (seconds, requests) = (started.elapsed().as_secs_f64(), (fake.requests)() - before);
    let (what, told) =
        (format!("(i) {}: requests in a sweep of 1,000", lane.name), format!("{requests}, in {seconds:.1} s"));
    Some(match demand {
        Some((most, demand)) => Figure::held(what, told, demand, requests <= most),
        None => Figure::plain(what, told),
    })
}

impl Lane {
    /// Of an ordinary size, and without checklists and a question, which not every system can take.
    fn messages(&self, count: usize) -> Vec<Value> {
        let message = |number: usize| {
            let mut message = field_message(&format!("lane-{number}"));
            message["topic"] = self.topic.into();
            message["system"] = self.system.into();
            message["metadata"]["extensionProperties"] = json!({"assigneeId": "17"});
            // For e-mail.
            message["variables"]["to"] = "anna@firma.example".into();
            message
        };
        (0..count).map(message).collect()
    }

    fn worker(&self, queues: &Queues, fake: &Fake, log_level: &str) -> Worker {
        let common = [("HEARTBEAT_INTERVAL", "3600"), ("LOG_LEVEL", log_level)];
        let own = fake.settings.iter().map(|(name, value)| (*name, value.as_str()));
        Worker::run(&[], &changed(queues, "", &own.chain(common).collect::<Vec<_>>()))
    }

    /// Where a task is when it is created.
    fn end(&self, queues: &Queues) -> String {
        match self.then {
            Then::Finished => queues.responses(),
            Then::Awaited | Then::Swept | Then::SweptWithin(..) => queues.sent(),
        }
    }
}

impl Fake {
    fn over_http<T: Target>(target: T, settings: impl FnOnce(SocketAddr) -> Vec<(&'static str, String)>) -> Fake {
        let fake = HttpFake::start(0, target).expect("loopback has a free port");
        let settings = settings(fake.address());
        Fake { settings, requests: Box::new(move || fake.asked().len()) }
    }
}

fn bitrix24(_: &Queues) -> Fake {
    let portal = Sandbox::start(0, Limits::default()).expect("loopback has a free port");
    let settings = vec![("BITRIX_WEBHOOK_URL", portal.webhook_url()), ("BITRIX_RATE", "0".into())];
    Fake { settings, requests: Box::new(move || portal.counts().requests as usize) }
}

fn onec_odata(_: &Queues) -> Fake {
    onec("odata", onec::url, "mapping.example.json")
}

fn onec_service(_: &Queues) -> Fake {
    onec("http_service", onec::service::url, "mapping.service.example.json")
}

fn onec(mode: &str, url: fn(SocketAddr) -> String, mapping: &str) -> Fake {
    let mapping = format!("{}/src/systems/onec/{mapping}", env!("CARGO_MANIFEST_DIR"));
    Fake::over_http(Onec::default(), |address| {
        vec![
            ("ONEC_MODE", mode.into()),
            ("ONEC_URL", url(address)),
            ("ONEC_USERNAME", onec::USER.into()),
            ("ONEC_PASSWORD", onec::PASSWORD.into()),
            ("ONEC_MAPPING_FILE", mapping),
        ]
    })
}

fn openproject(_: &Queues) -> Fake {
    Fake::over_http(openproject::Store::default(), |address| {
        vec![
            ("OPENPROJECT_URL", format!("http://{address}")),
            ("OPENPROJECT_TOKEN", openproject::TOKEN.into()),
            ("OPENPROJECT_TASK_ID_FIELD", openproject::MARKER_FIELD.into()),
            ("OPENPROJECT_ANSWER_FIELD", openproject::ANSWER_FIELD.into()),
            ("OPENPROJECT_DEFAULT_PROJECT", openproject::PROJECT.to_string()),
        ]
    })
}

fn python(_: &Queues) -> Fake {
    let mut service = JobService::default();
    service.rules.at_once = Some(json!({"answer": true}));
    of_service(service)
}

fn python_jobs(_: &Queues) -> Fake {
    of_service(JobService::default())
}

fn of_service(service: JobService) -> Fake {
    Fake::over_http(service, |address| {
        vec![
            ("PYTHON_URL", format!("http://{address}{}", job_service::TASKS)),
            ("PYTHON_TOKEN", job_service::TOKEN.into()),
        ]
    })
}

/// Nobody does the tasks: a request is a message in Celery's queue.
fn celery(queues: &Queues) -> Fake {
    let (celery, results) = (queues.named("celery"), queues.named("results"));
    queues.declare(&celery);
    let settings = vec![("CELERY_QUEUE", celery.clone()), ("CELERY_RESULT_QUEUE", results)];
    let broker = Broker::connect();
    Fake { settings, requests: Box::new(move || broker.state(&celery).map_or(0, |state| state.ready)) }
}

fn email(_: &Queues) -> Fake {
    let server = SmtpFake::start(0).expect("loopback has a free port");
    let settings = vec![
        ("EMAIL_SMTP_HOST", "127.0.0.1".into()),
        ("EMAIL_SMTP_PORT", server.address().port().to_string()),
        ("EMAIL_SECURITY", "none".into()),
        ("EMAIL_USERNAME", smtp::USER.into()),
        ("EMAIL_PASSWORD", smtp::PASSWORD.into()),
        ("EMAIL_FROM", "camunda@firma.example".into()),
    ];
    Fake { settings, requests: Box::new(move || server.mails().len()) }
}

fn telegram(_: &Queues) -> Fake {
    Fake::over_http(Telegram::default(), |address| {
        vec![
            ("TELEGRAM_BOT_TOKEN", telegram::TOKEN.into()),
            ("TELEGRAM_API_URL", format!("http://{address}")),
            ("TELEGRAM_CHAT_ID", telegram::PERSON.to_string()),
        ]
    })
}

/// It has no target.
fn default(_: &Queues) -> Fake {
    Fake { settings: vec![("DEFAULT_ACTION", "record".into())], requests: Box::new(|| 0) }
}
