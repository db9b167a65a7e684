//! `X-Request-Id`: taken from the client where it is fit for a log line, made up otherwise.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header, in requests and answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 64;

/// The id of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id a request brings, or a new one where it brings none or one not fit to be logged.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(&HEADER) {
            Some(value) if is_fit(value.as_bytes()) => Self(value.clone()),
            _ => Self::random(),
        }
    }

    fn random() -> Self {
        let mut text = [0; uuid::fmt::Simple::LENGTH];
        let text = Uuid::new_v4().simple().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("hex digits make a header"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an id is ASCII: `of` and `random` see to it")
    }

    /// The id as the value of its header.
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_fit(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Set by the outermost layer; a route run without it gets an id of its own.
impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match parts.extensions.get::<super::middleware::ConnectInfo>() {
            Some(arrival) => arrival.request_id.clone(),
            None => Self::random(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(value: &[u8]) -> RequestId {
        let value = HeaderValue::from_bytes(value).expect("value");
        RequestId::of(&HeaderMap::from_iter([(HEADER, value)]))
    }

    #[test]
    fn a_fit_id_is_kept() {
        let longest = "a".repeat(LONGEST);
        for id in ["1", "ci-job.42_Retry-1", longest.as_str()] {
            assert_eq!(id_for(id.as_bytes()).as_str(), id);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let too_long = "a".repeat(LONGEST + 1);
        for id in [b"" as &[u8], b"two words", b"a\tb", b"\xff\xfe", b"a\"b", too_long.as_bytes()] {
            let replaced = id_for(id);
            assert_ne!(replaced.to_header().as_bytes(), id);
            assert_eq!(replaced.as_str().len(), 32);
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
