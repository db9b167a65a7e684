//! In which forms a history can be had, and which of them a client wants.

use http::{HeaderMap, HeaderValue};

use crate::negotiation;
use crate::problem::{Code, Problem};

/// A form of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// One document with columns and rows.
    Json,
    /// A line for each row, with commas.
    Csv,
    /// An object for each row, each on a line.
    Ndjson,
    /// A plot.
    Svg,
}

impl Media {
    /// All of them, the first for who has no preference.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::Ndjson, Self::Svg];

    /// The media type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Svg => "image/svg+xml",
        }
    }

    /// For `Content-Type`.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// The form a client likes best of those there are.
    pub fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        negotiation::best(headers, &Self::ALL, Self::name).ok_or_else(|| {
            let text = "this path answers application/json, text/csv, application/x-ndjson and \
                        image/svg+xml";
            Problem::new(Code::NotAcceptable, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn the_best_liked_form_is_taken() {
        let accepted = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            }
            Media::accepted(&headers).ok()
        };
        assert_eq!(accepted(None), Some(Media::Json));
        assert_eq!(accepted(Some("*/*")), Some(Media::Json));
        assert_eq!(accepted(Some("text/csv")), Some(Media::Csv));
        assert_eq!(accepted(Some("text/*;q=0.5, image/svg+xml;q=0.4")), Some(Media::Csv));
        assert_eq!(accepted(Some("application/json;q=0.1, image/*")), Some(Media::Svg));
        assert_eq!(accepted(Some("application/json;q=0, application/*")), Some(Media::Ndjson));
        assert_eq!(accepted(Some("image/avif,image/webp,*/*;q=0.8")), Some(Media::Json));
        assert_eq!(accepted(Some("application/problem+json")), Some(Media::Json));
        assert_eq!(accepted(Some("text/html")), None);
        assert_eq!(accepted(Some("*/*;q=0")), None);
    }
}
