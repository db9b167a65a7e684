//! `Accept` (RFC 9110): how much a client likes a media type. Every path that answers in one form
//! or several asks here.

use http::{HeaderMap, header};

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
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let fitting = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let specific = if range.eq_ignore_ascii_case(media_type) {
            2
        } else if range.strip_suffix("/*").is_some_and(|of| of.eq_ignore_ascii_case(kind)) {
            1
        } else if range == "*/*" {
            0
        } else {
            return None;
        };
        Some((specific, parts.find_map(weight).unwrap_or(MOST)))
    });
    fitting.max()
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
}
