//! What stands in the address and in the body of a request, read strictly: what is not understood is refused, and not
//! ignored. It does not know what the values are for.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};
use serde_json::Number;

use super::problem::{Problem, WRONG_BODY, WRONG_CONTENT_TYPE, WRONG_QUERY};
use crate::http::server::Request;

/// How many items a list has at most.
pub const MOST_ITEMS: usize = 200;
const USUAL_ITEMS: usize = 50;

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters in this query; only these names may be there, each once.
    ///
    /// # Errors
    /// [`WRONG_QUERY`]: another name, a name twice, or no UTF-8.
    pub fn read(query: &str, allowed: &[&str]) -> Result<Query, Problem> {
        let mut read = Query::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !allowed.contains(&&*name) {
                let known = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
                return Err(wrong(format!("there is no parameter {name:?} here; there are: {known}")));
            }
            if read.text(&name).is_some() {
                return Err(wrong(format!("{name} stands there twice")));
            }
            read.0.push((name, value));
        }
        Ok(read)
    }

    /// The value of this parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of this parameter, unless it is empty.
    pub fn some_text(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|value| !value.is_empty())
    }

    /// A whole number in this range.
    ///
    /// # Errors
    /// [`WRONG_QUERY`]: it is none.
    pub fn number<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        // Digits only: "+5" is no number here.
        let number =
            Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
        let number = number.filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            wrong(format!("{name} is {text:?}, not a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A switch: the name alone, `true` or `false`.
    ///
    /// # Errors
    /// [`WRONG_QUERY`]: another value.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(wrong(format!("{name} is {other:?}, neither true nor false"))),
        }
    }

    /// How many items are asked for.
    ///
    /// # Errors
    /// [`WRONG_QUERY`]: none or too many.
    pub fn limit(&self) -> Result<usize, Problem> {
        Ok(self.number("limit", 1..=MOST_ITEMS)?.unwrap_or(USUAL_ITEMS))
    }

    /// Behind which place the list goes on, as [`cursor`] has made it.
    ///
    /// # Errors
    /// [`WRONG_QUERY`]: it is none of ours.
    pub fn cursor(&self) -> Result<Option<String>, Problem> {
        let Some(text) = self.some_text("cursor") else { return Ok(None) };
        let place = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        place.map(Some).ok_or_else(|| wrong("cursor is not one that this monitor has given".into()))
    }
}

/// A place in a list, for its next page; nobody should read it.
pub fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// A part of an address as it was meant.
///
/// # Errors
/// [`WRONG_QUERY`]: it is no UTF-8.
fn decoded(text: &str) -> Result<String, Problem> {
    let text = text.replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8().map_err(|_| wrong("it is not UTF-8".into()))?;
    Ok(text.into_owned())
}

fn wrong(detail: String) -> Problem {
    Problem::new(WRONG_QUERY, detail)
}

/// The body as this type.
///
/// # Errors
/// [`WRONG_CONTENT_TYPE`], or [`WRONG_BODY`]: it is no JSON of this form.
pub fn body<T: DeserializeOwned>(request: &Request<'_>) -> Result<T, Problem> {
    let kind = request.content_type().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(WRONG_CONTENT_TYPE, "send Content-Type: application/json"));
    }
    serde_json::from_slice(request.body).map_err(|err| Problem::new(WRONG_BODY, err.to_string()))
}

/// A whole number in a body, for serde; `null` counts as none. 70.0 is one as well, as JSON Schema has it.
///
/// # Errors
/// It is no whole number.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    // Up to here every whole number is one of f64.
    let as_float = || number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=9e15).contains(float));
    let whole = number.as_u64().or_else(|| as_float().map(|float| float as u64));
    whole.map(Some).ok_or_else(|| D::Error::custom(format!("{number} is no whole number from 0 on")))
}

/// Nothing, where a request has no body.
///
/// # Errors
/// [`WRONG_BODY`]: there is one.
pub fn no_body(request: &Request<'_>) -> Result<(), Problem> {
    match request.body.is_empty() {
        true => Ok(()),
        false => Err(Problem::new(WRONG_BODY, "this request has no body")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[&str] = &["limit", "cursor", "q", "verbose"];

    fn read(query: &str) -> Query {
        Query::read(query, ALLOWED).expect(query)
    }

    #[test]
    fn what_is_not_known_or_not_clear_is_refused() {
        for wrong in ["limmit=1", "limit=1&limit=2", "q=%ff", "%ff=1", "q=1&Limit=2", "=1"] {
            assert_eq!(Query::read(wrong, ALLOWED).expect_err(wrong).kind(), WRONG_QUERY, "{wrong}");
        }
        assert_eq!(read("q=%D0%81%20a+b%26").text("q"), Some("Ё a b&"));
        assert_eq!(read("&&q=&").some_text("q"), None);
    }

    #[test]
    fn numbers_have_their_range() {
        assert_eq!(read("").limit().ok(), Some(USUAL_ITEMS));
        assert_eq!(read("limit=200").limit().ok(), Some(200));
        for wrong in ["0", "201", "-1", "+1", "1.0", "", "99999999999999999999999"] {
            assert!(read(&format!("limit={wrong}")).limit().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_may_stand_alone() {
        for (query, on) in
            [("", false), ("verbose", true), ("verbose=", true), ("verbose=true", true), ("verbose=false", false)]
        {
            assert_eq!(read(query).flag("verbose").ok(), Some(on), "{query}");
        }
        assert!(read("verbose=no").flag("verbose").is_err());
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let read = |text: &str| whole(&mut serde_json::Deserializer::from_str(text)).ok();
        for (text, number) in [("70", Some(70)), ("70.0", Some(70)), ("7e1", Some(70)), ("0", Some(0)), ("null", None)]
        {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for wrong in ["-1", "1.5", "1e300", "\"1\"", "true", "[]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let place = "2026-11-28T21:00:00Z/Ё/1";
        assert_eq!(read(&format!("cursor={}", cursor(place))).cursor().ok().flatten().as_deref(), Some(place));
        for wrong in ["%00", "!", "_w"] {
            assert!(read(&format!("cursor={wrong}")).cursor().is_err(), "{wrong}");
        }
    }
}
