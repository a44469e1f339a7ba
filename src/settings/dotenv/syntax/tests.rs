//! Each case was read with python-dotenv's own rules; where this program differs, the test says so.

use super::*;

fn values(text: &str) -> Vec<(usize, String, Option<String>)> {
    let value = |value| match value {
        Value::Text { text, .. } => Some(text),
        Value::Absent | Value::Unreadable(_) => None,
    };
    parse(text).into_iter().map(|found| (found.line, found.name, value(found.value))).collect()
}

#[track_caller]
fn reads(line: &str, expected: &str) {
    assert_eq!(values(line), [(1, "A".into(), Some(expected.into()))], "{line:?}");
}

#[track_caller]
fn cannot_be_read(line: &str) {
    let found = parse(line);
    assert!(matches!(&found[..], [Statement { value: Value::Unreadable(_), .. }]), "{line:?}: {found:?}");
}

#[test]
fn a_value_is_the_rest_of_its_line_up_to_a_comment() {
    for (line, expected) in [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("'A'=b", "b"),
        ("A=b c", "b c"),
        ("A=b # c", "b"),
        ("A=b\t# c # d", "b"),
        ("A=b#c", "b#c"),
        ("A=#b", "#b"),
        ("A= # b", ""),
        ("A=", ""),
        ("A=b=c", "b=c"),
        ("A=don't", "don't"),
        ("A={\"a\": \"b\"}", "{\"a\": \"b\"}"),
        ("A=\\n", "\\n"),
        ("\u{feff}A=b\r\n", "b"),
        ("\r\n\n  A=b", "b"),
    ] {
        let found = values(line);
        assert_eq!(found.len(), 1, "{line:?}: {found:?}");
        assert_eq!((&*found[0].1, found[0].2.as_deref()), ("A", Some(expected)), "{line:?}");
    }
}

#[test]
fn quotes_keep_blanks_and_comments_and_may_go_over_lines() {
    reads("A='b # c '", "b # c ");
    reads("A='it\\'s \\\\ \\n'", "it's \\ \\n");
    reads("A=\"b \\\"c\\\" \\n \\q\"", "b \"c\" \n \\q");
    reads("A=\"b\r\nc\" # d", "b\nc");
    reads("A='b'#c", "b");
    reads("A='b\\\\' # 'c'", "b\\");
    // Its backslash does not belong to the quote, since there is no other one.
    reads("A='b\\'", "b\\");
}

#[test]
fn a_line_that_cannot_be_read_costs_no_other_line() {
    cannot_be_read("A='b");
    cannot_be_read("A=\"b' # c");
    cannot_be_read("A='don't touch'");
    cannot_be_read("A b=c");
    cannot_be_read("export A b");
    let found = values("# one\nNOTE='b\nA=\"c\nd\" e\n\nB=f\n");
    // python-dotenv would go on after the last quote of A, and miss the lines in between.
    let expected = [(2, "NOTE", None), (3, "A", None), (4, "d\"", None), (6, "B", Some("f"))];
    assert_eq!(found, expected.map(|(line, name, value)| (line, name.to_owned(), value.map(str::to_owned))));
}

#[test]
fn a_name_alone_has_no_value() {
    assert_eq!(parse("A # b")[0].value, Value::Absent);
    assert_eq!(parse("A")[0].value, Value::Absent);
    assert_eq!(values("1C_WEB_SERVICE_URL=http://1c.example/ws\nMY-KEY=1").len(), 2, "names of any kind are names");
}

#[test]
fn only_names_in_braces_are_replaced() {
    let lookup = |name: &str| (name == "B").then(|| "b$".to_owned());
    for (value, expected, is_lost) in [
        ("$B pa$$ word $", "$B pa$$ word $", false),
        ("${B}/${B}", "b$/b$", false),
        ("x${C:-d}y", "xdy", false),
        ("x${B:-d}y", "xb$y", false),
        ("x${C}y", "xy", true),
        ("x${C:-}y", "xy", false),
        ("${B", "${B", false),
        ("${C:d}${B}", "${C:d}b$", false),
    ] {
        assert_eq!(interpolated(value, lookup), (expected.to_owned(), is_lost), "{value}");
    }
}

#[test]
fn no_text_is_too_strange_to_be_read() {
    for text in
        ["", "=", "'", "''", "\"", "A='", "A=\"\\", "export", "export ", "=b", "\u{feff}", "A='é'\u{a0}# й", "${", "\r"]
    {
        parse(text);
        interpolated(text, |_| None);
    }
}
