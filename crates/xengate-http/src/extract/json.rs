//! JSON bodies: strict, and answered without a word of what stood in them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::extract::shape::{Object, parse};
use crate::middleware::ConnectInfo;
use crate::problem::{Code, Problem};
use crate::reading::{Place, Reading};

/// How long a body may take to arrive: whoever sends half of one holds a place among the requests
/// that are worked on.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a body that a stranger may send: a login is far shorter.
const LONGEST_OF_STRANGERS: usize = 16 << 10;

/// Bytes of a body where none belongs, of which `{}` and `null` are none.
const LONGEST_OF_NOTHING: usize = 64;

/// What some clients send where they have no body.
const NULL: &[u8] = b"null";

/// A JSON body as a struct, which carries `deny_unknown_fields`.
///
/// Another media type gets a 415, what is no JSON a 400 with line and column, a field given twice a
/// 400 and JSON of another shape a 422, both with a JSON pointer. Values are not said back: they may
/// be passwords.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, Reading::place).await?;
        whole(&parts, &bytes).map(Self)
    }
}

/// The JSON body of somebody who need not be logged in: short, and one of a few at a time.
#[derive(Debug, Clone, Copy)]
pub struct UnauthenticatedJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for UnauthenticatedJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if body.size_hint().lower() > LONGEST_OF_STRANGERS as u64 {
            return Err(Problem::from(Code::BodyTooLarge));
        }
        let body = Body::new(Limited::new(body, LONGEST_OF_STRANGERS));
        let bytes = read(&parts, body, Reading::strangers_place).await?;
        whole(&parts, &bytes).map(Self)
    }
}

fn whole<T: DeserializeOwned>(parts: &Parts, bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        let detail = "this path takes a JSON body, and there is none";
        return Err(Problem::new(Code::MalformedJson, detail));
    }
    if !is_json(&parts.headers) {
        let detail = "the body's Content-Type has to be application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    parse(bytes)
}

/// A body that is not read before it is known whether the path takes one.
#[derive(Debug)]
pub struct Unread(Request);

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl Unread {
    /// A JSON object, or no body at all: `null`, which some clients send where they have none, is
    /// none either.
    pub async fn object(self) -> Result<Option<Map<String, Value>>, Problem> {
        let (parts, body) = self.0.into_parts();
        let bytes = read(&parts, body, Reading::place).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !is_json(&parts.headers) {
            let detail = "the body's Content-Type has to be application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        if bytes.trim_ascii() == NULL {
            return Ok(None);
        }
        parse(&bytes).map(|Object(object)| Some(object))
    }

    /// No body.
    pub async fn nothing(self) -> Result<(), Problem> {
        without_body(self.0).await.map(drop)
    }
}

/// No body. Some clients always send one: an empty object is none, and so is `null`.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

impl<S: Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        without_body(request).await.map(|_| Self)
    }
}

/// Refuses a body that says something, of a request that takes none, rather than to act as if it
/// had not been said.
pub async fn without_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    if !body.is_end_stream() {
        let read = match body.size_hint().lower() > LONGEST_OF_NOTHING as u64 {
            true => None,
            false => {
                let body = Body::new(Limited::new(body, LONGEST_OF_NOTHING));
                whole_body(&parts, body, Reading::strangers_place).await?
            }
        };
        if !read.is_some_and(|bytes| says_nothing(&bytes)) {
            let detail = "this operation takes no body; what it takes stands in its path and query";
            return Err(Problem::new(Code::UnexpectedBody, detail));
        }
    }
    Ok(Request::from_parts(parts, Body::empty()))
}

fn says_nothing(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let within = text.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    text == NULL || within.unwrap_or(text).trim_ascii().is_empty()
}

/// How a body gets its place.
type Taking = fn(&Arc<Reading>, IpAddr, &HeaderMap) -> Result<Place, Problem>;

/// The whole body; the outermost layer has set the limit.
async fn read(parts: &Parts, body: Body, taking: Taking) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    plain(&parts.headers)?;
    let body = whole_body(parts, body, taking).await?;
    body.ok_or_else(|| Problem::from(Code::BodyTooLarge))
}

/// The same; none where it is over the limit.
async fn whole_body(parts: &Parts, body: Body, taking: Taking) -> Result<Option<Bytes>, Problem> {
    // A route run without the shell, as tests may, is nobody's.
    let arrival = parts.extensions.get::<ConnectInfo>();
    let _place = arrival
        .map(|arrival| taking(&arrival.reading, arrival.peer.ip(), &parts.headers))
        .transpose()?;
    let collected = timeout(BODY_WITHIN, body.collect())
        .await
        .map_err(|_| Problem::new(Code::BadRequest, "the body did not come in time"))?;
    match collected {
        Ok(collected) => Ok(Some(collected.to_bytes())),
        Err(error) => match error.into_inner().downcast_ref::<LengthLimitError>() {
            Some(_) => Ok(None),
            None => Err(Problem::new(Code::BadRequest, "the body broke off")),
        },
    }
}

/// Refuses a body that is compressed, or encoded in any other way.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Ok(());
    }
    let detail = "a body is taken as it is, without a Content-Encoding";
    Err(Problem::new(Code::UnsupportedMediaType, detail)
        .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media.split_once('/').is_some_and(|(kind, subtype)| {
        let json = |text: &str| text.eq_ignore_ascii_case("json");
        let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
        kind.eq_ignore_ascii_case("application") && (json(subtype) || suffix.is_some_and(json))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_several_media_types() {
        let json = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                http::HeaderValue::from_static(value),
            )]))
        };
        assert!(json("application/json"));
        assert!(json("Application/JSON; charset=utf-8"));
        assert!(json("application/merge-patch+json"));
        assert!(!json("text/json"));
        assert!(!json("application/jsonp"));
        assert!(!json("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn an_empty_object_says_nothing() {
        for nothing in ["", " \n", "{}", " { } \r\n", "null", " null\n"] {
            assert!(says_nothing(nothing.as_bytes()), "{nothing:?}");
        }
        for something in ["{\"a\":1}", "[]", "nul", "{null}", "{", "}", "{{}}", "{}{}", "a"] {
            assert!(!says_nothing(something.as_bytes()), "{something:?}");
        }
    }
}
