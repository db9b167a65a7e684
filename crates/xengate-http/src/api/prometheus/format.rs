//! Which of the two text formats a client asks for.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::negotiation::{names, quality};
use crate::problem::{Code, Problem};

/// A text format for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4: what everything understands, and what is given unless the
    /// other is asked for.
    Classic,
}

impl Format {
    /// The value of Content-Type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let [open, classic] =
            [Self::OpenMetrics, Self::Classic].map(|format| quality(headers, format.media_type()));
        match (open, classic) {
            (0, 0) => None,
            _ if open > classic => Some(Self::OpenMetrics),
            _ if open == classic && names(headers, Self::OpenMetrics.media_type()) => {
                Some(Self::OpenMetrics)
            }
            _ => Some(Self::Classic),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Format {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers).ok_or_else(|| {
            let detail = "this path answers text/plain or application/openmetrics-text";
            Problem::new(Code::NotAcceptable, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_client_gets_what_it_wants_most() {
        let of = |accept: &'static str| {
            let value = (header::ACCEPT, http::HeaderValue::from_static(accept));
            Format::of(&[value].into_iter().collect())
        };
        assert_eq!(Format::of(&HeaderMap::new()), Some(Format::Classic));
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,\
            */*;q=0.2";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "application/*",
            "text/plain;q=0.5, application/openmetrics-text; version=1.0.0;q=0.7",
            "text/plain, application/openmetrics-text",
        ] {
            assert_eq!(of(accept), Some(Format::OpenMetrics), "{accept}");
        }
        for accept in [
            "*/*",
            "text/plain",
            "Text/*",
            "text/html, */*;q=0.1",
            "application/openmetrics-text;q=0, */*",
            "application/openmetrics-text;q=0.3, text/plain",
            "application/problem+json",
            "application/json, application/problem+json",
        ] {
            assert_eq!(of(accept), Some(Format::Classic), "{accept}");
        }
        for accept in
            ["text/html", "application/json", "", "*/*;q=0", "application/problem+json;q=0"]
        {
            assert_eq!(of(accept), None, "{accept}");
        }
    }
}
