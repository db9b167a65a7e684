//! What operations answer: headers, problems and the responses that many operations share.

use http::StatusCode;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use super::parts::Parts;
use super::shapes::{Shape, array, boolean, formatted, integer, nullable_string, object, string};
use crate::http::problem::{Code, MEDIA_TYPE};

/// A response with a JSON body, or none, and the headers that every response has.
pub(super) fn answer(parts: &mut Parts, description: &str, body: Option<Shape>) -> ResponseBuilder {
    with_media(parts, description, body.map(|body| ("application/json", body)))
}

fn with_media(
    parts: &mut Parts,
    description: &str,
    body: Option<(&str, Shape)>,
) -> ResponseBuilder {
    let response = ResponseBuilder::new()
        .description(description)
        .header_ref("X-Request-Id", request_id(parts));
    match body {
        Some((media, shape)) => {
            response.content(media, ContentBuilder::new().schema(Some(shape)).build())
        }
        None => response,
    }
}

fn request_id(parts: &mut Parts) -> Ref {
    let text = "Names the request in the gateway's log; the client's own when it sent one.";
    parts.header("X-Request-Id", string(), text)
}

/// How long to wait, in seconds.
pub(super) fn retry_after(parts: &mut Parts) -> Ref {
    parts.header("Retry-After", integer(), "Seconds to wait before the next try.")
}

/// The path of what was made.
pub(super) fn location(parts: &mut Parts) -> Ref {
    parts.header("Location", formatted("uri-reference"), "The path of what was made.")
}

/// The entity tag of the body.
pub(super) fn etag(parts: &mut Parts) -> Ref {
    parts.header("ETag", string(), "Changes when the body does; send it back as If-None-Match.")
}

/// The two headers that tell how fresh a read is.
pub(super) fn freshness(parts: &mut Parts, response: ResponseBuilder) -> ResponseBuilder {
    let stale = "Names the backends (comma-separated) whose records may be out of date, because \
                 the gateway cannot follow them now. Absent when all are live.";
    let age = "With Xen-Stale: seconds since the oldest of the records was known to be right.";
    let stale = parts.header("Xen-Stale", string(), stale);
    let age = parts.header("Age", integer(), age);
    response.header_ref("Xen-Stale", stale).header_ref("Age", age)
}

/// A failure that operations share: its name among the components, the codes it has, which are
/// all of one status, and what it means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure(&'static str, &'static [Code], &'static str);

/// The request itself is wrong.
pub(super) const BAD_REQUEST: Failure = Failure(
    "BadRequest",
    &[
        Code::BadRequest,
        Code::UnknownParameter,
        Code::DuplicateParameter,
        Code::BadParameter,
        Code::MalformedUuid,
        Code::MalformedJson,
    ],
    "The request is malformed; the detail names what.",
);
/// No token, or one that is no good.
pub(super) const UNAUTHORIZED: Failure = Failure(
    "Unauthorized",
    &[Code::TokenRequired, Code::InvalidToken],
    "No token, or one that is malformed, forged or expired, or whose session has ended.",
);
/// The backends said no.
pub(super) const REFUSED: Failure =
    Failure("Refused", &[Code::LoginRefused], "The user name or the password is not good.");
/// The further backends said no.
pub(super) const BACKEND_REFUSED: Failure = Failure(
    "BackendRefused",
    &[Code::BackendLoginRefused],
    "The user name or the password is not good on the further backends; the session is as it was.",
);
/// Nothing there.
pub(super) const NOT_FOUND: Failure = Failure(
    "NotFound",
    &[Code::NotFound, Code::UnknownBackend],
    "There is no such object on the session's backends, or the session has no such backend.",
);
/// No backend of that name.
pub(super) const UNKNOWN_BACKEND: Failure = Failure(
    "UnknownBackend",
    &[Code::UnknownBackend],
    "There is no backend of that name, or the session is not logged in to it.",
);
/// What the client accepts is not made here.
pub(super) const NOT_ACCEPTABLE: Failure = Failure(
    "NotAcceptable",
    &[Code::NotAcceptable],
    "None of the media types that Accept allows can be given.",
);
/// One uuid, several objects.
pub(super) const AMBIGUOUS: Failure = Failure(
    "Ambiguous",
    &[Code::AmbiguousUuid],
    "Several backends, which `params` names, have an object of this uuid: say which with \
     `?backend=`.",
);
/// The body is too long.
pub(super) const TOO_LARGE: Failure =
    Failure("TooLarge", &[Code::BodyTooLarge], "The body is longer than the gateway takes.");
/// The body is not JSON by its own account.
pub(super) const UNSUPPORTED: Failure = Failure(
    "UnsupportedMediaType",
    &[Code::UnsupportedMediaType],
    "The body must be `application/json`.",
);
/// The body is JSON, of a wrong shape.
pub(super) const UNPROCESSABLE: Failure = Failure(
    "Unprocessable",
    &[Code::WrongShape],
    "The body is JSON, but a member is missing, unknown or not of its type; `pointer` says where.",
);
/// Too many tries.
pub(super) const TOO_MANY: Failure = Failure(
    "TooManyRequests",
    &[Code::TooManyAttempts],
    "Too many logins have failed for this address or this user name.",
);
/// The headers are too long.
pub(super) const HEADER_TOO_LARGE: Failure = Failure(
    "HeaderTooLarge",
    &[Code::HeaderTooLarge],
    "The request line and headers are longer than the gateway takes.",
);
/// A bug.
pub(super) const INTERNAL: Failure = Failure(
    "InternalError",
    &[Code::Internal],
    "A bug of the gateway; its log has more under the request id.",
);
/// The backend's reply made no sense.
pub(super) const BAD_GATEWAY: Failure = Failure(
    "BadGateway",
    &[Code::BadReply],
    "A backend answered with something that is no Xen-API reply; the detail says what was seen.",
);
/// Not now.
pub(super) const UNAVAILABLE: Failure = Failure(
    "Unavailable",
    &[
        Code::Overloaded,
        Code::TooManySessions,
        Code::ShuttingDown,
        Code::BackendUnreachable,
        Code::BackendBusy,
        Code::BackendNotReady,
    ],
    "Not now: the gateway has too much to do, is full or about to end, or a backend cannot be asked.",
);
/// Too late.
pub(super) const GATEWAY_TIMEOUT: Failure = Failure(
    "GatewayTimeout",
    &[Code::BackendTimeout, Code::RequestTimeout],
    "A backend, or the request as a whole, took too long.",
);

/// Failures of an operation that needs a token and nothing else.
pub(super) const OF_SESSION: [Failure; 7] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    NOT_ACCEPTABLE,
    HEADER_TOO_LARGE,
    INTERNAL,
    UNAVAILABLE,
    GATEWAY_TIMEOUT,
];

/// The responses of an operation: its success, and its failures.
pub(super) fn with(
    parts: &mut Parts,
    success: (u16, Response),
    failures: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    let failures = failures.iter().map(|failure| failure.response(parts));
    std::iter::once((success.0, success.1.into())).chain(failures).collect()
}

impl Failure {
    fn status(self) -> StatusCode {
        self.1[0].status()
    }

    /// The status and a reference to the shared response.
    pub(super) fn response(self, parts: &mut Parts) -> (u16, RefOr<Response>) {
        let Self(name, codes, text) = self;
        let status = self.status();
        let response = parts.response(name, |parts| {
            let names: Vec<_> = codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
            let description = format!("{text} Codes: {}.", names.join(", "));
            let problem = parts.schema("Problem", |_| problem());
            let mut response = with_media(parts, &description, Some((MEDIA_TYPE, problem)));
            if status == StatusCode::UNAUTHORIZED {
                let text = "The scheme to use, `Bearer`, and what was wrong with the token.";
                let header = parts.header("WWW-Authenticate", string(), text);
                response = response.header_ref("WWW-Authenticate", header);
            }
            if codes.iter().any(|code| code.retryable()) {
                response = response.header_ref("Retry-After", retry_after(parts));
            }
            if codes.iter().any(|code| is_about_objects(*code)) {
                response = freshness(parts, response);
            }
            response.build()
        });
        (status.as_u16(), response)
    }
}

/// Whether a failure speaks of what a mirror knows, and so may be out of date as an object may.
fn is_about_objects(code: Code) -> bool {
    matches!(code, Code::NotFound | Code::AmbiguousUuid | Code::BackendUnreachable)
}

/// RFC 9457, with the Xen-API's code and parameters.
fn problem() -> Shape {
    let example = json!({
        "type": "urn:xengate:problem:ambiguous-uuid",
        "title": Code::AmbiguousUuid.title(),
        "status": Code::AmbiguousUuid.status().as_u16(),
        "detail": "several backends have an object of this uuid; say which with ?backend=",
        "code": Code::AmbiguousUuid.as_str(),
        "params": ["london", "paris"],
        "retryable": false,
        "request_id": "5f0c7d5e3f0a",
    });
    let code = "The Xen-API's failure code, such as `VM_BAD_POWER_STATE`, or one of the gateway's \
                own; for a program to read.";
    let params = "What the code is about: a failure's parameters in the Xen-API's order, with \
                  uuids for refs (null for one that is unknown).";
    object(
        [
            ("type", formatted("uri"), "The kind of problem: the code, as a URN."),
            ("title", string(), "The code, in words."),
            ("status", integer(), "The HTTP status."),
            ("detail", string(), "What went wrong this time, for a person to read."),
            ("code", string(), code),
            ("params", array(nullable_string()), params),
            ("retryable", boolean(), "Whether the same request may succeed later as it is."),
            ("request_id", string(), "The request's name in the gateway's log."),
            ("pointer", string(), "JSON pointer (RFC 6901) to the part of the body that is wrong."),
        ],
        &["type", "title", "status", "detail", "code", "params", "retryable", "request_id"],
    )
    .description(Some("What went wrong (RFC 9457)."))
    .examples([example])
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Failure] = &[
        BAD_REQUEST,
        UNAUTHORIZED,
        REFUSED,
        BACKEND_REFUSED,
        NOT_FOUND,
        UNKNOWN_BACKEND,
        NOT_ACCEPTABLE,
        AMBIGUOUS,
        TOO_LARGE,
        UNSUPPORTED,
        UNPROCESSABLE,
        TOO_MANY,
        HEADER_TOO_LARGE,
        INTERNAL,
        BAD_GATEWAY,
        UNAVAILABLE,
        GATEWAY_TIMEOUT,
    ];

    /// Codes that no operation of the document answers: its methods are allowed.
    const UNDOCUMENTED: &[Code] =
        &[Code::MethodNotAllowed, Code::Forbidden, Code::ForeignRevision, Code::PreconditionFailed];

    #[test]
    fn the_codes_of_a_failure_have_one_status() {
        for failure in ALL {
            for code in failure.1 {
                assert_eq!(code.status(), failure.status(), "{failure:?}");
            }
        }
    }

    #[test]
    fn every_code_is_documented() {
        for code in Code::ALL {
            let documented = ALL.iter().any(|failure| failure.1.contains(code));
            assert!(documented != UNDOCUMENTED.contains(code), "{code:?}");
        }
    }
}
