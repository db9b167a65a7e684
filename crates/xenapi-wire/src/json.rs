//! What a JSON text's structure takes to be followed without reading the values: strings, white
//! space, brackets.

use super::error::ReadError;
use super::words::quote_or_backslash;

/// In a string: whether behind a backslash.
pub(crate) type Escaped = bool;

/// JSON's own white space.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where a string ends, its closing quote included, given bytes of its inside.
pub(crate) fn string_end(bytes: &[u8], escaped: &mut Escaped) -> Option<usize> {
    let mut at = usize::from(std::mem::take(escaped));
    while at < bytes.len() {
        at += quote_or_backslash(&bytes[at..])?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
    // A backslash, or what it escapes, is the next chunk's.
    *escaped = at > bytes.len();
    None
}

/// Checks how deep a JSON text is nested, without recursion.
pub(crate) fn check_depth(json: &[u8], limit: usize) -> Result<(), ReadError> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => match string_end(&json[at..], &mut false) {
                Some(len) => at += len,
                None => return Ok(()),
            },
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return Err(ReadError::TooDeep { limit });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_no_depth() {
        assert_eq!(check_depth(b"[[\"[[[\"],[]]", 2), Ok(()));
        assert_eq!(check_depth(b"[[\"]]]\\\"\",[]]]", 2), Err(ReadError::TooDeep { limit: 2 }));
        assert_eq!(check_depth(b"]]]]{{\"", 2), Ok(()));
    }
}
