//! A file with every parked message, a line of JSON each. It appears complete or not at all, and replaces another file
//! only with `--force`.
//!
//! Messages are written as they are, secrets included: so only the owner may read the file. It knows no queue.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, anyhow, bail};

use crate::terminal;

/// An unfinished file; dropping it before [`Export::finish`] removes it.
pub struct Export<'a> {
    file: &'a Path,
    temporary: PathBuf,
    lines: Option<BufWriter<File>>,
    force: bool,
}

impl<'a> Export<'a> {
    /// Starts a temporary file beside `file`. With `force` it will replace an existing `file`.
    ///
    /// # Errors
    /// The folder cannot be written, or the name is taken.
    pub fn start(file: &'a Path, force: bool) -> anyhow::Result<Export<'a>> {
        let name = file.file_name().with_context(|| format!("{} is not the name of a file", file.display()))?;
        match fs::symlink_metadata(file) {
            Ok(there) if !there.is_file() => bail!("{} exists and is no file; choose another name", file.display()),
            Ok(_) if !force => return Err(taken(file)),
            _ => {}
        }
        let temporary = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let opened = opened.with_context(|| format!("writing {}", temporary.display()))?;
        Ok(Export { file, temporary, lines: Some(BufWriter::new(opened)), force })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        writeln!(lines, "{line}").with_context(|| format!("writing {}", self.temporary.display()))
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// The disk is full, or the name was taken meanwhile.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let file = self.file;
        let place = || format!("writing {}", file.display());
        if let Some(lines) = self.lines.take() {
            let opened = lines.into_inner().map_err(|err| err.into_error()).with_context(place)?;
            opened.sync_all().with_context(place)?;
        }
        if !self.force {
            // Unlike a rename, a link never replaces a file that somebody else has made meanwhile.
            match fs::hard_link(&self.temporary, file) {
                Ok(()) => return Ok(()),
                Err(err) if err.kind() == ErrorKind::AlreadyExists => return Err(taken(file)),
                // A file system without links.
                Err(_) => {}
            }
        }
        fs::rename(&self.temporary, file).with_context(place)
    }
}

fn taken(file: &Path) -> anyhow::Error {
    let name = file.to_string_lossy();
    let replace = terminal::command(&["parked", "export", &name, "--force"]);
    anyhow!("{name} exists already and is left as it is; choose another name, or replace it with `{replace}`")
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    #[test]
    fn an_existing_file_is_replaced_only_with_force() {
        let folder = env::temp_dir().join(format!("task-creator-export-{}", process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let file = folder.join("parked.jsonl");
        let export = |force: bool, meanwhile: Option<&str>| {
            let mut export = Export::start(&file, force)?;
            meanwhile.into_iter().for_each(|text| fs::write(&file, text).expect("the folder is writable"));
            export.add("new")?;
            export.finish()
        };
        export(false, None).expect("nothing is in its way");
        let refused = export(false, None).expect_err("the name is taken");
        assert!(refused.to_string().contains(" --force`"), "{refused}");
        fs::remove_file(&file).expect("it is ours");
        // Somebody else was quicker.
        export(false, Some("theirs")).expect_err("the name is taken");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "theirs");
        export(true, None).expect("it was asked for");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "new\n");
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1, "nothing is left beside");
        export(true, None).expect("it was asked for");
        assert!(Export::start(Path::new("/dev/null"), true).is_err(), "a device is never replaced");
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
