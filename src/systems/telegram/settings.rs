//! What the `TELEGRAM_…` variables say. It asks nobody.

use std::time::Duration;

use crate::message::whole;
use crate::settings::address::{self, Url, is_this_machine};
use crate::settings::{Secret, Variables};

/// Switches the system on.
pub const TOKEN: &str = "TELEGRAM_BOT_TOKEN";
/// Where a message goes that names no chat.
pub const CHAT_ID: &str = "TELEGRAM_CHAT_ID";
/// Who may press buttons in groups.
pub const ALLOWED_IDS: &str = "TELEGRAM_ALLOWED_IDS";
const API_URL: &str = "TELEGRAM_API_URL";
const LONG_TEXT: &str = "TELEGRAM_LONG_TEXT";

/// In seconds.
const LONGEST_TIMEOUT: u32 = 300;

/// What the `TELEGRAM_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the Bot API is.
    pub api: Api,
    /// Who we are there.
    pub token: Token,
    /// Where a message goes that names no chat.
    pub chat: Option<Chat>,
    /// Persons, and chats in which every person may press.
    pub allowed: Vec<i64>,
    /// What becomes of a text that is longer than a message.
    pub long_text: LongText,
    /// For one request.
    pub request_timeout: Duration,
}

/// A place where the Bot API is spoken.
#[derive(Clone, Debug)]
pub struct Api {
    /// The address without the token and what follows it.
    pub base: String,
    /// Its host is another machine, and the way there is not encrypted.
    pub unprotected: bool,
}

/// A bot's token: the bot's number, and a secret.
#[derive(Clone, Debug)]
pub struct Token {
    whole: Secret,
    bot: String,
}

/// A chat as the Bot API takes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chat {
    /// A person's, a group's (below zero) or a channel's number.
    Id(i64),
    /// The public name of a group or channel, with its `@`.
    Name(String),
}

/// What becomes of a text that is longer than a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongText {
    /// It becomes several messages.
    Split,
    /// The rest is left out.
    Cut,
}

impl Settings {
    /// Reads the settings; without `TELEGRAM_BOT_TOKEN` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let given = variables.secret(TOKEN)?;
        let token = Token::parse(given.expose()).unwrap_or_else(|wrong| {
            variables.error(TOKEN, wrong, "TELEGRAM_BOT_TOKEN=123456:TOKEN-of-BotFather");
            Token::none()
        });
        Some(Settings::with(token, variables))
    }

    /// The same where no bot is needed, since nothing will be sent.
    pub fn without_bot(variables: &mut Variables) -> Settings {
        Settings::with(Token::none(), variables)
    }

    fn with(token: Token, variables: &mut Variables) -> Settings {
        let usual = || Api { base: "https://api.telegram.org".into(), unprotected: false };
        let parse_chat = |given: &str| Chat::parse(given).ok_or(format!("is {given:?}, neither a number nor a @name"));
        Settings {
            api: variables.parsed(API_URL, "TELEGRAM_API_URL=https://api.telegram.org", api).unwrap_or_else(usual),
            token,
            chat: variables.parsed(CHAT_ID, "TELEGRAM_CHAT_ID=-1001234567890", parse_chat),
            allowed: variables.parsed(ALLOWED_IDS, "TELEGRAM_ALLOWED_IDS=17,-1001234567890", ids).unwrap_or_default(),
            long_text: variables.parsed(LONG_TEXT, "TELEGRAM_LONG_TEXT=split", long_text).unwrap_or(LongText::Split),
            request_timeout: variables.seconds_up_to("TELEGRAM_REQUEST_TIMEOUT", 30, LONGEST_TIMEOUT),
        }
    }
}

impl Token {
    fn none() -> Token {
        Token { whole: Secret::default(), bot: "0".into() }
    }

    fn parse(given: &str) -> Result<Token, &'static str> {
        let is_of_a_secret = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let (bot, secret) = given.split_once(':').ok_or("has no colon, so it is no token")?;
        let is_bot = !bot.is_empty() && bot.bytes().all(|byte| byte.is_ascii_digit());
        // A much shorter one could be a word that is meant.
        if !is_bot || secret.len() < 8 || !secret.chars().all(is_of_a_secret) {
            return Err("is no token: those have a number, a colon, and letters, digits, - and _");
        }
        Ok(Token { whole: Secret::new(given), bot: bot.to_owned() })
    }

    /// The token itself, for the place where the request is built.
    pub fn expose(&self) -> &str {
        self.whole.expose()
    }

    /// The bot's number, which is no secret.
    pub fn bot(&self) -> &str {
        &self.bot
    }

    /// The whole, and its second half, which somebody may show alone.
    pub fn secrets(&self) -> Vec<Secret> {
        let half = self.expose().split_once(':').map(|(_, half)| Secret::new(half));
        half.into_iter().chain([self.whole.clone()]).filter(|secret| !secret.expose().is_empty()).collect()
    }
}

impl Chat {
    /// A number, or a public name with its `@`.
    pub fn parse(given: &str) -> Option<Chat> {
        let (digits, sign) = given.strip_prefix('-').map_or((given, 1), |digits| (digits, -1));
        if let Some(id) = whole(digits).and_then(|id| i64::try_from(id).ok()) {
            return (id != 0).then_some(Chat::Id(sign * id));
        }
        let name = given.strip_prefix('@')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| Chat::Name(given.to_owned()))
    }
}

fn api(given: &str) -> Result<Api, String> {
    // Behind it the token follows in any case, so it may be a bare host.
    let whole = format!("{}/bot", given.trim_end_matches('/'));
    let Url { scheme, sign_in, place, path } = address::url(&whole)?;
    if sign_in.is_some() {
        return Err("has a user before its host".into());
    }
    let before = path.strip_suffix("bot").unwrap_or_default().trim_end_matches('/');
    let host = place.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(&*place, |(host, _)| host);
    let unprotected = scheme == "http" && !is_this_machine(host);
    let separator = if before.is_empty() { "" } else { "/" };
    Ok(Api { base: format!("{scheme}://{place}{separator}{before}"), unprotected })
}

fn ids(given: &str) -> Result<Vec<i64>, String> {
    let id = |id: &str| id.trim().parse::<i64>().ok().filter(|id| *id != 0);
    given.split(',').map(id).collect::<Option<_>>().ok_or_else(|| format!("is {given:?}, not a list of numbers"))
}

fn long_text(given: &str) -> Result<LongText, String> {
    match given.to_lowercase().as_str() {
        "split" => Ok(LongText::Split),
        "cut" => Ok(LongText::Cut),
        _ => Err(format!("is {given:?}, neither split nor cut")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_a_bare_host_or_have_a_path() {
        let base = |given| api(given).map(|api| (api.base, api.unprotected));
        assert_eq!(base("https://api.telegram.org/"), Ok(("https://api.telegram.org".into(), false)));
        assert_eq!(base("http://127.0.0.1:8081"), Ok(("http://127.0.0.1:8081".into(), false)));
        assert_eq!(base("http://[::1]:8081"), Ok(("http://[::1]:8081".into(), false)));
        assert_eq!(base("http://bots.example/api/"), Ok(("http://bots.example/api".into(), true)));
        for wrong in ["api.telegram.org", "https://", "https://u:p@bots.example", "https://bots.example/?a=b"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_has_a_number_and_a_secret_and_shows_neither_whole() {
        let token = Token::parse("123456:AAbb-cc_dd").expect("a token");
        assert_eq!((token.bot(), token.expose()), ("123456", "123456:AAbb-cc_dd"));
        assert_eq!(token.secrets(), ["AAbb-cc_dd", "123456:AAbb-cc_dd"].map(Secret::new));
        assert!(!format!("{token:?}").contains("AAbb"));
        for wrong in ["", "123456", "abc:AAbb-cc_dd", "1:short", "1:with/slash?"] {
            assert!(Token::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_chat_is_a_number_or_a_name() {
        assert_eq!(Chat::parse("-100123"), Some(Chat::Id(-100_123)));
        assert_eq!(Chat::parse("@news_1"), Some(Chat::Name("@news_1".into())));
        // As Camunda writes a Double.
        assert_eq!((Chat::parse("-100.0"), Chat::parse("1.7E1")), (Some(Chat::Id(-100)), Some(Chat::Id(17))));
        for wrong in ["0", "-", "", "news", "@", "@a/b", "1.5"] {
            assert_eq!(Chat::parse(wrong), None, "{wrong}");
        }
    }
}
