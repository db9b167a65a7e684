//! What operations answer: headers, problems and the responses that many operations share.

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};

use super::parts::Parts;
use super::shapes::{Shape, array, boolean, formatted, integer, object, string};

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

/// A failure that operations share: its status, its name among the components, what it means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure(u16, &'static str, &'static str);

/// The request itself is wrong.
pub(super) const BAD_REQUEST: Failure = Failure(
    400,
    "BadRequest",
    "The request is malformed: a uuid that is none, a parameter with a bad value or of an unknown \
     name, a body that is not JSON. The detail names it.",
);
/// No token, or one that is no good.
pub(super) const UNAUTHORIZED: Failure = Failure(
    401,
    "Unauthorized",
    "No token, or one that is malformed, expired, forged, or whose session has ended.",
);
/// The backends said no to the user name and password.
pub(super) const REFUSED: Failure =
    Failure(401, "Refused", "The user name and password were refused.");
/// The caller may not.
pub(super) const FORBIDDEN: Failure = Failure(
    403,
    "Forbidden",
    "The caller's roles do not allow it, or the session is not logged in to the backend it names.",
);
/// Nothing there.
pub(super) const NOT_FOUND: Failure =
    Failure(404, "NotFound", "No backend of this session has such an object.");
/// What the client accepts is not made here.
pub(super) const NOT_ACCEPTABLE: Failure =
    Failure(406, "NotAcceptable", "None of the media types that Accept allows can be given.");
/// One uuid, several objects.
pub(super) const AMBIGUOUS: Failure = Failure(
    409,
    "Ambiguous",
    "More than one backend has an object with this uuid (code `AMBIGUOUS_UUID`): say which with \
     `?backend=`.",
);
/// The body is too long.
pub(super) const TOO_LARGE: Failure =
    Failure(413, "TooLarge", "The body is longer than the gateway takes.");
/// The body is not JSON by its own account.
pub(super) const UNSUPPORTED: Failure =
    Failure(415, "UnsupportedMediaType", "The body must be `application/json`.");
/// The body is JSON, of a wrong shape.
pub(super) const UNPROCESSABLE: Failure = Failure(
    422,
    "Unprocessable",
    "The body is JSON of a wrong shape: a member missing, unknown, or of another type. `pointer` \
     says where.",
);
/// Too many tries.
pub(super) const TOO_MANY: Failure = Failure(
    429,
    "TooManyRequests",
    "Too many logins failed for this address or this user name, or too many are under way.",
);
/// A bug.
pub(super) const INTERNAL: Failure =
    Failure(500, "InternalError", "A fault in the gateway; its log has the request id.");
/// The backend's reply made no sense.
pub(super) const BAD_GATEWAY: Failure = Failure(
    502,
    "BadGateway",
    "A backend could not be reached, or answered with something that is no Xen-API reply; the \
     detail says what was seen.",
);
/// Not now.
pub(super) const UNAVAILABLE: Failure = Failure(
    503,
    "Unavailable",
    "Not now: the gateway is busy or stopping, or no backend is ready.",
);
/// The backend took too long.
pub(super) const GATEWAY_TIMEOUT: Failure =
    Failure(504, "GatewayTimeout", "A backend did not answer in time.");

impl Failure {
    /// The status and a reference to the shared response.
    pub(super) fn response(self, parts: &mut Parts) -> (u16, RefOr<Response>) {
        let Self(status, name, description) = self;
        let response = parts.response(name, |parts| {
            let problem = parts.schema("Problem", |_| problem());
            let media = Some(("application/problem+json", problem));
            let mut response = with_media(parts, description, media);
            if status == 401 {
                let text = "The scheme to use (`Bearer`), and what was wrong with the token.";
                let header = parts.header("WWW-Authenticate", string(), text);
                response = response.header_ref("WWW-Authenticate", header);
            }
            if matches!(status, 429 | 502 | 503 | 504) {
                response = response.header_ref("Retry-After", retry_after(parts));
            }
            response.build()
        });
        (status, response)
    }
}

/// RFC 9457, with the Xen-API's code and parameters.
fn problem() -> Shape {
    let example = json!({
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no VM has the uuid 8cc3a4e2-5f5c-4d27-9f0b-6b2f0c1d7e55",
        "code": "UUID_INVALID",
        "params": ["VM", "8cc3a4e2-5f5c-4d27-9f0b-6b2f0c1d7e55"],
        "retryable": false,
        "request_id": "5f0c7d5e-3f0a-4b53-8a55-0d6a2f1c9b7e",
    });
    object(
        [
            ("type", formatted("uri-reference"), "The kind of problem."),
            ("title", string(), "The kind of problem, in words; the same for every occurrence."),
            ("status", integer(), "The HTTP status."),
            ("detail", string(), "What went wrong this time, for a person to read."),
            (
                "code",
                string(),
                "The Xen-API's failure code, such as `VM_BAD_POWER_STATE`, or one of the gateway's \
                 own; for a program to read.",
            ),
            (
                "params",
                array(string()),
                "The failure's parameters in the Xen-API's order, uuids in place of refs.",
            ),
            ("retryable", boolean(), "Whether the same request may succeed later as it is."),
            ("request_id", string(), "The request's name in the gateway's log."),
            ("pointer", string(), "JSON pointer (RFC 6901) to the part of the body that is wrong."),
        ],
        &["type", "title", "status", "code", "retryable", "request_id"],
    )
    .description(Some("What went wrong (RFC 9457)."))
    .examples([example])
    .into()
}
