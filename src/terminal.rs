//! The terminal: what the commands print, the messages that they read, and commands that the user can paste.
//!
//! It does not know what the texts say. A closed stdout is no error: the reader has seen enough. A full disk is one:
//! whoever keeps what was printed would keep half of it. The log is elsewhere.

pub mod prompt;

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Read as _, Write as _, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};

/// Lines are not broken on a narrower terminal.
const NARROWEST: usize = 20;

/// Prints the text as it is, at once, without a line break after it.
pub fn print(text: &str) {
    let mut stdout = stdout();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Prints one or more lines as they are: data, and output for scripts.
pub fn say(line: &str) {
    written(writeln!(stdout(), "{line}"));
}

/// Why not everything that was printed has been written, if somebody still wanted it.
pub fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

static UNWRITTEN: OnceLock<String> = OnceLock::new();

fn written(result: io::Result<()>) {
    if let Err(err) = result {
        // A terminal that has been closed; a disk says EIO too.
        let is_closed = || err.raw_os_error() == Some(Errno::EIO as i32) && is_a_device(stdout());
        if err.kind() != ErrorKind::BrokenPipe && !is_closed() {
            let _ = UNWRITTEN.set(err.to_string());
        }
    }
}

/// As terminals are, also after their end.
fn is_a_device(stream: impl AsFd) -> bool {
    let kind = fstat(stream).map(|status| SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT);
    kind == Ok(SFlag::S_IFCHR)
}

/// Prints text for people. A terminal gets lines that fit it, the second and later ones with this indent. Elsewhere a
/// line stays one line, so that `grep` finds all of it.
pub fn tell(text: &str, indent: usize) {
    say(&fitted(text, width(), indent));
}

/// Prints on stderr what is wrong.
pub fn complain(text: &str) {
    static WIDTH: OnceLock<Option<usize>> = OnceLock::new();
    let width = *WIDTH.get_or_init(|| width_of(stderr()));
    let _ = writeln!(stderr(), "{}", fitted(&format!("task-creator: {text}"), width, 2));
}

/// How many characters fit a line of stdout; `None` if it is no terminal and `COLUMNS` is not set.
pub fn width() -> Option<usize> {
    static WIDTH: OnceLock<Option<usize>> = OnceLock::new();
    *WIDTH.get_or_init(|| width_of(stdout()))
}

fn width_of(stream: impl IsTerminal + AsFd) -> Option<usize> {
    let set = env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    set.or_else(|| size(stream).map(|(_, columns)| columns)).filter(|columns| *columns >= NARROWEST)
}

/// Lines and columns of the terminal behind a stream; `None` if it is no terminal, or does not say.
pub fn size(stream: impl IsTerminal + AsFd) -> Option<(usize, usize)> {
    if !stream.is_terminal() {
        return None;
    }
    // To ask the kernel ourselves takes `unsafe` or another crate. stty is there wherever a terminal is, and ends at
    // once.
    let terminal = stream.as_fd().try_clone_to_owned().ok()?;
    let asked = Command::new("stty").arg("size").stdin(Stdio::from(terminal)).stderr(Stdio::null()).output().ok()?;
    let answer = String::from_utf8(asked.stdout).ok()?;
    let (lines, columns) = answer.trim().split_once(' ')?;
    Some((lines.parse().ok()?, columns.parse().ok()?))
}

fn fitted(text: &str, width: Option<usize>, indent: usize) -> String {
    let lines = text.lines().map(|line| match width {
        Some(width) => wrapped(line, width, indent),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Breaks the line at blanks into lines of at most this many characters; the second and later ones have this indent. A
/// word that is longer than a line stays whole. So does a command between backticks: the user may paste it.
pub fn wrapped(line: &str, width: usize, indent: usize) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for (blanks, word) in words(line) {
        let (gap, letters) = (blanks.chars().count(), word.chars().count());
        if length > indent && length + gap + letters > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            length = indent;
        } else {
            lines.push_str(blanks);
            length += gap;
        }
        lines.push_str(word);
        length += letters;
    }
    lines
}

/// The words of a line, each with the blanks before it.
fn words(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.find(|character| character != ' ')?;
        let mut quoted = false;
        let end = rest[start..].find(|character| {
            quoted ^= character == '`';
            character == ' ' && !quoted
        });
        let end = end.map_or(rest.len(), |end| start + end);
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word.split_at(start))
    })
}

/// How the user called this program, quoted for a shell. Every command that we advise starts with it.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let called = env::args_os().next().and_then(|name| name.into_string().ok());
        let called = called.filter(|name| !name.is_empty() && !name.contains(char::is_control));
        called.map_or_else(|| "task-creator".to_owned(), |name| shell_word(&name).into_owned())
    })
}

/// A command of this program, ready to paste.
pub fn command(arguments: &[&str]) -> String {
    let words = arguments.iter().map(|argument| shell_word(argument));
    [Cow::from(program())].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// A command with ids after it, and `--` before them if one starts as an option does.
pub fn command_with_ids(words: &[&str], ids: &[String]) -> String {
    let separator = ids.iter().any(|id| id.starts_with('-')).then_some("--");
    let words: Vec<&str> = words.iter().copied().chain(separator).chain(ids.iter().map(String::as_str)).collect();
    command(&words)
}

/// The text as one word for a shell, whatever it contains.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |character: char| character.is_alphanumeric() || "_-./:=@%+,".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}

/// The text, cut after this many characters.
pub fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The content of `file`, or of standard input for `-`.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let read = match file == Path::new("-") {
        true => stdin().read_to_end(&mut body).map(|_| body),
        false => fs::read(file),
    };
    read.with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_never_inside_one() {
        assert_eq!(wrapped("one two three", 8, 0), "one two\nthree");
        assert_eq!(wrapped("longer than that", 3, 0), "longer\nthan\nthat");
        assert_eq!(wrapped("FAIL  no such queue", 12, 6), "FAIL  no\n      such\n      queue");
        assert_eq!(wrapped("  two blanks stay", 12, 0), "  two blanks\nstay");
        assert_eq!(wrapped("счёт №5 оплачен", 9, 0), "счёт №5\nоплачен");
        assert_eq!(wrapped("", 9, 2), "");
    }

    #[test]
    fn a_command_is_never_broken() {
        assert_eq!(
            wrapped("give it with `program do this now`, then wait", 20, 0),
            "give it with\n`program do this now`,\nthen wait"
        );
        assert_eq!(wrapped("a lone ` is no command at all", 10, 0), "a lone\n` is no command at all");
    }

    #[test]
    fn a_shell_reads_any_text_as_one_word() {
        assert_eq!(shell_word("./task-creator"), "./task-creator");
        assert_eq!(shell_word("счёт-5"), "счёт-5");
        assert_eq!(shell_word("a b; rm -rf $HOME"), "'a b; rm -rf $HOME'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
