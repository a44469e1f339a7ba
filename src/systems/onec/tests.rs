//! What the tests of this folder stand on: a handler and a tracker at the sandbox's infobase, and tasks for them.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::mapping::{Mapping, Topic};
use super::settings::{Address, Mode, Settings};
use crate::message::{Record, Task, sent_record};
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::onec::{self, Onec, PASSWORD, USER};
use crate::sandbox::{ANY_CALL, Fault, Order, What};
use crate::settings::Secret;
use crate::stop::{self, Stopper};
use crate::systems::question::MissingAnswer;
use crate::systems::routing::Routes;
use crate::systems::table::Setup;
use crate::systems::{Connected, Created, Failure, Found, Handler, Missing, Progress, Surroundings, System, create};
use crate::tls::RootCertificates;

/// An infobase, and what a lane would work with.
pub struct Bench {
    pub fake: HttpFake<Onec>,
    connected: Connected,
    running: Option<Stopper>,
}

/// The settings for a mapping, at no address.
pub fn settings(mode: Mode) -> Settings {
    Settings {
        address: Address::default(),
        username: Some(USER.into()),
        password: Secret::new(PASSWORD),
        mode,
        request_timeout: Duration::from_secs(30),
        sessions: 2,
        offset: None,
        missing_answer: MissingAnswer::Wait,
    }
}

/// The mapping in this text.
pub fn mapping<T: Topic>(json: &Value) -> Mapping<T> {
    Mapping::parse(&json.to_string()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

impl Bench {
    /// Would its target show what a task of this topic has made?
    pub fn shows(&self, topic: &str) -> bool {
        self.connected.handler.shows(topic)
    }

    /// Where people see this, for a list.
    pub fn link_to(&self, id: &str, within: Option<&str>, host: Option<&str>) -> Option<String> {
        self.connected.handler.link_to(id, within, host)
    }

    /// By the standard OData interface, with this mapping.
    pub fn odata(mapping_of: &Value) -> Bench {
        Bench::at(Mode::Odata(mapping(mapping_of)), onec::url)
    }

    /// By the HTTP service, with this mapping.
    pub fn service(mapping_of: &Value) -> Bench {
        Bench::at(Mode::Service(mapping(mapping_of)), onec::service::url)
    }

    fn at(mode: Mode, url: fn(std::net::SocketAddr) -> String) -> Bench {
        let fake = HttpFake::start(0, Onec::default()).expect("loopback has a free port");
        let address = Address { url: url(fake.address()), place: fake.address().to_string() };
        let system = super::Onec(Settings { address, ..settings(mode) });
        let (running, stop) = stop::signal();
        let Setup { config, .. } =
            Setup::read(|name| (name == "RABBITMQ_PASSWORD").then(|| "unused".into())).expect("the defaults are right");
        let around = Surroundings {
            https: &RootCertificates::public(),
            threads: 1,
            routes: &Routes::default(),
            stop: &stop,
            rabbitmq: &config.rabbitmq,
        };
        let connected = system.connect(&around).expect("nothing is missing here");
        Bench { fake, connected, running: Some(running) }
    }

    /// Finds or creates, as the lane does.
    pub fn run(&self, task: &Task) -> Result<Created, Failure> {
        create::find_or_create(&*self.connected.handler, std::slice::from_ref(task)).remove(0)
    }

    /// The same for one whose turn comes an hour after its look.
    pub fn run_late(&self, task: &Task) -> Result<Created, Failure> {
        create::find_or_create(&Late(&*self.connected.handler), std::slice::from_ref(task)).remove(0)
    }

    /// The same, where it must succeed; its record.
    #[track_caller]
    pub fn record(&self, task: Task) -> Record {
        let created = self.run(&task).unwrap_or_else(|failure| panic!("{failure}"));
        let body = sent_record(&task, "1c.queue", created.reply, created.host.as_deref());
        Record::parse(body).unwrap_or_else(|wrong| panic!("{}", wrong.reason))
    }

    /// The worker stops.
    pub fn stop(&mut self) {
        self.running.take().into_iter().for_each(Stopper::raise);
    }

    /// How long a task may stay invisible.
    pub fn visible_within(&self) -> Option<Duration> {
        self.connected.handler.visible_within()
    }

    pub fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        self.connected.tracker.check(records)
    }

    /// The next request of this method that ends so fails; every one with `*`.
    pub fn fail(&self, method: &'static str, end: &'static str, what: What, times: u64) -> Order {
        let fits = move |call: &crate::sandbox::Call| {
            (method == "*" || call.method.starts_with(method)) && call.method.ends_with(end)
        };
        self.fake.order(Fault::before(ANY_CALL, what).when(fits).times(times))
    }

    /// The methods of the requests from this one on.
    pub fn methods(&self, from: usize) -> Vec<String> {
        self.fake.asked().into_iter().skip(from).map(|asked| asked.method).collect()
    }

    /// What there is for this task.
    #[track_caller]
    pub fn object(&self, task: &str) -> Map<String, Value> {
        self.fake.target().of_task(task).cloned().expect("an object of this task")
    }
}

/// A message of this topic with these variables.
pub fn task(id: &str, topic: &str, variables: Value) -> Task {
    message(json!({"task_id": id, "topic": topic, "variables": variables}))
}

/// The task in this message.
pub fn message(message: Value) -> Task {
    Task::parse(message.to_string().into_bytes()).unwrap_or_else(|wrong| panic!("{}", wrong.reason))
}

/// A handler whose creates come late.
struct Late<'a>(&'a dyn Handler);

impl Handler for Late<'_> {
    fn visible_within(&self) -> Option<Duration> {
        self.0.visible_within()
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        self.0.find(tasks)
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(3600)) else { return Vec::new() };
        self.0.create(&missing.iter().map(|missing| missing.asked_again(long_ago)).collect::<Vec<_>>())
    }
}
