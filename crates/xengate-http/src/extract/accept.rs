//! `Accept`: what a client takes.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::formats::Format;
use crate::negotiation;
use crate::negotiation::{names, quality};
use crate::problem::{Code, Problem};

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
        let names = |media_type| names(&parts.headers, media_type);
        if names(SXP) && !names("application/json") {
            return Ok(Self::Sxp);
        }
        best(&parts.headers, &[Format::Json]).map(|_| Self::Json)
    }
}

/// Whether a client takes text among other things, or says nothing of what it takes.
pub fn takes_any_text(headers: &HeaderMap) -> bool {
    quality(headers, "text/plain") > 0
}

/// The format that the client likes best; of equals, the one offered first.
fn best(headers: &HeaderMap, offered: &[Format]) -> Result<Format, Problem> {
    negotiation::best(headers, offered, Format::media_type).ok_or_else(|| {
        let media: Vec<&str> = offered.iter().map(|format| format.media_type()).collect();
        Problem::new(Code::NotAcceptable, format!("this path answers {}", media.join(", ")))
            .with_params(media)
    })
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn headers(value: Option<&'static str>) -> HeaderMap {
        let value = value.map(|value| (header::ACCEPT, http::HeaderValue::from_static(value)));
        value.into_iter().collect()
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
            (Some("text/plain;q=nonsense"), None),
            (Some("text/plain;q=nonsense, text/csv;q=0.1"), Some(Format::Csv)),
            (Some("application/problem+json"), Some(Format::Json)),
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
