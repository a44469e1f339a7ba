//! A text for people → messages as long as Telegram takes them. Knows how Telegram measures and marks up a text, and no
//! message of ours.

use super::settings::LongText;

/// The most that one message holds, in UTF-16 code units of what people read. Not said in the documentation, which has
/// "characters"; whoever counts these is safe.
pub const LONGEST: usize = 4096;
/// A longer heading is cut, in UTF-16 code units.
const LONGEST_HEADING: usize = 256;
/// Of one task's text; a group takes twenty messages a minute.
const MOST_PARTS: usize = 10;
const CUT: &str = "…";

/// One message: what people read, and the same marked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What people read.
    pub plain: String,
    /// With its heading in bold.
    pub html: String,
}

/// What was made of a text.
#[derive(Debug)]
pub struct Parts {
    /// At least one, unless nothing was said.
    pub parts: Vec<Part>,
    /// Something of it was left out.
    pub cut: bool,
}

/// The messages in which heading and text fit.
pub fn parts(heading: Option<&str>, text: &str, long: LongText) -> Parts {
    let heading = heading.map(|heading| one_line(&printable(heading))).unwrap_or_default();
    let (heading, heading_cut) = cut(&heading, LONGEST_HEADING);
    let text = printable(text);
    let whole = [heading.as_str(), text.trim()].join("\n\n");
    let most = if long == LongText::Split { MOST_PARTS } else { 1 };
    let (mut plain, mut rest, mut is_cut) = (Vec::new(), whole.trim(), heading_cut);
    while !rest.is_empty() {
        if plain.len() + 1 == most {
            let (last, last_cut) = cut(rest, LONGEST);
            is_cut |= last_cut;
            plain.push(last);
            break;
        }
        let (part, after) = rest.split_at(end_of_part(rest));
        plain.push(part.trim_end().to_owned());
        rest = after.trim_start();
    }
    let marked = |(index, plain): (usize, String)| {
        let head = if index == 0 { heading.as_str() } else { "" };
        let html = match plain.strip_prefix(head) {
            Some(after) if !head.is_empty() => format!("<b>{}</b>{}", escaped(head), escaped(after)),
            _ => escaped(&plain),
        };
        Part { plain, html }
    };
    Parts { parts: plain.into_iter().enumerate().map(marked).collect(), cut: is_cut }
}

/// As Telegram counts.
pub fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// In HTML of the Bot API these three mean something.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Without what Telegram drops or cannot show.
fn printable(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The byte up to which so many units go.
fn at(text: &str, units: usize) -> usize {
    let mut used = 0;
    let fits = |c: char| {
        used += c.len_utf16();
        used <= units
    };
    text.char_indices().zip(text.chars().map(fits)).find(|(_, fits)| !fits).map_or(text.len(), |((at, _), _)| at)
}

/// Where a part ends: if need be at a line or a word in its second half, else anywhere.
fn end_of_part(text: &str) -> usize {
    let most = at(text, LONGEST);
    if most == text.len() {
        return most;
    }
    let half = at(text, LONGEST / 2);
    let breaks = ['\n', ' '].into_iter().find_map(|separator| text[half..most].rfind(separator));
    breaks.map_or(most, |found| half + found)
}

fn cut(text: &str, most: usize) -> (String, bool) {
    match length(text) <= most {
        true => (text.to_owned(), false),
        false => (format!("{}{CUT}", text[..at(text, most - length(CUT))].trim_end()), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(heading: Option<&str>, text: &str, long: LongText) -> Vec<String> {
        parts(heading, text, long).parts.into_iter().map(|part| part.plain).collect()
    }

    #[test]
    fn the_heading_is_bold_and_what_means_something_is_escaped() {
        let made = parts(Some("A <b> & C\nD"), " 1 < 2 & 3 > 2\r\n\0\u{7}end ", LongText::Split).parts;
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].plain, "A <b> & C D\n\n1 < 2 & 3 > 2\nend");
        assert_eq!(made[0].html, "<b>A &lt;b&gt; &amp; C D</b>\n\n1 &lt; 2 &amp; 3 &gt; 2\nend");
        assert_eq!(parts(None, "only", LongText::Split).parts[0].html, "only");
        assert_eq!(parts(Some("only"), "", LongText::Cut).parts[0].html, "<b>only</b>");
        assert!(parts(None, " \n ", LongText::Split).parts.is_empty());
    }

    #[test]
    fn a_text_is_measured_in_units_of_utf16() {
        assert_eq!(plain(None, &"я".repeat(4096), LongText::Split).len(), 1);
        assert_eq!(plain(None, &"я".repeat(4097), LongText::Split).len(), 2);
        let emoji = plain(None, &"😀".repeat(2049), LongText::Split);
        assert_eq!(emoji.iter().map(|part| length(part)).collect::<Vec<_>>(), [4096, 2]);
        // What is escaped is longer on its way, and not to Telegram.
        assert_eq!(plain(None, &"&".repeat(4096), LongText::Split).len(), 1);
    }

    #[test]
    fn a_long_text_is_split_between_lines_or_words_and_nothing_is_lost() {
        let words = "слово ".repeat(2000);
        let made = plain(Some("Заголовок"), &words, LongText::Split);
        assert!(made.len() == 3 && made.iter().all(|part| length(part) <= LONGEST && !part.starts_with(' ')));
        assert_eq!(made.join(" ").matches("слово").count(), 2000);
        let lines = format!("{}\n{}", "а".repeat(3000), "б ".repeat(1000));
        assert_eq!(plain(None, &lines, LongText::Split)[0], "а".repeat(3000));
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let cut = parts(None, &"я".repeat(5000), LongText::Cut);
        assert!(cut.cut && cut.parts.len() == 1 && length(&cut.parts[0].plain) == LONGEST);
        assert!(cut.parts[0].plain.ends_with('…'));
        let split = parts(None, &"я".repeat(100_000), LongText::Split);
        assert!(split.cut && split.parts.len() == MOST_PARTS);
        assert!(parts(Some(&"ю".repeat(300)), "", LongText::Split).cut);
        assert!(!parts(None, "short", LongText::Cut).cut);
    }
}
