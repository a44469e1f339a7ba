//! Bitrix24 in the demo: tasks of an invented office in both forms of a message, one of them twice, and one message
//! that is no task.

use std::time::Duration;

use chrono::{Days, Local};
use serde_json::{Value, json};

use super::messages::{Kind, Message};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::sandbox::{Limits, Sandbox};

const NAME: &str = "bitrix24";
/// The fake answers about as fast as a near portal.
const PORTAL_DELAY: Duration = Duration::from_millis(40);
/// The status in which users leave a task.
const COMPLETED: u8 = 5;
/// The status of a task that somebody else has finished.
const FINISHED: [u8; 2] = [4, 5];

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "Bitrix24",
    port: Some(8024),
    noun: "task",
    has_users: true,
    about: "It answers the methods for tasks, checklists and custom fields, batch and imena.camunda.sync, as fast as the \
            cloud: 2 requests a second, 50 at once. Users 1 to 100 exist.",
    start,
    messages,
};

struct Portal {
    sandbox: Sandbox,
    /// The newest task that its users know.
    newest: u64,
}

fn start(port: u16, pace: Pace) -> anyhow::Result<Box<dyn Fake>> {
    let limits = match pace {
        Pace::Near => Limits { request_delay: PORTAL_DELAY, ..Limits::default() },
        Pace::Cloud => Limits::cloud(),
    };
    Ok(Box::new(Portal { sandbox: Sandbox::start(port, limits)?, newest: 0 }))
}

impl Fake for Portal {
    fn place(&self) -> String {
        self.sandbox.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("BITRIX_WEBHOOK_URL", self.sandbox.webhook_url())]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let tasks = self.sandbox.tasks_after(self.newest);
        self.newest = tasks.last().map_or(self.newest, |task| task.id);
        let seen = tasks.into_iter().map(|task| FakeTask {
            id: task.id.to_string(),
            marker: task.marker.unwrap_or_default(),
            title: task.title,
            needs: Needs::of_task(task.answer_expected),
        });
        seen.collect()
    }

    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool {
        let Ok(id) = task.id.parse() else { return false };
        let is_open = self.sandbox.task(id).is_some_and(|task| !FINISHED.contains(&task.status));
        is_open && self.sandbox.finish(id, COMPLETED, answer)
    }

    fn markers(&self) -> Vec<String> {
        self.sandbox.tasks().into_iter().filter_map(|task| task.marker).collect()
    }
}

fn messages(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-task-{number}");
    let task = |number, title, note, body: Value| Message::task(NAME, &id(number), title, note, &body);
    let estimate = task(
        4,
        "Утвердить смету на ремонт",
        "asks ДА/НЕТ",
        seed(&id(4), "Утвердить смету на ремонт", asks("Смета в порядке?")),
    );
    vec![
        task(1, "Согласовать договор «Ромашка» №7", "asks ДА/НЕТ, two checklists", contract(&id(1))),
        task(2, "Проверить счёт №5", "typed variables, deadline", invoice(&id(2))),
        task(3, "Подписать акт приёмки", "its assignee is unknown", act(&id(3))),
        estimate.clone(),
        estimate.again(&id(4), "Утвердить смету на ремонт (again)"),
        Message {
            kind: Kind::Unreadable,
            system: NAME,
            title: "(not a task)",
            note: "JSON that is cut off",
            body: format!("{{\"task_id\": \"{run}-cut\", \"topic\": \"bitrix_create").into_bytes(),
        },
        task(5, "Подготовить договор аренды", "checklist, tags, deadline", lease(&id(5))),
        task(6, "Оплатить хостинг до конца месяца", "typed variables", hosting(&id(6))),
    ]
}

fn contract(id: &str) -> Value {
    let checklists = json!([
        {"name": "Документы", "items": ["Устав", "Доверенность"]},
        {"name": "Сроки", "items": ["Оплата до 30 дней"]},
    ]);
    field(
        id,
        "Согласовать договор «Ромашка» №7",
        json!({"startedBy": "31", "amount": 1250.1, "deadline": in_days(3)}),
        json!({
            "assigneeId": "17",
            "assigneeName": "Юрист",
            "UF_RESULT_EXPECTED": "true",
            "UF_RESULT_QUESTION": "Договор согласован?",
            "checklists": checklists.to_string(),
        }),
    )
}

fn invoice(id: &str) -> Value {
    let mut message = seed(id, "Проверить счёт №5", json!({"assigneeId": "3"}));
    message["variables"]["deadline"] = json!({"value": in_days(1), "type": "String"});
    message["variables"]["priority"] = json!({"value": "high", "type": "String"});
    message
}

fn act(id: &str) -> Value {
    // The fake has users 1 to 100.
    field(id, "Подписать акт приёмки", json!({"startedBy": "31"}), json!({"assigneeId": "4711"}))
}

fn lease(id: &str) -> Value {
    let checklists = json!([{"name": "Согласования", "items": ["Юрист", "Бухгалтерия"]}]);
    let extension = json!({"assigneeId": "23", "checklists": checklists.to_string()});
    field(
        id,
        "Подготовить договор аренды",
        json!({"deadline": in_days(5), "tags": "аренда, договор", "description": "Помещение на Садовой, 12."}),
        extension,
    )
}

fn hosting(id: &str) -> Value {
    seed(id, "Оплатить хостинг до конца месяца", json!({"assigneeId": "5"}))
}

fn asks(question: &str) -> Value {
    json!({"assigneeId": "8", "UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": question})
}

/// The form of the real bridge: plain variables, snake_case, milliseconds.
fn field(id: &str, title: &str, variables: Value, extension_properties: Value) -> Value {
    json!({
        "task_id": id,
        "topic": "bitrix_create_task",
        "system": "bitrix24",
        "variables": variables,
        "process_instance_id": format!("process-of-{id}"),
        "process_definition_key": "Process_demo",
        "activity_id": "Activity_demo",
        "worker_id": "universal-worker",
        "retries": null,
        "timestamp": crate::message::now_ms(),
        "metadata": {
            "extensionProperties": extension_properties,
            "activityInfo": {"id": "Activity_demo", "name": title, "topic": "bitrix_create_task"},
            "processProperties": {"groupId": "42", "originatorId": "23"},
        },
    })
}

/// The other form of a message, see [`crate::docs::messages`]: typed variables, camelCase, seconds.
fn seed(id: &str, title: &str, extension_properties: Value) -> Value {
    json!({
        "task_id": id,
        "topic": "bitrix_create_task",
        "variables": {
            "title": {"value": title, "type": "String"},
            "description": {"value": "Создано процессом «Демонстрация»", "type": "String"},
        },
        "processInstanceId": format!("process-of-{id}"),
        "processDefinitionKey": "Process_demo",
        "activity_id": "Activity_demo",
        "timestamp": crate::message::now_ms() / 1000,
        "metadata": {"extensionProperties": extension_properties},
    })
}

fn in_days(days: u64) -> String {
    (Local::now() + Days::new(days)).to_rfc3339()
}
