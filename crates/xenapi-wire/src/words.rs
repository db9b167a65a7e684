//! Looks for bytes eight at a time: faster than one by one, and than memchr where what is looked
//! for comes soon.

/// A one in each byte.
pub(crate) const ONES: u64 = u64::MAX / 0xff;

/// The high bit of each byte.
pub(crate) const HIGH: u64 = ONES * 0x80;

/// A word of this byte.
#[inline]
pub(crate) const fn of_byte(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Sets the high bit of each byte that is zero. The other bits are noise, and a borrow can set the
/// high bits of bytes above one that is zero, so only the lowest high bit counts.
#[inline]
pub(crate) const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// Where a JSON string's next quote or backslash is.
#[inline]
pub(crate) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    // Most strings of a record are shorter than this, and memchr is slow to start.
    const SHORT: usize = 40;
    let mut at = 0;
    while at < SHORT
        && let Some(word) = bytes[at..].first_chunk::<8>()
    {
        let word = u64::from_le_bytes(*word);
        let found = (zeros(word ^ of_byte(b'"')) | zeros(word ^ of_byte(b'\\'))) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', &bytes[at..]).map(|further| at + further)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_found_wherever_they_stand() {
        for len in [0, 7, 8, 60] {
            for at in 0..len {
                for byte in 0..=255_u8 {
                    // What comes behind the first must not matter.
                    let mut text = vec![b'a'; len];
                    text[at..].fill(b'"');
                    text[at] = byte;
                    let expected = if matches!(byte, b'"' | b'\\') { at } else { at + 1 };
                    let expected = Some(expected).filter(|at| *at < len);
                    assert_eq!(quote_or_backslash(&text), expected, "{byte:#x} at {at} of {len}");
                }
            }
        }
    }
}
