//! The messages of the demo: tasks of an invented office in both forms of a message, one of them twice, and one message
//! that is no task. It does not know what becomes of them.

use chrono::{Days, Local};
use serde_json::{Value, json};

/// A message to publish.
#[derive(Debug)]
pub struct Message {
    /// What it stands for.
    pub kind: Kind,
    /// Its name on the screen.
    pub title: &'static str,
    /// What is special about it.
    pub note: &'static str,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a message stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The task with this id.
    Task(String),
    /// The task with this id once more: it must not be created again.
    Again(String),
    /// No task: it must be parked.
    Unreadable,
}

/// All messages, in the order in which they are published. `run` makes the task ids differ from run to run.
pub fn all(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-task-{number}");
    let task = |number, title, note, body: Value| Message {
        kind: Kind::Task(id(number)),
        title,
        note,
        body: body.to_string().into_bytes(),
    };
    let estimate = seed(&id(4), "Утвердить смету на ремонт", asks("Смета в порядке?"));
    vec![
        task(1, "Согласовать договор «Ромашка» №7", "asks ДА/НЕТ, two checklists", contract(&id(1))),
        task(2, "Проверить счёт №5", "typed variables, deadline", invoice(&id(2))),
        task(3, "Подписать акт приёмки", "its assignee is unknown", act(&id(3))),
        task(4, "Утвердить смету на ремонт", "asks ДА/НЕТ", estimate.clone()),
        Message {
            kind: Kind::Again(id(4)),
            title: "Утвердить смету на ремонт (again)",
            note: "the same message twice",
            body: estimate.to_string().into_bytes(),
        },
        Message {
            kind: Kind::Unreadable,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Task;

    #[test]
    fn each_message_is_what_it_stands_for() {
        for message in all("run") {
            let task = Task::parse(message.body);
            match message.kind {
                Kind::Task(id) | Kind::Again(id) => assert_eq!(task.expect("a task").id, id),
                Kind::Unreadable => assert!(task.is_err()),
            }
        }
    }
}
