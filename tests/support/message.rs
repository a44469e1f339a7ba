//! Messages as Camunda's bridge sends them, with invented values. It knows the incoming form only, and no queue.

use serde_json::Value;

/// The text of a message in the form that the bridge really sends: plain variables, snake_case, milliseconds.
///
/// Published as text on purpose: its keys are in no alphabetical order, and its numbers (20 digits, `1.10`) and escapes
/// do not survive a careless parser. So a test can check that `original_message` is exactly what came in.
pub fn field_text(task_id: &str) -> String {
    FIELD.replace("TASK_ID", task_id)
}

/// The same as a value, to change a member before it is published.
pub fn field_message(task_id: &str) -> Value {
    serde_json::from_str(&field_text(task_id)).expect("the field sample is JSON")
}

/// A message in the other form of `src/docs/messages.md`: typed variables, camelCase, seconds.
pub fn seed_message(task_id: &str) -> Value {
    serde_json::from_str(&SEED.replace("TASK_ID", task_id)).expect("the seed sample is JSON")
}

const FIELD: &str = r#"{
  "task_id": "TASK_ID",
  "topic": "bitrix_create_task",
  "system": "bitrix24",
  "variables": {
    "projectId": "2",
    "startedBy": "31",
    "initiator": null,
    "number": 0,
    "serial": 12345678901234567890,
    "amount": 1.10,
    "agreed": false,
    "": "безымянная",
    "comment": "«Ёлка» \"в кавычках\"\nвторая строка \\ 😀 <b>&amp;</b>",
    "payload": "{\"а\": [1, 1.10, {\"b\": null}]}",
    "when": "2026-11-23T10:00:00.000+0300"
  },
  "process_instance_id": "process-of-TASK_ID",
  "process_definition_key": "Process_invented",
  "activity_id": "Activity_invented",
  "activity_instance_id": "Activity_invented:TASK_ID",
  "worker_id": "universal-worker",
  "retries": null,
  "created_time": "2026-11-23T04:57:38.776+0000",
  "priority": 0,
  "tenant_id": null,
  "business_key": "invented-0",
  "timestamp": 1795409859911,
  "metadata": {
    "extensionProperties": {
      "assigneeId": "17",
      "assigneeName": "Юрист",
      "UF_RESULT_EXPECTED": "true",
      "UF_RESULT_QUESTION": "Договор согласован?",
      "checklists": "[{\"name\": \"Документы\", \"items\": [\"Устав\", \"Доверенность\"]}, {\"name\": \"Сроки\", \"items\": [\"Оплата до 30 дней\"]}]"
    },
    "inputParameters": {"stage": "approval"},
    "activityInfo": {
      "id": "Activity_invented",
      "name": "Согласовать договор «Лютик» №8",
      "type": "external",
      "topic": "bitrix_create_task"
    },
    "processProperties": {"groupId": "42", "originatorId": "23"}
  }
}"#;

const SEED: &str = r#"{
  "task_id": "TASK_ID",
  "topic": "bitrix_create_task",
  "variables": {
    "title": {"value": "Проверить счёт", "type": "String"},
    "description": {"value": "Счёт № 5 от «Лютика»", "type": "String"},
    "priority": {"value": "3", "type": "String"}
  },
  "processInstanceId": "process-of-TASK_ID",
  "processDefinitionKey": "Process_invented",
  "processDefinitionId": "Process_invented:4:0e2e",
  "activity_id": "Activity_invented",
  "timestamp": 1672531200,
  "metadata": {
    "extensionProperties": {"assigneeId": "3", "customProperty": "customValue"},
    "inputParameters": {"inputData": "processedValue"},
    "activityInfo": {"name": "Выполнить задачу в системе", "topic": "system_create_task"}
  }
}"#;
