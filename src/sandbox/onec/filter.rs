//! The conditions of `$filter` in OData 3: read, and held against an object. There is no `in`, as there is none in 1C.

use serde_json::{Map, Value};

use super::schema::Set;

/// A condition.
#[derive(Debug)]
pub enum Filter {
    Or(Box<Filter>, Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Compare(String, &'static str, Value),
    /// The text stands in the field.
    Holds(String, String),
}

const OPERATORS: [&str; 6] = ["eq", "ne", "gt", "ge", "lt", "le"];

/// Reads a condition on the objects of this set.
///
/// # Errors
/// What does not parse.
pub fn parse(text: &str, set: &Set) -> Result<Filter, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, set };
    let filter = parser.or()?;
    match parser.next() {
        None => Ok(filter),
        Some(rest) => Err(format!("{rest:?}")),
    }
}

impl Filter {
    /// Is this object one of those?
    pub fn fits(&self, object: &Map<String, Value>) -> bool {
        match self {
            Filter::Or(one, other) => one.fits(object) || other.fits(object),
            Filter::And(one, other) => one.fits(object) && other.fits(object),
            Filter::Not(inner) => !inner.fits(object),
            Filter::Compare(field, operator, value) => compares(&object[field], operator, value),
            Filter::Holds(field, text) => object[field].as_str().is_some_and(|held| held.contains(text)),
        }
    }
}

fn compares(one: &Value, operator: &str, other: &Value) -> bool {
    let order = match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.partial_cmp(&other),
        _ if one.is_boolean() && other.is_boolean() => one.as_bool().partial_cmp(&other.as_bool()),
        _ => one.as_str().partial_cmp(&other.as_str()),
    };
    order.is_some_and(|order| match operator {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "gt" => order.is_gt(),
        "ge" => order.is_ge(),
        "lt" => order.is_lt(),
        _ => order.is_le(),
    })
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_./-".contains(*c)).collect();
        let after = &rest[word.len()..];
        rest = match (first, word.as_str()) {
            ('(' | ')' | ',', _) => {
                tokens.push(Token::Sign(first));
                &rest[1..]
            }
            (_, "" | "guid" | "datetime") if after.starts_with('\'') => {
                let (value, after) = quoted(&after[1..]).ok_or("a text without an end")?;
                let value = if word == "guid" { value.to_lowercase() } else { value };
                tokens.push(Token::Literal(value.into()));
                after
            }
            (_, "") => return Err(format!("{first:?}")),
            (_, "true" | "false") => {
                tokens.push(Token::Literal((word == "true").into()));
                after
            }
            ('0'..='9' | '-', _) => {
                let number: serde_json::Number = word.parse().map_err(|_| word.clone())?;
                tokens.push(Token::Literal(number.into()));
                after
            }
            _ => {
                tokens.push(Token::Word(word.clone()));
                after
            }
        }
        .trim_start();
    }
    Ok(tokens)
}

/// A text up to its end, and what follows; a quote in it is doubled.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    set: &'a Set,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn expect(&mut self, sign: char) -> Result<(), String> {
        if self.takes(&Token::Sign(sign)) { Ok(()) } else { Err(format!("no {sign:?} where one is due")) }
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut one = self.and()?;
        while self.takes_word("or") {
            one = Filter::Or(Box::new(one), Box::new(self.and()?));
        }
        Ok(one)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut one = self.not()?;
        while self.takes_word("and") {
            one = Filter::And(Box::new(one), Box::new(self.not()?));
        }
        Ok(one)
    }

    fn not(&mut self) -> Result<Filter, String> {
        if self.takes_word("not") {
            return Ok(Filter::Not(Box::new(self.not()?)));
        }
        if self.takes(&Token::Sign('(')) {
            let inner = self.or()?;
            self.expect(')')?;
            return Ok(inner);
        }
        if self.takes_word("substringof") {
            self.expect('(')?;
            let text = self.literal()?.as_str().unwrap_or_default().to_owned();
            self.expect(',')?;
            let field = self.field()?;
            self.expect(')')?;
            return Ok(Filter::Holds(field, text));
        }
        let field = self.field()?;
        let operator = match self.next() {
            Some(Token::Word(word)) => OPERATORS.into_iter().find(|known| *known == word).ok_or(word),
            other => Err(format!("{other:?}")),
        }?;
        let value = match self.takes_word("cast") {
            true => {
                self.expect('(')?;
                let value = self.literal()?;
                self.expect(',')?;
                self.literal()?;
                self.expect(')')?;
                value
            }
            false => self.literal()?,
        };
        Ok(Filter::Compare(field, operator, value))
    }

    fn field(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(name)) if self.set.has(&name) => Ok(name),
            other => Err(format!("{other:?}")),
        }
    }

    fn literal(&mut self) -> Result<Value, String> {
        match self.next() {
            Some(Token::Literal(value)) => Ok(value),
            other => Err(format!("{other:?}")),
        }
    }
}
