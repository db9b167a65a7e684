//! What operations answer when they fail: statuses and codes, and the response that all share.

use utoipa::openapi::{RefOr, Response};

use super::problem;
use crate::openapi::answers::{freshness, retry_after, with_media};
use crate::openapi::parts::Parts;
use crate::openapi::shapes::string;
use crate::problem::{Code, MEDIA_TYPE};

/// A failure that operations share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    status: u16,
    /// The gateway's own codes for it, all of that status.
    codes: &'static [Code],
    /// Whether failures of the Xen-API come out so too.
    backends: bool,
    /// What it means.
    text: &'static str,
}

/// A failure with codes of the gateway's own, which have one status.
const fn own(codes: &'static [Code], text: &'static str) -> Failure {
    Failure { status: codes[0].status().as_u16(), codes, backends: false, text }
}

/// A failure that may also be the backend's word.
const fn of_backend(codes: &'static [Code], text: &'static str) -> Failure {
    Failure { backends: true, ..own(codes, text) }
}

/// The request itself is wrong.
pub(crate) const BAD_REQUEST: Failure = own(
    &[
        Code::BadRequest,
        Code::UnknownParameter,
        Code::DuplicateParameter,
        Code::BadParameter,
        Code::QueryTooCostly,
        Code::MalformedUuid,
        Code::MalformedJson,
        Code::DuplicateField,
        Code::UnexpectedBody,
    ],
    "The request is malformed; the detail names what.",
);
/// No token, or one that is no good.
pub(crate) const UNAUTHORIZED: Failure = own(
    &[Code::TokenRequired, Code::InvalidToken],
    "No token, or one that is malformed, forged or expired, or whose session has ended.",
);
/// The backends said no.
pub(crate) const REFUSED: Failure =
    own(&[Code::LoginRefused], "The user name or the password is not good.");
/// The further backends said no.
pub(crate) const BACKEND_REFUSED: Failure = of_backend(
    &[Code::BackendLoginRefused],
    "The user name or the password is not good on the further backends, or with the backend's own \
     code: it is, and its user has no role there. The session is as it was.",
);
/// The password is good, and of no use.
pub(crate) const NO_ROLE: Failure = Failure {
    status: 403,
    codes: &[],
    backends: true,
    text: "The password is good, and its user has no role in the pool; the code is the pool's.",
};
/// Not for this user.
pub(crate) const FORBIDDEN: Failure = of_backend(
    &[Code::Forbidden],
    "Not for this user. With `RBAC_PERMISSION_DENIED` nothing was sent, and `params` names the \
     call and the roles that would do; `FORBIDDEN` is a backend that has refused the session.",
);
/// Not for this client.
pub(crate) const NOT_THE_SCRAPER: Failure = own(
    &[Code::Forbidden],
    "The request comes from another machine, and `metrics.scrape_token_file` is not set.",
);
/// The configuration does not provide for it.
pub(crate) const NOT_CONFIGURED: Failure = own(
    &[Code::NotConfigured],
    "The configuration does not provide for this; the detail says what is missing.",
);
/// Nothing there.
pub(crate) const NOT_FOUND: Failure = own(
    &[Code::NotFound, Code::UnknownBackend],
    "There is no such object on the session's backends, or the session has no such backend.",
);
/// No backend of that name.
pub(crate) const UNKNOWN_BACKEND: Failure = own(
    &[Code::UnknownBackend],
    "There is no backend of that name, or the session is not logged in to it.",
);
/// What the client accepts is not made here.
pub(crate) const NOT_ACCEPTABLE: Failure =
    own(&[Code::NotAcceptable], "None of the media types that Accept allows can be given.");
/// One uuid, several objects.
pub(crate) const AMBIGUOUS: Failure = own(
    &[Code::AmbiguousUuid, Code::ForeignRevision],
    "Several backends, which `params` names, have an object of this uuid: say which with \
     `?backend=`. Or `min_revision` is of an earlier run of the gateway: leave it out.",
);
/// The rest of the list cannot be had.
pub(crate) const EXPIRED: Failure = own(
    &[Code::CursorExpired],
    "The order that the cursor goes on in is not kept any more: start from the first page.",
);
/// A revision that means nothing here.
pub(crate) const ANOTHER_BOOT: Failure = own(
    &[Code::ForeignRevision],
    "`min_revision` is of an earlier run of the gateway: read again without it.",
);
/// Not that version.
pub(crate) const PRECONDITION_FAILED: Failure = own(
    &[Code::PreconditionFailed],
    "The object is not the version that `If-Match` names, as far as the gateway knows it; nothing \
     was sent.",
);
/// Not as things are.
pub(crate) const CONFLICT: Failure = of_backend(
    &[Code::AmbiguousUuid, Code::ForeignRevision, Code::Conflict],
    "Not possible as things are: an object is in another state than it takes, something is in \
     use or under way, or a task was cancelled. For `AMBIGUOUS_UUID` say which backend is meant; \
     for `REVISION_OF_ANOTHER_BOOT` leave `min_revision` out.",
);
/// The body is too long.
pub(crate) const TOO_LARGE: Failure =
    own(&[Code::BodyTooLarge], "The body is longer than the gateway takes.");
/// The body is not JSON by its own account.
pub(crate) const UNSUPPORTED: Failure =
    own(&[Code::UnsupportedMediaType], "The body must be `application/json`.");
/// The body is JSON, of a wrong shape.
pub(crate) const UNPROCESSABLE: Failure = own(
    &[Code::WrongShape],
    "The body is JSON, but a member is missing, unknown or not of its type; `pointer` says where.",
);
/// An argument is wrong, or missing.
pub(crate) const BAD_ARGUMENT: Failure = of_backend(
    &[Code::WrongShape, Code::BackendRequired],
    "A value is missing, unknown or not one that the call takes; `pointer` says which, if it is \
     in the body. With `WRONG_SHAPE` nothing was sent. `BACKEND_REQUIRED` wants a `?backend=`.",
);
/// Too many tries.
pub(crate) const TOO_MANY: Failure = own(
    &[Code::TooManyAttempts, Code::TooMuchAtOnce],
    "Too many logins have failed for this address or this user name, or there are too many \
     sessions.",
);
/// Too many streams.
pub(crate) const TOO_MANY_STREAMS: Failure = own(
    &[Code::TooManyOwnStreams, Code::TooManyTickets, Code::TooMuchAtOnce],
    "The session or its user has as many event streams, unused tickets or requests as one may have.",
);
/// The backend has enough of these.
pub(crate) const TOO_MANY_CALLS: Failure = of_backend(
    &[Code::TooMuchAtOnce],
    "The session or its user does as much at once as one may, or the backend has as many of these \
     under way as it takes.",
);
/// Too much at once.
pub(crate) const TOO_MUCH_AT_ONCE: Failure = own(
    &[Code::TooMuchAtOnce],
    "The session or its user has as many requests that are worked on or wait, costly queries, or \
     answers that are not taken, as one may have; the detail says which.",
);
/// The headers are too long.
pub(crate) const HEADER_TOO_LARGE: Failure =
    own(&[Code::HeaderTooLarge], "The request line and headers are longer than the gateway takes.");
/// A bug.
pub(crate) const INTERNAL: Failure =
    own(&[Code::Internal], "A bug of the gateway; its log has more under the request id.");
/// The backend cannot do that.
pub(crate) const NOT_SUPPORTED: Failure = of_backend(
    &[Code::NotSupported],
    "The backend's version, or what it runs on, does not have that.",
);
/// The backend's reply made no sense.
pub(crate) const BAD_GATEWAY: Failure = own(
    &[Code::BadReply],
    "A backend answered with something that is no Xen-API reply; the detail says what was seen.",
);
/// The backend was asked, and failed.
pub(crate) const LOGIN_FAILED: Failure = of_backend(
    &[Code::BadReply],
    "The backend was asked and failed, with its own code, or answered with something that is no \
     Xen-API reply.",
);
/// The backend tried, and failed.
pub(crate) const CALL_FAILED: Failure = of_backend(
    &[Code::BadReply, Code::OutcomeUnknown, Code::TaskFailed, Code::WriteNotTaken],
    "The backend tried and failed, or answered with something that is no Xen-API reply, or \
     (`OUTCOME_UNKNOWN`) it may have carried out what it was asked for and did not say so, or \
     (`WRITE_NOT_TAKEN`) it said that it had and shows otherwise.",
);
/// No room for the answer.
pub(crate) const OVERLOADED: Failure = own(
    &[Code::Overloaded],
    "The gateway has no room for the answer now: try again after Retry-After seconds.",
);
/// Not now.
pub(crate) const UNAVAILABLE: Failure = own(
    &[
        Code::Overloaded,
        Code::TooManySessions,
        Code::TooManyStreams,
        Code::LoginNotConfigured,
        Code::ShuttingDown,
        Code::BackendUnreachable,
        Code::BackendBusy,
        Code::BackendNotReady,
    ],
    "Not now: the gateway has too much to do, is full or about to end, or a backend cannot be asked.",
);
/// Too late.
pub(crate) const GATEWAY_TIMEOUT: Failure = own(
    &[Code::BackendTimeout, Code::RevisionNotReached, Code::RequestTimeout],
    "A backend, the revision that is waited for, or the request as a whole took too long.",
);

/// Failures of an operation that needs a token and nothing else.
pub(crate) const OF_SESSION: [Failure; 8] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    NOT_ACCEPTABLE,
    TOO_MUCH_AT_ONCE,
    HEADER_TOO_LARGE,
    INTERNAL,
    UNAVAILABLE,
    GATEWAY_TIMEOUT,
];

/// Failures of a read that the mirror answers, beside those of its session.
pub(crate) const OF_MIRROR: [Failure; 4] =
    [FORBIDDEN, PRECONDITION_FAILED, NOT_SUPPORTED, BAD_GATEWAY];

/// Failures of an operation that makes calls in the caller's own session.
pub(crate) const OF_CALL: [Failure; 14] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    NOT_ACCEPTABLE,
    CONFLICT,
    BAD_ARGUMENT,
    TOO_MANY_CALLS,
    HEADER_TOO_LARGE,
    INTERNAL,
    NOT_SUPPORTED,
    CALL_FAILED,
    UNAVAILABLE,
    GATEWAY_TIMEOUT,
];

/// Failures that a body brings with it, beside those of what it says.
pub(crate) const OF_BODY: [Failure; 2] = [TOO_LARGE, UNSUPPORTED];

/// All of them.
const ALL: &[Failure] = &[
    BAD_REQUEST,
    UNAUTHORIZED,
    REFUSED,
    BACKEND_REFUSED,
    FORBIDDEN,
    NOT_FOUND,
    UNKNOWN_BACKEND,
    NOT_ACCEPTABLE,
    AMBIGUOUS,
    ANOTHER_BOOT,
    EXPIRED,
    CONFLICT,
    PRECONDITION_FAILED,
    TOO_LARGE,
    UNSUPPORTED,
    UNPROCESSABLE,
    BAD_ARGUMENT,
    TOO_MANY,
    TOO_MANY_STREAMS,
    TOO_MANY_CALLS,
    TOO_MUCH_AT_ONCE,
    HEADER_TOO_LARGE,
    INTERNAL,
    NOT_SUPPORTED,
    BAD_GATEWAY,
    CALL_FAILED,
    UNAVAILABLE,
    GATEWAY_TIMEOUT,
    NOT_THE_SCRAPER,
    NOT_CONFIGURED,
    OVERLOADED,
];

impl Failure {
    /// Its status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The status and the response, which all failures have together.
    pub(crate) fn response(self, parts: &mut Parts) -> (u16, RefOr<Response>) {
        (self.status, default(parts))
    }

    /// A row of the table of failures.
    fn row(self) -> String {
        let names: Vec<_> = self.codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
        let codes = match (names.join(", "), self.backends) {
            (names, false) => names,
            (names, true) if names.is_empty() => "the Xen-API's".to_owned(),
            (names, true) => format!("{names} and the Xen-API's"),
        };
        format!("| {} | {} | {codes} |\n", self.status, self.text)
    }
}

/// The response of every failure. One for all: a client meets the same document whatever goes
/// wrong, and fifteen responses at each operation are more than generators and readers can bear.
/// Which statuses an operation may answer stands beside it.
pub(crate) fn default(parts: &mut Parts) -> RefOr<Response> {
    parts.response(DEFAULT, |parts| {
        let problem = problem::schema(parts);
        let text = "A failure. `x-problem-statuses` lists the statuses that the operation may have \
                    it with; the schema says what each means.";
        let response = with_media(parts, text, Some((MEDIA_TYPE, problem)));
        let scheme = "Of a 401: the scheme to use, `Bearer`, and what was wrong with the token.";
        let response = response
            .header_ref("WWW-Authenticate", parts.header("WWW-Authenticate", string(), scheme))
            .header_ref("Retry-After", retry_after(parts));
        freshness(parts, response).build()
    })
}

/// The name of that response among the components.
const DEFAULT: &str = "Problem";

/// Whether this is the response of a failure.
pub(crate) fn is_failure(response: &RefOr<Response>) -> bool {
    matches!(response, RefOr::Ref(name) if name.ref_location.ends_with("/responses/Problem"))
}

/// The table of failures: what each means, and the gateway's own codes for it.
pub(crate) fn table() -> String {
    let mut rows: Vec<Failure> = ALL.to_vec();
    rows.sort_by_key(|failure| failure.status);
    let rows: String = rows.into_iter().map(Failure::row).collect();
    format!("| status | | codes |\n|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes that no operation of the document answers: its methods are allowed.
    const UNDOCUMENTED: &[Code] = &[Code::MethodNotAllowed];

    #[test]
    fn the_codes_of_a_failure_have_its_status() {
        for failure in ALL {
            for code in failure.codes {
                assert_eq!(code.status().as_u16(), failure.status, "{failure:?}");
            }
        }
    }

    #[test]
    fn every_code_is_documented() {
        for code in Code::ALL {
            let documented = ALL.iter().any(|failure| failure.codes.contains(code));
            assert!(documented != UNDOCUMENTED.contains(code), "{code:?}");
        }
    }

    #[test]
    fn whatever_a_backend_answers_is_documented_for_operations_that_make_calls() {
        use crate::problem::status_of_failure;
        use xenapi_model::datamodel;
        let documented: Vec<u16> = OF_CALL.iter().map(|failure| failure.status).collect();
        for failure in &datamodel().failures {
            let status = status_of_failure(&failure.code).as_u16();
            assert!(documented.contains(&status), "{}: {status}", failure.code);
        }
    }
}
