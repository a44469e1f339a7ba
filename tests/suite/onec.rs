//! What is 1C's own: an object that is created and not posted yet, rights on one object and on all, what `check` and
//! `explain` say, and that nothing is touched while it is off. What every system promises is in `systems`.

use std::fs;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use task_creator::sandbox::{self, What};

use crate::support::*;
use crate::systems::targets::Target;
use crate::systems::targets::onec::{CREATE_DOCUMENT, Onec};

/// The mapping of the sandbox, with this for documents.
fn mapping(member: &str, value: Value) -> TextFile {
    let example = fs::read_to_string("src/systems/onec/mapping.example.json").expect("it is part of the repository");
    let mut mapping: Value = serde_json::from_str(&example).expect("JSON");
    mapping["1c_create_document"][member] = value;
    TextFile::new(&mapping.to_string())
}

fn settings(onec: &Onec<false>, queues: &Queues, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = onec.settings();
    let of_target = own.iter().map(|(name, value)| (*name, value.as_str()));
    let quick = [("RETRY_ATTEMPTS", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "0.3")];
    changed(queues, "", &of_target.chain(quick).chain(changes.iter().copied()).collect::<Vec<_>>())
}

/// What ends in the request's address as people read it.
fn read(asked: &sandbox::http_fake::Asked) -> String {
    let path = asked.path.trim_start_matches("/base/odata/standard.odata/");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    format!("{} {}?{}", asked.method, decoded(path), decoded(&asked.raw_query))
}

#[test]
fn without_its_address_its_queue_is_left_alone() {
    let queues = Queues::new("1c off");
    queues.declare(&queues.named("1c.queue"));
    let portal = Portal::of(&Tasks::new());
    let mut worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.publish(&queues.named("1c.queue"), field_text("waits"), Default::default());
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    assert_eq!((queues.count(&queues.named("1c.queue")), queues.consumers(&queues.named("1c.queue"))), (1, 0));
    assert!(queues.state(&queues.named("1c.sent.queue")).is_none());
    worker.stop();
}

/// SIGKILL between the create and the posting.
#[test]
fn a_document_is_posted_after_a_crash_and_there_once() {
    let (onec, queues) = (Onec::<false>::start(), Queues::of("1c", "1c posted"));
    let mapping = mapping("then", json!("Post"));
    let settings = settings(&onec, &queues, &[("ONEC_MAPPING_FILE", mapping.path())]);
    let mut worker = Worker::run(&[], &settings);
    let posts = |call: &sandbox::Call| call.method.ends_with("/Post");
    let held = onec.fake.order(sandbox::Fault::before(sandbox::ANY_CALL, What::Hang(None)).when(posts).times(1));
    queues.publish_task(&onec.message("task-1"));
    eventually("the posting", PATIENCE, || held.struck() == 1);
    worker.kill();
    onec.mend();
    assert_eq!(onec.fake.target().of_task("task-1").map(|object| object["Posted"].clone()), Some(false.into()));
    worker.start_again();
    // It counts as finished once it is posted; the answer is what Camunda waits for.
    eventually("the posted document", PATIENCE, || {
        onec.fake.target().of_task("task-1").is_some_and(|object| object["Posted"] == true)
    });
    assert!(onec.fake.target().finish("task-1", "Согласовано"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let response = queues.peek_all(&queues.responses())[0].json();
    let told = &response["response_data"]["result"]["task"];
    assert_eq!((&told["ufResultExpected"], &told["ufResultAnswer_text"]), (&json!("1"), &json!("ДА")));
    assert_eq!(onec.tasks(), ["task-1"]);
    worker.stop();
}

#[test]
fn an_object_that_may_not_be_written_parks_its_message_and_no_other() {
    let (onec, queues) = (Onec::<false>::start(), Queues::of("1c", "1c forbidden"));
    let worker = Worker::run(&[], &settings(&onec, &queues, &[]));
    let is_forbidden = |call: &sandbox::Call| call.params["ИдентификаторЗадачи"] == "forbidden";
    let refused = What::refuse(403, "20", "Нет прав на организацию");
    onec.fake.order(sandbox::Fault::before(CREATE_DOCUMENT, refused).when(is_forbidden));
    queues.publish_task(&onec.message("forbidden"));
    queues.publish_task(&onec.message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let parked = queues.peek_all(&queues.errors())[0].json();
    assert_eq!((&parked["error_type"], &parked["attempts"]), (&json!("RETRY_LIMIT_EXCEEDED"), &json!(2)));
    let told = parked["error_message"].as_str().unwrap_or_default();
    assert!(told.contains("Нет прав на организацию") && told.contains("ONEC_USERNAME"), "{told}");
    assert_eq!(onec.tasks(), ["task-1"]);
    drop(worker);
}

#[test]
fn an_account_that_may_write_nothing_pauses_the_lane_and_parks_nothing() {
    let (onec, queues) = (Onec::<false>::start(), Queues::of("1c", "1c no rights"));
    let worker = Worker::run(&[], &settings(&onec, &queues, &[]));
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    onec.fake.order(sandbox::Fault::before(CREATE_DOCUMENT, What::refuse(403, "20", "Нет прав")));
    (0..5).for_each(|number| queues.publish_task(&onec.message(&number.to_string())));
    worker.await_log("pausing, messages stay in their queue", PATIENCE);
    onec.mend();
    queues.await_count(&queues.sent(), 5, PATIENCE);
    assert_eq!(queues.count(&queues.errors()), 0);
    drop(worker);
}

#[test]
fn check_says_of_every_entity_whether_it_can_be_read() {
    let (onec, queues) = (Onec::<false>::start(), Queues::of("1c", "1c check"));
    let check = |changes: &[(&str, &str)]| run(&["check"], &settings(&onec, &queues, changes));
    let healthy = check(&[]);
    healthy.has("Document_Заявка can be read").has("Task_ЗадачаИсполнителя can be read").has_not("FAIL  1c");
    assert!(onec.fake.asked().iter().all(|asked| asked.method == "GET"), "it changes nothing");
    let wrong = check(&[("ONEC_PASSWORD", "wrong")]);
    wrong.has("FAIL  1c: ").has("http status 401; check the name, password or token for the target").has_not("wrong");
    let unpublished = mapping("entity", json!("Document_Нет"));
    check(&[("ONEC_MAPPING_FILE", unpublished.path())]).has("FAIL  1c: Document_Нет: http status 404, 1C's code 8");
    let misspelt = mapping("title", json!("Тем"));
    let told = check(&[("ONEC_MAPPING_FILE", misspelt.path())]);
    told.has("FAIL  1c: Document_Заявка: http status 400, 1C's code 14: Поле не найдено: Тем");
}

#[test]
fn what_is_explained_is_what_is_asked() {
    let (onec, queues) = (Onec::<false>::start(), Queues::of("1c", "1c explain"));
    let mapping = mapping("then", json!("Post"));
    let message = TextFile::new(&onec.message("task-1"));
    let own = settings(&onec, &queues, &[("ONEC_MAPPING_FILE", mapping.path())]);
    let without_target: Vec<_> = own.iter().filter(|(name, _)| name != "ONEC_URL").cloned().collect();
    let explained = run(&["explain", message.path()], &without_target);
    explained.ended_with(0).has("(the answer)").has_not("UF_RESULT_EXPECTED is");
    let mut worker = Worker::run(&[], &own);
    queues.publish_task(&onec.message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let swept = |asked: &sandbox::http_fake::Asked| asked.query("$filter").is_some();
    eventually("a sweep", PATIENCE, || onec.fake.asked().iter().any(swept));
    worker.stop();
    let asked = onec.fake.asked();
    let asked: Vec<String> = asked[..3].iter().chain(asked.iter().find(|asked| swept(asked))).map(read).collect();
    for (number, asked) in asked.iter().enumerate() {
        explained.has(&format!("\n{}. {asked}: ", number + 1));
    }
    assert_eq!(asked.len(), 4);
}
