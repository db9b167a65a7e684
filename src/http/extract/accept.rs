//! `Accept`: whether a client takes JSON.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::http::problem::{Code, Problem};

/// The client takes `application/json`; who does not gets a 406.
///
/// Problems are JSON whatever the client accepts: better an answer nobody asked for than none.
#[derive(Debug, Clone, Copy)]
pub struct AcceptsJson;

impl<S: Sync> FromRequestParts<S> for AcceptsJson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if accepts_json(&parts.headers) {
            Ok(Self)
        } else {
            Err(Problem::new(Code::NotAcceptable, "this path answers application/json"))
        }
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
        let text =
            "this path answers application/json, and application/sxp of what xend has that of";
        match (accepts_json(&parts.headers), names_media_type(&parts.headers, SXP)) {
            (_, true) if !names_media_type(&parts.headers, "application/json") => Ok(Self::Sxp),
            (true, _) => Ok(Self::Json),
            (false, true) => Ok(Self::Sxp),
            (false, false) => Err(Problem::new(Code::NotAcceptable, text)),
        }
    }
}

/// Whether a client takes this very media type, by its name.
pub fn names_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    ranges.into_iter().any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case(media_type))
            && !parts.any(refuses)
    })
}

/// Whether a client takes text among other things, or says nothing of what it takes.
pub fn takes_any_text(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::ACCEPT)
        || ["text/plain", "text/*", "*/*"].iter().any(|range| names_media_type(headers, range))
}

/// Whether a range's parameter says that it is what a client does not take.
fn refuses(parameter: &str) -> bool {
    parameter
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .is_some_and(|(_, q)| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
}

/// RFC 9110: the most specific range that fits decides, and no header means anything goes.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut best: Option<(u8, bool)> = None;
    let mut seen = false;
    for value in headers.get_all(header::ACCEPT) {
        seen = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let specific = match parts.next().unwrap_or_default() {
                media if media.eq_ignore_ascii_case("application/json") => 2,
                media if media.eq_ignore_ascii_case("application/*") => 1,
                "*/*" => 0,
                _ => continue,
            };
            let refused = parts.any(refuses);
            if best.is_none_or(|(so_far, _)| specific > so_far) {
                best = Some((specific, !refused));
            }
        }
    }
    !seen || best.is_some_and(|(_, accepted)| accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let accepts = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::ACCEPT, http::HeaderValue::from_static(value));
            }
            accepts_json(&headers)
        };
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
