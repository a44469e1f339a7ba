//! The Python services in the demo: a service by HTTP that makes a job of each task. The jobs are finished as users
//! finish tasks elsewhere. It answers no request: the service is [`crate::sandbox::job_service`].

use serde_json::json;

use super::messages::{Message, asks, body};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::message::given::is_yes;
use crate::message::text;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::job_service::{Job, JobService, TASKS, TOKEN};
use crate::systems::question::YES;

const NAME: &str = "python-services";

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "Python",
    port: Some(8027),
    noun: "job",
    has_users: true,
    about: "It is one service: POST /tasks makes a job (202 with its Location), GET /jobs/N says how it is doing. The \
            same Idempotency-Key makes no second job.",
    start,
    messages,
};

struct Service {
    fake: HttpFake<JobService>,
    /// How many jobs have been seen.
    seen: usize,
}

fn start(port: u16, _: Pace) -> anyhow::Result<Box<dyn Fake>> {
    Ok(Box::new(Service { fake: HttpFake::start(port, JobService::default())?, seen: 0 }))
}

impl Fake for Service {
    fn place(&self) -> String {
        self.fake.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("PYTHON_URL", format!("http://{}{TASKS}", self.fake.address())), ("PYTHON_TOKEN", TOKEN.into())]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let service = self.fake.target();
        let tasks: Vec<FakeTask> = service.jobs().iter().enumerate().skip(self.seen).map(shown).collect();
        self.seen += tasks.len();
        tasks
    }

    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool {
        let result = answer.map_or_else(|| json!({}), |answer| json!({"answer": answer == YES}));
        self.fake.target().succeed(&task.marker, result)
    }

    fn markers(&self) -> Vec<String> {
        self.fake.target().jobs().iter().map(marker).collect()
    }
}

/// The job's number is the one in its URL.
fn shown((number, job): (usize, &Job)) -> FakeTask {
    FakeTask {
        id: number.to_string(),
        marker: marker(job),
        title: text(&job.posted["title"]).unwrap_or_default(),
        needs: Needs::of_task(is_yes(&job.posted["extension_properties"]["UF_RESULT_EXPECTED"])),
    }
}

fn marker(job: &Job) -> String {
    text(&job.posted["task_id"]).unwrap_or_default()
}

fn messages(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-python-{number}");
    let scoring = body(
        &id(1),
        "data_processing",
        NAME,
        json!({"title": "Проверить контрагента", "inn": "7701234567"}),
        asks("Контрагент надёжен?"),
    );
    let scoring = Message::task(NAME, &id(1), "Проверить контрагента", "a job, asks ДА/НЕТ", &scoring);
    let report = body(&id(2), "create_yandex_file", NAME, json!({"title": "Выгрузить отчёт"}), json!({}));
    vec![
        scoring.clone(),
        scoring.again(&id(1), "Проверить контрагента (again)"),
        Message::task(NAME, &id(2), "Выгрузить отчёт", "a job", &report),
    ]
}
