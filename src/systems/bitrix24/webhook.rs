//! The address of a portal, with the user who asks and the secret.
//!
//! It sends nothing. It never shows the secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::text::without;
use crate::settings::Secret;
use crate::settings::address::{self, Url};

/// A webhook's address. The secret is in its path, so it is never shown whole.
#[derive(Clone)]
pub struct Webhook {
    url: Secret,
    shown: String,
}

impl Webhook {
    /// A placeholder, when nothing will be sent.
    pub(super) fn nowhere() -> Webhook {
        Webhook { url: Secret::new(""), shown: String::new() }
    }

    /// Takes it apart, or says what is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Webhook, String> {
        let Url { scheme, sign_in, place, path } = address::url(url)?;
        let (before, token) = path.rsplit_once('/').ok_or("has no user and token in its path")?;
        // In `/rest/USER/TOKEN/METHOD` the last part would be taken for the token, and the token would be shown.
        let after_rest = path.split('/').skip_while(|part| *part != "rest").skip(1).count();
        if token.contains('.') || !matches!(after_rest, 0 | 2) {
            return Err("does not end with /rest/USER/TOKEN".into());
        }
        // A user and password before the host would be a secret too.
        let sign_in = sign_in.map(|sign_in| format!("{sign_in}@")).unwrap_or_default();
        Ok(Webhook {
            url: Secret::new(format!("{scheme}://{sign_in}{place}/{path}")),
            shown: format!("{scheme}://{place}/{before}/***"),
        })
    }

    /// The address of a method, for the place where the request is built.
    pub(super) fn url(&self, method: &str) -> String {
        format!("{}/{method}", self.url.expose())
    }

    /// The portal's host, see [`address::place`].
    pub(super) fn host(&self) -> String {
        address::place(&self.shown)
    }

    /// The address at which a person sees the task with this id; it names the webhook's owner, and works for every
    /// user.
    pub fn link(&self, target_id: &str) -> String {
        let (place, user) = self.shown.split_once("/rest/").unwrap_or((&self.shown, "0"));
        let user = user.split('/').next().filter(|user| user.bytes().all(|byte| byte.is_ascii_digit()));
        format!("{place}/company/personal/user/{}/tasks/task/view/{target_id}/", user.unwrap_or("0"))
    }

    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.shown.starts_with("https://")
    }

    /// The host to which the secret travels unencrypted, unless that is this machine.
    pub fn unprotected_host(&self) -> Option<&str> {
        address::unprotected_host(&self.shown)
    }

    /// What must not appear in any output: the token, and the user and password before the host.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = vec![Secret::new(self.token())];
        if let Some(sign_in) = self.sign_in() {
            if let Some((_, password)) = sign_in.split_once(':') {
                secrets.push(Secret::new(password));
            }
            secrets.push(Secret::new(STANDARD.encode(sign_in)));
        }
        secrets
    }

    fn token(&self) -> &str {
        self.url.expose().rsplit('/').next().unwrap_or_default()
    }

    /// `user:password`, which may stand before the host.
    fn sign_in(&self) -> Option<&str> {
        let authority = self.url.expose().split('/').nth(2)?;
        Some(authority.rsplit_once('@')?.0)
    }

    /// The portal's answer without the token, which it may contain: an answer goes into queues.
    pub(super) fn hide_token(&self, answer: Vec<u8>) -> Vec<u8> {
        without(self.token(), answer)
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
