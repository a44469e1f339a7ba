//! What all commands need to read their arguments. It knows no command.

use lexopt::{Arg, Parser, ValueExt as _};

use crate::nearest::did_you_mean;

/// True when nothing follows, false when help is asked for.
///
/// # Errors
/// Something else follows.
pub fn nothing_more(parser: &mut Parser) -> Result<bool, lexopt::Error> {
    match parser.next()? {
        None => Ok(true),
        Some(Arg::Short('h') | Arg::Long("help")) => Ok(false),
        Some(other) => Err(unexpected(&other, &["--help"])),
    }
}

/// The error for an argument that is not expected here; `options` are the expected ones.
pub fn unexpected(argument: &Arg, options: &[&str]) -> lexopt::Error {
    let option = match argument {
        Arg::Value(value) => return format!("{value:?} is one argument too many").into(),
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
    };
    let meant = did_you_mean(&option, options.iter().copied());
    format!("there is no option {option} here{meant}").into()
}

/// The value of an option. Errors name the option.
///
/// # Errors
/// There is no value, or it is not what is `wanted`.
pub fn value<T>(
    parser: &mut Parser,
    option: &str,
    wanted: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, lexopt::Error> {
    let given = parser.value().map_err(|_| format!("{option} needs a value: {wanted}"))?;
    let text = given.string()?;
    read(&text).ok_or_else(|| format!("{option}: {text:?} is not {wanted}").into())
}

/// What [`seconds`] reads, for an error.
pub const A_TIME: &str = "a time such as 90s, 15m, 2h or 3d";

/// A length of time in whole seconds: `90s`, `15m`, `2h`, `3d`; without a letter it is seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit_or_is_in_seconds() {
        let read = ["90s", "15m", "2h", "3d", "30"].map(seconds);
        assert_eq!(read, [Some(90), Some(900), Some(7200), Some(259_200), Some(30)]);
        for wrong in ["", "m", "0", "0s", "1.5h", "-5m", "5 m", "5w", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
