//! Alerts to people: a real worker, a chat and a mailbox. What is told when is tested step by step beside the code.

use chrono::TimeDelta;
use serde_json::{Value, json};
use task_creator::sandbox::camunda::{Camunda, PASSWORD as ENGINE_PASSWORD, ROOT, USER as ENGINE_USER};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN as SERVICE_TOKEN};
use task_creator::sandbox::smtp::{Mail, SmtpFake};
use task_creator::sandbox::telegram::{GROUP, TOKEN, Telegram};
use task_creator::sandbox::{ANY_CALL, Fault, What};

use crate::email::server_at;
use crate::support::api::Api;
use crate::support::bridge::WORKER_ID;
use crate::support::*;

/// A look every 200 ms, so that ten seconds of the real pace are less than half a second.
const LOOK: (&str, &str) = ("HEARTBEAT_INTERVAL", "0.2");
const OPERATOR: &str = "operator@firma.example";
const PAGE: &str = "https://monitor.example";

struct Scene {
    telegram: HttpFake<Telegram>,
    smtp: SmtpFake,
    service: HttpFake<JobService>,
    queues: Queues,
    worker: Worker,
}

/// Where the fakes are, and who is told.
fn settings(
    scene: (&HttpFake<Telegram>, &SmtpFake),
    queues: &Queues,
    changes: &[(&str, &str)],
) -> Vec<(String, String)> {
    let (telegram, smtp) = scene;
    let (api, port) = (format!("http://{}", telegram.address()), smtp.address().port().to_string());
    let group = GROUP.to_string();
    let own = [
        LOOK,
        ("DEFAULT_ACTION", "park"),
        ("TELEGRAM_BOT_TOKEN", TOKEN),
        ("TELEGRAM_API_URL", &api),
        ("TELEGRAM_REQUEST_TIMEOUT", "60"),
        ("ALERT_TELEGRAM_CHAT", &group),
        ("ALERT_EMAIL_TO", OPERATOR),
        ("ALERT_PAGE_URL", PAGE),
    ];
    let own = [&own[..], &server_at(&port)].concat();
    let kept = own.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed)).copied();
    changed(queues, "", &kept.chain(changes.iter().copied()).collect::<Vec<_>>())
}

impl Scene {
    /// The default system parks everything, or posts it to a service.
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let telegram = HttpFake::start(0, Telegram::default()).expect("a free port");
        let smtp = SmtpFake::start(0).expect("a free port");
        let service = HttpFake::start(0, JobService::default()).expect("a free port");
        let queues = Queues::of("default", &format!("alerts {test}"));
        let url = format!("http://{}{TASKS}", service.address());
        let to_service = [("DEFAULT_URL", url.as_str()), ("DEFAULT_TOKEN", SERVICE_TOKEN)];
        let posts = changes.contains(&("DEFAULT_ACTION", "http"));
        let changes = [changes, if posts { &to_service } else { &[] }].concat();
        let worker = Worker::run(&[], &settings((&telegram, &smtp), &queues, &changes));
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { telegram, smtp, service, queues, worker }
    }

    fn publish(&self, from: u32, count: u32) {
        for number in from..from + count {
            self.queues.publish_task(&json!({
                "task_id": format!("task-{number}"), "topic": "archive", "system": "default",
                "variables": {"title": "Секрет пациента"},
            }));
        }
    }

    /// The texts in the chat.
    fn told(&self) -> Vec<String> {
        self.telegram.target().messages().iter().map(|message| message.text.clone()).collect()
    }

    #[track_caller]
    fn await_told(&self, count: usize) -> Vec<String> {
        eventually_ok(&format!("{count} messages in the chat"), PATIENCE, || {
            let told = self.told();
            if told.len() >= count { Ok(told) } else { Err(format!("{told:?}")) }
        })
    }

    #[track_caller]
    fn await_mails(&self, count: usize) -> Vec<Mail> {
        eventually_some("the mails", PATIENCE, || Some(self.smtp.mails()).filter(|mails| mails.len() >= count))
    }
}

#[test]
fn a_parked_message_is_one_message_in_the_chat_and_one_mail_with_id_cause_and_link() {
    let mut scene = Scene::set("parked", &[]);
    scene.publish(1, 1);
    let head = "default: 1 message is parked";
    let line = format!("{head}: task task-1, NO_SYSTEM");
    assert_eq!(scene.await_told(1)[0], format!("{head}\n\n{line}\n{PAGE}"));
    let mail = scene.await_mails(1).remove(0);
    assert_eq!((mail.to.as_slice(), mail.subject()), (&[OPERATOR.to_owned()][..], head.to_owned()));
    assert!(mail.data.contains(&line) && mail.data.contains(PAGE), "{}", mail.data);
    scene.worker.await_log(&format!("alert sent by telegram: {head}"), PATIENCE);
    scene.worker.await_log(&format!("alert sent by email: {head}"), PATIENCE);
    scene.worker.stop();
    assert_eq!((scene.told().len(), scene.smtp.mails().len()), (1, 1), "the end is no alert");
    Audit::take(&scene.queues, Vec::new()).assert_holds();
}

#[test]
fn of_twelve_parked_messages_the_first_and_the_tenth_are_told() {
    let mut scene = Scene::set("twelve", &[]);
    scene.publish(1, 1);
    scene.await_told(1);
    scene.publish(2, 11);
    let told = scene.await_told(2);
    assert!(told[1].contains(" messages are parked since ") && told[1].contains("the last one is task "), "{told:?}");
    scene.await_mails(2);
    scene.queues.await_count(&scene.queues.errors(), 12, PATIENCE);
    scene.worker.stop();
    assert_eq!((scene.told().len(), scene.smtp.mails().len()), (2, 2));
    assert!(!scene.told().concat().contains("пациента"));
}

#[test]
fn a_target_that_goes_away_and_comes_back_is_told_with_its_reason_and_no_secret() {
    let mut scene = Scene::set("away", &[("DEFAULT_ACTION", "http"), ("RETRY_DELAY", "0.2")]);
    scene.service.order(Fault::before(ANY_CALL, What::html(401, &format!("no right for {SERVICE_TOKEN}"))));
    scene.publish(1, 1);
    let away = scene.await_told(1).remove(0);
    assert!(away.contains("default: the target is away since ") && away.contains("http status 401"), "{away}");
    scene.service.clear_all();
    let back = scene.await_told(2).remove(1);
    assert!(back.contains("default: the target is back, after "), "{back}");
    scene.await_mails(2);
    scene.worker.stop();
    let mails: String = scene.smtp.mails().into_iter().map(|mail| mail.data).collect();
    assert!(!mails.contains(SERVICE_TOKEN) && !scene.told().concat().contains(SERVICE_TOKEN));
}

#[test]
fn a_method_that_cools_down_is_told_as_a_budget_that_is_used_up() {
    let telegram = HttpFake::start(0, Telegram::default()).expect("a free port");
    let smtp = SmtpFake::start(0).expect("a free port");
    let queues = Queues::new("alerts budget");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| match call.method.as_str() {
            "tasks.task.add" => Answer::refused(429, "OPERATION_TIME_LIMIT", ""),
            _ => tasks.answer(call),
        }
    });
    let webhook = portal.webhook();
    let settings = settings((&telegram, &smtp), &queues, &[("BITRIX_WEBHOOK_URL", &webhook), ("DEFAULT_ACTION", "")]);
    let mut worker = Worker::run(&[], &settings);
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    queues.publish_task(&field_message("task-1"));
    let told = eventually_some("the alert", PATIENCE, || telegram.target().messages().first().cloned()).text;
    assert!(told.contains("bitrix24: the request budget is used up since "), "{told}");
    assert!(told.contains("tasks.task.add has used up its running time and is not called for "), "{told}");
    assert!(!told.contains("the target is away"), "{told}");
    worker.stop();
}

#[test]
fn a_pause_and_its_end_are_told() {
    let api = Api::anywhere();
    let mut scene = Scene::set("pause", &api.settings());
    let order = |order: Value| {
        let answer = api.ask("PUT", "/api/v1/lanes/default/state", Some(&order)).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    order(json!({"state": "paused", "reason": "the portal is updated"}));
    let paused = scene.await_told(1).remove(0);
    assert!(paused.contains("default: paused by command since "), "{paused}");
    assert!(paused.contains(": the portal is updated"), "{paused}");
    order(json!({"state": "running"}));
    assert!(scene.await_told(2)[1].contains("default: no longer paused, after "));
    scene.worker.stop();
}

/// A worker with a portal, whose operators have a chat; with these settings besides.
fn at_the_portal(test: &str, portal: &Portal, changes: &[(&str, &str)]) -> (Queues, Chat, Worker) {
    let chat = Chat(HttpFake::start(0, Telegram::default()).expect("a free port"));
    let smtp = SmtpFake::start(0).expect("a free port");
    let (queues, webhook) = (Queues::new(&format!("alerts {test}")), portal.webhook());
    let own = [("BITRIX_WEBHOOK_URL", webhook.as_str()), ("DEFAULT_ACTION", ""), ("ALERT_EMAIL_TO", "")];
    let worker = Worker::run(&[], &settings((&chat.0, &smtp), &queues, &[&own[..], changes].concat()));
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    (queues, chat, worker)
}

struct Chat(HttpFake<Telegram>);

impl Chat {
    /// The message with this number, from 1 on.
    #[track_caller]
    fn told(&self, number: usize) -> String {
        eventually_some("the alert", PATIENCE, || self.0.target().messages().get(number - 1).cloned()).text
    }
}

#[test]
fn a_task_that_lacks_its_answer_for_too_long_is_told_and_that_it_has_it() {
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let (queues, chat, mut worker) = at_the_portal("unanswered", &portal, &[("ALERT_UNANSWERED_AFTER", "1")]);
    queues.publish_task(&field_message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    tasks.set_status("task-1", 5);
    let told = chat.told(1);
    assert!(
        told.contains("bitrix24: 1 task is finished without an answer: for 1s or longer, such as task task-1"),
        "{told}"
    );
    tasks.set("task-1", "UF_RESULT_ANSWER", json!("26"));
    assert!(chat.told(2).contains("bitrix24: no task lacks its answer any more"));
    worker.stop();
}

#[test]
#[ignore = "takes long"]
fn a_lane_that_stands_still_is_told_and_that_it_moves_again() {
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    // The shortest look makes the ten minutes twelve seconds.
    let changes = [("HEARTBEAT_INTERVAL", "0.1"), ("BITRIX_REQUEST_TIMEOUT", "60")];
    let (queues, chat, mut worker) = at_the_portal("stalled", &portal, &changes);
    queues.publish_task(&field_message("task-1"));
    let told = chat.told(1);
    assert!(told.contains("bitrix24: stalled, messages wait and none is settled since "), "{told}");
    assert!(told.contains(": 1 taken and 0 in the queue wait"), "{told}");
    gate.open();
    assert!(chat.told(2).contains("bitrix24: messages are settled again, after "));
    worker.stop();
}

#[test]
fn a_task_that_a_reconciliation_finds_lost_is_told_until_one_that_sees_all_finds_none() {
    let engine = HttpFake::start(0, Camunda::default()).expect("a free port");
    let (telegram, smtp) = (HttpFake::start(0, Telegram::default()), SmtpFake::start(0));
    let (telegram, smtp) = (telegram.expect("a free port"), smtp.expect("a free port"));
    let (portal, api, queues) = (Portal::of(&Tasks::new()), Api::anywhere(), Queues::new("alerts lost"));
    let (url, webhook) = (format!("http://{}{ROOT}", engine.address()), portal.webhook());
    let camunda = [("CAMUNDA_URL", url.as_str()), ("CAMUNDA_USER", ENGINE_USER), ("CAMUNDA_PASSWORD", ENGINE_PASSWORD)];
    // Telegram listens all the time, and a reconciliation would wait for it.
    let mail = [("DEFAULT_ACTION", ""), ("TELEGRAM_BOT_TOKEN", ""), ("ALERT_TELEGRAM_CHAT", "")];
    let own = [("BITRIX_WEBHOOK_URL", webhook.as_str()), ("CAMUNDA_WORKER_ID", WORKER_ID)];
    let changes = [&api.settings()[..], &camunda, &mail, &own].concat();
    let mut worker = Worker::run(&[], &settings((&telegram, &smtp), &queues, &changes));
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    let told = |number: usize| {
        eventually_some("the mail", PATIENCE, || smtp.mails().get(number - 1).map(|mail| mail.subject()))
    };
    let reconcile = |number: u32, state: &str| {
        let started = api.ask("POST", "/api/v1/reconciliations", Some(&json!({"older_than_seconds": 0})));
        assert_eq!(started.expect("an answer").status, 202);
        eventually_ok("its end", PATIENCE, || {
            let told = api.get(&format!("/api/v1/reconciliations/{number}")).map_err(|err| err.to_string())?;
            if told.json()["state"] == state { Ok(()) } else { Err(told.body) }
        });
    };
    let attention = || api.get("/api/v1/status").expect("an answer").json()["attention"].to_string();
    engine.target().lock("task-1", WORKER_ID);
    engine.target().age("task-1", TimeDelta::hours(1));
    reconcile(1, "done");
    assert_eq!(told(1), "reconcile: 1 task is lost");
    // One that fails has found nothing, and says nothing.
    let order = engine.order(Fault::before(ANY_CALL, What::refuse(503, "DOWN", "")));
    reconcile(2, "failed");
    assert!(attention().contains("1 lost task"), "{}", attention());
    engine.clear(&order);
    engine.target().cancel("task-1");
    reconcile(3, "done");
    assert_eq!(told(2), "reconcile: no task is lost any more");
    assert!(!attention().contains("lost"), "{}", attention());
    worker.stop();
}

#[test]
fn a_broker_that_is_away_at_the_start_is_told_once_and_when_it_is_there() {
    let telegram = HttpFake::start(0, Telegram::default()).expect("a free port");
    let smtp = SmtpFake::start(0).expect("a free port");
    let queues = Queues::of("default", "alerts broker");
    let relay = Relay::to(RabbitMq::from_env().address());
    relay.refuse();
    let port = relay.port().to_string();
    let away = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", port.as_str())];
    let mut worker = Worker::run(&[], &settings((&telegram, &smtp), &queues, &away));
    let told = |count: usize| {
        eventually_some("the alert", PATIENCE, || telegram.target().messages().get(count - 1).cloned()).text
    };
    let away = told(1);
    assert_eq!(away.matches("RabbitMQ: no session since ").count(), 2, "the heading and one line: {away}");
    relay.accept();
    let back = told(2);
    assert!(back.contains("RabbitMQ: connected again, after "), "{back}");
    worker.stop();
    assert_eq!(telegram.target().messages().len(), 2);
}

#[test]
fn a_bot_that_does_not_answer_holds_up_neither_the_mail_nor_the_work_nor_the_end() {
    let mut scene = Scene::set("bot down", &[]);
    let held = scene.telegram.order(Fault::before(format!("POST /bot{TOKEN}/sendMessage"), What::Hang(None)));
    scene.publish(1, 1);
    scene.await_mails(1);
    eventually("the message hangs", PATIENCE, || held.struck() > 0);
    scene.publish(2, 3);
    scene.queues.await_count(&scene.queues.errors(), 4, PATIENCE);
    scene.worker.stop();
    assert!(scene.told().is_empty());
    Audit::take(&scene.queues, Vec::new()).assert_holds();
}

#[test]
fn a_mail_server_that_hangs_holds_up_neither_the_chat_nor_the_end() {
    let mut scene = Scene::set("mail down", &[]);
    let held = scene.smtp.order(Fault::before("BODY", What::Hang(None)));
    scene.publish(1, 1);
    scene.await_told(1);
    eventually("the mail hangs", PATIENCE, || held.struck() > 0);
    scene.worker.stop();
    assert!(scene.smtp.mails().is_empty());
}

#[test]
fn a_message_that_did_not_go_is_logged_once_and_goes_when_the_bot_is_back() {
    let mut scene = Scene::set("bot back", &[]);
    let call = format!("POST /bot{TOKEN}/sendMessage");
    scene.telegram.order(Fault::before(call, What::html(502, "<h1>Bad Gateway</h1>")).times(2));
    scene.publish(1, 1);
    scene.worker.await_log("an alert does not go out by telegram, next try in ", PATIENCE);
    assert!(scene.await_told(1)[0].contains("1 message is parked"));
    scene.worker.stop();
    assert_eq!(scene.worker.log().matches("an alert does not go out").count(), 1, "{}", scene.worker.log());
    assert_eq!(scene.smtp.mails().len(), 1, "that alerts fail is no alert");
}

#[test]
fn check_says_who_is_told_and_sends_nothing() {
    let telegram = HttpFake::start(0, Telegram::default()).expect("a free port");
    let smtp = SmtpFake::start(0).expect("a free port");
    let queues = Queues::of("default", "alerts check");
    let check = |changes: &[(&str, &str)]| run(&["check"], &settings((&telegram, &smtp), &queues, changes));
    check(&[])
        .has("ok    alerts: telegram tells chat ")
        .has(&format!("ok    alerts: email tells {OPERATOR} (ALERT_EMAIL_TO)"))
        .ended_with(0);
    check(&[("ALERT_TELEGRAM_CHAT", "5")]).has("FAIL  alerts: ALERT_TELEGRAM_CHAT: ").ended_with(1);
    check(&[("ALERT_TELEGRAM_CHAT", ""), ("ALERT_EMAIL_TO", "")]).has("off   alerts: ").ended_with(0);
    assert!(telegram.target().messages().is_empty() && smtp.mails().is_empty());
}

#[test]
fn who_cannot_be_told_is_a_settings_error() {
    let queues = Queues::undeclared("alerts settings");
    let check = |changes: &[(&str, &str)]| run_with(&["check"], &queues, "", changes);
    check(&[("ALERT_TELEGRAM_CHAT", "17"), ("ALERT_EMAIL_TO", OPERATOR)])
        .has("ALERT_TELEGRAM_CHAT is set, but telegram cannot tell anybody: TELEGRAM_BOT_TOKEN is not set")
        .has("ALERT_EMAIL_TO is set, but email cannot tell anybody: EMAIL_SMTP_HOST is not set")
        .ended_with(78);
    let mail = [("EMAIL_SMTP_HOST", "mail.example"), ("EMAIL_FROM", "camunda@firma.example")];
    let wrong = [("TELEGRAM_BOT_TOKEN", TOKEN), ("ALERT_TELEGRAM_CHAT", "news"), ("ALERT_EMAIL_TO", "operator")];
    check(&[&mail[..], &wrong, &[("ALERT_PAGE_URL", "monitor")]].concat())
        .has("ALERT_TELEGRAM_CHAT is \"news\", neither a number nor a @name; for example: ALERT_TELEGRAM_CHAT=-1001")
        .has("ALERT_EMAIL_TO has \"operator\", which has no @")
        .has("ALERT_PAGE_URL is not a URL")
        .ended_with(78);
}
