//! The HTML that the Bot API takes, read as strictly as it does: known tags only, each closed, and the three signs that
//! mean something escaped. Knows nothing of messages.

const TAGS: &[&str] = &["b", "strong", "i", "em", "u", "s", "code", "pre", "blockquote"];
const ESCAPES: &[(&str, char)] = &[("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];

/// What people read; `None` where it does not parse.
pub fn plain(html: &str) -> Option<String> {
    let (mut plain, mut open, mut rest) = (String::new(), Vec::new(), html);
    while let Some(first) = rest.chars().next() {
        match first {
            '<' => {
                let (tag, after) = rest[1..].split_once('>')?;
                match tag.strip_prefix('/') {
                    Some(closed) => open.pop().filter(|opened| *opened == closed).map(drop)?,
                    None => open.push(TAGS.contains(&tag).then_some(tag)?),
                }
                rest = after;
            }
            '&' => {
                let (escape, meant) = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape))?;
                plain.push(*meant);
                rest = &rest[escape.len()..];
            }
            other => {
                plain.push(other);
                rest = &rest[other.len_utf8()..];
            }
        }
    }
    open.is_empty().then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bot_api_refuses_does_not_parse() {
        assert_eq!(plain("<b>A &amp; B</b>\n1 &lt; 2").as_deref(), Some("A & B\n1 < 2"));
        for wrong in ["<b>open", "</b>", "<b><i>x</b></i>", "<div>x</div>", "1 < 2", "A & B", "&nbsp;"] {
            assert_eq!(plain(wrong), None, "{wrong}");
        }
    }
}
