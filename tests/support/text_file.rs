//! A file with a text in it, for as long as a test needs it. It knows nothing of the text.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// Removed when dropped.
pub struct TextFile(PathBuf);

impl TextFile {
    pub fn new(text: &str) -> TextFile {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = env::temp_dir().join(format!("task-creator-{}-{number}.txt", process::id()));
        fs::write(&file, text).expect("the temporary folder is writable");
        TextFile(file)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a plain name")
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
