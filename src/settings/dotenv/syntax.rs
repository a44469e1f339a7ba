//! Reads the text of a `.env` as python-dotenv reads it, so that one file serves both workers.
//!
//! `NAME=value`, `export` before it or not, with blanks around the `=`. `'…'` and `"…"` may go over several lines; `\'`
//! and `\\` count in both, `\n` and the like in the second kind only. Outside of quotes a value ends at a `#` with a
//! blank before it. `${NAME}` and `${NAME:-text}` are replaced, in quotes of both kinds too; `$NAME` is not. One thing
//! differs: a line that cannot be read does not spoil the lines below it. This file knows no file, no setting and no
//! environment.

/// One line, or the lines of one value in quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// Counted from 1.
    pub line: usize,
    /// Its last line: a value in quotes may have several.
    pub last: usize,
    /// The text in the place of the name, whatever it is.
    pub name: String,
    /// The text after the name.
    pub value: Value,
}

/// The text after a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// A value.
    Text {
        /// Without its quotes, before anything is replaced in it.
        text: String,
        /// It stood in quotes.
        quoted: bool,
        /// A comment cut it short.
        cut: bool,
    },
    /// Nothing, not even a `=`.
    Absent,
    /// It cannot be read, and why.
    Unreadable(&'static str),
}

/// All statements, in order; comments and blank lines are none.
pub fn parse(text: &str) -> Vec<Statement> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut statements = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = text[at..].trim_start();
        at = text.len() - rest.len();
        let line = text[..at].matches('\n').count() + 1;
        let end_of_line = rest.find('\n').unwrap_or(rest.len());
        if rest.is_empty() || rest.starts_with('#') {
            at += end_of_line;
            continue;
        }
        let (name, after_name) = name(rest);
        let (value, left) = value(after_name);
        // After an error the next line follows the first one, so that an open quote does not swallow what follows.
        at = match &value {
            Value::Unreadable(_) => at + end_of_line,
            _ => text.len() - left.len(),
        };
        let last = line + text[text.len() - rest.len()..at].matches('\n').count();
        statements.push(Statement { line, last, name: name.to_owned(), value });
    }
    statements
}

/// The name at the beginning of a line, and what follows it.
fn name(line: &str) -> (&str, &str) {
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(is_blank));
    let line = exported.map_or(line, |rest| rest.trim_start_matches(is_blank));
    if let Some((name, rest)) = line.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        return (name, rest);
    }
    let end = line.find(|c: char| c == '=' || c == '#' || c.is_whitespace()).unwrap_or(line.len());
    line.split_at(end)
}

/// What follows a name, and what is left after it.
fn value(after_name: &str) -> (Value, &str) {
    let after_name = after_name.trim_start_matches(is_blank);
    let Some(rest) = after_name.strip_prefix('=') else {
        return ended(Value::Absent, after_name, "has no = behind its name");
    };
    let value = rest.trim_start_matches(is_blank);
    match value.chars().next() {
        Some(quote @ ('\'' | '"')) => match closing(&value[1..], quote) {
            Some(end) => {
                let text = unescaped(&value[1..=end], quote);
                ended(
                    Value::Text { text, quoted: true, cut: false },
                    &value[end + 2..],
                    "has text behind its closing quote",
                )
            }
            None => (Value::Unreadable("opens a quote and does not close it"), ""),
        },
        _ => {
            let (line, left) = value.split_at(value.find('\n').unwrap_or(value.len()));
            let all_comment = line.starts_with('#') && value.len() < rest.len();
            let is_comment = |(at, _): &(usize, &str)| line[..*at].ends_with(char::is_whitespace);
            let comment = line.match_indices('#').find(is_comment).map(|(at, _)| at).filter(|_| !all_comment);
            let text = if all_comment { "" } else { &line[..comment.unwrap_or(line.len())] };
            let cut = comment.is_some();
            (Value::Text { text: text.trim_end().to_owned(), quoted: false, cut }, left)
        }
    }
}

/// The value, if nothing but a comment follows it on its line.
fn ended<'a>(value: Value, rest: &'a str, otherwise: &'static str) -> (Value, &'a str) {
    let (line, left) = rest.split_at(rest.find('\n').unwrap_or(rest.len()));
    match line.trim_start() {
        "" => (value, left),
        comment if comment.starts_with('#') => (value, left),
        _ => (Value::Unreadable(otherwise), left),
    }
}

/// Where the quote is closed: at the first one without a backslash before it; if there is none, at the last one of the
/// line, as earlier versions did it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_taken = false;
    let plain = text.char_indices().find(|(_, c)| {
        let ends = *c == quote && !is_taken;
        is_taken = *c == '\\' && !is_taken;
        ends
    });
    plain.map(|(at, _)| at).or_else(|| text.lines().next()?.rfind(quote))
}

/// The text between quotes, with its backslash escapes replaced.
fn unescaped(text: &str, quote: char) -> String {
    let mut read = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let meant = chars.peek().filter(|_| c == '\\').and_then(|next| escape(*next, quote));
        if meant.is_some() {
            chars.next();
        }
        read.push(meant.unwrap_or(c));
    }
    read
}

fn escape(escaped: char, quote: char) -> Option<char> {
    match escaped {
        '\\' | '\'' => Some(escaped),
        _ if quote == '\'' => None,
        '"' => Some('"'),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        _ => None,
    }
}

/// A blank within a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// The value with each `${NAME}` and `${NAME:-text}` replaced by what `lookup` returns, or by the text after `:-`; and
/// whether one was replaced by nothing because `lookup` does not know it.
pub fn interpolated(value: &str, lookup: impl Fn(&str) -> Option<String>) -> (String, bool) {
    let (mut text, mut is_lost) = (String::new(), false);
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let reference = after.split_once('}').and_then(|(inside, left)| match inside.split_once(':') {
            None => Some((inside, None, left)),
            Some((name, default)) => Some((name, Some(default.strip_prefix('-')?), left)),
        });
        match reference {
            Some((name, default, left)) => {
                let value = lookup(name).or_else(|| default.map(str::to_owned));
                is_lost |= value.is_none();
                text.push_str(&value.unwrap_or_default());
                rest = left;
            }
            None => {
                text.push_str("${");
                rest = after;
            }
        }
    }
    text.push_str(rest);
    (text, is_lost)
}

#[cfg(test)]
mod tests;
