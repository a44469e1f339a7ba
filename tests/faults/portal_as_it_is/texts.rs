//! Texts that a portal would change, cut or refuse, from end to end. It knows what a person typed and what is read.

use serde_json::json;

use super::*;

/// What a batch would replace, in the portal's own spelling and in others.
const REFERENCES: [&str; 6] = [
    "$result[c0]",
    "$RESULT[c1][task][id]",
    "счёт $total[c0] и $error[c0]",
    "$next[c0]$time[c0][start]",
    "цена $Result[c0][task][id] руб.",
    "$$result[c1][task][title]",
];

#[test]
fn texts_that_look_like_references_arrive_as_they_are() {
    let mut waiting = messages(12);
    for (number, text) in REFERENCES.into_iter().enumerate() {
        let message = &mut waiting[2 * number + 1];
        match number % 3 {
            0 => message["variables"]["title"] = json!(text),
            1 => message["variables"]["description"] = json!(text),
            _ => message["metadata"]["extensionProperties"]["UF_RESULT_QUESTION"] = json!(text),
        }
    }
    // One message with all of them in each field.
    let all = REFERENCES.concat();
    waiting[0]["variables"] = json!({"title": all, "description": all});
    waiting[0]["metadata"]["extensionProperties"]["UF_RESULT_QUESTION"] = json!(all);
    let mut scene = Scene::waiting("references", &waiting, &IN_BATCHES);
    scene.start();
    scene.end(12, 0);
    assert!(scene.calls("batch") > 0, "the others share requests");
    for message in &waiting {
        let task = scene.task(message["task_id"].as_str().expect("a text"));
        let read = |name| scene.sandbox.field(task.id, name).unwrap_or_default();
        let (title, question) =
            (&message["variables"]["title"], &message["metadata"]["extensionProperties"]["UF_RESULT_QUESTION"]);
        let description = message["variables"].get("description").unwrap_or(title);
        assert_eq!((&read("TITLE"), &read("DESCRIPTION"), &read("UF_RESULT_QUESTION")), (title, description, question));
    }
}

/// The scene after all of these messages are created, and none is parked.
fn created(test: &str, waiting: &[Value], changes: &[(&str, &str)]) -> Scene {
    let mut scene = Scene::waiting(test, waiting, &[&IN_BATCHES, changes].concat());
    scene.sandbox.make_field("UF_AGREED", "boolean");
    scene.start();
    scene.end(waiting.len(), 0);
    assert_eq!((scene.sandbox.tasks().len(), scene.queues.count(&scene.queues.errors())), (waiting.len(), 0));
    scene
}

#[test]
fn a_title_of_emoji_is_cut_until_the_portal_takes_it() {
    let mut waiting = messages(3);
    waiting[0]["variables"]["title"] = "🙂".repeat(250).into();
    waiting[1]["variables"]["title"] = ("я".repeat(245) + &"🙂".repeat(5)).into();
    let scene = created("emoji", &waiting, &[]);
    assert!(scene.task("task-0").title.starts_with("🙂🙂🙂"));
    assert!(scene.task("task-1").title.starts_with(&"я".repeat(240)));
}

#[test]
fn a_description_of_seventy_thousand_bytes_is_cut_until_the_portal_takes_it() {
    let mut waiting = messages(2);
    waiting[0]["variables"]["description"] = "я".repeat(35_000).into();
    waiting[1]["variables"]["description"] = "🙂".repeat(9_000).into();
    let scene = created("long description", &waiting, &[("BITRIX_MAX_DESCRIPTION_LENGTH", "100000")]);
    let description = scene.sandbox.field(scene.task("task-0").id, "DESCRIPTION").unwrap_or_default();
    let description = description.as_str().unwrap_or_default().to_owned();
    assert!(description.starts_with(&"я".repeat(30_000)) && description.ends_with("[Описание обрезано]"));
}

#[test]
fn a_yes_of_a_custom_field_is_read_as_a_yes_alone_and_in_a_batch() {
    let agreed = |id: &str, agreed: Value| {
        let mut message = message(id);
        message["metadata"]["extensionProperties"]["UF_AGREED"] = agreed;
        message
    };
    let several = [agreed("task-0", true.into()), agreed("task-1", false.into()), agreed("task-2", "Y".into())];
    for (test, waiting) in [("booleans in a batch", &several[..]), ("one boolean", &several[..1])] {
        let scene = created(test, waiting, &[]);
        let read = |id: &str| scene.sandbox.field(scene.task(id).id, "UF_AGREED").unwrap_or_default();
        let answers: Vec<Value> = (0..waiting.len()).map(|number| read(&format!("task-{number}"))).collect();
        assert_eq!(answers, [json!("1"), json!("0"), json!("1")][..waiting.len()], "{test}");
    }
}
