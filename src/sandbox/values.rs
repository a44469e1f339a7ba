//! What a portal does with the values that are written to a task's fields: what it trims, cuts, drops and refuses. It
//! knows no task.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use super::reply::Refusal;
use super::request::{integer, text, texts};
use super::rules::{LongDescription, Rules};

/// The longest title, in characters; the rest is cut off.
const LONGEST_TITLE: usize = 250;
/// The longest title as it is stored, in characters.
const HEAVIEST_TITLE: usize = 255;
/// The longest description as it is stored, in bytes.
const LARGEST_DESCRIPTION: usize = 65_535;
/// A character above U+FFFF is stored as this many others.
const STORED_AS: usize = 10;
/// The size of the column of `XML_ID`, in bytes.
const LARGEST_XML_ID: usize = 50;

/// The fields as they are kept.
///
/// # Errors
/// A title or a description that cannot be stored.
pub(super) fn kept(rules: &Rules, fields: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match (name.as_str(), text(value)) {
            ("TITLE", Some(text)) => title(&text)?.into(),
            ("DESCRIPTION", Some(text)) => description(rules, text)?.into(),
            ("PRIORITY", Some(text)) if text == "0" => "1".into(),
            ("XML_ID", Some(text)) => cut(&text, LARGEST_XML_ID, char::len_utf8).into(),
            ("DEADLINE", Some(text)) => match to_the_minute(&text) {
                Some(deadline) => deadline.into(),
                None => continue,
            },
            _ => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    let tags: Vec<String> = ["TITLE", "DESCRIPTION"].iter().flat_map(|name| hashtags(&kept, name)).collect();
    if !tags.is_empty() {
        let own = kept.get("TAGS").map(texts).unwrap_or_default();
        kept.insert("TAGS".into(), [own, tags].concat().into());
    }
    Ok(kept)
}

fn title(written: &str) -> Result<String, Refusal> {
    let title: String = written.trim().chars().take(LONGEST_TITLE).collect();
    let weight: usize = title.chars().map(|character| if character > '\u{FFFF}' { STORED_AS } else { 1 }).sum();
    if title.is_empty() {
        return Err(Refusal::core("Не указано название задачи"));
    }
    if weight > HEAVIEST_TITLE {
        return Err(Refusal::core("Слишком длинное название задачи"));
    }
    Ok(title)
}

fn description(rules: &Rules, written: String) -> Result<String, Refusal> {
    let stored = |character: char| if character > '\u{FFFF}' { STORED_AS } else { character.len_utf8() };
    let short = cut(&written, LARGEST_DESCRIPTION, stored);
    if short.len() < written.len() && rules.long_description == LongDescription::Refused {
        return Err(Refusal::core("Слишком длинное описание задачи"));
    }
    Ok(short.to_owned())
}

/// The beginning of a text that takes at most `most`.
fn cut(text: &str, most: usize, stored: impl Fn(char) -> usize) -> &str {
    let mut size = 0;
    let end = text.char_indices().find(|(_, character)| {
        size += stored(*character);
        size > most
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// A date in the time zone of the webhook's owner, which is UTC; `None` when it is no date.
fn to_the_minute(written: &str) -> Option<String> {
    let written = written.trim();
    let with_offset = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    let with_offset = with_offset.iter().find_map(|format| DateTime::parse_from_str(written, format).ok());
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S"];
    let local = || local.iter().find_map(|format| NaiveDateTime::parse_from_str(written, format).ok());
    let day = || ["%Y-%m-%d", "%d.%m.%Y"].iter().find_map(|format| NaiveDate::parse_from_str(written, format).ok());
    let utc = with_offset.map(|date| date.with_timezone(&Utc).naive_utc());
    let date = utc.or_else(local).or_else(|| day()?.and_hms_opt(0, 0, 0))?;
    Some(date.format("%Y-%m-%dT%H:%M:00+00:00").to_string())
}

/// The words that become tags, without their `#`.
fn hashtags(fields: &Map<String, Value>, name: &str) -> Vec<String> {
    let text = fields.get(name).and_then(text).unwrap_or_default();
    let word =
        |rest: &str| rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
    text.split('#').skip(1).map(word).filter(|word: &String| !word.is_empty()).collect()
}

/// Checks the values that name something else: a responsible, a status, a group.
///
/// # Errors
/// It does not exist, or there is no right to it.
pub(super) fn check(rules: &Rules, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    if given("RESPONSIBLE_ID").is_some_and(|user| !integer(user).is_some_and(super::users::exists)) {
        return Err(Refusal::core("Пользователь, указанный в поле «Исполнитель», не найден"));
    }
    // 7, declined, can be read but no longer be set.
    if given("STATUS").is_some_and(|status| !integer(status).is_some_and(|status| (1..=6).contains(&status))) {
        return Err(Refusal::core("Неверный статус задачи"));
    }
    let group = given("GROUP_ID").and_then(integer).and_then(|group| u64::try_from(group).ok());
    if group.is_some_and(|group| rules.denied_groups.contains(&group)) {
        return Err(Refusal::new(400, "ERROR_TASK_CREATE_ACCESS_DENIED", "Нет прав на создание задачи в группе"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(rules: &Rules, name: &str, value: Value) -> Result<Option<Value>, String> {
        let kept = kept(rules, &Map::from_iter([(name.to_owned(), value)]));
        kept.map(|mut kept| kept.remove(name)).map_err(|refusal| refusal.code.into_owned())
    }

    fn kept_as(name: &str, value: &str) -> Result<Option<String>, String> {
        Ok(of(&Rules::default(), name, value.into())?.map(|value| text(&value).expect("a text")))
    }

    #[test]
    fn a_title_is_trimmed_and_cut_and_weighed() {
        let core = Err("ERROR_CORE".to_owned());
        assert_eq!(kept_as("TITLE", "  a title \n"), Ok(Some("a title".into())));
        assert_eq!(kept_as("TITLE", &"я".repeat(300)), Ok(Some("я".repeat(250))));
        let with_emoji = |letters: usize| "я".repeat(letters) + "🙂";
        assert_eq!(kept_as("TITLE", &with_emoji(245)), Ok(Some(with_emoji(245))));
        assert_eq!(kept_as("TITLE", &with_emoji(246)), core);
        assert_eq!(kept_as("TITLE", &"🙂".repeat(26)), core);
        assert_eq!(kept_as("TITLE", &with_emoji(250)), Ok(Some("я".repeat(250))), "the cut comes first");
        assert_eq!(kept_as("TITLE", " \t"), core);
    }

    #[test]
    fn a_description_is_weighed_in_bytes() {
        let full = "я".repeat(32_767) + "b";
        assert_eq!(kept_as("DESCRIPTION", &full), Ok(Some(full.clone())));
        assert_eq!(kept_as("DESCRIPTION", &(full.clone() + "c")), Err("ERROR_CORE".into()));
        assert_eq!(kept_as("DESCRIPTION", &"🙂".repeat(6_554)), Err("ERROR_CORE".into()));
        let generous = Rules { long_description: LongDescription::Cut, ..Rules::default() };
        assert_eq!(of(&generous, "DESCRIPTION", (full.clone() + "c").into()), Ok(Some(full.into())));
    }

    #[test]
    fn a_deadline_is_cut_to_the_minute_and_dropped_when_it_is_no_date() {
        for (written, kept) in [
            ("2026-11-23T10:00:59+03:00", Some("2026-11-23T07:00:00+00:00")),
            ("2026-11-23T10:00:00.000+0300", Some("2026-11-23T07:00:00+00:00")),
            ("2026-11-23 10:00:30", Some("2026-11-23T10:00:00+00:00")),
            ("2026-11-23", Some("2026-11-23T00:00:00+00:00")),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(kept_as("DEADLINE", written), Ok(kept.map(str::to_owned)), "{written}");
        }
    }

    #[test]
    fn other_values_are_changed_to_fit_their_columns() {
        assert_eq!(kept_as("PRIORITY", "0"), Ok(Some("1".into())));
        assert_eq!(kept_as("PRIORITY", "2"), Ok(Some("2".into())));
        assert_eq!(kept_as("XML_ID", &"я".repeat(26)), Ok(Some("я".repeat(25))));
        assert_eq!(kept_as("XML_ID", &("x".to_owned() + &"я".repeat(26))), Ok(Some("x".to_owned() + &"я".repeat(24))));
        let fields = json!({"TITLE": "Pay #12, #счёт_1", "DESCRIPTION": "# no tag", "TAGS": ["own"]});
        let kept = kept(&Rules::default(), fields.as_object().expect("an object")).expect("all is well");
        assert_eq!(kept["TAGS"], json!(["own", "12", "счёт_1"]));
    }
}
