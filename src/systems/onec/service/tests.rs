//! Tasks at the sandbox's HTTP service, whose form the example of a mapping describes.

use serde_json::{Value, json};

use super::super::Mode;
use super::super::tests::{Bench, mapping, message, settings, task};
use super::explain;
use crate::message::{Earlier, Task};
use crate::sandbox::What;
use crate::systems::{Failure, Progress};

fn example() -> Value {
    serde_json::from_str(include_str!("../mapping.service.example.json")).expect("JSON")
}

fn asking(id: &str) -> Task {
    message(json!({
        "task_id": id,
        "topic": "1c_create_document",
        "variables": {"title": "Согласовать"},
        "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "true"}},
    }))
}

#[test]
fn it_is_found_by_its_task_before_it_is_created_and_the_header_names_that() {
    let bench = Bench::service(&example());
    let created = bench.run(&asking("задача 1")).expect("it is created");
    assert_eq!((created.target_id.as_str(), &created.reply["result"]["task"]["title"]), ("1", &json!("Согласовать")));
    assert!(bench.run(&asking("задача 1")).expect("it is found").existed);
    let asked = bench.fake.asked();
    assert_eq!(bench.methods(0), ["GET", "POST", "GET"]);
    assert!(asked[0].path.ends_with("/by-task/%D0%B7%D0%B0%D0%B4%D0%B0%D1%87%D0%B0%201"), "{}", asked[0].path);
    assert!(asked[1].header("Idempotency-Key").is_some_and(|key| key.ends_with(" 1")), "{:?}", asked[1].headers);
}

#[test]
fn a_page_instead_of_a_404_of_its_own_does_not_count_as_not_found() {
    let bench = Bench::service(&example());
    bench.fail("GET", "", What::html(404, "404 Not Found"), 1);
    assert!(matches!(bench.run(&asking("1")), Err(Failure::Unavailable { .. })));
    assert_eq!(bench.methods(0), ["GET"]);
}

#[test]
fn an_answer_without_an_id_is_no_clear_answer() {
    let mut mapping = example();
    mapping["*"]["id"] = json!("/result/nothing");
    let bench = Bench::service(&mapping);
    let Err(Failure::OutcomeUnknown { error, .. }) = bench.run(&asking("1")) else { panic!("it is not known") };
    assert!(error.to_string().contains("no id at /result/nothing"), "{error}");
}

#[test]
fn where_nothing_can_be_looked_up_an_answer_without_an_id_leads_to_no_second_create() {
    let bench = Bench::service(&json!({"*": {"create": "/tasks", "id": "/result/nothing"}}));
    let Err(Failure::Permanent(error)) = bench.run(&task("1", "any", json!({}))) else { panic!("it may be there") };
    assert!(error.to_string().contains("no id at /result/nothing"), "{error}");
}

#[test]
fn a_topic_that_can_be_looked_up_is_waited_for_although_another_cannot() {
    let mut mapping = example();
    mapping["blind"] = json!({"create": "/tasks", "id": "/result/number"});
    let bench = Bench::service(&mapping);
    assert!(bench.visible_within().is_some());
    let delivered_before = Task { earlier: Earlier::MayExist, ..asking("1") };
    assert!(matches!(bench.run(&delivered_before), Err(Failure::TooEarly(_))));
    assert_eq!(bench.methods(0), ["GET"]);
    let blind = Bench::service(&json!({"*": {"create": "/tasks", "id": "/result/number"}}));
    assert!(blind.visible_within().is_none());
}

/// As `УстановитьТелоИзСтроки` writes it, and with a text that was cut within an emoji.
#[test]
fn an_answer_with_a_byte_order_mark_or_half_an_emoji_is_read() {
    let mut bench = Bench::service(&example());
    let answered = |body: &str| What::Raw {
        status: 200,
        content_type: "application/json",
        body: ["\u{feff}", body].concat().into_bytes(),
    };
    bench.fail("POST", "", answered(r#"{"result": {"number": 7, "title": "\ud83d"}}"#), 1);
    let record = bench.record(asking("1"));
    assert_eq!(record.response_data["result"]["task"]["id"], "7");
    bench.fail("GET", "", answered(r#"{"result": {"number": 7, "state": "done", "answer": "ДА"}}"#), 1);
    let checked = bench.check(&[record]);
    assert!(matches!(checked[..], [Ok(Progress::Finished(_))]), "{checked:?}");
}

#[test]
fn where_1c_answers_nobody_three_are_asked_for_and_the_others_first_the_next_time() {
    let mut bench = Bench::service(&example());
    let records: Vec<_> = (1..=10).map(|number| bench.record(asking(&number.to_string()))).collect();
    let order = bench.fail("GET", "", What::Close, u64::MAX);
    let before = bench.fake.asked().len();
    let checked = bench.check(&records);
    assert!(matches!(checked[9], Err(Failure::Unavailable { .. })), "{checked:?}");
    assert_eq!(bench.fake.asked().len() - before, 3);
    bench.fake.clear(&order);
    assert!(bench.check(&records).iter().all(|checked| matches!(checked, Ok(Progress::Open))));
    let asked = bench.fake.asked();
    assert_eq!(asked.len() - before, 13);
    assert!(asked[before + 3].path.ends_with("/tasks/4") && asked[before + 12].path.ends_with("/tasks/3"));
}

#[test]
fn a_worker_that_stops_asks_for_no_more() {
    let mut bench = Bench::service(&example());
    let records = [bench.record(asking("1"))];
    let before = bench.fake.asked().len();
    bench.stop();
    assert!(matches!(bench.check(&records)[..], [Ok(Progress::Open)]));
    assert_eq!(bench.fake.asked().len(), before);
}

#[test]
fn its_state_is_followed_to_the_end() {
    let mut bench = Bench::service(&example());
    let records: Vec<_> = ["1", "2", "3"].map(|id| bench.record(asking(id))).into();
    bench.fake.target().finish("1", "ДА");
    bench.fake.target().delete("2");
    let checked = bench.check(&records);
    let Ok(Progress::Finished(told)) = &checked[0] else { panic!("{checked:?}") };
    let told = &told["result"]["task"];
    assert_eq!((&told["ufResultExpected"], &told["ufResultAnswer_text"]), (&json!("1"), &json!("ДА")));
    assert!(matches!(checked[1..], [Ok(Progress::Gone), Ok(Progress::Open)]), "{checked:?}");
    bench.fail("*", "", What::html(401, ""), u64::MAX);
    let before = bench.fake.asked().len();
    assert!(bench.check(&records).iter().all(|checked| matches!(checked, Err(Failure::Unavailable { .. }))));
    assert_eq!(bench.fake.asked().len() - before, 1, "whoever is out is asked once");
}

#[test]
fn without_fields_the_message_goes_as_it_came_and_without_a_state_it_is_finished_at_once() {
    let bench = Bench::service(&json!({"*": {"create": "/tasks", "id": "/result/number"}}));
    let created = bench.run(&task("1", "any", json!({"a": 1.10}))).expect("it is created");
    assert_eq!(created.answer.expect("at once")["result"]["task"]["id"], "1");
    let sent = bench.fake.asked().remove(0);
    assert_eq!((&sent.json()["task_id"], &sent.json()["variables"]["a"]), (&json!("1"), &json!(1.10)));
    assert!(matches!(bench.run(&asking("2")), Err(Failure::Permanent(_))), "nobody could answer");
}

#[test]
fn every_request_is_explained() {
    let settings = settings(Mode::Service(mapping(&example())));
    let Mode::Service(mapping) = &settings.mode else { panic!("it is a service") };
    let requests = explain::run(&asking("1"), &settings, mapping).requests;
    let methods: Vec<&str> = requests.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["GET tasks/by-task/1", "POST tasks", "GET tasks/<its id>"]);
}

#[test]
fn a_topic_without_a_look_up_is_not_taken_for_one_whose_tasks_are_missing() {
    let bench = Bench::service(&json!({
        "found": {"create": "/tasks", "id": "/result/id", "find": "/tasks/by-task/{task_id}"},
        "blind": {"create": "/notes", "id": "/result/id"},
    }));
    assert_eq!(["found", "blind", "nobody's"].map(|topic| bench.shows(topic)), [true, false, false]);
}
