//! `Accept`: what a client takes.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::http::formats::Format;
use crate::http::problem::{Code, Problem};

/// The client takes `application/json`; who does not gets a 406.
///
/// Problems are JSON whatever the client accepts: better an answer nobody asked for than none.
#[derive(Debug, Clone, Copy)]
pub struct AcceptsJson;

/// The format of a list that the client likes best; who takes none gets a 406.
#[derive(Debug, Clone, Copy)]
pub struct Accepts(pub Format);

impl<S: Sync> FromRequestParts<S> for AcceptsJson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        best(&parts.headers, &[Format::Json]).map(|_| Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Accepts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        best(&parts.headers, &Format::ALL).map(Self)
    }
}

/// What a client takes one object as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptsObject {
    /// JSON, as everybody does who does not say otherwise.
    Json,
    /// The s-expression that xend describes a domain in.
    Sxp,
}

/// The media type of s-expressions.
pub const SXP: &str = "application/sxp";

impl<S: Sync> FromRequestParts<S> for AcceptsObject {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let names = |media_type| names_media_type(&parts.headers, media_type);
        if names(SXP) && !names("application/json") {
            return Ok(Self::Sxp);
        }
        best(&parts.headers, &[Format::Json]).map(|_| Self::Json)
    }
}

/// Whether a client takes this very media type, by its name.
pub fn names_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let mut ranges =
        values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let named = ranges.any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(media_type)
    });
    named && quality(headers, media_type) > 0
}

/// Whether a client takes text among other things, or says nothing of what it takes.
pub fn takes_any_text(headers: &HeaderMap) -> bool {
    quality(headers, "text/plain") > 0
}

/// The format that the client likes best; of equals, the one offered first.
fn best(headers: &HeaderMap, offered: &[Format]) -> Result<Format, Problem> {
    let mut best: Option<(u16, Format)> = None;
    for format in offered {
        let quality = quality(headers, format.media_type());
        if quality > best.map_or(0, |(so_far, _)| so_far) {
            best = Some((quality, *format));
        }
    }
    best.map(|(_, format)| format).ok_or_else(|| {
        let media: Vec<&str> = offered.iter().map(|format| format.media_type()).collect();
        Problem::new(Code::NotAcceptable, format!("this path answers {}", media.join(", ")))
            .with_params(media)
    })
}

/// How much the client likes a media type, in thousandths. RFC 9110: the most specific range that
/// fits decides, and no header means anything goes.
fn quality(headers: &HeaderMap, media_type: &str) -> u16 {
    let (kind, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let mut best: Option<(u8, u16)> = None;
    let mut seen = false;
    for value in headers.get_all(header::ACCEPT) {
        seen = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let specific = if range.eq_ignore_ascii_case(media_type) {
                2
            } else if range.strip_suffix("/*").is_some_and(|of| of.eq_ignore_ascii_case(kind)) {
                1
            } else if range == "*/*" {
                0
            } else {
                continue;
            };
            let quality = parts.find_map(weight).unwrap_or(1000);
            if best.is_none_or(|(so_far, _)| specific > so_far) {
                best = Some((specific, quality));
            }
        }
    }
    match best {
        Some((_, quality)) => quality,
        None => {
            if seen {
                0
            } else {
                1000
            }
        }
    }
}

/// `q=0.5` in thousandths; what is no weight weighs as much as none.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let weight: f32 = value.trim().parse().ok()?;
    // Within bounds, so the cast keeps the value.
    name.trim().eq_ignore_ascii_case("q").then_some((weight.clamp(0.0, 1.0) * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: Option<&'static str>) -> HeaderMap {
        let value = value.map(|value| (header::ACCEPT, http::HeaderValue::from_static(value)));
        value.into_iter().collect()
    }

    #[test]
    fn the_most_specific_range_decides() {
        let accepts = |value| best(&headers(value), &[Format::Json]).is_ok();
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
    fn what_is_liked_best_is_answered() {
        for (value, want) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("text/csv"), Some(Format::Csv)),
            (Some("text/*"), Some(Format::Text)),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Some(Format::Json)),
            (Some("application/x-ndjson, application/json;q=0.9"), Some(Format::Ndjson)),
            (Some("application/json;q=0.2, text/plain;q=0.3"), Some(Format::Text)),
            (Some("application/*;q=0.5, application/json;q=0.4"), Some(Format::Ndjson)),
            (Some("text/csv; charset=utf-8; q=0.7, */*;q=0.1"), Some(Format::Csv)),
            (Some("text/plain;q=nonsense"), Some(Format::Text)),
            (Some("text/csv;q=0"), None),
            (Some("image/png"), None),
        ] {
            assert_eq!(best(&headers(value), &Format::ALL).ok(), want, "{value:?}");
        }
        let problem = best(&headers(Some("image/png")), &Format::ALL).expect_err("none");
        for media in ["application/json", "application/x-ndjson", "text/csv", "text/plain"] {
            assert!(problem.detail().contains(media), "{}", problem.detail());
        }
    }

    #[tokio::test]
    async fn who_names_sxp_and_not_json_gets_sxp() {
        let accepts = async |value: &'static str| {
            let request = http::Request::builder().header(header::ACCEPT, value).body(());
            let (mut parts, ()) = request.expect("a request").into_parts();
            AcceptsObject::from_request_parts(&mut parts, &()).await.ok()
        };
        assert_eq!(accepts("application/sxp").await, Some(AcceptsObject::Sxp));
        assert_eq!(accepts("Application/SXP, */*;q=0.1").await, Some(AcceptsObject::Sxp));
        assert_eq!(accepts("application/sxp, application/json").await, Some(AcceptsObject::Json));
        assert_eq!(accepts("application/sxp;q=0, */*").await, Some(AcceptsObject::Json));
        assert_eq!(accepts("*/*").await, Some(AcceptsObject::Json));
        assert_eq!(accepts("text/html").await, None);
    }
}
