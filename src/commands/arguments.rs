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
