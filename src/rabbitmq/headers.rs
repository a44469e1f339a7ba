//! The headers of a message: texts, numbers and booleans by name. Values of other AMQP types are only passed on. It
//! knows no header by name.

use std::fmt;

use amiquip::{AmqpValue, FieldTable};

/// The headers of a message.
#[derive(Clone, Default, PartialEq)]
pub struct Headers(FieldTable);

/// What a header may be set to.
pub struct Value(AmqpValue);

impl Headers {
    /// None yet.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The header of this name, if it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        text_of(self.0.get(name)?)
    }

    /// The header of this name, if it is a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            AmqpValue::ShortShortInt(number) => Some((*number).into()),
            AmqpValue::ShortShortUInt(number) => Some((*number).into()),
            AmqpValue::ShortInt(number) => Some((*number).into()),
            AmqpValue::ShortUInt(number) => Some((*number).into()),
            AmqpValue::LongInt(number) => Some((*number).into()),
            AmqpValue::LongUInt(number) => Some((*number).into()),
            AmqpValue::LongLongInt(number) => Some(*number),
            _ => None,
        }
    }

    /// Is the header of this name `true`?
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name) == Some(&AmqpValue::Boolean(true))
    }

    /// All of them, to be shown to people.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn fmt::Debug)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value as &dyn fmt::Debug))
    }

    /// Those that are texts, with their names.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
    }

    /// Sets a header.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into().0);
    }

    /// Removes a header.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Removes all headers but those of these names.
    pub fn keep_only(&mut self, names: &[&str]) {
        self.0.retain(|name, _| names.contains(&name.as_str()));
    }

    /// An upper bound of their size in a frame, in bytes.
    pub fn size(&self) -> usize {
        // The debug format is longer than the encoding.
        format!("{self:?}").len()
    }

    pub(super) fn of(table: FieldTable) -> Headers {
        Headers(table)
    }

    pub(super) fn table(&self) -> &FieldTable {
        &self.0
    }
}

fn text_of(value: &AmqpValue) -> Option<&str> {
    match value {
        AmqpValue::LongString(text) => Some(text),
        _ => None,
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<V: Into<Value>> FromIterator<(&'static str, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'static str, V)>>(headers: I) -> Headers {
        Headers(headers.into_iter().map(|(name, value)| (name.to_owned(), value.into().0)).collect())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value(AmqpValue::LongString(text))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        text.to_owned().into()
    }
}

impl From<bool> for Value {
    fn from(is_set: bool) -> Value {
        Value(AmqpValue::Boolean(is_set))
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value(AmqpValue::LongInt(number))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value(AmqpValue::LongLongInt(number))
    }
}
