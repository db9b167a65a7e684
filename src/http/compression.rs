//! Content codings: which ones a client takes, and what they make of a body.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use http::{HeaderMap, header};

/// Fast levels: a list is compressed anew whenever something in it changes.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: u32 = 3;
/// A window of 4 MB: lists repeat themselves over long distances.
const BROTLI_WINDOW: u32 = 22;
const GZIP_LEVEL: u32 = 3;

/// How a body may be compressed, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `zstd`
    Zstd,
    /// `br`
    Brotli,
    /// `gzip`
    Gzip,
}

impl Encoding {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What a request's `Accept-Encoding` says, as weights in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    codings: [u16; Encoding::ALL.len()],
    identity: u16,
}

impl Accepted {
    /// Nothing said: what is not compressed is fine, and what is would be a surprise.
    const UNSAID: Self = Self { codings: [0; 3], identity: 1000 };

    /// What these headers say. What is no coding, or has no weight that makes sense, says nothing.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
        if values.peek().is_none() {
            return Self::UNSAID;
        }
        let (mut codings, mut identity, mut any) = ([None; 3], None, None);
        for item in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let Some((name, weight)) = item_of(item) else { continue };
            // RFC 9110 has it as another name for the same.
            let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
            let known = Encoding::ALL.iter().position(|one| one.name().eq_ignore_ascii_case(name));
            match (known, name) {
                (Some(place), _) => codings[place] = Some(weight),
                (None, "*") => any = Some(weight),
                (None, name) if name.eq_ignore_ascii_case("identity") => identity = Some(weight),
                (None, _) => {}
            }
        }
        Self {
            codings: codings.map(|weight| weight.or(any).unwrap_or(0)),
            // Whoever names codings and not this one takes it if need be.
            identity: identity.or(any.filter(|weight| *weight == 0)).unwrap_or(1),
        }
    }

    /// The coding the client likes best, unless it is best left alone.
    pub fn best(self) -> Option<Encoding> {
        let mut best = None;
        for (encoding, weight) in Encoding::ALL.into_iter().zip(self.codings) {
            if weight > 0 && weight >= self.identity && best.is_none_or(|(_, most)| weight > most) {
                best = Some((encoding, weight));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    /// Whether the client takes this coding, or with `None` what is not compressed.
    pub fn takes(self, encoding: Option<Encoding>) -> bool {
        match encoding {
            Some(encoding) => self.codings[encoding as usize] > 0,
            None => self.identity > 0,
        }
    }
}

/// What `plain` becomes with this coding.
pub(super) fn compress(encoding: Encoding, plain: &[u8]) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
        Encoding::Brotli => {
            let out = Vec::with_capacity(plain.len() / 8 + 64);
            let mut writer =
                brotli::CompressorWriter::new(out, 64 << 10, BROTLI_QUALITY, BROTLI_WINDOW);
            writer.write_all(plain)?;
            writer.flush()?;
            Ok(writer.into_inner())
        }
        Encoding::Gzip => {
            let out = Vec::with_capacity(plain.len() / 8 + 64);
            let mut writer = GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
            writer.write_all(plain)?;
            writer.finish()
        }
    }
}

/// The name and weight of an item of a list: `gzip;q=0.5`.
fn item_of(item: &[u8]) -> Option<(&str, u16)> {
    let mut parts = std::str::from_utf8(item).ok()?.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let q = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    match q {
        None => Some((name, 1000)),
        Some(q) => {
            let q: f32 = q.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
            // Bounded just above, so the cast keeps the value.
            Some((name, (q * 1000.0).round() as u16))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepted(values: &[&[u8]]) -> Accepted {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header's bytes");
            headers.append(header::ACCEPT_ENCODING, value);
        }
        Accepted::of(&headers)
    }

    fn best(value: &str) -> Option<&'static str> {
        accepted(&[value.as_bytes()]).best().map(Encoding::name)
    }

    #[test]
    fn the_best_coding_that_both_know_is_taken() {
        assert_eq!(best("gzip, deflate, br, zstd"), Some("zstd"));
        assert_eq!(best("gzip, deflate, br"), Some("br"));
        assert_eq!(best("X-GZIP"), Some("gzip"));
        assert_eq!(best("zstd;q=0.5, gzip;q=0.9"), Some("gzip"));
        assert_eq!(best("*"), Some("zstd"));
        assert_eq!(best("zstd;q=0, *"), Some("br"));
        assert_eq!(accepted(&[b"zstd;q=0.1", b"gzip;q=0.2"]).best(), Some(Encoding::Gzip));
    }

    #[test]
    fn what_is_not_asked_for_is_not_compressed() {
        assert_eq!(accepted(&[]).best(), None);
        for value in ["", "identity", "deflate", "*;q=0", "gzip;q=0", "identity, gzip;q=0.5"] {
            assert_eq!(best(value), None, "{value}");
        }
    }

    #[test]
    fn garbage_says_nothing() {
        for value in [";;;", ",,,", "gzip;q=", "gzip;q=x", "gzip;q=-1", "gzip;q=2", "gzip;q=NaN"] {
            assert_eq!(best(value), None, "{value}");
        }
        assert_eq!(best(";q=1, gzip;level=9, \u{e9}"), Some("gzip"));
        assert_eq!(accepted(&[b"\xff\xfe, gzip"]).best(), Some(Encoding::Gzip));
        assert_eq!(accepted(&[&[b','; 8000]]).best(), None);
    }

    #[test]
    fn every_coding_can_be_undone() {
        let record = br#"{"uuid":"0f5c1d5a-9c2c-4b1c-9d1c-0123456789ab","power_state":"Running"},"#;
        for plain in [Vec::new(), b"x".to_vec(), record.repeat(2000)] {
            for encoding in Encoding::ALL {
                let packed = compress(encoding, &plain).expect("memory");
                let mut unpacked = Vec::new();
                match encoding {
                    Encoding::Zstd => zstd::stream::copy_decode(&*packed, &mut unpacked),
                    Encoding::Gzip => {
                        io::copy(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked)
                            .map(drop)
                    }
                    Encoding::Brotli => brotli::BrotliDecompress(&mut &*packed, &mut unpacked),
                }
                .expect("what was compressed");
                assert_eq!(unpacked, plain, "{encoding:?}");
                assert!(plain.len() < 1000 || packed.len() < plain.len() / 20, "{encoding:?}");
            }
        }
    }

    #[test]
    fn a_coding_can_be_refused() {
        let some = accepted(&[b"gzip, br;q=0"]);
        let takes = |encoding| some.takes(encoding);
        assert!(takes(Some(Encoding::Gzip)) && takes(None));
        assert!(!takes(Some(Encoding::Brotli)) && !takes(Some(Encoding::Zstd)));
        assert!(!accepted(&[b"gzip, identity;q=0"]).takes(None));
        assert!(!accepted(&[b"gzip, *;q=0"]).takes(None));
        assert!(accepted(&[]).takes(None));
    }
}
