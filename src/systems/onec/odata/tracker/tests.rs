//! Sweeps at the sandbox's infobase: what finishes an object, and how many requests that takes.

use serde_json::json;

use super::super::super::tests::{Bench, message};
use super::*;
use crate::message::Task;
use crate::sandbox::What;

fn bench() -> Bench {
    let example: Value = serde_json::from_str(include_str!("../../mapping.example.json")).expect("JSON");
    Bench::odata(&example)
}

/// A task for a person, or a document, that expects an answer.
fn asking(id: &str, topic: &str) -> Task {
    message(json!({
        "task_id": id,
        "topic": topic,
        "metadata": {"activityInfo": {"name": "Согласовать"}, "extensionProperties": {"UF_RESULT_EXPECTED": "true"}},
    }))
}

fn in_words(checked: Result<Progress, Failure>) -> String {
    match checked {
        Ok(Progress::Finished(told)) => {
            let task = &told["result"]["task"];
            format!("{} {} {}", task["status"], task["ufResultExpected"], task["ufResultAnswer_text"])
        }
        Ok(Progress::Open) => "open".into(),
        Ok(Progress::Gone) => "gone".into(),
        Ok(Progress::Waiting(_)) => "waiting".into(),
        Ok(other) => format!("{other:?}"),
        Err(Failure::Transient { .. }) => "transient".into(),
        Err(Failure::Unavailable { .. }) => "unavailable".into(),
        Err(failure) => failure.to_string(),
    }
}

fn words(bench: &mut Bench, records: &[Record]) -> Vec<String> {
    bench.check(records).into_iter().map(in_words).collect()
}

#[test]
fn an_object_is_open_until_its_field_says_otherwise_and_waits_for_its_answer() {
    let mut bench = bench();
    let records = [
        bench.record(asking("1", "1c_create_document")),
        bench.record(asking("2", "other")),
        bench.record(asking("3", "other")),
        bench.record(asking("4", "other")),
        bench.record(asking("5", "1c_create_document")),
    ];
    assert_eq!(words(&mut bench, &records), ["open"; 5]);
    bench.fake.target().finish("1", "Согласовано");
    bench.fake.target().finish("2", "");
    bench.fake.target().finish("3", "НЕТ");
    bench.fake.target().delete("4");
    bench.fake.target().finish("5", "может быть");
    let expected = [r#""true" "1" "ДА""#, "waiting", r#""true" "1" "НЕТ""#, "gone", r#""true" "1" "может быть""#];
    assert_eq!(words(&mut bench, &records), expected);
    let told = bench.check(&records[..1]).remove(0);
    let Ok(Progress::Finished(told)) = told else { panic!("{told:?}") };
    assert_eq!(told["result"]["task"]["Тема"], "Согласовать", "all of it is told");
}

#[test]
fn of_several_conditions_all_must_be_met() {
    let mut bench = Bench::odata(&json!({"a": {
        "entity": "Document_Заявка",
        "fields": {"Date": {"type": "date", "value": "now"}, "ИдентификаторЗадачи": {"from": "task_id"}},
        "finished": [{"field": "Posted", "values": [true]}, {"field": "Тема", "values": ["Закрыта", "Исполнена"]}],
    }}));
    let records = [bench.record(message(json!({"task_id": "1", "topic": "a"})))];
    let mut after = |field: &'static str, value: Value| {
        bench.fake.target().edit("1", |object| drop(object.insert(field.into(), value)));
        words(&mut bench, &records).remove(0)
    };
    assert_eq!([after("Posted", true.into()), after("Тема", "Новая".into())], ["open", "open"]);
    assert_eq!(after("Тема", "Исполнена".into()), r#""true" "0" """#);
}

#[test]
fn what_1c_does_not_know_is_gone_and_a_record_without_a_key_is_wrong() {
    let mut bench = bench();
    let mut records = vec![bench.record(asking("1", "other")), bench.record(asking("2", "other"))];
    records[0].response_data["result"]["task"]["id"] = "21dda1c5-8c44-11db-a9b0-00055d49b45e".into();
    records[1].response_data["result"]["task"]["id"] = "1' or true".into();
    let words = words(&mut bench, &records);
    assert_eq!(words[0], "gone");
    assert!(words[1].contains("names no object of 1C"), "{words:?}");
}

#[test]
fn two_objects_of_one_task_are_told_apart_by_their_entities() {
    let mut bench = bench();
    let records = [bench.record(asking("1", "1c_create_document")), bench.record(asking("1", "other"))];
    bench.fake.target().finish("1", "ДА");
    let words = words(&mut bench, &records);
    assert_eq!(words.iter().filter(|word| *word == "open").count(), 1, "{words:?}");
}

#[test]
fn a_topic_that_is_not_mapped_any_more_keeps_its_record() {
    let mut bench = Bench::odata(
        &json!({"a": {"entity": "Task_ЗадачаИсполнителя", "fields": {"Date": {"type": "date", "value": "now"}}}}),
    );
    let mut record = bench.record(message(json!({"task_id": "1", "topic": "a"})));
    record.task.topic = "b".into();
    assert_eq!(words(&mut bench, &[record]), ["transient"]);
}

#[test]
fn a_thousand_open_tasks_take_35_requests_and_finished_ones_as_many_again_at_most() {
    let mut bench = bench();
    let records: Vec<Record> = (0..1000).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    let before = bench.fake.asked().len();
    assert!(words(&mut bench, &records).iter().all(|word| word == "open"));
    let open = bench.fake.asked().len() - before;
    (0..1000).for_each(|number| assert!(bench.fake.target().finish(&number.to_string(), "ДА")));
    assert!(words(&mut bench, &records).iter().all(|word| word.ends_with("\"ДА\"")));
    let finished = bench.fake.asked().len() - before - open;
    assert!(open <= 35 && finished <= 70, "{open} and {finished}");
}

#[test]
fn where_a_web_server_takes_no_long_address_fewer_keys_go_together() {
    let mut bench = bench();
    let records: Vec<Record> = (0..40).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    bench.fake.target().take_queries_up_to(700);
    let before = bench.fake.asked().len();
    assert_eq!(words(&mut bench, &records), ["open"; 40]);
    // 30 and 15 are too many, 8 are not, from then on.
    assert_eq!(bench.fake.asked().len() - before, 2 + 5);
    assert_eq!(words(&mut bench, &records), ["open"; 40]);
    assert_eq!(bench.fake.asked().len() - before, 2 + 5 + 5);
}

#[test]
fn where_1c_is_out_it_is_asked_once_and_everything_stays() {
    let mut bench = bench();
    let records: Vec<Record> = (0..100).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    for (what, word, requests) in [
        (What::html(503, "Не обнаружено свободной лицензии"), "unavailable", 1),
        (What::html(401, ""), "unavailable", 1),
        (What::refuse(404, "8", ""), "unavailable", 1),
        (What::refuse(400, "14", ""), "transient", 1),
        // It may be the length of the address, until one key alone fails.
        (What::html(404, "404 Not Found"), "unavailable", 6),
    ] {
        let before = bench.fake.asked().len();
        bench.fail("*", "", what.clone(), u64::MAX);
        assert!(words(&mut bench, &records).iter().all(|told| told == word), "{what:?}");
        assert_eq!(bench.fake.asked().len() - before, requests, "{what:?}");
        bench.fake.clear_all();
    }
    assert!(words(&mut bench, &records).iter().all(|word| word == "open"));
}

/// As where a rule of 1C's on single records forbids one of them.
#[test]
fn an_object_that_1c_fails_to_read_holds_up_no_other() {
    let mut bench = bench();
    let records: Vec<Record> = (0..70).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    (0..70).for_each(|number| assert!(bench.fake.target().finish(&number.to_string(), "ДА")));
    bench.fake.target().break_off("7");
    bench.fake.target().break_off("40");
    let before = bench.fake.asked().len();
    let words = words(&mut bench, &records);
    let failed: Vec<usize> = (0..70).filter(|number| words[*number] == "transient").collect();
    assert_eq!(failed, [7, 40], "{words:?}");
    assert!(words.iter().filter(|word| word.ends_with("\"ДА\"")).count() == 68, "{words:?}");
    let requests = bench.fake.asked().len() - before;
    assert!(requests <= 40, "{requests}");
}

#[test]
fn where_1c_fails_over_everything_it_is_asked_a_few_times() {
    let mut bench = bench();
    let records: Vec<Record> = (0..100).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    for what in [What::refuse(500, "-1", "Ошибка"), What::refuse(403, "20", ""), What::html(200, "Вход")] {
        let before = bench.fake.asked().len();
        bench.fail("*", "", what.clone(), u64::MAX);
        assert!(words(&mut bench, &records).iter().all(|told| told == "transient"), "{what:?}");
        let requests = bench.fake.asked().len() - before;
        assert!(requests <= 10, "{what:?}: {requests}");
        bench.fake.clear_all();
    }
}

#[test]
fn where_an_answer_is_too_large_fewer_keys_go_together() {
    let mut bench = bench();
    let records: Vec<Record> = (0..4).map(|number| bench.record(asking(&number.to_string(), "other"))).collect();
    let body = vec![b' '; (16 << 20) + 1];
    bench.fail("GET", "", What::Raw { status: 200, content_type: "application/json", body }, 1);
    let before = bench.fake.asked().len();
    assert_eq!(words(&mut bench, &records), ["open"; 4]);
    assert_eq!(bench.fake.asked().len() - before, 3);
}

#[test]
fn objects_that_1c_failed_to_read_come_last_the_next_time() {
    let mut bench = bench();
    let mut ids: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    ids.sort_by_key(|id| key::of_task(id));
    let records: Vec<Record> = ids.iter().map(|id| bench.record(asking(id, "other"))).collect();
    ids[..4].iter().for_each(|id| bench.fake.target().break_off(id));
    // They are the first ones that are asked for, and look like an infobase that fails over everything.
    assert_eq!(words(&mut bench, &records), ["transient"; 40]);
    assert_eq!(words(&mut bench, &records)[4..], ["open"; 36]);
}

#[test]
fn a_worker_that_stops_asks_for_no_more() {
    let mut bench = bench();
    let records = [bench.record(asking("1", "other"))];
    let before = bench.fake.asked().len();
    bench.stop();
    assert_eq!(words(&mut bench, &records), ["unavailable"]);
    assert_eq!(bench.fake.asked().len(), before);
}
