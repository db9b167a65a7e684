//! What a client is told when a request fails: RFC 9457, `application/problem+json`.
//!
//! Everything below this floor has errors of its own that know no HTTP; here, at the very end,
//! they become a status, a code and a text. No body, no secret and no session ref ever gets in.

mod calls;
mod codes;
mod failures;
mod operations;
mod table;

pub use self::codes::Code;
pub use self::table::status_of_failure;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// A failed request, as the client sees it.
///
/// It becomes a body only in the outermost layer, which knows the request's id.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: String,
    params: Vec<Option<String>>,
    retryable: bool,
    pointer: Option<String>,
    task: Option<Box<serde_json::value::RawValue>>,
    object: Option<Box<About>>,
    progress: Option<Box<Progress>>,
    retry_after: Option<Duration>,
    headers: HeaderMap,
}

/// The members of a problem document.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    params: &'a [Option<String>],
    retryable: bool,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a About>,
    #[serde(flatten)]
    progress: Option<&'a Progress>,
}

/// How far a change of several fields has come.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Progress {
    /// Fields that have their new values.
    pub applied: Vec<&'static str>,
    /// Fields whose change failed; they have their old values.
    pub failed: Vec<&'static str>,
    /// Fields of which it is not known which value they have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<&'static str>,
    /// Fields that were not come to.
    pub not_tried: Vec<&'static str>,
    /// JSON pointers to what was removed and could not be put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// What a problem is about.
#[derive(Debug, Clone, Serialize)]
struct About {
    class: String,
    uuid: String,
}

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Bytes of a detail, and of a pointer or a parameter. Texts may say back what a client sent, such
/// as the name of a member that is none, and that may be as long as a body.
const LONGEST_DETAIL: usize = 4096;
const LONGEST_NAME: usize = 1024;
/// Bytes of a code: a server may say anything.
const LONGEST_CODE: usize = 128;

/// When to log in again to a backend that is not ready to.
const LOGIN_LATER: Duration = Duration::from_secs(5);

/// A problem's type: a URN whatever the code is made of.
fn kind(code: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    format!("urn:xengate:problem:{}", code.chars().map(plain).collect::<String>())
}

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        text.truncate((0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
        text.push('…');
    }
    text
}

impl Problem {
    /// A problem of the gateway's own. `detail` is for people and must name no secret.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let headers = match code {
            Code::InvalidToken => HeaderMap::from_iter([(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Bearer realm="xengate", error="invalid_token""#),
            )]),
            _ => HeaderMap::new(),
        };
        Self(Box::new(Parts {
            status: code.status(),
            code: Cow::Borrowed(code.as_str()),
            title: Cow::Borrowed(code.title()),
            detail: cut(detail.into(), LONGEST_DETAIL),
            params: Vec::new(),
            retryable: code.retryable(),
            pointer: None,
            task: None,
            object: None,
            progress: None,
            retry_after: code.retryable().then_some(Duration::from_secs(1)),
            headers,
        }))
    }

    /// A failure the Xen-API answered, with its code and parameters.
    ///
    /// `uuid_of` names the object that a ref stands for; a ref it does not know becomes null, and
    /// so does every ref of a failure that speaks of sessions.
    pub fn failure(
        code: &str,
        params: &[String],
        uuid_of: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let family = table::family_of(code, params);
        let code = &*cut(failures::without_refs(code), LONGEST_CODE);
        let params = failures::shown(code, params, uuid_of);
        Self(Box::new(Parts {
            status: family.status(),
            title: Cow::Owned(failures::title(code)),
            detail: cut(failures::detail(code, &params), LONGEST_DETAIL),
            code: Cow::Owned(code.to_owned()),
            params,
            retryable: family.retryable(),
            pointer: None,
            task: None,
            object: None,
            progress: None,
            retry_after: family.retry_after(),
            headers: HeaderMap::new(),
        }))
    }

    /// A login that a backend was asked for and that failed, with the backend's code: nothing that
    /// was sent is at fault, whatever the code means elsewhere. No parameter of it is repeated, since
    /// it may be what was sent.
    pub fn login_failed(code: &str) -> Self {
        let mut problem = Self::failure(code, &[], |_| None);
        let later = match table::family_of(code, &[]) {
            table::Family::Unavailable | table::Family::Passing | table::Family::TooMany => {
                Some(LOGIN_LATER)
            }
            _ => None,
        };
        problem.0.status = match later {
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
            None => StatusCode::BAD_GATEWAY,
        };
        problem.0.retryable = later.is_some();
        problem.0.retry_after = later;
        problem
    }

    /// The same, about the part of the request's body at this JSON pointer. What would be a
    /// missing object in the path is a bad value in a body: 404 becomes 422.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer = Some(cut(pointer.into(), LONGEST_NAME));
        if self.0.status == StatusCode::NOT_FOUND {
            self.0.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self
    }

    /// The same, with the values the detail speaks of, for programs.
    #[must_use]
    pub fn with_params<P: Into<String>>(mut self, params: impl IntoIterator<Item = P>) -> Self {
        let params = params.into_iter().map(|param| Some(cut(param.into(), LONGEST_NAME)));
        self.0.params = params.collect();
        self
    }

    /// The same, with another text for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same, with what was done of a change and what was not, by the names of fields.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.0.progress = Some(Box::new(progress));
        self
    }

    /// The same, with the task that failed as its representation.
    #[must_use]
    pub fn with_task(mut self, task: Box<serde_json::value::RawValue>) -> Self {
        self.0.task = Some(task);
        self
    }

    /// The same, about the object of this class and uuid.
    #[must_use]
    pub fn with_object(mut self, class: &str, uuid: &str) -> Self {
        self.0.object = Some(Box::new(About { class: class.to_owned(), uuid: uuid.to_owned() }));
        self
    }

    /// The same, as something that must not be asked for again as it is: some of it may have been
    /// done.
    #[must_use]
    pub fn not_repeatable(mut self) -> Self {
        (self.0.retryable, self.0.retry_after) = (false, None);
        self
    }

    /// The same, as something that may be asked for again as it is at once: nothing of it was done.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// The same, with word of when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(after);
        self
    }

    /// The same, with one more header.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The Xen-API's code or one of the gateway's own.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The text for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document, for the request of this id.
    pub fn document(&self, request_id: &str) -> Vec<u8> {
        let parts = &*self.0;
        let document = Document {
            kind: kind(&parts.code),
            title: &parts.title,
            status: parts.status.as_u16(),
            detail: &parts.detail,
            code: &parts.code,
            params: &parts.params,
            retryable: parts.retryable,
            request_id,
            pointer: parts.pointer.as_deref(),
            task: parts.task.as_deref(),
            object: parts.object.as_deref(),
            progress: parts.progress.as_deref(),
        };
        serde_json::to_vec(&document).expect("strings and numbers are always JSON")
    }

    /// Turns an answer that carries a problem into the one that goes out; others pass. The answer to
    /// a `HEAD` has the length of the document and not the document.
    pub(super) fn render(response: &mut Response, request_id: &str, is_head: bool) {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let document = problem.document(request_id);
            // The router has seen an empty body, and has said so.
            response.headers_mut().insert(header::CONTENT_LENGTH, document.len().into());
            if !is_head {
                *response.body_mut() = Body::from(document);
            }
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code, code.title())
    }
}

/// An answer without a body; the outermost layer writes the document into it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.clone_from(&self.0.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.0.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 wants a challenge on every 401.
            headers
                .entry(header::WWW_AUTHENTICATE)
                .or_insert(HeaderValue::from_static(r#"Bearer realm="xengate""#));
        }
        if let Some(after) = self.0.retry_after {
            // Rounded up, so that nobody comes back too early.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn document(problem: &Problem) -> serde_json::Value {
        serde_json::from_slice(&problem.document("req-1")).expect("JSON")
    }

    #[test]
    fn a_failure_carries_code_status_and_what_to_do() {
        let params = ["OpaqueRef:x".to_owned(), "halted".to_owned(), "running".to_owned()];
        let uuid = |_: &str| Some("0f5c1d5a-uuid".to_owned());
        let problem = Problem::failure("VM_BAD_POWER_STATE", &params, uuid);
        let document = document(&problem);
        assert_eq!(document["type"], "urn:xengate:problem:vm-bad-power-state");
        assert_eq!(document["title"], "VM bad power state");
        assert_eq!(document["status"], 409);
        assert_eq!(document["code"], "VM_BAD_POWER_STATE");
        assert_eq!(document["params"], serde_json::json!(["0f5c1d5a-uuid", "halted", "running"]));
        assert_eq!(document["retryable"], false);
        assert_eq!(document["request_id"], "req-1");
        assert!(document.get("pointer").is_none());
    }

    #[test]
    fn a_missing_object_is_404_in_the_path_and_422_in_a_body() {
        let params = ["VM".to_owned(), "OpaqueRef:gone".to_owned()];
        let problem = Problem::failure("HANDLE_INVALID", &params, |_| None);
        assert_eq!(problem.status(), StatusCode::NOT_FOUND);
        let problem = problem.at("/affinity");
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(document(&problem)["pointer"], "/affinity");
        assert_eq!(document(&problem)["params"], serde_json::json!(["VM", null]));
    }

    #[test]
    fn every_401_has_a_challenge_and_every_delay_is_rounded_up() {
        let challenge = |problem: Problem| {
            let response = problem.into_response();
            response.headers()[header::WWW_AUTHENTICATE].to_str().expect("ascii").to_owned()
        };
        assert_eq!(challenge(Code::TokenRequired.into()), r#"Bearer realm="xengate""#);
        assert_eq!(
            challenge(Code::InvalidToken.into()),
            r#"Bearer realm="xengate", error="invalid_token""#
        );
        let refused = Problem::failure("SESSION_AUTHENTICATION_FAILED", &[], |_| None);
        assert_eq!(challenge(refused), r#"Bearer realm="xengate""#);

        let later = Problem::from(Code::BackendBusy).retry_after(Duration::from_millis(2100));
        assert_eq!(later.into_response().headers()[header::RETRY_AFTER], "3");
    }

    #[test]
    fn a_code_that_is_no_code_makes_a_problem_all_the_same() {
        let odd = format!("Odd thing\n«OpaqueRef:secret» {}", "x".repeat(1 << 16));
        let problem = Problem::failure(&odd, &["y".repeat(1 << 16)], |_| None);
        assert_eq!(problem.status(), StatusCode::BAD_GATEWAY);
        let document = document(&problem);
        let kind = document["type"].as_str().expect("text");
        assert!(kind.starts_with("urn:xengate:problem:odd-thing---ref---x"), "{kind}");
        assert!(document.to_string().len() < 8192);
        assert!(!document.to_string().contains("secret"));
        let none = Problem::failure("", &[], |_| None);
        assert_eq!((none.status(), none.code()), (StatusCode::BAD_GATEWAY, ""));
    }

    #[test]
    fn no_text_is_as_long_as_a_body() {
        let long = "é".repeat(1 << 20);
        let problem = Problem::new(Code::WrongShape, &*long).at(&*long).with_params([&*long]);
        assert!(problem.document("id").len() < 8192);
        assert!(problem.detail().ends_with("é…"));
    }

    #[test]
    fn the_codes_are_distinct_and_none_is_the_xen_apis() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?} shares its name");
            assert!(xenapi_model::datamodel().failure(code.as_str()).is_none(), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }
}
