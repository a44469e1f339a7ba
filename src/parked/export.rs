//! A file with every parked message, a line of JSON each; it appears whole or not at all.
//!
//! The lines are to the letter, secrets included if a message holds any: so only the owner may read the file.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::Context as _;

/// A file on its way; removed when it is dropped before [`Export::finish`].
pub struct Export<'a> {
    file: &'a Path,
    passing: PathBuf,
    lines: Option<BufWriter<File>>,
}

impl<'a> Export<'a> {
    /// Begins a file beside the one that it will become.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(file: &'a Path) -> anyhow::Result<Export<'a>> {
        let name = file.file_name().with_context(|| format!("{} is not the name of a file", file.display()))?;
        let passing = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), process::id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&passing);
        let opened = opened.with_context(|| format!("writing {}", passing.display()))?;
        Ok(Export { file, passing, lines: Some(BufWriter::new(opened)) })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        writeln!(lines, "{line}").with_context(|| format!("writing {}", self.passing.display()))
    }

    /// Gives the file its name, in place of an older one.
    ///
    /// # Errors
    /// The disk is full, or the name is taken by a folder.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let file = self.file;
        let place = || format!("writing {}", file.display());
        if let Some(lines) = self.lines.take() {
            let opened = lines.into_inner().map_err(|err| err.into_error()).with_context(place)?;
            opened.sync_all().with_context(place)?;
        }
        fs::rename(&self.passing, file).with_context(place)
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        // After the renaming there is nothing to remove.
        let _ = fs::remove_file(&self.passing);
    }
}
