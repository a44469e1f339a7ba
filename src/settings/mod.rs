//! How settings are read, whatever they are: from the environment and `.env`, checked, all errors reported at once.
//!
//! [`variables`] turns texts into numbers, names and switches, [`address`] into hosts and URLs. [`dotenv`] finds the
//! texts, and [`spelling`] says which setting an unknown name may mean. [`mod@file`] opens what a setting names. A
//! leaf: it names no variable and no system, and does not know what a value is for.

pub mod address;
pub mod dotenv;
pub mod file;
pub mod spelling;
pub mod variables;

use std::fmt;

pub use dotenv::{Environment, Given};
pub use variables::{Lookup, Variables};

/// A text that never prints itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the place where a request is built, and for [`crate::redact`].
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// All errors in the settings, a line each.
#[derive(Debug)]
pub struct SettingsErrors(pub Vec<String>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings have {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for SettingsErrors {}

/// The result of reading the variables, if there were no errors.
///
/// # Errors
/// The errors.
pub fn right<T>((made, errors): (T, Vec<String>)) -> Result<T, SettingsErrors> {
    if errors.is_empty() { Ok(made) } else { Err(SettingsErrors(errors)) }
}
