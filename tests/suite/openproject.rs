//! OpenProject's own answers, and what only its lane does: changes, projects and milestones, rights, fields that cannot
//! be searched, sweeps. What every system promises is in [`crate::systems`].

use serde_json::{Value, json};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::openproject::store::CLOSED;
use task_creator::sandbox::openproject::{self, ANSWER_FIELD, MARKER_FIELD, PROJECT, Store, TOKEN};
use task_creator::sandbox::{Fault, What};

use crate::support::{Ended, PATIENCE, Queues, Worker, changed, run};

const CREATE: &str = "POST work_packages";

struct Scene {
    queues: Queues,
    sandbox: HttpFake<Store>,
}

impl Scene {
    fn set(test: &str) -> Scene {
        let queues = Queues::of("openproject", &format!("openproject {test}"));
        Scene { queues, sandbox: HttpFake::start(0, Store::default()).expect("loopback has a free port") }
    }

    fn settings(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let (url, project) = (format!("http://{}", self.sandbox.address()), PROJECT.to_string());
        let own = [
            ("OPENPROJECT_URL", &*url),
            ("OPENPROJECT_TOKEN", TOKEN),
            ("OPENPROJECT_TASK_ID_FIELD", MARKER_FIELD),
            ("OPENPROJECT_ANSWER_FIELD", ANSWER_FIELD),
            ("OPENPROJECT_DEFAULT_PROJECT", &project),
            ("OPENPROJECT_REQUEST_TIMEOUT", "1"),
            ("RETRY_ATTEMPTS", "1"),
            ("RETRY_DELAY", "0.2"),
            ("HEARTBEAT_INTERVAL", "0.3"),
        ];
        let unchanged = own.into_iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        changed(&self.queues, "", &unchanged.chain(changes.iter().copied()).collect::<Vec<_>>())
    }

    fn work(&self) -> Worker {
        let worker = Worker::run(&[], &self.settings(&[]));
        self.queues.await_consumers(&self.queues.input(), 1, PATIENCE);
        worker
    }

    fn check(&self, changes: &[(&str, &str)]) -> Ended {
        run(&["check"], &self.settings(changes))
    }

    fn publish(&self, id: &str, topic: &str, variables: Value) {
        self.publish_with(id, topic, variables, json!({}));
    }

    fn publish_with(&self, id: &str, topic: &str, variables: Value, properties: Value) {
        let message = json!({
            "task_id": id, "topic": topic, "system": "openproject", "activity_id": "Activity_1", "variables": variables,
            "metadata": {"extensionProperties": properties},
        });
        self.queues.publish_task(&message);
    }

    #[track_caller]
    fn await_recorded(&self, count: usize) {
        self.queues.await_count(&self.queues.sent(), count, PATIENCE);
    }

    /// The only response there is.
    #[track_caller]
    fn response(&self) -> Value {
        self.queues.await_count(&self.queues.responses(), 1, PATIENCE);
        self.queues.peek_all(&self.queues.responses())[0].json()
    }

    /// The only parked message.
    #[track_caller]
    fn parked(&self) -> Value {
        self.queues.await_count(&self.queues.errors(), 1, PATIENCE);
        self.queues.peek_all(&self.queues.errors())[0].json()
    }

    fn id_of(&self, marker: &str) -> u64 {
        let ids = self.sandbox.target().ids_of(marker);
        assert_eq!(ids.len(), 1, "work packages with marker {marker}");
        ids[0]
    }

    fn count(&self, request: &str) -> u64 {
        openproject::counts(&self.sandbox).get(request).copied().unwrap_or(0)
    }
}

#[test]
fn without_its_settings_the_queue_is_left_alone() {
    let scene = Scene::set("off");
    scene.publish("task-1", "op_create_task", json!({}));
    let worker = Worker::run(&[], &scene.settings(&[("OPENPROJECT_URL", ""), ("BITRIX_WEBHOOK_URL", "")]));
    worker.await_log("OPENPROJECT_URL is not set", PATIENCE);
    assert_eq!((scene.queues.count(&scene.queues.input()), scene.queues.consumers(&scene.queues.input())), (1, 0));
    assert!(openproject::counts(&scene.sandbox).is_empty());
}

#[test]
fn a_question_comes_back_as_the_bridge_reads_it() {
    let scene = Scene::set("question");
    let mut worker = scene.work();
    let properties = json!({"UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "Согласен?", "номер договора": "А-7"});
    scene.publish_with("task-1", "op_create_task", json!({"title": "Согласовать"}), properties);
    scene.await_recorded(1);
    let id = scene.id_of("task-1");
    assert_eq!(scene.sandbox.target().member(id, "customField9"), Some("А-7".into()), "by the name that people see");
    assert!(scene.sandbox.target().finish(id, CLOSED, Some("НЕТ")));
    let response = scene.response();
    let task = &response["response_data"]["result"]["task"];
    assert_eq!((&task["id"], &task["title"]), (&id.to_string().into(), &"Согласовать".into()));
    assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&"1".into(), &"НЕТ".into()));
    assert_eq!(response["processing_status"], "completed_by_tracker");
    worker.stop();
}

#[test]
fn what_was_closed_before_its_message_comes_again_is_found_and_answered() {
    let scene = Scene::set("closed before");
    {
        let mut store = scene.sandbox.target();
        // Of two with one marker the oldest counts.
        let [id, _] = ["older", "younger"].map(|subject| store.put(subject, Some("task-1")));
        assert!(store.finish(id, CLOSED, None));
    }
    let mut worker = scene.work();
    scene.publish("task-1", "op_create_task", json!({}));
    assert_eq!(scene.response()["response_data"]["result"]["task"]["title"], "older");
    assert_eq!(scene.count(CREATE), 0);
    worker.stop();
}

#[test]
fn a_milestone_is_a_work_package_of_its_own_type_and_one_day() {
    let scene = Scene::set("milestone");
    let mut worker = scene.work();
    scene.publish("task-1", "op_create_milestone", json!({"title": "Сдача", "deadline": "2026-12-01"}));
    scene.await_recorded(1);
    let id = scene.id_of("task-1");
    let store = scene.sandbox.target();
    assert_eq!((store.link(id, "type"), store.member(id, "startDate")), (Some(2.into()), Some("2026-12-01".into())));
    drop(store);
    worker.stop();
}

#[test]
fn a_change_meets_somebody_elses_and_is_made_once_all_the_same() {
    let scene = Scene::set("change");
    let id = scene.sandbox.target().put("Старое", Some("somebody"));
    let change = format!("PATCH /api/v3/work_packages/{id}");
    // The first answer is lost after the change, the next two changes come too late.
    scene.sandbox.order(Fault::after(change.clone(), What::Close).times(1));
    let conflict = What::refuse(409, "UpdateConflict", "Изменено");
    scene.sandbox.order(Fault::before(change, conflict).from_nth(2).times(2));
    let mut worker = Worker::run(&[], &scene.settings(&[("RETRY_ATTEMPTS", "2")]));
    scene.publish(
        "task-1",
        "op_update_task",
        json!({"workPackageId": id.to_string(), "title": "Новое", "statusId": 7}),
    );
    let response = scene.response();
    assert_eq!(response["response_data"]["result"]["task"]["title"], "Новое");
    let store = scene.sandbox.target();
    assert_eq!((store.member(id, "subject"), store.link(id, "status")), (Some("Новое".into()), Some(7.into())));
    assert_eq!(store.ids_of("somebody"), [id]);
    drop(store);
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0, "it is finished at once");
    worker.stop();
}

#[test]
fn a_change_of_nothing_and_of_what_is_not_there_is_parked() {
    let scene = Scene::set("no change");
    let mut worker = scene.work();
    scene.publish("task-1", "op_update_task", json!({"title": "x"}));
    assert!(scene.parked()["error_message"].as_str().is_some_and(|told| told.contains("variables.workPackageId")));
    scene.publish("task-2", "op_update_task", json!({"workPackageId": 7, "title": "x"}));
    scene.queues.await_count(&scene.queues.errors(), 2, PATIENCE);
    worker.stop();
}

#[test]
fn a_project_whose_answer_is_lost_is_found_and_answered_at_once() {
    let scene = Scene::set("project");
    let before = scene.sandbox.target().identifiers().len();
    scene.sandbox.order(Fault::after("POST /api/v3/projects", What::Close).times(1));
    let mut worker = Worker::run(&[], &scene.settings(&[("RETRY_ATTEMPTS", "2")]));
    scene.publish("task-1", "op_create_project", json!({"name": "Новый склад"}));
    let response = scene.response();
    assert_eq!(response["response_data"]["result"]["task"]["title"], "Новый склад");
    assert_eq!(scene.sandbox.target().identifiers().len(), before + 1);
    worker.stop();
}

#[test]
fn an_assignee_whom_openproject_refuses_is_left_out() {
    let scene = Scene::set("assignee");
    let mut worker = scene.work();
    scene.publish_with("task-1", "op_create_task", json!({}), json!({"assigneeId": "500"}));
    scene.await_recorded(1);
    worker.await_log("refused, trying again with another or no assignee", PATIENCE);
    let id = scene.id_of("task-1");
    assert_eq!((scene.sandbox.target().link(id, "assignee"), scene.count(CREATE)), (None, 2));
    worker.stop();
}

#[test]
fn a_right_that_is_missing_in_one_project_parks_and_in_all_of_them_waits() {
    let scene = Scene::set("rights");
    let mut worker = scene.work();
    scene.publish("task-1", "op_create_task", json!({"projectId": 3}));
    let parked = scene.parked();
    assert!(parked["error_message"].as_str().is_some_and(|told| told.contains("MissingPermission")), "{parked}");
    scene.sandbox.target().rules.may_create = false;
    scene.publish("task-2", "op_create_task", json!({}));
    worker.await_log("may not create work packages in any project", PATIENCE);
    scene.sandbox.target().rules.may_create = true;
    scene.await_recorded(1);
    assert_eq!(scene.queues.count(&scene.queues.errors()), 1);
    worker.stop();
}

#[test]
fn a_field_that_is_no_filter_keeps_the_lane_waiting_and_says_what_to_do() {
    let scene = Scene::set("no filter");
    scene.sandbox.target().rules.filterable.clear();
    let mut worker = scene.work();
    scene.publish("task-1", "op_create_task", json!({}));
    worker.await_log("it must be a custom field of type text, with \"Used as a filter\"", PATIENCE);
    assert_eq!(scene.count(CREATE), 0, "a look-up that fails never leads to a create");
    {
        let mut store = scene.sandbox.target();
        store.rules.filterable.insert(MARKER_FIELD);
        store.rules.ignores_custom_filters = true;
        store.put("foreign", Some("foreign"));
    }
    worker.await_log("it shows work packages that were not asked for", PATIENCE);
    assert_eq!(scene.count(CREATE), 0);
    scene.sandbox.target().rules.ignores_custom_filters = false;
    scene.await_recorded(1);
    assert_eq!(scene.sandbox.target().ids_of("task-1").len(), 1);
    worker.stop();
}

#[test]
fn without_a_project_a_task_is_parked_with_what_is_missing() {
    let scene = Scene::set("no project");
    let mut worker = Worker::run(&[], &scene.settings(&[("OPENPROJECT_DEFAULT_PROJECT", "")]));
    scene.publish("task-1", "op_create_task", json!({}));
    let parked = scene.parked();
    assert!(parked["error_message"].as_str().is_some_and(|told| told.contains("variables.projectId")), "{parked}");
    worker.stop();
}

#[test]
fn a_page_with_one_deleted_id_answers_the_others() {
    let scene = Scene::set("deleted id");
    let mut worker = scene.work();
    (0..20).for_each(|number| scene.publish(&format!("task-{number}"), "op_create_task", json!({})));
    scene.await_recorded(20);
    {
        let mut store = scene.sandbox.target();
        let ids: Vec<u64> = (0..20).flat_map(|number| store.ids_of(&format!("task-{number}"))).collect();
        assert!(store.delete(ids[7]));
        ids.iter().filter(|id| **id != ids[7]).for_each(|id| assert!(store.finish(*id, CLOSED, None)));
    }
    scene.queues.await_count(&scene.queues.responses(), 19, PATIENCE);
    assert_eq!(scene.parked()["error_type"], "TASK_NOT_FOUND");
    worker.stop();
}

#[test]
fn a_check_shows_what_the_worker_needs_and_changes_nothing() {
    let scene = Scene::set("check");
    let ended = scene.check(&[]);
    ended
        .ended_with(0)
        .has("ok    openproject: http://127.0.0.1:")
        .has(", version 17.0.0, as Камунда")
        .has("ok    openproject: finished in the states Закрыт, Отклонён")
        .has("ok    openproject: work packages can be found by customField7")
        .has("ok    openproject: work packages may be created in project 2 (Договоры)")
        .has("ok    openproject: type 1 (Задача) of OPENPROJECT_DEFAULT_TYPE")
        .has("ok    openproject: type 2 (Веха) of OPENPROJECT_MILESTONE_TYPE")
        .has("ok    openproject: customField7 (Camunda task) holds the task id")
        .has("ok    openproject: people answer in customField8 (Ответ)");
    assert!(scene.sandbox.target().markers().is_empty());
    let changing = openproject::counts(&scene.sandbox)
        .into_keys()
        .find(|name| !name.starts_with("GET") && !name.ends_with("form"));
    assert_eq!(changing, None);
}

#[test]
fn a_check_says_what_is_missing() {
    let scene = Scene::set("failing check");
    scene.check(&[("OPENPROJECT_TOKEN", "another-token")]).ended_with(1).has("correct OPENPROJECT_TOKEN");
    scene
        .check(&[("OPENPROJECT_DEFAULT_PROJECT", "3"), ("OPENPROJECT_TASK_ID_FIELD", "customField9")])
        .ended_with(1)
        .has("FAIL  openproject: GET work_packages: http status 400 InvalidQuery")
        .has("FAIL  openproject: the user may not create work packages in project 3 (Чужой)");
    scene
        .check(&[("OPENPROJECT_FINISHED_STATUSES", "99"), ("OPENPROJECT_TASK_ID_FIELD", "customField12")])
        .ended_with(1)
        .has("there is no state 99")
        .has("customField12 is no field of project 2 and its type");
}

#[test]
fn explain_shows_every_request() {
    let scene = Scene::set("explain");
    let message = json!({
        "task_id": "task-1", "topic": "op_create_task", "system": "openproject",
        "metadata": {"extensionProperties": {"assigneeId": 17, "Номер договора": "А-7"}},
    });
    let file = std::env::temp_dir().join(format!("{}.json", scene.queues.prefix().replace('/', "-")));
    std::fs::write(&file, message.to_string()).expect("a folder for files of no importance");
    let ended = run(&["explain", file.to_str().expect("a plain name")], &scene.settings(&[]));
    std::fs::remove_file(&file).expect("it was written");
    ended
        .ended_with(0)
        .has("1. GET work_packages: first\n")
        .has("2. POST work_packages/form: if the names of its custom fields are not known\n")
        .has("3. POST work_packages: if it is not there; if it is refused for one of them, again with the default or no assignee\n")
        .has("\"/api/v3/users/17\"")
        .has("customField7");
    assert!(openproject::counts(&scene.sandbox).is_empty());
}
