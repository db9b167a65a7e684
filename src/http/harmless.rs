//! Texts of users where they are printed: in tables, cells and labels.

use std::borrow::Cow;

/// The character, or another for one that would move the cursor, colour the screen or turn the
/// direction of what follows.
pub fn harmless(char: char) -> char {
    let turns = matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if char.is_control() || turns { '\u{fffd}' } else { char }
}

/// A text of one line with nothing but harmless characters.
pub fn line(text: &str) -> Cow<'_, str> {
    cleaned(text, |_| false)
}

/// The same of a text that may have several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    cleaned(text, |char| matches!(char, '\n' | '\r' | '\t'))
}

fn cleaned(text: &str, is_fine: impl Fn(char) -> bool) -> Cow<'_, str> {
    let shown = |char: char| if is_fine(char) { char } else { harmless(char) };
    match text.chars().any(|char| shown(char) != char) {
        true => text.chars().map(shown).collect::<String>().into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_the_rest_is_as_it_was() {
        assert_eq!(line("a\u{1b}[31m\tb\n\u{202e}c"), "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(lines("a\r\nb\tc\u{7}\u{9b}"), "a\r\nb\tc\u{fffd}\u{fffd}");
        assert!(matches!(line("日本 é"), Cow::Borrowed("日本 é")));
    }
}
