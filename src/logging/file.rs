//! A log file: renamed when it is large, and opened again when another program has renamed or removed it.
//!
//! It does not know what its lines say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::Local;

/// At this size, in bytes, a file is renamed and a new one is started.
const LARGEST_FILE: u64 = 10_000_000;
/// How many renamed files of each log are kept.
const KEPT_FILES: usize = 10;
/// How many bytes are written at once; between two writes the file's size is checked.
const CHUNK: usize = 256 << 10;

/// The file and its path.
pub struct LogFile {
    path: PathBuf,
    /// `None` after a failure: the next line tries again.
    file: Option<File>,
    largest: u64,
}

impl LogFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: PathBuf) -> io::Result<LogFile> {
        let file = Some(open(&path)?);
        Ok(LogFile { path, file, largest: LARGEST_FILE })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines to the file that has our name now.
    ///
    /// # Errors
    /// They are not written, or only in part.
    pub fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let line_end = lines.iter().skip(CHUNK).position(|byte| *byte == b'\n');
            let (chunk, rest) = lines.split_at(line_end.map_or(lines.len(), |end| CHUNK + end + 1));
            self.current()?.write_all(chunk)?;
            lines = rest;
        }
        Ok(())
    }

    /// Opens the file that has our name now.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    /// The file under our name, with room for more.
    fn current(&mut self) -> io::Result<&mut File> {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = fs::metadata(&self.path).ok();
        let same = ours.zip(there).filter(|(ours, there)| (ours.dev(), ours.ino()) == (there.dev(), there.ino()));
        match same {
            None => self.reopen()?,
            Some((_, there)) if there.is_file() && there.len() >= self.largest => {
                // If the folder allows no renaming, a file that grows is better than none.
                if self.rename().is_ok() {
                    self.reopen()?;
                    self.remove_old();
                }
            }
            Some(_) => {}
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self) -> io::Result<()> {
        let name = format!("{}_{}.log", self.stem(), Local::now().format("%Y%m%d_%H%M%S"));
        let renamed = self.path.with_file_name(name);
        // A second rename within a second: the file grows a little longer.
        if renamed.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&self.path, renamed)
    }

    fn remove_old(&self) {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut old: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        old.retain(|name| self.is_old(name));
        // Their names hold the time, so this is their order in time.
        old.sort_unstable();
        let too_many = old.len().saturating_sub(KEPT_FILES);
        // A file that cannot be removed is tried again next time.
        old[..too_many].iter().for_each(|name| drop(fs::remove_file(folder.join(name))));
    }

    /// Whether this is the name of a file that we have renamed.
    fn is_old(&self, name: &str) -> bool {
        let time = name.strip_prefix(self.stem()).and_then(|rest| rest.strip_prefix('_'));
        let time = time.and_then(|rest| rest.strip_suffix(".log"));
        time.is_some_and(|time| time.len() == 15 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'))
    }

    fn stem(&self) -> &str {
        self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("worker")
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    match open() {
        // Somebody has removed the whole folder.
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            open()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, which the test removes.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("task-creator-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        folder
    }

    fn write(file: &mut LogFile, line: &str) {
        file.write(line.as_bytes()).expect("the folder is writable");
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("the file is there")
    }

    #[test]
    fn a_file_that_was_renamed_replaced_or_removed_with_its_folder_is_opened_again() {
        let folder = folder("moved");
        let path = folder.join("worker.log");
        let mut file = LogFile::open(path.clone()).expect("it can be made");
        write(&mut file, "one\n");
        fs::rename(&path, folder.join("worker.log.1")).expect("ours");
        write(&mut file, "two\n");
        assert_eq!((read(&folder.join("worker.log.1")), read(&path)), ("one\n".into(), "two\n".into()));
        fs::remove_file(&path).expect("ours");
        fs::write(&path, "theirs\n").expect("ours");
        write(&mut file, "three\n");
        assert_eq!(read(&path), "theirs\nthree\n");
        fs::remove_dir_all(&folder).expect("ours");
        write(&mut file, "four\n");
        assert_eq!(read(&path), "four\n");
        // As `copytruncate` of logrotate does it.
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)).expect("ours");
        write(&mut file, "five\n");
        assert_eq!(read(&path), "five\n");
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn a_large_file_is_renamed_and_the_oldest_of_many_is_removed() {
        let folder = folder("large");
        let older: Vec<String> = (10..22).map(|day| format!("worker_202510{day}_080857.log")).collect();
        let others = ["worker_errors_20251001_080857.log", "worker_notes.log", "worker.log.1"].map(String::from);
        others.iter().chain(&older).for_each(|name| fs::write(folder.join(name), "x").expect("ours"));
        let path = folder.join("worker.log");
        let mut file = LogFile { largest: 8, ..LogFile::open(path.clone()).expect("it can be made") };
        write(&mut file, "12345678\n");
        write(&mut file, "after\n");
        assert_eq!(read(&path), "after\n");
        let there = |name: &&String| folder.join(name.as_str()).exists();
        assert_eq!(older.iter().filter(there).count(), KEPT_FILES - 1, "and the one that was renamed just now");
        assert!(!folder.join(&older[0]).exists());
        assert_eq!(others.iter().filter(there).count(), others.len(), "what is not ours stays");
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn many_lines_at_once_are_written_whole() {
        let folder = folder("many");
        let path = folder.join("worker.log");
        let mut file = LogFile { largest: 1, ..LogFile::open(path.clone()).expect("it can be made") };
        let lines: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
        write(&mut file, &lines);
        let mut logs: Vec<_> = fs::read_dir(&folder).expect("ours").flatten().map(|entry| entry.path()).collect();
        // The one that is written to comes last.
        logs.sort_by_key(|log| *log == path);
        assert_eq!(logs.iter().map(|log| read(log)).collect::<String>(), lines);
        let _ = fs::remove_dir_all(&folder);
    }
}
