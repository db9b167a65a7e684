//! Characters: finds plain runs fast, decodes what is no UTF-8 as Latin-1, resolves references,
//! and writes all of it as the inside of a JSON string.

use crate::words::{HIGH, ONES, of_byte, zeros};

/// How many bytes from the start can be copied into a JSON string as they are, with no markup
/// among them: ASCII without controls, quotes, backslashes, `<` and `&`.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|byte| !is_plain(*byte)).unwrap_or(bytes.len() - at)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x80) && !matches!(byte, b'"' | b'\\' | b'<' | b'&')
}

/// The high bit of each byte that is not plain. A borrow can mark bytes after the first marked
/// one wrongly, so only the lowest mark counts.
#[inline]
fn specials(word: u64) -> u64 {
    // `"` and `&` differ in one bit, so one comparison finds both.
    let quote_or_amp = zeros((word & !(ONES * 0x04)) ^ (ONES * 0x22));
    let backslash = zeros(word ^ of_byte(b'\\'));
    let less = zeros(word ^ of_byte(b'<'));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote_or_amp | backslash | less | control | word) & HIGH
}

/// Writes bytes as the inside of a JSON string. Bytes that are no UTF-8 are read as Latin-1, one
/// by one.
pub(super) fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        escape_str(chunk.valid(), out);
        for byte in chunk.invalid() {
            latin1(*byte, out);
        }
    }
}

fn latin1(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes());
}

fn escape_str(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, 0..0x20 | b'"' | b'\\') {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// The start of a UTF-8 sequence that a chunk's end cut off.
#[derive(Default)]
pub(super) struct Cut {
    bytes: [u8; 3],
    len: usize,
}

impl Cut {
    /// Whether nothing is cut off.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the unfinished sequence off the end of a run that a chunk's end cut.
    pub(super) fn take_from<'a>(&mut self, run: &'a [u8]) -> &'a [u8] {
        let looked_at = run.len().min(3);
        for len in 1..=looked_at {
            let (rest, tail) = run.split_at(run.len() - len);
            if is_unfinished(tail) {
                self.bytes[..len].copy_from_slice(tail);
                self.len = len;
                return rest;
            }
        }
        run
    }

    /// Finishes the sequence with the next chunk's first bytes, and says how many it took. Leaves
    /// it unfinished if the chunk is too short.
    pub(super) fn resume(&mut self, run: &[u8], out: &mut Vec<u8>) -> usize {
        for (taken, byte) in run.iter().enumerate() {
            let mut sequence = [0; 4];
            sequence[..self.len].copy_from_slice(&self.bytes[..self.len]);
            sequence[self.len] = *byte;
            let sequence = &sequence[..=self.len];
            if str::from_utf8(sequence).is_ok() {
                out.extend_from_slice(sequence);
                self.len = 0;
                return taken + 1;
            }
            if !is_unfinished(sequence) {
                self.give_up(out);
                return taken;
            }
            self.bytes[self.len] = *byte;
            self.len += 1;
        }
        run.len()
    }

    /// Writes the sequence as Latin-1: it will not be finished.
    pub(super) fn give_up(&mut self, out: &mut Vec<u8>) {
        for byte in &self.bytes[..self.len] {
            latin1(*byte, out);
        }
        self.len = 0;
    }
}

/// Whether more bytes could make one UTF-8 sequence of these.
fn is_unfinished(bytes: &[u8]) -> bool {
    matches!(str::from_utf8(bytes), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none())
}

/// The longest reference, from `&` to `;`.
pub(super) const LONGEST_REFERENCE: usize = 12;

/// The character that `&name;` stands for, given the name. Unknown ones are none of ours to
/// guess: the text is kept as it was.
pub(super) fn reference(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => {
            let (digits, radix) = match name.strip_prefix(b"#")? {
                [b'x' | b'X', digits @ ..] => (digits, 16),
                digits => (digits, 10),
            };
            // `from_str_radix` would take a sign.
            if !digits.first()?.is_ascii_hexdigit() {
                return None;
            }
            char::from_u32(u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?)
        }
    }
}

/// The reference at the start of a text, if it is one of the two that fill XAPI's records (which
/// carry XML in strings): its length and the JSON for it.
#[inline]
pub(super) fn frequent_reference(text: &[u8]) -> Option<(usize, &'static [u8])> {
    match text {
        [b'&', b'l', b't', b';', ..] => Some((4, b"<")),
        [b'&', b'g', b't', b';', ..] => Some((4, b">")),
        [b'&', b'a', b'm', b'p', b';', ..] => Some((5, b"&")),
        [b'&', b'q', b'u', b'o', b't', b';', ..] => Some((6, b"\\\"")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_stops_at_every_special_byte_wherever_it_stands() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut text = *b"abcdefghijklmnopqrst";
                text[at] = byte;
                let expected = if is_plain(byte) { text.len() } else { at };
                assert_eq!(plain(&text), expected, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_utf8_is_read_as_latin1() {
        assert_eq!(escaped(b"caf\xe9"), "café");
        assert_eq!(escaped("café €".as_bytes()), "café €");
        assert_eq!(escaped(b"\xe2\x82 \xff"), "\u{e2}\u{82} ÿ");
        assert_eq!(
            escaped(b"a\x01b\x08\x1f\"\\\n\r\t\x7f"),
            "a\\u0001b\\u0008\\u001f\\\"\\\\\\n\\r\\t\u{7f}"
        );
    }

    #[test]
    fn a_cut_sequence_reads_as_if_it_were_whole() {
        for text in [
            &b"\xf0\x9f\x90\xbbx"[..],
            b"\xe2\x82<",
            b"\xe0\x80a",
            b"\xf4\x90\x80\x80",
            b"\xc3\xc3\xa9",
        ] {
            let mut out = Vec::new();
            let mut cut = Cut::default();
            for byte in text {
                let run = [*byte];
                let taken = if cut.is_empty() { 0 } else { cut.resume(&run, &mut out) };
                let rest = &run[taken..];
                if cut.is_empty() {
                    escape(cut.take_from(rest), &mut out);
                }
            }
            cut.give_up(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), escaped(text), "{text:?}");
        }
    }

    #[test]
    fn references_are_the_five_and_the_numbers() {
        for (name, character) in [
            ("lt", Some('<')),
            ("apos", Some('\'')),
            ("#10", Some('\n')),
            ("#x41", Some('A')),
            ("#X1F600", Some('\u{1F600}')),
            ("#xD800", None),
            ("#+5", None),
            ("#", None),
            ("#x", None),
            ("#99999999999", None),
            ("nbsp", None),
            ("", None),
        ] {
            assert_eq!(reference(name.as_bytes()), character, "{name}");
        }
    }
}
