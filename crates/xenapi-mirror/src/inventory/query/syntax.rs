//! A filter as it is written, before the datamodel has been asked.

use std::fmt::{self, Display};

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// `a or b`.
    Any(Vec<Self>),
    /// `a and b`.
    All(Vec<Self>),
    /// `not a`.
    Not(Box<Self>),
    /// `field operator value`.
    Term(Term),
}

/// What is asked of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) path: Vec<Part>,
    pub(super) asks: Asks,
}

/// A part of a path: a field, or a key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) at: At,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing: the field itself is the answer.
    Itself,
    /// `operator value`.
    Compare(Operator, At, Value),
    /// `in (value, value)`.
    In(At, Vec<Value>),
    /// `has value`.
    Has(At, Value),
}

/// An operator between a field and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    NotLike,
}

impl Operator {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "~",
            Self::NotLike => "!~",
        }
    }
}

/// A value; its type is the field's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// Quoted, it is text and never a word like `null`.
    pub(super) quoted: bool,
    pub(super) at: At,
}

impl Value {
    /// Whether it is this word, not quoted.
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// Where something stands in the text. It is no part of what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub(super) usize);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

/// What may stand in a name or a key that is not quoted.
pub(super) fn is_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

/// What may stand in a value that is not quoted.
pub(super) fn is_word(char: char) -> bool {
    is_name(char) || matches!(char, '.' | ':' | '+' | '/' | '*' | '?' | '@' | '%')
}

/// Words that mean something between terms, and so are values only in quotes.
pub(super) const KEYWORDS: [&str; 5] = ["and", "or", "not", "in", "has"];

impl Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    write!(f, " {word} ")?;
                }
                let inner_or = matches!(part, Self::Any(_));
                let inner_and = matches!(part, Self::All(_)) && word == "and";
                if inner_or || inner_and { write!(f, "({part})")? } else { part.fmt(f)? }
            }
            Ok(())
        };
        match self {
            Self::Any(parts) => join(f, parts, "or"),
            Self::All(parts) => join(f, parts, "and"),
            Self::Not(inner) => match **inner {
                Self::Any(_) | Self::All(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.path.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            if !part.text.is_empty() && part.text.chars().all(is_name) {
                f.write_str(&part.text)?;
            } else {
                quoted(f, &part.text)?;
            }
        }
        match &self.asks {
            Asks::Itself => Ok(()),
            Asks::Compare(operator, _, value) => write!(f, " {} {value}", operator.sign()),
            Asks::Has(_, value) => write!(f, " has {value}"),
            Asks::In(_, values) => {
                f.write_str(" in (")?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { quoted(f, &self.text) } else { f.write_str(&self.text) }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}
