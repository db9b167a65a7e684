//! Which of the two text formats a client asks for.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::http::problem::{Code, Problem};

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

    /// How well a media range fits: not at all, as anything does, as its kind does, by name.
    fn fits(self, range: &str) -> Option<u8> {
        let (name, kind) = match self {
            Self::OpenMetrics => ("application/openmetrics-text", "application/*"),
            Self::Classic => ("text/plain", "text/*"),
        };
        match range {
            _ if range.eq_ignore_ascii_case(name) => Some(2),
            _ if range.eq_ignore_ascii_case(kind) => Some(1),
            "*/*" => Some(0),
            _ => None,
        }
    }

    /// How much a client wants it: by RFC 9110 the range that fits best decides, and of several
    /// such (Prometheus names versions) the most wanted.
    fn wanted(self, ranges: &[(&str, f32)]) -> f32 {
        let fitting = ranges.iter().filter_map(|(range, q)| Some((self.fits(range)?, *q)));
        let best = fitting.max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        best.map_or(0.0, |(_, q)| q)
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::ACCEPT);
        if values.iter().next().is_none() {
            return Some(Self::Classic);
        }
        let texts = values.iter().flat_map(|value| value.to_str().unwrap_or_default().split(','));
        let ranges: Vec<(&str, f32)> = texts.map(range).collect();
        let (open, classic) = (Self::OpenMetrics.wanted(&ranges), Self::Classic.wanted(&ranges));
        let named = ranges.iter().any(|(range, _)| Self::OpenMetrics.fits(range) == Some(2));
        match (open, classic) {
            _ if open <= 0.0 && classic <= 0.0 => None,
            _ if open > classic || (open == classic && named) => Some(Self::OpenMetrics),
            _ => Some(Self::Classic),
        }
    }
}

/// A media range and its weight.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    (range, weight.unwrap_or(1.0))
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
        ] {
            assert_eq!(of(accept), Some(Format::Classic), "{accept}");
        }
        for accept in ["text/html", "application/json", "", "*/*;q=0", "text/plain;q=x"] {
            assert_eq!(of(accept), None, "{accept}");
        }
    }
}
