//! A file of settings that gets some new values: everything else in it stays. It is replaced in one step, so that
//! others see the old file or the new one, and so does who comes after a crash.
//!
//! It does not know what a setting means. A symbolic link stays; the file behind it is replaced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, bail};
use nix::unistd::{AccessFlags, access};

use crate::settings::dotenv::syntax::{self, Statement, Value};

/// The first lines of a new file.
const HEAD: &str = "\
# Settings of task-creator, written by `task-creator init`. It can be repeated.
# `task-creator print env` has all settings, with default, meaning and unit.
";

/// The file, as it is before anything is changed.
pub struct Dotenv {
    /// Behind all links.
    path: PathBuf,
    /// `None` while there is none.
    text: Option<String>,
}

impl Dotenv {
    /// Looks at the file of this name.
    ///
    /// # Errors
    /// It is no file with text in UTF-8, or cannot be read, or its folder takes no file.
    pub fn find(file: &Path) -> anyhow::Result<Dotenv> {
        let path = behind_links(file)?;
        let shown = path.display().to_string();
        // Found out now, and not after the last question.
        access(folder_of(&path), AccessFlags::W_OK).with_context(|| {
            format!("{shown} cannot be written; go to a folder that is yours, or be root (sudo). Nothing was asked")
        })?;
        match fs::metadata(&path) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Dotenv { path, text: None }),
            Err(err) => return Err(err).context(shown),
            Ok(metadata) if !metadata.is_file() => bail!("{shown} is no file"),
            Ok(_) => {}
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {shown}"))?;
        Ok(Dotenv { path, text: Some(text) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is there anything in it?
    pub fn is_there(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !text.trim().is_empty())
    }

    /// Looks whether these settings can be replaced alone.
    ///
    /// # Errors
    /// One of them goes over several lines: its quotes are open, and hold lines that are to stay.
    pub fn expect_one_line_each(&self, names: &[String]) -> anyhow::Result<()> {
        let statements = syntax::parse(self.text.as_deref().unwrap_or_default());
        match statements.iter().find(|statement| statement.last > statement.line && names.contains(&statement.name)) {
            Some(Statement { name, line, last, .. }) => bail!(
                "{}, line {line}: the quotes of {name} are closed only in line {last}; close them in their line first",
                self.path.display()
            ),
            None => Ok(()),
        }
    }

    /// Writes it with these values, each in place of the old one. A new file is for this user, or else for the owner of
    /// its folder, if we can give it away.
    ///
    /// # Errors
    /// It cannot be written, somebody else has changed it, or a value cannot be in such a file.
    pub fn write(&self, values: &[(&str, String)], user: Option<u32>) -> anyhow::Result<()> {
        let text = with_values(self.text.as_deref().filter(|_| self.is_there()).unwrap_or(HEAD), values);
        if let Some((name, _)) = values.iter().find(|(name, value)| read_back(&text, name).as_ref() != Some(value)) {
            bail!("{name} cannot be written into such a file; nothing was written");
        }
        let folder = folder_of(&self.path);
        let temporary = folder.join(format!(".task-creator-init.{}", process::id()));
        self.replace(&temporary, &text, user).inspect_err(|_| drop(fs::remove_file(&temporary))).with_context(
            || {
                let shown = self.path.display();
                format!("{shown} cannot be written and stays as it was; its owner can, or root (sudo)")
            },
        )?;
        // So that the new name, too, outlives a crash. Where a folder cannot be synchronised, it is there all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    fn replace(&self, temporary: &Path, text: &str, user: Option<u32>) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        if let Some(old) = &self.text {
            let before = fs::metadata(&self.path)?;
            // A group that may read it goes on reading; nobody else does.
            let group = if given(&file, before.uid(), before.gid())? { before.mode() & 0o040 } else { 0 };
            file.set_permissions(Permissions::from_mode(0o600 | group))?;
            if fs::read_to_string(&self.path)? != *old {
                bail!("somebody has changed it meanwhile");
            }
        } else {
            let folder = fs::metadata(folder_of(&self.path))?;
            // Only root can give a file away.
            let _ = given(&file, user.unwrap_or(folder.uid()), folder.gid());
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        Ok(())
    }
}

/// Gives the file to this user and this group; returns whether the group has it. Our own file stays without a group
/// that we are not in.
fn given(file: &File, user: u32, group: u32) -> io::Result<bool> {
    match file.metadata()?.uid() == user {
        true => Ok(fchown(file, None, Some(group)).is_ok()),
        false => fchown(file, Some(user), Some(group)).map(|()| true),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file of this name is, or would be made.
fn behind_links(file: &Path) -> anyhow::Result<PathBuf> {
    match fs::canonicalize(file) {
        Err(err) if err.kind() == ErrorKind::NotFound => {}
        found => return found.with_context(|| file.display().to_string()),
    }
    // A link may lead to a file that is not there yet.
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(fs::read_link(file).map_or_else(|_| file.to_owned(), |target| folder.join(target)))
}

/// The text with these values: in place of the old ones, or at the end. A line that names a file with the value goes.
fn with_values(text: &str, values: &[(&str, String)]) -> String {
    // As lines are counted when they are read.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<Option<String>> = text.lines().map(|line| Some(line.to_owned())).collect();
    let statements = syntax::parse(&text);
    for (name, value) in values {
        let in_file = format!("{name}_FILE");
        let old = statements.iter().filter(|statement| statement.name == *name || statement.name == in_file);
        let mut place = None;
        for statement in old {
            lines[statement.line - 1..statement.last].fill(None);
            place = Some(statement.line - 1);
        }
        let line = Some(format!("{name}={}", quoted(value)));
        match place {
            Some(place) => lines[place] = line,
            None => lines.push(line),
        }
    }
    lines.into_iter().flatten().map(|line| line + "\n").collect()
}

/// The value as every reader of such a file understands it.
fn quoted(value: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "-_./:@%+,".contains(sign);
    match !value.is_empty() && value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
    }
}

/// The value that a reader of this text gets, if nothing is replaced in it.
fn read_back(text: &str, name: &str) -> Option<String> {
    let last = syntax::parse(text).into_iter().rfind(|statement| statement.name == name)?;
    match last.value {
        Value::Text { text, .. } => Some(syntax::interpolated(&text, |_| None).0),
        Value::Absent | Value::Unreadable(_) => None,
    }
}

#[cfg(test)]
mod tests;
