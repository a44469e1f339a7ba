//! What `init` asks, in which order, and what it proposes. The program's own reading of the settings judges each
//! answer, so that nothing is accepted here that the worker refuses. It writes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, io};

use crate::redact::clean;
use crate::settings::address::is_this_machine;
use crate::settings::{Environment, Given};
use crate::systems::table::Setup;
use crate::terminal::prompt::{self, Line};
use crate::terminal::{self, command};

/// A setting that is asked for.
#[derive(Clone, Copy)]
struct Question {
    name: &'static str,
    text: &'static str,
    /// What Enter means where nothing is set.
    proposed: &'static str,
    asks_for: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text that may be seen.
    Plain,
    /// A secret; its blanks are part of it.
    Password,
    /// A secret that may be missing.
    Address,
}

const fn question(name: &'static str, text: &'static str, proposed: &'static str) -> Question {
    Question { name, text, proposed, asks_for: Kind::Plain }
}

const HOST: Question = question("RABBITMQ_HOST", "Host name or address", "localhost");
const TLS: Question = question("RABBITMQ_TLS", "Encrypted connection (amqps), yes or no", "no");
const PORT: Question = question("RABBITMQ_PORT", "Port", "5672");
const USER: Question = question("RABBITMQ_USERNAME", "User", "task-creator");
const PASSWORD: Question =
    Question { asks_for: Kind::Password, ..question("RABBITMQ_PASSWORD", "Password (not shown)", "") };
const VHOST: Question = question("RABBITMQ_VHOST", "Virtual host", "/");
const WEBHOOK: Question =
    Question { asks_for: Kind::Address, ..question("BITRIX_WEBHOOK_URL", "Webhook (not shown)", "") };
const RESPONSIBLE: Question =
    question("BITRIX_DEFAULT_RESPONSIBLE_ID", "Who gets a task that names nobody (a user's number)", "1");
/// The older name of the virtual host; the newer one wins.
const OLDER_VHOST: &str = "RABBITMQ_VIRTUAL_HOST";
const ALL: [Question; 8] = [HOST, TLS, PORT, USER, PASSWORD, VHOST, WEBHOOK, RESPONSIBLE];

/// What a new file gets besides: the usual value is 600, with which a dead link is noticed after minutes.
const HEARTBEAT: (&str, &str) = ("RABBITMQ_HEARTBEAT", "10");

/// Why there are no answers.
pub enum Stopped {
    /// Ctrl+C.
    Interrupted,
    /// Ctrl+D.
    Ended,
    /// The existing file is not to be changed.
    Declined,
    /// The terminal cannot be read.
    Failed(io::Error),
}

/// The settings that are asked for, under both of their names.
pub fn names() -> Vec<String> {
    ALL.iter().flat_map(|question| [question.name.to_owned(), format!("{}_FILE", question.name)]).collect()
}

/// The setting that the environment has, although it is to be asked for.
pub fn set_outside() -> Option<String> {
    names().into_iter().find(|name| env::var_os(name).is_some())
}

/// The answers so far, and the settings that the file has.
pub struct Answers<'a> {
    old: &'a Environment,
    given: BTreeMap<&'static str, String>,
}

impl Answers<'_> {
    /// None yet.
    pub fn new(old: &Environment) -> Answers<'_> {
        Answers { old, given: BTreeMap::new() }
    }

    /// Asks for everything that is to be in the file at this path; first, if it exists, whether it may be changed.
    ///
    /// # Errors
    /// Why there are no answers.
    pub fn ask_all(&mut self, path: &Path, exists: bool) -> Result<(), Stopped> {
        let path = path.display();
        if exists {
            terminal::tell(&format!("{path} exists. Lines for other settings stay in it as they are."), 0);
            confirmed("Change it, yes or no [no]: ")?;
        } else {
            terminal::tell(&format!("This writes the settings of a worker into {path}."), 0);
        }
        terminal::tell("Enter takes what stands in brackets. Ctrl+C ends without a change.", 0);
        self.rabbitmq()?;
        self.bitrix24()
    }

    fn rabbitmq(&mut self) -> Result<(), Stopped> {
        terminal::say("\nRabbitMQ");
        self.ask(HOST)?;
        if !is_this_machine(&self.value_of(HOST)) || self.old.value(TLS.name).is_some() {
            self.ask(TLS)?;
        }
        self.ask(Question { proposed: self.usual_port(), ..PORT })?;
        self.ask(USER)?;
        self.ask(PASSWORD)?;
        self.ask(VHOST)
    }

    fn bitrix24(&mut self) -> Result<(), Stopped> {
        terminal::say("\nBitrix24");
        let sandbox = command(&["sandbox"]);
        terminal::tell(
            &format!(
                "The incoming webhook looks like https://bitrix.example/rest/1/TOKEN. Its owner must be an \
                 administrator; the right \"task\" is enough. Without one, Bitrix24 stays off. To try it without a \
                 portal: `{sandbox}` in another terminal shows a webhook."
            ),
            0,
        );
        self.ask(WEBHOOK)?;
        if self.is_set(WEBHOOK) {
            self.ask(RESPONSIBLE)?;
        }
        Ok(())
    }

    /// Asks until the answer is right.
    fn ask(&mut self, question: Question) -> Result<(), Stopped> {
        let is_secret = question.asks_for != Kind::Plain;
        let proposed = match (is_secret, self.is_set(question)) {
            (true, true) => " [the one that is set]".to_owned(),
            (true, false) if question.asks_for == Kind::Address => " [none]".to_owned(),
            (true, false) => String::new(),
            (false, _) => format!(" [{}]", self.proposed(question)),
        };
        let text = format!("  {}{proposed}: ", question.text);
        loop {
            let line = if is_secret { prompt::hidden(&text) } else { prompt::line(&text) };
            let typed = match line.map_err(Stopped::Failed)? {
                Line::Text(typed) if question.asks_for == Kind::Password => typed,
                Line::Text(typed) => typed.trim().to_owned(),
                Line::Ended => return Err(Stopped::Ended),
                Line::Interrupted => return Err(Stopped::Interrupted),
            };
            let answer = match typed.is_empty() {
                true if is_secret && (self.is_set(question) || question.asks_for == Kind::Address) => return Ok(()),
                true => self.proposed(question),
                false => typed,
            };
            match self.wrong(question.name, &answer) {
                None => {
                    self.given.insert(question.name, answer);
                    return Ok(());
                }
                Some(wrong) => terminal::tell(&format!("  ✗ {}", clean(&wrong)), 4),
            }
        }
    }

    /// What Enter means.
    fn proposed(&self, question: Question) -> String {
        let old = self.old_value(question.name);
        // With another encryption the usual port is another one.
        let old = old.filter(|old| question.name != PORT.name || *old != self.usual_port_before());
        old.unwrap_or_else(|| question.proposed.to_owned())
    }

    /// What the worker takes where no port is set.
    fn usual_port(&self) -> &'static str {
        usual_port(&self.value_of(TLS))
    }

    /// The same before the first answer.
    fn usual_port_before(&self) -> &'static str {
        usual_port(&self.old_value(TLS.name).unwrap_or_else(|| TLS.proposed.to_owned()))
    }

    /// The value in the file, unless it stands there only as an example.
    fn old_value(&self, name: &str) -> Option<String> {
        let is_example =
            |value: &String| value == "change me" || value.ends_with(".example") || value.contains(".example/");
        let older = || self.old.value(OLDER_VHOST).filter(|_| name == VHOST.name);
        let value = self.old.value(name).or_else(older);
        value.filter(|value| !value.trim().is_empty() && !is_example(value))
    }

    /// Whether it is answered or in the file, or a file for it is.
    fn is_set(&self, Question { name, .. }: Question) -> bool {
        let in_file = format!("{name}_FILE");
        self.given.contains_key(name) || self.old_value(name).or_else(|| self.old_value(&in_file)).is_some()
    }

    /// What the worker will take.
    fn value_of(&self, question: Question) -> String {
        let given = self.given.get(question.name).cloned();
        given.or_else(|| self.old_value(question.name)).unwrap_or_else(|| question.proposed.to_owned())
    }

    /// What is wrong with this answer, if anything is.
    fn wrong(&self, name: &str, answer: &str) -> Option<String> {
        if answer.trim().is_empty() {
            return Some(format!("{name} must have a value"));
        }
        if answer.contains(char::is_control) {
            return Some(format!("{name} has a control character, as an arrow key makes it; type it again"));
        }
        if answer.contains(char::REPLACEMENT_CHARACTER) {
            return Some(format!("{name} is not UTF-8; type it again"));
        }
        if answer.contains("${") {
            let instead = format!("put it into a file, and {name}_FILE=path into .env");
            return Some(format!("{name} has ${{ in it, which stands for a variable in .env; {instead}"));
        }
        let found = Setup::found(&|asked: &str| self.given(asked, name, answer).map(Ok)).err()?;
        let own = found.0.into_iter().find(|wrong| wrong.starts_with(&format!("{name} ")))?;
        // The example is a line of .env; here only its value is typed.
        Some(own.replace(&format!("; for example: {name}="), "; for example: "))
    }

    /// The settings with this answer among them. In the file it will stand in quotes where it needs them.
    fn given(&self, asked: &str, name: &str, answer: &str) -> Option<Given> {
        let plain = |value: &str| Given { value: value.to_owned(), place: None, quoted: true };
        match asked.strip_suffix("_FILE") {
            Some(secret) if secret == name || self.given.contains_key(secret) => None,
            _ if asked == name => Some(plain(answer)),
            _ => self.given.get(asked).map(|value| plain(value)).or_else(|| self.old.get(asked)?.ok()),
        }
    }

    /// What is to be written: each answer that is not in the file already. A port that follows from the encryption is
    /// left to follow it.
    pub fn values(&self, existed: bool) -> Vec<(&'static str, String)> {
        let is_there = |name: &str, answer: &String| match self.old.value(name) {
            Some(old) => old == *answer && self.old.value(&format!("{name}_FILE")).is_none(),
            None => name == PORT.name && answer == self.usual_port(),
        };
        let is_wanted =
            |question: &&Question| self.given.get(question.name).is_some_and(|answer| !is_there(question.name, answer));
        let asked = ALL.iter().filter(is_wanted).map(|question| (question.name, self.given[question.name].clone()));
        let (name, value) = HEARTBEAT;
        asked.chain((!existed).then(|| (name, value.to_owned()))).collect()
    }
}

fn usual_port(encrypted: &str) -> &'static str {
    match ["false", "0", "no", "off"].contains(&&*encrypted.to_lowercase()) {
        true => PORT.proposed,
        false => "5671",
    }
}

/// Goes on only after a yes, in English or in Russian.
fn confirmed(text: &str) -> Result<(), Stopped> {
    loop {
        match prompt::line(text).map_err(Stopped::Failed)? {
            Line::Text(answer) => match &*answer.trim().to_lowercase() {
                "y" | "yes" | "д" | "да" => return Ok(()),
                "" | "n" | "no" | "н" | "нет" => return Err(Stopped::Declined),
                _ => terminal::tell("  ✗ it is yes or no", 4),
            },
            Line::Ended => return Err(Stopped::Ended),
            Line::Interrupted => return Err(Stopped::Interrupted),
        }
    }
}
