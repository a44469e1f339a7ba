//! Creates, changes and posts at the sandbox's infobase, with everything that may fail on the way.

use serde_json::json;

use super::super::super::tests::{Bench, message, task};
use super::*;
use crate::message::Earlier;
use crate::sandbox::What;

fn documents() -> Value {
    json!({"doc": {
        "entity": "Document_Заявка",
        "fields": {
            "Date": {"type": "date", "value": "now"},
            "ИдентификаторЗадачи": {"from": "task_id"},
            "Тема": {"from": "variables.title"},
            "Товары": {"type": "rows", "from": "variables.items", "fields": {"Наименование": {"from": "name"}}},
        },
        "title": "Тема",
    }})
}

fn with(member: &str, value: Value) -> Value {
    let mut mapping = documents();
    mapping["doc"][member] = value;
    mapping
}

fn doc(id: &str) -> Task {
    task(id, "doc", json!({"title": "Счёт", "items": [{"name": "Стол"}]}))
}

/// In a word, with what it says.
fn failure(result: Result<Created, Failure>) -> (&'static str, String) {
    let Err(failure) = result else { return ("created", String::new()) };
    let kind = match &failure {
        Failure::Transient { .. } => "transient",
        Failure::OutcomeUnknown { .. } => "unknown",
        Failure::Unavailable { .. } => "unavailable",
        Failure::Permanent(_) => "permanent",
        Failure::TooEarly(_) => "early",
        Failure::NoSystem(_) | Failure::Unseen(_) | Failure::Outdated => "other",
    };
    (kind, failure.to_string())
}

#[test]
fn a_document_has_the_key_of_its_task_and_is_found_by_it() {
    let bench = Bench::odata(&documents());
    let created = bench.run(&doc("задача 1")).expect("it is created");
    let object = bench.object("задача 1");
    assert_eq!(object["Ref_Key"], key::of_task("задача 1"));
    assert_eq!(object["Товары"], json!([{"LineNumber": "1", "Наименование": "Стол"}]));
    let shown = &created.reply["result"]["task"];
    assert_eq!((&shown["title"], &shown["entity"]), (&json!("Счёт"), &json!("Document_Заявка")));
    assert_eq!((&shown["id"], &shown["ufResultExpected"]), (&object["Ref_Key"], &json!("0")));
    assert!(shown.get("odata.metadata").is_none() && created.answer.is_none() && !created.existed);
    let link = created.link.unwrap_or_default();
    assert!(
        link.ends_with(&format!("/base/#e1cib/data/Документ.Заявка?ref={}", key::in_link(&created.target_id))),
        "{link}"
    );
    assert!(bench.run(&doc("задача 1")).expect("it is found").existed);
    assert_eq!(bench.methods(0), ["GET", "POST", "GET"]);
    let record = bench.record(doc("задача 1"));
    let (id, host) = (record.target_id().unwrap_or_default(), record.target_host());
    let listed = |within: Option<&str>, host: Option<&str>| bench.link_to(&id, within, host);
    assert_eq!(listed(record.target_within().as_deref(), host.as_deref()), Some(link));
    for (within, host) in [(None, None), (Some("Document_../"), None), (Some("Document_Заявка"), Some("elsewhere"))]
    {
        assert_eq!(listed(within, host), None, "{within:?} {host:?}");
    }
}

#[test]
fn a_key_that_is_taken_shows_an_earlier_try() {
    let bench = Bench::odata(&documents());
    bench.run(&doc("1")).expect("it is created");
    // As if the look had come a moment before the create of another worker.
    bench.fail("GET", "')", What::refuse(404, "9", ""), 1);
    bench.run(&doc("1")).expect("code 15 is a success");
    assert_eq!(
        (bench.fake.target().tasks(), bench.methods(2)),
        (vec!["1".into()], vec!["GET".into(), "POST".into(), "GET".into()])
    );
}

#[test]
fn a_document_that_was_written_and_not_posted_is_posted_by_the_next_try() {
    for before in [true, false] {
        let bench = Bench::odata(&with("then", json!("Post")));
        let lost = What::html(502, "Bad Gateway");
        let fits = |call: &crate::sandbox::Call| call.method.ends_with("/Post");
        bench.fake.order(match before {
            true => crate::sandbox::Fault::before("*", lost).when(fits).times(1),
            false => crate::sandbox::Fault::after("*", lost).when(fits).times(1),
        });
        assert_eq!(failure(bench.run(&doc("1"))).0, "unknown");
        assert_eq!(bench.object("1")["Posted"], !before);
        let created = bench.run(&doc("1")).expect("it is completed");
        assert_eq!((&bench.object("1")["Posted"], bench.fake.target().tasks().len()), (&json!(true), 1));
        assert_eq!(created.reply["result"]["task"]["Posted"], true);
    }
}

#[test]
fn a_document_that_1c_does_not_post_is_told_with_its_number_and_1c_s_words() {
    let bench = Bench::odata(&with("then", json!("Post")));
    bench.fail("POST", "/Post", What::refuse(500, "-1", "Недостаточно товара"), 9);
    let (kind, told) = failure(bench.run(&doc("1")));
    assert_eq!(kind, "unknown");
    for part in ["Document_Заявка 000000001", "not through Post", "1C's code -1", "Недостаточно товара"]
    {
        assert!(told.contains(part), "{told}");
    }
    // Whoever posts it by hand and repeats the message has it recorded.
    bench.fake.target().edit("1", |object| drop(object.insert("Posted".into(), true.into())));
    assert!(bench.run(&doc("1")).expect("it is whole").existed);
}

#[test]
fn what_is_finished_at_once_is_answered_at_once_and_no_answer_of_a_person_s_is_awaited_there() {
    let mapping = json!({"new": {
        "entity": "Catalog_Контрагенты",
        "fields": {"Description": {"from": "variables.name"}, "ИдентификаторЗадачи": {"from": "task_id"}},
    }});
    let bench = Bench::odata(&mapping);
    let created = bench.run(&task("1", "new", json!({"name": "Лютик"}))).expect("it is created");
    assert_eq!(created.answer.expect("an answer")["result"]["task"]["title"], "Лютик");
    assert!(bench.run(&task("1", "new", json!({}))).expect("it is found").answer.is_some());
    let asks =
        json!({"task_id": "2", "topic": "new", "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "да"}}});
    let (kind, told) = failure(bench.run(&message(asks)));
    assert!(kind == "permanent" && told.contains("finished at once"), "{told}");
    let asks =
        json!({"task_id": "3", "topic": "doc", "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "да"}}});
    let (kind, told) = failure(Bench::odata(&documents()).run(&message(asks)));
    assert!(kind == "permanent" && told.contains("has no \"answer\""), "{told}");
}

#[test]
fn an_object_is_changed_in_the_version_that_was_read() {
    let mapping = json!({"change": {
        "entity": "Catalog_Контрагенты",
        "update": "variables.key",
        "fields": {"ИНН": {"from": "variables.inn"}, "ИдентификаторЗадачи": {"from": "task_id"}},
    }});
    let bench = Bench::odata(&mapping);
    let key =
        bench.fake.target().make("Catalog_Контрагенты", json!({"Description": "Лютик"})).expect("there is such a set");
    let change = |key: &str| task("7", "change", json!({"key": key, "inn": "770"}));
    bench.fail("PATCH", "')", What::refuse(412, "-1", "stale"), 1);
    let created = bench.run(&change(&key.to_uppercase())).expect("it is read again");
    assert_eq!(bench.methods(0), ["GET", "PATCH", "GET", "PATCH", "GET"]);
    let object = bench.object("7");
    assert_eq!((&object["ИНН"], &object["Description"]), (&json!("770"), &json!("Лютик")));
    assert_eq!(created.answer.expect("finished at once")["result"]["task"]["ИНН"], "770");
    for (key, told) in [
        (key::of_task("nobody's").as_str(), "Catalog_Контрагенты has no object that the message names"),
        ("17", "variables.key \"17\" is not a key of 1C"),
        ("", "variables.key is absent or blank"),
    ] {
        let (kind, text) = failure(bench.run(&change(key)));
        assert!(kind == "permanent" && text.contains(told), "{text}");
    }
    bench.fail("PATCH", "')", What::refuse(412, "-1", "stale"), 9);
    assert_eq!(failure(bench.run(&change(&key))).0, "unknown", "later, and not for ever");
}

#[test]
fn a_change_is_not_taken_for_an_object_that_is_missing() {
    let mut mapping = documents();
    mapping["change"] = json!({
        "entity": "Catalog_Контрагенты",
        "update": "variables.key",
        "fields": {"ИдентификаторЗадачи": {"from": "task_id"}},
    });
    let bench = Bench::odata(&mapping);
    assert_eq!(["doc", "change", "nobody's"].map(|topic| bench.shows(topic)), [true, false, false]);
}

#[test]
fn an_object_may_be_named_by_a_field_that_only_it_has() {
    let mapping = json!({"change": {
        "entity": "Catalog_Контрагенты",
        "update": "variables.name",
        "by": "Description",
        "fields": {"ИНН": {"from": "variables.inn"}, "ИдентификаторЗадачи": {"from": "task_id"}},
    }});
    let bench = Bench::odata(&mapping);
    for name in ["O'Neil & Co", "дважды", "дважды"] {
        bench.fake.target().make("Catalog_Контрагенты", json!({"Description": name}));
    }
    let change = |name: &str| bench.run(&task("7", "change", json!({"name": name, "inn": "770"})));
    change("O'Neil & Co").expect("it is there once");
    assert_eq!((&bench.object("7")["ИНН"], &bench.object("7")["Description"]), (&json!("770"), &json!("O'Neil & Co")));
    assert_eq!(
        failure(change("дважды")),
        ("permanent", "Catalog_Контрагенты has several objects that the message names".into())
    );
    assert_eq!(failure(change("нигде")).0, "permanent");
}

#[test]
fn every_answer_of_1c_has_its_class() {
    let refuse = What::refuse;
    for (what, on_look, on_create) in [
        (refuse(400, "4", "Неверное значение"), "transient", "permanent"),
        (refuse(400, "10", ""), "transient", "permanent"),
        (refuse(404, "8", ""), "unavailable", "unavailable"),
        (refuse(403, "20", ""), "transient", "unknown"),
        (refuse(400, "20", ""), "transient", "unknown"),
        (refuse(401, "20", ""), "transient", "unknown"),
        (refuse(500, "-1", "Нет прав"), "transient", "unknown"),
        (refuse(429, "0", ""), "unavailable", "unavailable"),
        (What::html(401, ""), "unavailable", "unavailable"),
        (What::html(403, ""), "transient", "unknown"),
        (What::html(404, "404 Not Found"), "unavailable", "unavailable"),
        (What::html(302, ""), "unavailable", "unavailable"),
        (What::html(500, "Не обнаружено свободной лицензии"), "unavailable", "unknown"),
        (What::html(503, ""), "unavailable", "unknown"),
        (What::html(200, "<html>"), "transient", "unknown"),
        (What::Result(json!({"value": 1})), "transient", "unknown"),
        (What::Close, "transient", "unknown"),
    ] {
        let bench = Bench::odata(&documents());
        bench.fail("GET", "')", what.clone(), 1);
        assert_eq!(failure(bench.run(&doc("1"))).0, on_look, "{what:?} on a look");
        bench.fail("POST", "", what.clone(), 1);
        assert_eq!(failure(bench.run(&doc("1"))).0, on_create, "{what:?} on a create");
        assert_eq!(bench.fake.target().tasks(), Vec::<String>::new());
    }
}

#[test]
fn a_message_that_can_never_be_right_is_refused_before_1c_is_asked_to_create() {
    let bench = Bench::odata(&json!({"doc": {
        "entity": "Document_Заявка",
        "fields": {"Тема": {"from": "variables.title", "required": true}},
    }}));
    let (kind, told) = failure(bench.run(&task("1", "doc", json!({}))));
    assert!(kind == "permanent" && told.contains("Тема is required, and variables.title is absent"), "{told}");
    let (kind, told) = failure(bench.run(&task("1", "other", json!({}))));
    assert!(kind == "permanent" && told.contains("has no topic \"other\""), "{told}");
    assert!(!bench.methods(0).contains(&"POST".to_owned()));
}

#[test]
fn what_has_waited_long_for_its_turn_is_looked_up_again_unless_its_message_is_ours_no_more() {
    let bench = Bench::odata(&documents());
    bench.run_late(&doc("1")).expect("it is created");
    assert_eq!(bench.methods(0), ["GET", "GET", "POST"]);
    let lost = doc("2");
    lost.claim.lose();
    assert_eq!(failure(bench.run_late(&lost)).0, "other");
    assert_eq!(bench.fake.target().tasks(), ["1"]);
}

#[test]
fn what_may_have_been_created_before_is_waited_for() {
    let bench = Bench::odata(&documents());
    assert_eq!(failure(bench.run(&Task { earlier: Earlier::MayExist, ..doc("1") })).0, "early");
    assert_eq!(bench.methods(0), ["GET"]);
}

/// The README's message, requests, record and answer are those of the code.
#[test]
fn the_worked_example_is_what_happens() {
    let readme = include_str!("../../README.md");
    let block = |kind: &str, number: usize| {
        let rest = readme.split(&format!("```{kind}\n")).nth(number + 1).unwrap_or_default();
        rest.split("```").next().unwrap_or_default().to_owned()
    };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|err| panic!("{err}: {text}"));
    let mut bench = Bench::odata(&parsed(include_str!("../../mapping.example.json")));
    let record = bench.record(message(parsed(&block("json", 0))));
    let asked = bench.fake.asked();
    let (told, posted) = (block("text", 0), asked[1].json());
    let (_, body) = told.split_once("201\n").expect("a body after the requests");
    for (name, value) in parsed(body).as_object().expect("an object").iter().filter(|(name, _)| *name != "Date") {
        assert_eq!(posted[name], *value, "{name}");
    }
    assert_eq!(posted.as_object().map(serde_json::Map::len), parsed(body).as_object().map(serde_json::Map::len));
    let shown = parsed(&block("json", 1))["response_data"]["result"]["task"].take();
    for (name, value) in shown.as_object().expect("an object") {
        assert_eq!(record.response_data["result"]["task"][name], *value, "{name}");
    }
    assert!(bench.fake.target().finish(&record.task.id, "Согласовано"));
    let Ok(crate::systems::Progress::Finished(told)) = bench.check(&[record]).remove(0) else { panic!("it is posted") };
    let task = &told["result"]["task"];
    assert_eq!((&task["status"], &task["ufResultAnswer_text"]), (&json!("true"), &json!("ДА")));
}

#[test]
fn a_name_that_no_address_can_hold_is_refused_before_1c_is_asked() {
    let bench = Bench::odata(&json!({"sync": {
        "entity": "Catalog_Контрагенты",
        "update": "variables.inn",
        "by": "ИНН",
        "fields": {"НаименованиеПолное": {"from": "variables.name"}},
    }}));
    let (kind, told) = failure(bench.run(&task("1", "sync", json!({"inn": "я".repeat(1000), "name": "a"}))));
    assert!(kind == "permanent" && told.contains("is too long"), "{kind}: {told}");
    assert!(bench.methods(0).is_empty());
}
