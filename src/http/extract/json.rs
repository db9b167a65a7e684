//! JSON bodies: strict, and answered without a word of what stood in them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use crate::http::problem::{Code, Problem};
use crate::http::reading::{Place, Reading};
use crate::http::shell::Arrival;

/// How long a body may take to arrive: whoever sends half of one holds a place among the requests
/// that are worked on.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a body that a stranger may send: a login is far shorter.
const LONGEST_OF_STRANGERS: usize = 16 << 10;

/// A pointer goes no deeper: no body that fits does.
const DEEPEST: usize = 16;

/// A JSON body as a struct, which carries `deny_unknown_fields`.
///
/// Another media type gets a 415, what is no JSON a 400 with line and column, JSON of another
/// shape a 422 with a JSON pointer. Values are not said back: they may be passwords.
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
pub struct StrangersJson<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for StrangersJson<T> {
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

/// A JSON object, or no body at all.
#[derive(Debug, Clone)]
pub struct OptionalObject(pub Option<serde_json::Map<String, serde_json::Value>>);

impl<S: Sync> FromRequest<S> for OptionalObject {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body, Reading::place).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        if !is_json(&parts.headers) {
            let detail = "the body's Content-Type has to be application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        parse(&bytes).map(|object| Self(Some(object)))
    }
}

/// How a body gets its place.
type Taking = fn(&Arc<Reading>, IpAddr, &HeaderMap) -> Result<Place, Problem>;

/// The whole body; the outermost layer has set the limit.
async fn read(parts: &Parts, body: Body, taking: Taking) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    plain(&parts.headers)?;
    // A route run without the shell, as tests may, is nobody's.
    let arrival = parts.extensions.get::<Arrival>();
    let _place = arrival
        .map(|arrival| taking(&arrival.reading, arrival.peer.ip(), &parts.headers))
        .transpose()?;
    let collected = timeout(BODY_WITHIN, body.collect())
        .await
        .map_err(|_| Problem::new(Code::BadRequest, "the body did not come in time"))?;
    let collected = collected.map_err(|error| {
        if error.into_inner().downcast_ref::<LengthLimitError>().is_some() {
            Problem::from(Code::BodyTooLarge)
        } else {
            Problem::new(Code::BadRequest, "the body broke off")
        }
    })?;
    Ok(collected.to_bytes())
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

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        // serde would take an array for a struct, its fields in order.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| malformed(&error))?;
        return Err(wrong_shape("invalid type, expected an object", String::new()));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        match error.inner().classify() {
            Category::Data => wrong_shape(&error.inner().to_string(), pointer),
            _ => malformed(error.inner()),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson, format!("the body is not JSON: {error}"))
}

/// What was expected, without the value that was found.
fn wrong_shape(message: &str, mut pointer: String) -> Problem {
    // serde_json puts the place behind the message; the pointer says it better.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let names_a_field =
        ["missing field", "duplicate field"].iter().any(|start| message.starts_with(start));
    let detail = if names_a_field {
        message.to_owned()
    } else if let Some(unknown) = message.strip_prefix("unknown field `") {
        // The one name that is the client's own, and as long as it likes.
        match unknown.rsplit_once("`, expected ") {
            Some((name, known)) => {
                format!("unknown field `{}`, expected {known}", super::echo(name))
            }
            None => "unknown field".to_owned(),
        }
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        format!("expected {expected}")
    } else {
        "this value cannot be used here".to_owned()
    };
    if let Some(field) = message.strip_prefix("missing field `") {
        pointer.push('/');
        pointer.push_str(&escape(field.trim_end_matches('`')));
    }
    let place = if pointer.is_empty() { "the body" } else { pointer.as_str() };
    Problem::new(Code::WrongShape, format!("{place}: {detail}")).at(pointer)
}

/// RFC 6901, down to [`DEEPEST`] members.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter().take(DEEPEST) {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&escape(key));
            }
            // A variant's name is no member of the document, or the last one known.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(key: &str) -> String {
    super::echo(key).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Login {
        username: String,
        password: u8,
        #[serde(default)]
        more: BTreeMap<String, Vec<Kind>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    fn refused(body: &str) -> (u16, String, serde_json::Value) {
        let problem = parse::<Login>(body.as_bytes()).expect_err(body);
        let document: serde_json::Value =
            serde_json::from_slice(&problem.document("id")).expect("JSON");
        (problem.status().as_u16(), problem.detail().to_owned(), document["pointer"].clone())
    }

    #[test]
    fn what_is_no_json_is_placed_by_line_and_column() {
        let (status, detail, pointer) = refused("{\n  \"username\": x}");
        assert_eq!(status, 400);
        assert!(detail.ends_with("line 2 column 15"), "{detail}");
        assert!(pointer.is_null());
        assert_eq!(refused("{\"username\":").0, 400);
        assert_eq!(refused(r#"{"username":"a","password":1} x"#).0, 400);
        assert_eq!(refused(&"[".repeat(10_000)).0, 400);
        assert_eq!(refused(&"{\"more\":".repeat(10_000)).0, 422);
        assert_eq!(refused("\"\u{0}\"").0, 400);
    }

    #[test]
    fn another_shape_is_placed_by_a_pointer() {
        let cases = [
            (r#"{"username":"a","password":1,"extra":2}"#, "/extra"),
            (r#"{"username":"a","password":"hunter2"}"#, "/password"),
            (r#"{"username":"a"}"#, "/password"),
            (r#"{"username":"a","password":1,"more":{"a/b~":["one","three"]}}"#, "/more/a~1b~0/1"),
            (r#"["a", 1]"#, ""),
            ("null", ""),
        ];
        for (body, expected) in cases {
            let (status, detail, pointer) = refused(body);
            assert_eq!((status, pointer.as_str()), (422, Some(expected)), "{body}: {detail}");
        }
    }

    #[test]
    fn no_value_is_said_back() {
        for body in [
            r#"{"username":"a","password":"hunter2"}"#,
            r#"{"username":"a","password":1,"more":{"a":["hunter2"]}}"#,
            r#"{"username":"a","password":"hunter2, expected nothing"}"#,
            r#"{"username":["hunter2"]}"#,
            r#""hunter2""#,
        ] {
            let (_, detail, _) = refused(body);
            assert!(!detail.contains("hunter2"), "{detail}");
        }
        let (_, detail, _) = refused(r#"{"username":"a","password":"hunter2"}"#);
        assert_eq!(detail, "/password: expected u8");
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "`, expected x".repeat(50_000);
        let (_, detail, pointer) = refused(&format!("{{\"{long}\":1}}"));
        assert!(detail.len() < 300 && detail.contains("expected one of `username`"), "{detail}");
        assert!(pointer.as_str().expect("a pointer").len() < 100, "{pointer}");
        let (_, detail, _) = refused(r#"{"usernam":"a"}"#);
        let known = "expected one of `username`, `password`, `more`";
        assert_eq!(detail, format!("/usernam: unknown field `usernam`, {known}"));
    }

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
}
