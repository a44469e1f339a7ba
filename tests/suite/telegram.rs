//! Telegram, from the queue to the answer: what is finished when it is sent, and what people finish by a button. What
//! every system has to stand is in `systems`.

use std::time::{Duration, Instant};

use crate::support::*;
use serde_json::{Value, json};
use task_creator::config::Config;
use task_creator::rabbitmq::connection::Connection;
use task_creator::rabbitmq::queues;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::telegram::{GROUP, Message, PERSON, TOKEN, Telegram};
use task_creator::sandbox::{Fault, What};
use task_creator::stop;

/// Nobody waits for the next sweep.
const RARE_SWEEPS: (&str, &str) = ("HEARTBEAT_INTERVAL", "3600");

struct Scene {
    queues: Queues,
    fake: HttpFake<Telegram>,
    worker: Worker,
}

fn settings(queues: &Queues, fake: &HttpFake<Telegram>, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let api = format!("http://{}", fake.address());
    let person = PERSON.to_string();
    let own = [
        ("TELEGRAM_BOT_TOKEN", TOKEN),
        ("TELEGRAM_API_URL", &api),
        ("TELEGRAM_CHAT_ID", &person),
        ("LOG_LEVEL", "DEBUG"),
        ("RETRY_DELAY", "0.2"),
    ];
    changed(queues, "", &[&own[..], changes].concat())
}

impl Scene {
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::of("telegram", test);
        // Where there is none, the first sweep has nothing to look at, and nobody listens before the next one.
        queues.declare(&queues.sent());
        let fake = HttpFake::start(0, Telegram::default()).expect("loopback has a free port");
        let worker = Worker::run(&[], &settings(&queues, &fake, changes));
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { queues, fake, worker }
    }

    /// Publishes a question, and waits until it is recorded.
    fn ask(&self, id: &str) -> Message {
        let question = json!({"UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "Согласовать?"});
        self.queues.publish_task(&message(id, "telegram_task", json!({"title": id}), question));
        self.queues.await_count(&self.queues.sent(), 1, PATIENCE);
        self.fake.target().messages().last().cloned().expect("it is sent")
    }

    fn press(&self, message: &Message, button: &str) {
        assert!(self.fake.target().press(PERSON, message.chat, message.id, button));
    }

    #[track_caller]
    fn await_acknowledged(&self, queue: &str) {
        eventually("the ack", PATIENCE, || self.queues.unacked(queue).is_none_or(|count| count == 0));
    }

    fn calls(&self, method: &str) -> usize {
        self.fake.asked().iter().filter(|asked| asked.path.ends_with(method)).count()
    }

    #[track_caller]
    fn response(&self) -> Value {
        self.queues.await_count(&self.queues.responses(), 1, PATIENCE);
        self.queues.peek_all(&self.queues.responses())[0].json()
    }

    #[track_caller]
    fn end(mut self) {
        self.worker.stop();
        let sent = self
            .fake
            .target()
            .messages()
            .iter()
            .map(|message| message.text.lines().next().unwrap_or_default().to_owned())
            .collect();
        Audit::take(&self.queues, sent).assert_holds();
    }
}

/// Its title, which is its first line, is the id.
fn message(id: &str, topic: &str, variables: Value, extensions: Value) -> Value {
    json!({
        "task_id": id, "topic": topic, "system": "telegram", "variables": variables, "activity_id": "Agree",
        "metadata": {"extensionProperties": extensions},
    })
}

#[test]
fn a_notification_is_answered_when_it_is_sent() {
    let scene = Scene::set("telegram notification", &[RARE_SWEEPS]);
    scene.queues.publish_task(&message(
        "task-1",
        "send_telegram",
        json!({"title": "task-1", "text": "1 < 2"}),
        json!({}),
    ));
    let response = scene.response();
    let task = &response["response_data"]["result"]["task"];
    assert_eq!((&task["status"], &task["ufResultExpected"]), (&json!("sent"), &json!("0")));
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0);
    scene.worker.await_log("answered to Camunda: task=task-1", PATIENCE);
    // Once more, as a bridge sends it that was not sure.
    scene.queues.publish_task(&message(
        "task-1",
        "send_telegram",
        json!({"title": "task-1", "text": "1 < 2"}),
        json!({}),
    ));
    scene.worker.await_log("received again although finished, nothing to do: task=task-1", PATIENCE);
    scene.end();
}

#[test]
fn a_press_is_answered_at_once_and_the_buttons_go_once_the_response_is_safe() {
    let scene = Scene::set("telegram press", &[RARE_SWEEPS]);
    let message = scene.ask("task-1");
    eventually("listening", PATIENCE, || scene.calls("getUpdates") > 0);
    scene.press(&message, "ДА");
    let response = scene.response();
    let task = &response["response_data"]["result"]["task"];
    assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&json!("1"), &json!("ДА")));
    assert_eq!(response["processing_status"], "completed_by_tracker");
    eventually("the buttons go", PATIENCE, || scene.fake.target().messages()[0].buttons.is_empty());
    eventually("it is settled", PATIENCE, || scene.fake.target().unsettled() == 0);
    assert_eq!(scene.fake.target().told(), ["Принято: ДА"]);
    scene.end();
}

#[test]
fn a_press_outlives_a_crash_before_its_response_and_after_it() {
    let mut scene = Scene::set("telegram crash", &[RARE_SWEEPS]);
    let message = scene.ask("task-1");
    eventually("listening", PATIENCE, || scene.calls("getUpdates") > 0);
    // Otherwise the message comes back with the kill, and is sent once more.
    scene.await_acknowledged(&scene.queues.input());
    scene.worker.kill();
    scene.press(&message, "НЕТ");
    // It dies again when the response is out, and before Telegram hears of it.
    let held = scene.fake.order(Fault::before(format!("POST /bot{TOKEN}/answerCallbackQuery"), What::Hang(None)));
    scene.worker.start_again();
    assert_eq!(scene.response()["response_data"]["result"]["task"]["ufResultAnswer_text"], "НЕТ");
    eventually("it hangs", PATIENCE, || held.struck() > 0);
    // Otherwise the record may come back with the kill, and be answered once more.
    scene.await_acknowledged(&scene.queues.sent());
    scene.worker.kill();
    scene.fake.clear_all();
    scene.fake.release();
    assert_eq!(scene.fake.target().unsettled(), 1);
    // The press comes again, and has no record any more. The buttons stay: a record might have been late.
    let mut again = Worker::run(&[], &settings(&scene.queues, &scene.fake, &[("HEARTBEAT_INTERVAL", "0.5")]));
    eventually("the person is told", PATIENCE, || !scene.fake.target().told().is_empty());
    again.stop();
    assert_eq!(scene.queues.count(&scene.queues.responses()), 1);
    assert!(scene.fake.target().told()[0].starts_with("Задача сейчас не открыта"));
    Audit::take(&scene.queues, vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_target_that_answers_at_once_with_nothing_is_asked_once_a_second_by_one_of_two_workers() {
    let scene = Scene::set("telegram pace", &[RARE_SWEEPS]);
    let mut other = Worker::run(&[], &settings(&scene.queues, &scene.fake, &[("HEARTBEAT_INTERVAL", "0.2")]));
    other.await_log("another worker is sweeping", PATIENCE);
    let (asked, started) = (scene.calls("getUpdates"), Instant::now());
    eventually("four questions", PATIENCE, || scene.calls("getUpdates") >= asked + 4);
    assert!(started.elapsed() >= Duration::from_secs(3), "{:?}", started.elapsed());
    // The one that listens goes, and the other takes over.
    let Scene { queues, fake, mut worker } = scene;
    worker.stop();
    let asked = fake.asked().len();
    eventually("the other listens", PATIENCE, || fake.asked().len() > asked);
    other.stop();
    Audit::take(&queues, Vec::new()).assert_holds();
}

/// `reconcile` is one of those who do.
#[test]
fn who_waits_for_the_sweep_lock_gets_it_although_the_tracker_listens_all_the_time() {
    let scene = Scene::set("telegram handover", &[("HEARTBEAT_INTERVAL", "1")]);
    let settings = settings(&scene.queues, &scene.fake, &[]);
    let value = |name: &str| settings.iter().rev().find(|(known, _)| known == name).map(|(_, own)| own.clone());
    let config = Config::read(value).expect("right settings");
    let lock = task_creator::queues::Queues::of("telegram", &config).sweep_lock;
    let (_stopper, stop) = stop::signal();
    for time in 1..=5 {
        let asked = scene.calls("getUpdates");
        eventually("listening", PATIENCE, || scene.calls("getUpdates") > asked);
        let mut connection = Connection::open(&config.rabbitmq, "waits").expect("a connection");
        let is_ours = queues::lock_within(&mut connection, &lock, Duration::from_secs(2), &stop);
        assert!(is_ours.expect("the broker answers"), "the {time}. time");
        connection.close().expect("it ends");
    }
    scene.end();
}

#[test]
fn a_flood_and_a_webhook_are_waited_out() {
    let scene = Scene::set("telegram flood", &[RARE_SWEEPS, ("RETRY_ATTEMPTS", "1")]);
    let body = task_creator::sandbox::telegram::flood(1);
    let flood = What::Raw { status: 429, content_type: "application/json", body };
    scene.fake.order(Fault::before(format!("POST /bot{TOKEN}/sendMessage"), flood).times(2));
    scene.fake.target().set_webhook("https://elsewhere.example");
    let message = scene.ask("task-1");
    scene.worker.await_log("the target does not tell what people do, asking again in", PATIENCE);
    scene.press(&message, "ДА");
    scene.fake.target().set_webhook("");
    assert_eq!(scene.response()["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    scene.end();
}

#[test]
fn without_a_token_its_queue_is_left_alone() {
    let queues = Queues::of("telegram", "telegram off");
    let mut worker = Worker::run(&[], &changed(&queues, "", &[("TELEGRAM_CHAT_ID", "17")]));
    worker.await_log("telegram: TELEGRAM_BOT_TOKEN is not set", PATIENCE);
    queues.publish_task(&message("task-1", "send_telegram", json!({}), json!({})));
    assert_eq!((queues.consumers(&queues.input()), queues.count(&queues.input())), (0, 1));
    worker.stop();
}

#[test]
fn check_looks_at_bot_webhook_and_chat() {
    let queues = Queues::of("telegram", "telegram check");
    let fake = HttpFake::start(0, Telegram::default()).expect("loopback has a free port");
    let check = |changes: &[(&str, &str)]| run(&["check"], &settings(&queues, &fake, changes));
    check(&[])
        .has("telegram: the bot is @sandbox_bot")
        .has("has no webhook")
        .has("TELEGRAM_CHAT_ID is \"Песочница\"")
        .ended_with(0);
    check(&[("TELEGRAM_CHAT_ID", &GROUP.to_string())]).has("TELEGRAM_ALLOWED_IDS is not set").ended_with(0);
    check(&[("TELEGRAM_CHAT_ID", "5")]).has("FAIL").has("chat not found").ended_with(1);
    fake.target().set_webhook("https://elsewhere.example");
    check(&[]).has("call deleteWebhook").ended_with(1);
    check(&[("TELEGRAM_BOT_TOKEN", "123456:another-token")])
        .has("correct TELEGRAM_BOT_TOKEN")
        .has_not("another-token")
        .ended_with(1);
}

#[test]
fn explain_shows_the_requests_of_the_worker_and_asks_nobody() {
    let scene = Scene::set("telegram explain", &[RARE_SWEEPS]);
    let body = message("task-1", "telegram_task", json!({"title": "task-1", "text": "a & b"}), json!({}));
    let file = scene.worker.folder().join("message.json");
    std::fs::write(&file, body.to_string()).expect("the folder is writable");
    let explained = run(&["explain", file.to_str().expect("a plain name")], &settings(&scene.queues, &scene.fake, &[]));
    assert!(scene.calls("sendMessage") == 0);
    scene.queues.publish_task(&body);
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    let asked = scene.fake.asked().into_iter().find(|asked| asked.path.ends_with("sendMessage")).expect("it was sent");
    let told: String = explained.output.split_whitespace().collect();
    let sent: String = asked.json().to_string().split_whitespace().collect();
    assert!(told.contains(&sent), "{sent} is not in\n{}", explained.output);
    explained.has("getUpdates").has("answerCallbackQuery").has("editMessageReplyMarkup");
    scene.end();
}
