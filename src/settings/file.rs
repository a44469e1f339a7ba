//! A file that a setting names, opened without a wait. It does not know what is in the file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Opens it for reading. A named pipe is refused: nobody may ever write into it. One that the shell gives us, as in
/// `NAME_FILE=<(command)`, has a writer; it is in `/dev` or `/proc`.
///
/// # Errors
/// It cannot be opened, or is a named pipe.
pub fn open(path: &Path) -> io::Result<File> {
    let is_given = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    if !is_given && fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a named pipe and no file"));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_named_pipe_is_not_waited_for() {
        let path = env::temp_dir().join(format!("task-creator-pipe-{}", process::id()));
        mkfifo(&path, Mode::S_IRUSR).expect("the folder is writable");
        let refused = open(&path).expect_err("it is a pipe").to_string();
        fs::remove_file(&path).expect("it is there");
        assert!(refused.contains("a named pipe"), "{refused}");
        assert!(open(Path::new("/dev/null")).is_ok() && open(&path).is_err());
    }
}
