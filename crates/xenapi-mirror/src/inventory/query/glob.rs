//! Patterns with `*` for any text and `?` for any one character.

use std::fmt;

use memchr::memmem::Finder;

/// How long a piece with a `?` between two `*` is at most, in characters: it is looked for at every
/// place of the text.
const LONGEST_PIECE: usize = 64;

/// A pattern. It takes time in proportion to the text, whatever the pattern.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    /// What stands between the `*`, in order; the first is at the start and the last at the end.
    pieces: Box<[Piece]>,
}

/// A part of a pattern without `*`.
#[derive(Clone)]
enum Piece {
    /// Text as it is.
    Plain(Box<Finder<'static>>),
    /// Characters, `None` for any.
    Loose(Box<[Option<char>]>),
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(finder) => f.write_str(&String::from_utf8_lossy(finder.needle())),
            Self::Loose(chars) => chars.fmt(f),
        }
    }
}

impl Glob {
    /// Reads a pattern; `\` takes the meaning from the character behind it. The error says what
    /// would do.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            match char {
                '*' => pieces.push(std::mem::take(&mut piece)),
                '?' => piece.push(None),
                '\\' => piece.push(Some(chars.next().unwrap_or('\\'))),
                char => piece.push(Some(char)),
            }
        }
        pieces.push(piece);
        let pieces: Vec<Piece> = pieces.into_iter().map(Piece::new).collect();
        let too_long = |piece: &Piece| matches!(piece, Piece::Loose(c) if c.len() > LONGEST_PIECE);
        if pieces.iter().any(too_long) {
            return Err(format!(
                "{LONGEST_PIECE} characters at most between two * where there is a ?"
            ));
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// Of each of its pieces, how many characters are tried one by one at every place of a text.
    pub(super) fn lengths(&self) -> impl Iterator<Item = u64> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Plain(_) => 0,
            Piece::Loose(chars) => 4 * chars.len() as u64,
        })
    }

    /// Whether the whole text fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, more)) = self.pieces.split_first() else { return text.is_empty() };
        let Some(mut rest) = first.strip(text) else { return false };
        let Some((last, between)) = more.split_last() else { return rest.is_empty() };
        for piece in between {
            match piece.find(rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        last.ends(rest)
    }
}

impl Piece {
    fn new(chars: Vec<Option<char>>) -> Self {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(text) => Self::Plain(Box::new(Finder::new(text.as_bytes()).into_owned())),
            None => Self::Loose(chars.into()),
        }
    }

    /// What is behind the piece, when the text begins with it.
    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            // A comparison with nothing is costly where the processor is asked for bytes at no address.
            Self::Plain(finder) if finder.needle().is_empty() => Some(text),
            Self::Plain(finder) => {
                let there = text.as_bytes().starts_with(finder.needle());
                if there { text.get(finder.needle().len()..) } else { None }
            }
            Self::Loose(wanted) => {
                let mut chars = text.chars();
                let fits = wanted.iter().all(|wanted| match (chars.next(), wanted) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(char), Some(wanted)) => char == *wanted,
                });
                fits.then_some(chars.as_str())
            }
        }
    }

    /// What is behind the piece where it first stands in the text.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(finder) => {
                let at = finder.find(text.as_bytes())?;
                text.get(at + finder.needle().len()..)
            }
            Self::Loose(_) => text.char_indices().find_map(|(at, _)| self.strip(text.get(at..)?)),
        }
    }

    /// Whether the text ends with the piece.
    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Plain(finder) => {
                finder.needle().is_empty() || text.as_bytes().ends_with(finder.needle())
            }
            Self::Loose(wanted) => {
                let start = text.char_indices().rev().nth(wanted.len() - 1).map(|(at, _)| at);
                let tail = start.and_then(|start| text.get(start..));
                tail.and_then(|tail| self.strip(tail)).is_some_and(str::is_empty)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("web-*", "web-1", true),
            ("web-*", "my-web-1", false),
            ("*web*", "my-web-1", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("?", "é", true),
            ("?", "", false),
            ("*?", "ab", true),
            ("?*?", "a", false),
            ("*a?c*", "xxabcxx", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"a\", r"a\", true),
        ] {
            assert_eq!(
                Glob::new(pattern).expect("a pattern").matches(text),
                fits,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_costly_pattern_is_refused() {
        assert!(Glob::new(&format!("*{}*", "?".repeat(65))).is_err());
        assert!(Glob::new(&"a".repeat(4000)).is_ok());
        // What makes a backtracking matcher run for years.
        let glob = Glob::new(&"a*".repeat(500)).expect("a pattern");
        assert!(!glob.matches(&"a".repeat(499)));
        assert!(glob.matches(&"a".repeat(500)));
    }
}
