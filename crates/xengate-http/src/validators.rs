//! What clients know already, and what they want to be sure of: `If-None-Match` and `If-Match`.
//!
//! The tags are read here, because the types of the `headers` crate say only whether one of a list is
//! the same as another. A version has a tag for each coding; a 304 has the one that the client has,
//! and a write asks for the version whatever its coding.

mod etag;

pub use self::etag::{ETag, EtagBuilder, encoded};

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Gateway;
use crate::negotiation::Accepted;
use crate::problem::{Code, Problem};
use xenapi_mirror::inventory::{Object, Reading};

/// A request's conditions.
#[derive(Debug)]
pub struct Preconditions {
    none_match: Vec<HeaderValue>,
    matching: Vec<HeaderValue>,
    accepted: Accepted,
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Preconditions {
    fn of(headers: &HeaderMap) -> Self {
        let values = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        Self {
            none_match: values(header::IF_NONE_MATCH),
            matching: values(header::IF_MATCH),
            accepted: Accepted::of(headers),
        }
    }

    /// For a read: the answer to a client that has what it asks for, or a problem for one that
    /// wants another version. Otherwise the answer is to be made.
    pub fn not_modified(&self, etag: &ETag) -> Result<Option<Response>, Problem> {
        if !self.matching.is_empty() {
            let is_this = |known| match known {
                Known::Any => true,
                Known::Tag { weak, opaque } => !weak && etag.names(opaque).is_some(),
            };
            if !known(&self.matching).any(is_this) {
                return Err(not_that_version());
            }
        }
        let has = known(&self.none_match).find_map(|known| match known {
            // Whatever it has, it is told what would be sent.
            Known::Any => Some(None),
            // Weakly compared; of those that it may be sent.
            Known::Tag { opaque, .. } => {
                etag.names(opaque).filter(|encoding| self.accepted.takes(*encoding))
            }
        });
        let answer = |encoding| etag.on_encoded(encoding, StatusCode::NOT_MODIFIED.into_response());
        Ok(has.map(answer))
    }

    /// For a read: the answer that `make` makes, with its tag, unless the client has it.
    pub fn answer(
        &self,
        etag: &ETag,
        make: impl FnOnce() -> Response,
    ) -> Result<Response, Problem> {
        Ok(match self.not_modified(etag)? {
            Some(response) => response,
            None => etag.on(make()),
        })
    }

    /// Whether the request is about one version.
    pub fn has_conditions(&self) -> bool {
        !self.matching.is_empty() || !self.none_match.is_empty()
    }

    /// For a write: whether the object is as the client wants it. Its revision is what counts, not
    /// how a tag's answer showed it.
    pub fn permit(
        &self,
        gateway: &Gateway,
        reading: &Reading,
        object: &Object,
    ) -> Result<(), Problem> {
        self.permit_version(reading, || EtagBuilder::of_object(reading, object).etag(gateway))
    }

    /// The same for what has this tag.
    pub fn permit_version(
        &self,
        reading: &Reading,
        etag: impl FnOnce() -> ETag,
    ) -> Result<(), Problem> {
        if self.matching.is_empty() && self.none_match.is_empty() {
            return Ok(());
        }
        let (mut any, mut tags) = (false, 0);
        known(&self.matching).for_each(|known| match known {
            Known::Any => any = true,
            Known::Tag { .. } => tags += 1,
        });
        if tags > 0 && !any && reading.stale_since.is_some() {
            // What is known of the object may not be how it is.
            let detail = "If-Match: the backend cannot be followed now, so nobody can say";
            return Err(Problem::new(Code::BackendNotReady, detail));
        }
        let etag = etag();
        let is_this = |known| match known {
            Known::Any => true,
            Known::Tag { weak, opaque } => !weak && etag.is_version(opaque),
        };
        if !self.matching.is_empty() && !known(&self.matching).any(is_this) {
            return Err(not_that_version());
        }
        let is_known = |known| match known {
            Known::Any => true,
            Known::Tag { opaque, .. } => etag.is_version(opaque),
        };
        if known(&self.none_match).any(is_known) {
            return Err(not_that_version());
        }
        Ok(())
    }

    /// For a write to an object that is there and has no versions: no tag is its own.
    pub fn permit_unversioned(&self) -> Result<(), Problem> {
        let is_any = |known| matches!(known, Known::Any);
        let wants_another = !self.matching.is_empty() && !known(&self.matching).any(is_any);
        if wants_another || known(&self.none_match).any(is_any) {
            return Err(not_that_version());
        }
        Ok(())
    }
}

fn not_that_version() -> Problem {
    let detail = "it is not the version that the request's condition asks for; read it again";
    Problem::new(Code::PreconditionFailed, detail)
}

/// What a client names in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known<'a> {
    /// `*`
    Any,
    /// `W/"…"`, or `"…"`; here without quotes.
    Tag { weak: bool, opaque: &'a [u8] },
}

/// What these values of a header name. What follows something that is no tag is not read.
fn known(values: &[HeaderValue]) -> impl Iterator<Item = Known<'_>> {
    values.iter().flat_map(|value| Tags(value.as_bytes()))
}

struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Known<'a>;

    fn next(&mut self) -> Option<Known<'a>> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','));
        let rest = &self.0[start.unwrap_or(self.0.len())..];
        self.0 = &[];
        if rest.trim_ascii_end() == b"*" {
            return Some(Known::Any);
        }
        let (weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        self.0 = &rest[end + 1..];
        Some(Known::Tag { weak, opaque: &rest[..end] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: &[&str]) -> Vec<HeaderValue> {
        of.iter().map(|value| HeaderValue::from_str(value).expect("ASCII")).collect()
    }

    fn tags(of: &[&str]) -> Vec<String> {
        let values = values(of);
        let shown = known(&values).map(|known| match known {
            Known::Any => "*".to_owned(),
            Known::Tag { weak, opaque } => {
                format!("{}{}", if weak { "~" } else { "" }, String::from_utf8_lossy(opaque))
            }
        });
        shown.collect()
    }

    #[test]
    fn tags_are_read_from_lists() {
        assert_eq!(tags(&[]), [""; 0]);
        assert_eq!(tags(&[" * "]), ["*"]);
        assert_eq!(tags(&["\"a\", W/\"b\",\"c,d\"", "\"\""]), ["a", "~b", "c,d", ""]);
        assert_eq!(tags(&["\"a\",,\"b\""]), ["a", "b"]);
        for garbage in ["", ",", "a", "\"a", "W/", "w/\"a\"", "**", "*, \"a\""] {
            assert_eq!(tags(&[garbage]), [""; 0], "{garbage}");
        }
        assert_eq!(tags(&["\"a\", b, \"c\""]), ["a"]);
        assert_eq!(tags(&[&"\"".repeat(8000)]).len(), 4000);
    }

    fn validators(headers: &[(HeaderName, &str)]) -> Preconditions {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("ASCII")));
        Preconditions::of(&pairs.collect())
    }

    #[test]
    fn who_has_it_is_told_so_with_the_tag_that_it_has() {
        let etag = EtagBuilder::of(&"a").shaped(&1).etag_of_boot("0f3c9a71be42");
        let plain = etag.on(Response::default()).headers()[header::ETAG].clone();
        let gzip = encoded(&plain, crate::compression::Encoding::Gzip).expect("a tag");
        let (plain, gzip) = (plain.to_str().expect("ASCII"), gzip.to_str().expect("ASCII"));
        let asked = |known: &str, accept: &str| {
            let headers = [(header::IF_NONE_MATCH, known), (header::ACCEPT_ENCODING, accept)];
            let response = validators(&headers).not_modified(&etag).expect("no If-Match")?;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            Some(response.headers()[header::ETAG].to_str().expect("ASCII").to_owned())
        };
        assert_eq!(asked(plain, "").as_deref(), Some(plain));
        assert_eq!(asked(&format!("W/{plain}"), "").as_deref(), Some(plain));
        assert_eq!(asked(&format!("\"x\", {gzip}"), "gzip").as_deref(), Some(gzip));
        assert_eq!(asked(gzip, "br"), None, "it may not be used any more");
        assert_eq!(asked(plain, "gzip, identity;q=0"), None);
        assert_eq!(asked("*", "").as_deref(), Some(plain));
        assert_eq!(asked("\"x\"", ""), None);
    }

    #[test]
    fn a_read_of_another_version_is_refused() {
        let etag = EtagBuilder::of(&"a").etag_of_boot("0f3c9a71be42");
        let plain = etag.on(Response::default()).headers()[header::ETAG].clone();
        let plain = plain.to_str().expect("ASCII");
        let weak = format!("W/{plain}");
        let refused =
            |value: &str| validators(&[(header::IF_MATCH, value)]).not_modified(&etag).is_err();
        assert!(!refused(plain) && !refused("*"));
        // RFC 9110: a weak tag is no proof of sameness.
        assert!(refused(&weak) && refused("\"x\"") && refused("garbage"));
    }

    #[test]
    fn what_has_no_versions_is_only_there_or_not() {
        let permitted =
            |name, value: &str| validators(&[(name, value)]).permit_unversioned().is_ok();
        assert!(validators(&[]).permit_unversioned().is_ok());
        assert!(permitted(header::IF_MATCH, "*") && !permitted(header::IF_MATCH, "\"x\""));
        assert!(!permitted(header::IF_NONE_MATCH, "*"));
        assert!(permitted(header::IF_NONE_MATCH, "\"x\""));
    }
}
