//! In which forms a history can be had, and which of them a client wants.

use http::{HeaderMap, HeaderValue, header};

use crate::http::problem::{Code, Problem};

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
        let ranges = ranges(headers);
        let mut best = None;
        for media in Self::ALL {
            let quality = if ranges.is_empty() { 1.0 } else { media.quality(&ranges) };
            if quality > best.map_or(0.0, |(_, so_far)| so_far) {
                best = Some((media, quality));
            }
        }
        best.map(|(media, _)| media).ok_or_else(|| {
            let text = "this path answers application/json, text/csv, application/x-ndjson and \
                        image/svg+xml";
            Problem::new(Code::NotAcceptable, text)
        })
    }

    /// How much a client likes it: the most specific range that fits decides (RFC 9110).
    fn quality(self, ranges: &[(String, f32)]) -> f32 {
        let name = self.name().split(';').next().unwrap_or_default();
        let kind = name.split('/').next().unwrap_or_default();
        let specific = |range: &str| match range {
            range if range == name => Some(2),
            "*/*" => Some(0),
            range if range.strip_suffix("/*") == Some(kind) => Some(1),
            _ => None,
        };
        let fitting = ranges.iter().filter_map(|(range, q)| Some((specific(range)?, *q)));
        let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map_or(0.0, |(_, quality)| quality)
    }
}

/// The media ranges a client accepts, in lower case, and how much it likes each.
fn ranges(headers: &HeaderMap) -> Vec<(String, f32)> {
    let values = headers.get_all(header::ACCEPT).iter();
    let all = values.flat_map(|value| value.to_str().unwrap_or("-").split(','));
    all.map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .and_then(|(_, quality)| quality.trim().parse::<f32>().ok());
        (name, quality.unwrap_or(1.0))
    })
    .collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(accepted(Some("text/html")), None);
        assert_eq!(accepted(Some("*/*;q=0")), None);
    }
}
