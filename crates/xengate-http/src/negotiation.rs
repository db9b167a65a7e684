//! `Accept` and `Accept-Encoding` (RFC 9110): how much a client likes a media type or a content
//! coding. Every path that answers in one form or several asks here.
//!
//! The reader of their weights is our own. Those of the libraries give up a whole header where one
//! item of it is odd (Java sends `*; q=.2` by itself), or take a weight that cannot be read for
//! none, which is the most; here such an item counts as refused, and the others as they are.

use http::{HeaderMap, HeaderName, header};

use super::compression::Encoding;
use super::problem;

/// As much as a client likes anything that it does not mind.
const MOST: u16 = 1000;

/// The least that a client can like something.
const LEAST: u16 = 1;

/// How much the client likes a media type, in thousandths; nothing is not at all. The most specific
/// range that fits decides, of equals the one that likes it most. No header means anything goes.
///
/// Who names problem documents takes what a path answers, if nothing better can be had: generated
/// clients list the media types that a document has, and where a success has no body, or one that
/// they do not know, that is the only one.
pub fn quality(headers: &HeaderMap, media_type: &str) -> u16 {
    match fitting(headers, media_type) {
        Some((_, quality)) => quality,
        None if !headers.contains_key(header::ACCEPT) => MOST,
        None if names(headers, problem::MEDIA_TYPE) => LEAST,
        None => 0,
    }
}

/// Whether a client takes this very media type, by its name.
pub fn names(headers: &HeaderMap, media_type: &str) -> bool {
    fitting(headers, media_type).is_some_and(|(specific, quality)| specific == 2 && quality > 0)
}

/// The form that the client likes best; of equals, the one offered first.
pub fn best<T: Copy>(
    headers: &HeaderMap,
    offered: &[T],
    media_type: fn(T) -> &'static str,
) -> Option<T> {
    let mut best = None;
    for form in offered {
        let quality = quality(headers, media_type(*form));
        if quality > best.map_or(0, |(so_far, _)| so_far) {
            best = Some((quality, *form));
        }
    }
    best.map(|(_, form)| form)
}

/// The range that decides: how specific it is, and how much the client likes what fits it.
fn fitting(headers: &HeaderMap, media_type: &str) -> Option<(u8, u16)> {
    let media_type = media_type.split(';').next().unwrap_or_default();
    let (kind, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let fitting = weighted(headers, header::ACCEPT).filter_map(|(range, weight)| {
        let specific = if range.eq_ignore_ascii_case(media_type) {
            2
        } else if range.strip_suffix("/*").is_some_and(|of| of.eq_ignore_ascii_case(kind)) {
            1
        } else if range == "*/*" {
            0
        } else {
            return None;
        };
        Some((specific, weight))
    });
    fitting.max()
}

/// What a request's `Accept-Encoding` says, as weights in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    codings: [u16; Encoding::ALL.len()],
    identity: u16,
}

impl Accepted {
    /// Nothing said: what is not compressed is fine, and what is would be a surprise.
    const UNSAID: Self = Self { codings: [0; 3], identity: MOST };

    /// What these headers say.
    pub fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            return Self::UNSAID;
        }
        let (mut codings, mut identity, mut any) = ([None; 3], None, None);
        for (name, weight) in weighted(headers, header::ACCEPT_ENCODING) {
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
            identity: identity.or(any.filter(|weight| *weight == 0)).unwrap_or(LEAST),
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

/// The items of a header that is a list of names with weights, as `gzip;q=0.5, br`: each name, without
/// its parameters, and its weight in thousandths.
fn weighted(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, u16)> {
    let values = headers.get_all(name).iter();
    let items = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.filter_map(|item| {
        let mut parts = std::str::from_utf8(item).ok()?.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let q = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some((name, q.map_or(MOST, weight)))
    })
}

/// `0.5` in thousandths; nothing for what is no number from 0 to 1. RFC 9110 has three digits at
/// most and one before the point; clients have others.
fn weight(text: &str) -> u16 {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight = text.parse().ok().filter(|weight: &f32| is_plain && *weight <= 1.0);
    // Bounded just above, so the cast keeps the value.
    weight.map_or(0, |weight| (weight * f32::from(MOST)).round() as u16)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(value: Option<&'static str>) -> HeaderMap {
        let value = value.map(|value| (header::ACCEPT, HeaderValue::from_static(value)));
        value.into_iter().collect()
    }

    #[test]
    fn the_most_specific_range_decides() {
        let accepts = |value| quality(&headers(value), "application/json") > 0;
        assert!(accepts(None));
        assert!(accepts(Some("*/*")));
        assert!(accepts(Some("text/html, application/*;q=0.1")));
        assert!(accepts(Some("Application/JSON; charset=utf-8")));
        assert!(accepts(Some("application/json, */*;q=0")));
        assert!(!accepts(Some("text/html")));
        assert!(!accepts(Some("application/json;q=0, */*")));
        assert!(!accepts(Some("application/xml;q=1")));
        assert!(!accepts(Some("")));
    }

    #[test]
    fn who_takes_problems_takes_what_there_is() {
        let of = |value| quality(&headers(Some(value)), "text/event-stream");
        assert_eq!(of("application/problem+json"), LEAST);
        assert_eq!(of("text/html, Application/Problem+JSON;q=0.5"), LEAST);
        assert_eq!(of("application/problem+json, text/event-stream;q=0.5"), 500);
        // What is refused by name stays refused.
        for refused in [
            "application/problem+json;q=0",
            "application/problem+json, text/event-stream;q=0",
            "application/problem+json, text/*;q=0",
            "application/problem",
        ] {
            assert_eq!(of(refused), 0, "{refused}");
        }
    }

    #[test]
    fn of_equals_the_first_is_taken() {
        let media_type = |name: &'static str| name;
        let of = |value, offered: &[&'static str]| best(&headers(value), offered, media_type);
        let both = ["application/json", "text/csv; charset=utf-8"];
        assert_eq!(of(None, &both), Some(both[0]));
        assert_eq!(of(Some("text/*"), &both), Some(both[1]));
        assert_eq!(of(Some("text/csv, application/json;q=0.9"), &both), Some(both[1]));
        assert_eq!(of(Some("application/problem+json"), &both), Some(both[0]));
        assert_eq!(
            of(Some("application/problem+json, application/json;q=0"), &both),
            Some(both[1])
        );
        assert_eq!(of(Some("image/png"), &both), None);
    }
    #[test]
    fn a_weight_that_cannot_be_read_is_none() {
        for (text, want) in [
            ("1", 1000),
            ("1.000", 1000),
            ("0.5", 500),
            (".2", 200),
            ("0.29", 290),
            ("0.33333", 333),
            ("0", 0),
            ("", 0),
            (".", 0),
            ("x", 0),
            ("NaN", 0),
            ("inf", 0),
            ("-0", 0),
            ("-1", 0),
            ("+1", 0),
            ("1e-1", 0),
            ("1.001", 0),
            ("2", 0),
            ("0,5", 0),
        ] {
            assert_eq!(weight(text), want, "{text}");
        }
        let of = |value| quality(&headers(Some(value)), "text/plain");
        assert_eq!(of("text/plain;q=x, */*"), 0);
        assert_eq!(of("text/plain;q, */*"), 0);
        assert_eq!(of("text/*;q=NaN, */*;q=0.3"), 0);
        // What Java sends by itself.
        assert_eq!(of("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"), 200);
    }

    fn accepted(values: &[&[u8]]) -> Accepted {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header's bytes");
            headers.append(header::ACCEPT_ENCODING, value);
        }
        Accepted::of(&headers)
    }

    fn best_coding(value: &str) -> Option<&'static str> {
        accepted(&[value.as_bytes()]).best().map(Encoding::name)
    }

    #[test]
    fn the_best_coding_that_both_know_is_taken() {
        assert_eq!(best_coding("gzip, deflate, br, zstd"), Some("zstd"));
        assert_eq!(best_coding("gzip, deflate, br"), Some("br"));
        assert_eq!(best_coding("X-GZIP"), Some("gzip"));
        assert_eq!(best_coding("zstd;q=0.5, gzip;q=0.9"), Some("gzip"));
        assert_eq!(best_coding("*"), Some("zstd"));
        assert_eq!(best_coding("zstd;q=0, *"), Some("br"));
        assert_eq!(accepted(&[b"zstd;q=0.1", b"gzip;q=0.2"]).best(), Some(Encoding::Gzip));
    }

    #[test]
    fn what_is_not_asked_for_is_not_compressed() {
        assert_eq!(accepted(&[]).best(), None);
        for value in ["", "identity", "deflate", "*;q=0", "gzip;q=0", "identity, gzip;q=0.5"] {
            assert_eq!(best_coding(value), None, "{value}");
        }
    }

    #[test]
    fn a_coding_that_cannot_be_read_is_none() {
        for value in [";;;", ",,,", "gzip;q=", "gzip;q=x", "gzip;q=-1", "gzip;q=2", "gzip;q=NaN"] {
            assert_eq!(best_coding(value), None, "{value}");
        }
        assert_eq!(best_coding("*, zstd;q=x, br;q=NaN"), Some("gzip"));
        assert_eq!(best_coding(";q=1, gzip;level=9, \u{e9}"), Some("gzip"));
        assert_eq!(accepted(&[b"\xff\xfe, gzip"]).best(), Some(Encoding::Gzip));
        assert_eq!(accepted(&[&[b','; 8000]]).best(), None);
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
