//! What a sweep asks for and concludes, against the sandbox's OpenProject.

use super::super::tests::settings;
use serde_json::json;

use super::*;
use crate::message::sent_record;
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::openproject::store::CLOSED;
use crate::sandbox::openproject::{self, ANSWER_FIELD, Store, TOKEN};
use crate::sandbox::{ANY_CALL, Fault, What};
use crate::stop;
use crate::tls::RootCertificates;

struct Scene {
    sandbox: HttpFake<Store>,
    tracker: OpenProjectTracker,
}

fn scene(variables: &[(&str, &str)]) -> Scene {
    let sandbox = HttpFake::start(0, Store::default()).expect("a free port");
    let url = format!("http://{}", sandbox.address());
    let own = [("OPENPROJECT_URL", &*url), ("OPENPROJECT_TOKEN", TOKEN), ("OPENPROJECT_ANSWER_FIELD", ANSWER_FIELD)];
    let settings = settings(&[&own, variables].concat());
    let (https, (_stopper, stop)) = (RootCertificates::public(), stop::signal());
    let client = Arc::new(Client::new(&settings, &https, &stop));
    Scene { tracker: OpenProjectTracker::new(settings, client), sandbox }
}

impl Scene {
    fn put(&self, marker: &str) -> u64 {
        self.sandbox.target().put("s", Some(marker))
    }

    /// So many, t0 and so on; their records.
    fn put_many(&self, count: usize) -> Vec<Record> {
        let markers = (0..count).map(|number| format!("t{number}"));
        markers.map(|marker| record(&marker, self.put(&marker))).collect()
    }

    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        self.tracker.check(records)
    }

    fn one(&mut self, record: Record) -> Progress {
        self.check(&[record]).pop().expect("a result").expect("no failure")
    }

    fn requests(&self) -> u64 {
        openproject::counts(&self.sandbox).values().sum()
    }
}

fn record_of(message: &Value, id: u64) -> Record {
    let task = crate::message::Task::parse(message.to_string().into_bytes()).expect("a task");
    Record::parse(sent_record(&task, "q", json!({"result": {"task": {"id": id.to_string()}}}), None)).expect("a record")
}

fn record(marker: &str, id: u64) -> Record {
    record_of(&json!({"task_id": marker}), id)
}

fn asking(marker: &str, id: u64) -> Record {
    let properties = json!({"UF_RESULT_EXPECTED": "true"});
    record_of(&json!({"task_id": marker, "metadata": {"extensionProperties": properties}}), id)
}

#[test]
fn a_sweep_of_1000_open_tasks_takes_at_most_12_requests() {
    let mut scene = scene(&[]);
    let records = scene.put_many(1000);
    for most in [12, 10] {
        let before = scene.requests();
        assert!(scene.check(&records).iter().all(|checked| matches!(checked, Ok(Progress::Open))));
        assert!(scene.requests() - before <= most, "{:?}", openproject::counts(&scene.sandbox));
    }
}

#[test]
fn one_id_that_is_missing_costs_a_few_requests_once_and_hides_no_other() {
    let mut scene = scene(&[]);
    let records = scene.put_many(300);
    let id = scene.sandbox.target().ids_of("t150")[0];
    assert!(scene.sandbox.target().delete(id));
    for most in [3 + 20, 3 + 1] {
        let before = scene.requests();
        let checked = scene.check(&records);
        assert!(matches!(checked[150], Ok(Progress::Gone)), "{:?}", checked[150]);
        assert_eq!(checked.iter().filter(|checked| matches!(checked, Ok(Progress::Open))).count(), 299);
        assert!(scene.requests() - before <= most, "{:?}", openproject::counts(&scene.sandbox));
    }
}

#[test]
fn one_row_over_which_openproject_fails_hides_no_other_and_a_server_that_always_fails_is_left_alone() {
    let mut scene = scene(&[]);
    let records = scene.put_many(100);
    let poisoned = scene.sandbox.target().ids_of("t50")[0].to_string();
    let fail = || Fault::before("GET /api/v3/work_packages", What::refuse(500, "InternalServerError", "Ошибка"));
    scene.sandbox.order(fail().when(move |call| call.params.to_string().contains(&poisoned)));
    let checked = scene.check(&records);
    assert!(matches!(checked[50], Err(Failure::Transient { .. })), "{:?}", checked[50]);
    assert_eq!(checked.iter().filter(|checked| matches!(checked, Ok(Progress::Open))).count(), 99);
    scene.sandbox.clear_all();
    scene.sandbox.order(fail());
    let before = scene.requests();
    assert!(scene.check(&records).iter().all(|checked| matches!(checked, Err(Failure::Transient { .. }))));
    assert!(scene.requests() - before < 40, "{:?}", openproject::counts(&scene.sandbox));
}

#[test]
fn where_two_requests_had_no_answer_nothing_more_is_asked() {
    let mut scene = scene(&[]);
    let records = scene.put_many(500);
    scene.sandbox.order(Fault::before("GET /api/v3/work_packages", What::Close));
    assert!(scene.check(&records).iter().all(|checked| matches!(checked, Err(Failure::Transient { .. }))));
    assert_eq!(scene.requests(), 2);
}

#[test]
fn an_instance_that_shows_fewer_rows_is_asked_for_the_next_page() {
    let mut scene = scene(&[]);
    let records = scene.put_many(100);
    scene.sandbox.target().rules.largest_page = 50;
    assert!(scene.check(&records).iter().all(|checked| matches!(checked, Ok(Progress::Open))));
    assert_eq!((openproject::counts(&scene.sandbox)["GET work_packages"], scene.requests()), (2, 3));
}

#[test]
fn a_closed_state_finishes_a_task_and_so_does_one_of_the_setting() {
    let mut scene = scene(&[("OPENPROJECT_FINISHED_STATUSES", "7")]);
    for (status, finished) in [(1, false), (7, true), (CLOSED, true), (14, true)] {
        let marker = format!("t{status}");
        let id = scene.put(&marker);
        assert!(scene.sandbox.target().finish(id, status, None));
        let progress = scene.one(record(&marker, id));
        assert_eq!(matches!(progress, Progress::Finished(_)), finished, "{status}: {progress:?}");
    }
    assert_eq!(openproject::counts(&scene.sandbox)["GET statuses"], 1);
}

#[test]
fn the_response_has_the_form_that_the_bridge_reads() {
    let mut scene = scene(&[]);
    let id = scene.put("t");
    assert!(scene.sandbox.target().finish(id, CLOSED, Some("ДА")));
    let Progress::Finished(response) = scene.one(asking("t", id)) else { panic!("it is finished") };
    let task = &response["result"]["task"];
    let told = ["id", "title", "status", "statusName", "ufResultExpected", "ufResultAnswer_text"]
        .map(|name| task[name].clone());
    assert_eq!(told, [id.to_string().into(), json!("s"), json!("12"), json!("Закрыт"), json!("1"), json!("ДА")]);
    let Progress::Finished(response) = scene.one(record("t", id)) else { panic!("it is finished") };
    assert_eq!(response["result"]["task"]["ufResultExpected"], "0");
    assert_eq!(response["result"]["workPackage"]["lockVersion"], 1);
}

#[test]
fn a_missing_answer_is_waited_for_or_counts_as_no() {
    for (setting, waits) in [("wait", true), ("no", false)] {
        let mut scene = scene(&[("OPENPROJECT_MISSING_ANSWER", setting)]);
        let id = scene.put("t");
        assert!(scene.sandbox.target().finish(id, CLOSED, None));
        match scene.one(asking("t", id)) {
            Progress::Waiting(_) => assert!(waits),
            Progress::Finished(response) => assert_eq!(response["result"]["task"]["ufResultAnswer_text"], "НЕТ"),
            other => panic!("{other:?}"),
        }
    }
    let mut scene = scene(&[("OPENPROJECT_ANSWER_FIELD", "")]);
    let id = scene.put("t");
    assert!(scene.sandbox.target().finish(id, CLOSED, None));
    assert!(matches!(scene.one(asking("t", id)), Progress::Waiting(why) if why.contains("OPENPROJECT_ANSWER_FIELD")));
}

#[test]
fn a_work_package_with_another_marker_or_elsewhere_answers_nothing() {
    let mut scene = scene(&[]);
    let id = scene.put("other");
    assert!(matches!(scene.one(record("t", id)), Progress::Foreign(_)));
    let unmarked = scene.sandbox.target().put("s", None);
    assert!(matches!(scene.one(record("t", unmarked)), Progress::Foreign(_)));
    // What was changed only has the marker of the task that made it.
    assert!(matches!(scene.one(record_of(&json!({"task_id": "t", "topic": "op_update_task"}), id)), Progress::Open));
    scene.sandbox.target().rules.active.clear();
    assert!(matches!(scene.one(record("t", id)), Progress::Open), "no field shows whose it is");
    let task = crate::message::Task::parse(br#"{"task_id": "t"}"#.to_vec()).expect("a task");
    let reply = json!({"result": {"task": {"id": id.to_string()}}});
    let moved = Record::parse(sent_record(&task, "q", reply, Some("old.example"))).expect("a record");
    assert!(matches!(scene.one(moved), Progress::Foreign(why) if why.contains("OPENPROJECT_FORMER_HOSTS=old.example")));
}

#[test]
fn where_nobody_answers_no_record_is_judged_and_nothing_more_is_asked() {
    let mut scene = scene(&[]);
    let records = scene.put_many(300);
    let refuse = What::refuse(401, "Unauthenticated", "кто вы");
    scene.sandbox.order(Fault::before(ANY_CALL, refuse));
    assert!(scene.check(&records).iter().all(|checked| matches!(checked, Err(Failure::Unavailable { .. }))));
    assert_eq!(scene.requests(), 1);
    let nameless = record_of(&json!({"task_id": "t"}), 0);
    let mut nameless = [nameless];
    nameless[0].response_data = json!({"result": {"task": {"id": "x"}}});
    assert!(matches!(scene.check(&nameless)[0], Err(Failure::Permanent(_))));
}
