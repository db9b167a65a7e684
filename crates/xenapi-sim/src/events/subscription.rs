//! What callers of `event.from` want to hear of, and since when.

use xenapi_model::Class;

/// A place in the history of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Token {
    /// The latest change seen.
    pub(super) generation: u64,
    /// The latest message seen.
    pub(super) message: u64,
}

impl Token {
    /// The token of a generation.
    pub(crate) fn at(generation: u64) -> Self {
        Self { generation, message: 0 }
    }

    /// Reads a token; an empty text stands for the beginning.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::at(0));
        }
        let (generation, message) = text.split_once(',')?;
        Some(Self { generation: generation.parse().ok()?, message: message.parse().ok()? })
    }
}

/// Padded with zeros, so that tokens compare as text.
impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:020},{:020}", self.generation, self.message)
    }
}

/// What a caller wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subscription {
    All,
    Class(String),
    Object(String, String),
}

impl Subscription {
    /// Reads `*`, `vm` or `vm/OpaqueRef:…`.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once('/') {
            _ if text == "*" => Self::All,
            Some((class, reference)) => {
                Self::Object(class.to_ascii_lowercase(), reference.to_owned())
            }
            None => Self::Class(text.to_ascii_lowercase()),
        }
    }

    /// Whether any object of a class is wanted.
    pub(super) fn wants_class(&self, class: &Class) -> bool {
        match self {
            Self::All => true,
            Self::Class(name) | Self::Object(name, _) => class.name.eq_ignore_ascii_case(name),
        }
    }

    /// Whether an object is wanted.
    pub(super) fn wants(&self, class: &Class, reference: &str) -> bool {
        self.wants_class(class)
            && match self {
                Self::Object(_, wanted) => wanted == reference,
                _ => true,
            }
    }

    /// Whether only tasks are wanted, which are told of at once.
    pub(super) fn is_of_tasks(&self) -> bool {
        matches!(self, Self::Class(class) | Self::Object(class, _) if class == "task")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_and_written() {
        assert_eq!(Token::parse(""), Some(Token::at(0)));
        let text = "00000000000000089850,00000000000000000007";
        let token = Token::parse(text).expect("a token");
        assert_eq!(token, Token { generation: 89_850, message: 7 });
        assert_eq!(token.to_string(), text);
        for wrong in ["garbage", "1", "1,2,3", ",", "-1,0"] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }
}
