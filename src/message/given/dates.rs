//! Moments in the forms in which process models, Java and people write them. It knows no calendar of zones: an offset
//! counts, and the name of a zone beside it says nothing more.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use super::{Place, Sourced, Warnings, shown};
use crate::message::{Task, text, whole};

/// With "#" an offset may be Z, +03, +0300 or +03:00.
const FORMS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
/// Of a list of numbers that is a date.
const YEARS: RangeInclusive<i32> = 1970..=9999;
/// Zones that are an offset.
const UTC: [&str; 6] = ["UTC", "GMT", "Z", "Etc/UTC", "Etc/GMT", "Etc/UCT"];

/// The names under which a deadline comes, the first one first.
pub const DEADLINES: [&str; 4] = ["deadline", "due_date", "end_date", "finish_date"];

/// The moment of the first of these variables that has a value, in ISO 8601; `what` it is, for the warnings.
pub fn moment(task: &Task, names: &[&str], what: &str, warnings: &mut Warnings) -> Option<Sourced<String>> {
    let Sourced { value, origin } =
        names.iter().find_map(|name| super::value(task, Place::Variables, name, warnings))?;
    let (moment, zone) = read(value);
    match (&moment, zone) {
        (None, _) => {
            warnings.push(format!("the {what} {} is not a date; the task has none", shown(value)));
        }
        (Some(Moment { offset: false, .. }), Some(zone)) => warnings.push(format!(
            "the {what} {} has no offset, and zone {zone:?} is not looked up: it counts in the target's own zone",
            shown(value)
        )),
        (Some(_), _) => {}
    }
    Some(Sourced { value: moment?.iso8601, origin })
}

/// A date and time.
#[derive(Debug, PartialEq)]
pub struct Moment {
    /// In ISO 8601, without a fraction.
    pub iso8601: String,
    /// It has an offset. Without one a target takes its own zone.
    pub offset: bool,
}

/// The moment that a value is, if it is one, and the name of a zone beside it that is not looked up.
pub fn read(value: &Value) -> (Option<Moment>, Option<String>) {
    match value {
        Value::Array(parts) => (of_parts(parts), None),
        other => {
            let spelt = text(other).unwrap_or_default();
            let (moment, zone) = without_zone(&spelt);
            (iso8601(moment, zone), zone.filter(|zone| !UTC.contains(zone)).map(str::to_owned))
        }
    }
}

/// The text before the name of a zone, as Java (`…[Europe/Moscow]`) and FEEL (`…@Europe/Moscow`) write it, and the
/// name.
fn without_zone(text: &str) -> (&str, Option<&str>) {
    let in_brackets = || text.strip_suffix(']')?.split_once('[');
    match in_brackets().or_else(|| text.split_once('@')) {
        Some((moment, zone)) => (moment.trim_end(), Some(zone.trim())),
        None => (text, None),
    }
}

/// The moment in ISO 8601. A date alone starts at midnight.
fn iso8601(text: &str, zone: Option<&str>) -> Option<Moment> {
    let with_offset = FORMS.iter().find_map(|form| DateTime::parse_from_str(text, &format!("{form}%#z")).ok());
    if let Some(moment) = with_offset {
        return Some(Moment { iso8601: moment.format("%Y-%m-%dT%H:%M:%S%:z").to_string(), offset: true });
    }
    let local = FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let moment = written(local.or_else(midnight)?);
    Some(match zone.filter(|zone| UTC.contains(zone)) {
        Some(_) => Moment { iso8601: moment + "+00:00", offset: true },
        None => Moment { iso8601: moment, offset: false },
    })
}

/// Year, month, day, and as much of hour, minute, second and nanosecond as there is: Java's local dates in JSON.
fn of_parts(parts: &[Value]) -> Option<Moment> {
    let parts: Vec<u32> = parts
        .iter()
        .map(|part| whole(&part.as_number()?.to_string()).and_then(|part| u32::try_from(part).ok()))
        .collect::<Option<_>>()?;
    if !(3..=7).contains(&parts.len()) || parts.len() == 4 {
        return None;
    }
    let part = |index: usize| parts.get(index).copied().unwrap_or(0);
    let year = i32::try_from(part(0)).ok().filter(|year| YEARS.contains(year))?;
    let date = NaiveDate::from_ymd_opt(year, part(1), part(2))?;
    let moment = date.and_hms_nano_opt(part(3), part(4), part(5), part(6))?;
    Some(Moment { iso8601: written(moment), offset: false })
}

fn written(moment: NaiveDateTime) -> String {
    moment.format("%Y-%m-%dT%H:%M:%S").to_string()
}
