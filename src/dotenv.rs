//! `.env`: adds to the environment what is not set there. It holds passwords, so its permissions are looked at, and no
//! line of it is ever shown.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::Mistakes;
use crate::terminal;

/// Loads the file, if there is one, and tells the terminal what should better be changed about it. Call it before the
/// first thread is started.
///
/// # Errors
/// As [`read`].
pub fn load(file: &Path) -> Result<(), Mistakes> {
    if let Some(advice) = read(file)? {
        terminal::complain(&advice);
    }
    Ok(())
}

/// Loads the file, if there is one, and returns what should better be changed about it.
///
/// # Errors
/// [`Mistakes`] when the file cannot be read, has a line that is not a setting, or can be written by others.
pub fn read(file: &Path) -> Result<Option<String>, Mistakes> {
    let mistake = |text: String| Mistakes(vec![format!("{}: {text}", file.display())]);
    let mode = match fs::metadata(file) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(mistake(format!("cannot be read: {err}"))),
    };
    if mode & 0o022 != 0 {
        return Err(mistake("others may write to it, and so direct this program; do: chmod 600 .env".into()));
    }
    dotenvy::from_path(file).map_err(|err| {
        mistake(match err {
            // The error would show the line, and with it perhaps a password.
            dotenvy::Error::LineParse(..) => format!(
                "{} is not NAME=value, or a quote in it is not closed; a value with blanks or signs: NAME='a value'",
                place_of_mistake(file)
            ),
            err => format!("cannot be read: {err}"),
        })
    })?;
    let readable = mode & 0o044 != 0;
    Ok(readable.then(|| format!("{} can be read by others; advised: chmod 600 .env", file.display())))
}

/// Where the first line is that cannot be read, told by the name in the last good one.
fn place_of_mistake(file: &Path) -> String {
    let lines = dotenvy::from_path_iter(file).into_iter().flatten();
    match lines.map_while(Result::ok).last() {
        Some((name, _)) => format!("the line after that of {name}"),
        None => "the first line with a setting".into(),
    }
}
