//! JSON writers that differ from the one of XAPI 26.

use super::body::Body;
use super::number::floating;

/// How replies are written in JSON.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct JsonWriter {
    /// Whether the writer is a strict one (yojson 3): it fails on a float that is not finite, and
    /// what was asked is answered with an HTTP 500.
    pub strict: bool,
    /// How integers are spelled.
    pub integers: Integers,
}

/// How integers are spelled, as JSON lets one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Integers {
    /// `3221225472`
    #[default]
    Plain,
    /// `3221225472.0`
    Point,
    /// `3.221225472e9`
    Exponent,
}

impl JsonWriter {
    /// What XAPI says when it cannot write a reply.
    pub(crate) const REFUSAL: &str =
        "Yojson.Json_error(\"NaN value not allowed in standard JSON\")";

    /// The reply as this writer has it; `None` when it cannot write it.
    pub(crate) fn written(self, mut body: Body) -> Option<Body> {
        if self == Self::default() {
            return Some(body);
        }
        let (mut written, mut words) = (Body::default(), Words::default());
        while let Some(piece) = body.next() {
            let mut out = Vec::with_capacity(piece.len());
            for byte in piece {
                words.take(byte, self, &mut out)?;
            }
            written.push(out);
        }
        Some(written)
    }
}

/// Follows a JSON text word by word.
#[derive(Default)]
struct Words {
    in_string: bool,
    escaped: bool,
    word: Vec<u8>,
}

impl Words {
    fn take(&mut self, byte: u8, writer: JsonWriter, out: &mut Vec<u8>) -> Option<()> {
        if self.in_string {
            self.in_string = byte != b'"' || self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
        } else if matches!(byte, b'"' | b',' | b':' | b'[' | b']' | b'{' | b'}') {
            let word = std::mem::take(&mut self.word);
            if writer.strict && matches!(&word[..], b"NaN" | b"Infinity" | b"-Infinity") {
                return None;
            }
            out.extend(spelled(&word, writer.integers));
            self.in_string = byte == b'"';
        } else {
            self.word.push(byte);
            return Some(());
        }
        out.push(byte);
        Some(())
    }
}

fn spelled(word: &[u8], integers: Integers) -> Vec<u8> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let is_integer = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match integers {
        Integers::Point if is_integer => [word, b".0"].concat(),
        Integers::Exponent if is_integer => floating(word),
        _ => word.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(writer: JsonWriter, pieces: &[&str]) -> Option<String> {
        let mut body = Body::default();
        pieces.iter().for_each(|piece| body.push(piece.as_bytes().to_vec()));
        let mut written = writer.written(body)?;
        let mut all = Vec::new();
        while let Some(piece) = written.next() {
            all.extend(piece);
        }
        Some(String::from_utf8(all).expect("UTF-8"))
    }

    #[test]
    fn integers_are_spelled_otherwise_and_nothing_else() {
        let json = [r#"{"a":3221225472,"b":[-10,0,1.5,"7 "#, r#"\",8"],"c":true,"d":{"9":NaN}}"#];
        let spelled = |integers| written(JsonWriter { strict: false, integers }, &json);
        let want = r#"{"a":3221225472.0,"b":[-10.0,0.0,1.5,"7 \",8"],"c":true,"d":{"9":NaN}}"#;
        assert_eq!(spelled(Integers::Point).as_deref(), Some(want));
        let want = r#"{"a":3.221225472e9,"b":[-1.0e1,0.0e0,1.5,"7 \",8"],"c":true,"d":{"9":NaN}}"#;
        assert_eq!(spelled(Integers::Exponent).as_deref(), Some(want));
        assert_eq!(spelled(Integers::Plain), Some(json.concat()));
    }

    #[test]
    fn a_strict_writer_writes_no_float_that_is_not_finite() {
        let strict = JsonWriter { strict: true, ..JsonWriter::default() };
        for json in ["[NaN]", "{\"a\":Infinity}", "[1,-Infinity]"] {
            assert_eq!(written(strict, &[json]), None, "{json}");
        }
        let fine = r#"["NaN","a\",Infinity",1.0]"#;
        assert_eq!(written(strict, &[fine]).as_deref(), Some(fine));
    }
}
