//! Texts of users where they are printed: in tables, cells and labels.

use std::borrow::Cow;

/// The character, or another for one that would move the cursor, colour the screen or turn the
/// direction of what follows.
pub fn harmless(char: char) -> char {
    let turns = matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if char.is_control() || turns { '\u{fffd}' } else { char }
}

/// A text with nothing but harmless characters; line ends and tabs stay, which cells and labels have
/// ways to write.
pub fn cleaned(text: &str) -> Cow<'_, str> {
    let shown = |char: char| match char {
        '\n' | '\r' | '\t' => char,
        char => harmless(char),
    };
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
        assert_eq!(
            cleaned("a\u{1b}[31m\r\nb\tc\u{7}\u{9b}\u{202e}d"),
            "a\u{fffd}[31m\r\nb\tc\u{fffd}\u{fffd}\u{fffd}d"
        );
        assert!(matches!(cleaned("日本 é"), Cow::Borrowed("日本 é")));
    }
}
