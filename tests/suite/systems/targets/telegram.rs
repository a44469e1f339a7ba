//! Telegram as a target: the sandbox's, behind a relay that can refuse connections. Its messages are tasks with a
//! question.

use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::telegram::{PERSON, TOKEN, Telegram as Fake};
use task_creator::sandbox::{self, ANY_CALL};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};

pub struct Telegram {
    pub fake: HttpFake<Fake>,
    faults: Faults,
}

/// The task whose buttons a message was sent with.
fn task_of(message: &sandbox::telegram::Message) -> Option<String> {
    let (_, data) = message.first_buttons.first()?;
    data.split_once(':').map(|(_, id)| id.to_owned())
}

impl Target for Telegram {
    const SYSTEM: &'static str = "telegram";
    const IS_LOOKED_UP: bool = false;

    fn start() -> Telegram {
        let fake = HttpFake::start(0, Fake::default()).expect("loopback has a free port");
        let faults = Faults::before(fake.address());
        Telegram { fake, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TELEGRAM_BOT_TOKEN", TOKEN.into()),
            ("TELEGRAM_API_URL", format!("http://{}", self.faults.address())),
            ("TELEGRAM_CHAT_ID", PERSON.to_string()),
            ("TELEGRAM_REQUEST_TIMEOUT", "1".into()),
        ]
    }

    fn message(&self, id: &str) -> String {
        serde_json::json!({
            "task_id": id,
            "topic": "telegram_task",
            "system": "telegram",
            "variables": {"title": "Договор <№7> & «Ёлка»"},
            "activity_id": "Activity_invented",
            "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "Согласован?"}},
        })
        .to_string()
    }

    fn tasks(&self) -> Vec<String> {
        self.fake.target().messages().iter().map(|message| task_of(message).unwrap_or_default()).collect()
    }

    fn is_whole(&self, _: &str) -> bool {
        true
    }

    fn finish(&self, id: &str) {
        let message =
            self.fake.target().messages().iter().find(|message| task_of(message).as_deref() == Some(id)).cloned();
        let message = message.expect("it is there");
        assert!(self.fake.target().press(PERSON, message.chat, message.id, "ДА"));
    }

    fn delete(&self, _: &str) {
        unreachable!("a bot does not learn that a message was deleted");
    }

    fn fail(&self, fault: Fault, words: &str) {
        let create = format!("POST /bot{TOKEN}/sendMessage");
        let failing = Failing {
            create: create.clone().into(),
            refused: sandbox::Fault::before(create, refusal(400, "", words)),
            unauthorised: sandbox::Fault::before(ANY_CALL, refusal(401, "", words)),
            words,
        };
        self.faults.fail(fault, failing, |fault| self.fake.order(fault));
    }

    fn mend(&self) {
        self.faults.accept();
        self.fake.clear_all();
        self.fake.release();
    }

    fn struck(&self) -> u64 {
        self.faults.struck()
    }

    fn secret(&self) -> &str {
        TOKEN
    }
}
