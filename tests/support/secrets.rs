//! What must not come out of the program: the secrets in its settings, in every form in which they could, and the
//! search for them. It knows the names of settings, and no code of the program.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// A shorter value may be a part of a word; the program does not hide it either.
const SHORTEST: usize = 4;

/// Every secret of these settings, in every form.
pub fn in_settings(settings: &[(String, String)]) -> Vec<String> {
    let value = |wanted: &str| settings.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let user = value("RABBITMQ_USERNAME").unwrap_or("admin");
    let password = value("RABBITMQ_PASSWORD").map(|password| (password, user));
    let token = value("BITRIX_WEBHOOK_URL").and_then(token).map(|token| (token, "1"));
    let service_token = value("PYTHON_TOKEN").map(|token| (token, "1"));
    let openproject = value("OPENPROJECT_TOKEN").map(|token| (token, "apikey"));
    let celery_user = value("CELERY_USERNAME").unwrap_or("admin");
    let celery = value("CELERY_PASSWORD").map(|password| (password, celery_user));
    let camunda_user = value("CAMUNDA_USER").unwrap_or_default();
    let camunda = value("CAMUNDA_PASSWORD").map(|password| (password, camunda_user));
    let secrets = [password, token, service_token, openproject, celery, camunda]
        .into_iter()
        .flatten()
        .filter(|(secret, _)| secret.len() >= SHORTEST);
    secrets.flat_map(|(secret, user)| dressed(secret, user)).collect()
}

/// The last part of a webhook; a URL that is no webhook has no secret.
fn token(webhook: &str) -> Option<&str> {
    let (_, path) = webhook.split_once("/rest/")?;
    path.trim_end_matches('/').rsplit('/').next()
}

/// A secret in every form in which it could come out.
pub fn dressed(secret: &str, user: &str) -> Vec<String> {
    let (pair, plain_sasl) = (format!("{user}:{secret}"), format!("\0{user}\0{secret}"));
    vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, CONTROLS).to_string(),
        secret.escape_unicode().to_string(),
        STANDARD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        STANDARD.encode(pair),
        STANDARD.encode(plain_sasl),
    ]
}

/// Every file below this folder, except `.env`, where secrets belong: its name and its contents.
pub fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path if path.file_name().is_some_and(|name| name == ".env") => {}
            // A device may have no end.
            path if !path.is_file() => {}
            path => {
                let text = fs::read(&path).unwrap_or_default();
                found.push((path.display().to_string(), String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    found
}

/// The first place that holds one of these secrets, with the text there.
pub fn found_in(places: &[(String, String)], secrets: &[String]) -> Option<String> {
    places.iter().find_map(|(place, text)| {
        let (secret, at) = secrets.iter().find_map(|secret| Some((secret, text.find(secret.as_str())?)))?;
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        Some(format!("{place} holds {secret:?}: {}…", text[line..].chars().take(400).collect::<String>()))
    })
}
