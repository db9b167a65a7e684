//! The codes of the gateway's own problems, beside those of the Xen-API.

use http::StatusCode;

/// A code of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request's target or headers make no sense.
    BadRequest,
    /// A query parameter that this path does not take.
    UnknownParameter,
    /// A query parameter that is given twice.
    DuplicateParameter,
    /// A query parameter whose value is not one.
    BadParameter,
    /// A query that would take more steps than one may.
    QueryTooCostly,
    /// A uuid in the path that is not one.
    MalformedUuid,
    /// A body that is not JSON.
    MalformedJson,
    /// A field that the body has twice.
    DuplicateField,
    /// A body where none is taken.
    UnexpectedBody,
    /// No token came with the request.
    TokenRequired,
    /// The token is wrong, expired or its session has ended.
    InvalidToken,
    /// No backend accepted the user name and the password.
    LoginRefused,
    /// A further backend accepted no login; the session is as good as it was.
    BackendLoginRefused,
    /// The user may not do this.
    Forbidden,
    /// The path names nothing.
    NotFound,
    /// No backend has this name, or the caller is not logged in to it.
    UnknownBackend,
    /// The path does not take this method.
    MethodNotAllowed,
    /// None of the media types the client accepts can be had.
    NotAcceptable,
    /// Several backends have an object of this uuid.
    AmbiguousUuid,
    /// A revision of an earlier run of the gateway.
    ForeignRevision,
    /// A cursor that goes on in an order which is not kept any more.
    CursorExpired,
    /// The object is not the version that `If-Match` names.
    PreconditionFailed,
    /// The body is larger than the gateway takes.
    BodyTooLarge,
    /// The body is of another media type than JSON.
    UnsupportedMediaType,
    /// The body is JSON, but not what this path takes.
    WrongShape,
    /// Several backends could be meant, and none is named.
    BackendRequired,
    /// It cannot be done as things are.
    Conflict,
    /// It was sent, and whether or how it was carried out is not known.
    OutcomeUnknown,
    /// The task failed, and the backend does not say why.
    TaskFailed,
    /// The backend's version does not have this.
    NotSupported,
    /// The gateway's configuration does not provide for this.
    NotConfigured,
    /// Too many failed logins.
    TooManyAttempts,
    /// The headers are larger than the gateway takes.
    HeaderTooLarge,
    /// A bug of the gateway.
    Internal,
    /// The backend's reply makes no sense, or is too large.
    BadReply,
    /// The backend accepted a write, and did not make it.
    WriteNotTaken,
    /// The gateway works on as many requests as it may.
    Overloaded,
    /// The gateway has as many sessions as it may.
    TooManySessions,
    /// The gateway has as many event streams as it may.
    TooManyStreams,
    /// The session, or its user, has as many event streams as one may.
    TooManyOwnStreams,
    /// The session has as many unused tickets as it may.
    TooManyTickets,
    /// The session, or its user, does as much at once as one may.
    TooMuchAtOnce,
    /// Nobody can log in until somebody changes a configuration.
    LoginNotConfigured,
    /// The gateway is about to end.
    ShuttingDown,
    /// The backend cannot be reached.
    BackendUnreachable,
    /// The backend's connections are all busy.
    BackendBusy,
    /// The backend's objects are not known yet.
    BackendNotReady,
    /// The backend took too long.
    BackendTimeout,
    /// Reads have not come to the revision that is asked for.
    RevisionNotReached,
    /// The request took too long.
    RequestTimeout,
}

impl Code {
    /// Every code.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::UnknownParameter,
        Self::DuplicateParameter,
        Self::BadParameter,
        Self::QueryTooCostly,
        Self::MalformedUuid,
        Self::MalformedJson,
        Self::DuplicateField,
        Self::UnexpectedBody,
        Self::TokenRequired,
        Self::InvalidToken,
        Self::LoginRefused,
        Self::BackendLoginRefused,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownBackend,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AmbiguousUuid,
        Self::ForeignRevision,
        Self::CursorExpired,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::WrongShape,
        Self::BackendRequired,
        Self::Conflict,
        Self::OutcomeUnknown,
        Self::TaskFailed,
        Self::NotSupported,
        Self::NotConfigured,
        Self::TooManyAttempts,
        Self::HeaderTooLarge,
        Self::Internal,
        Self::BadReply,
        Self::WriteNotTaken,
        Self::Overloaded,
        Self::TooManySessions,
        Self::TooManyStreams,
        Self::TooManyOwnStreams,
        Self::TooManyTickets,
        Self::TooMuchAtOnce,
        Self::LoginNotConfigured,
        Self::ShuttingDown,
        Self::BackendUnreachable,
        Self::BackendBusy,
        Self::BackendNotReady,
        Self::BackendTimeout,
        Self::RevisionNotReached,
        Self::RequestTimeout,
    ];

    /// The name, the status and the title.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("BAD_REQUEST", StatusCode::BAD_REQUEST, "Bad request"),
            Self::UnknownParameter => {
                ("UNKNOWN_PARAMETER", StatusCode::BAD_REQUEST, "Unknown query parameter")
            }
            Self::DuplicateParameter => {
                ("DUPLICATE_PARAMETER", StatusCode::BAD_REQUEST, "Query parameter given twice")
            }
            Self::BadParameter => {
                ("BAD_PARAMETER", StatusCode::BAD_REQUEST, "Bad value of a query parameter")
            }
            Self::QueryTooCostly => {
                ("QUERY_TOO_COSTLY", StatusCode::BAD_REQUEST, "The query costs too much")
            }
            Self::MalformedUuid => ("MALFORMED_UUID", StatusCode::BAD_REQUEST, "Malformed uuid"),
            Self::MalformedJson => ("MALFORMED_JSON", StatusCode::BAD_REQUEST, "Malformed JSON"),
            Self::DuplicateField => {
                ("DUPLICATE_FIELD", StatusCode::BAD_REQUEST, "Field given twice")
            }
            Self::UnexpectedBody => {
                ("UNEXPECTED_BODY", StatusCode::BAD_REQUEST, "This operation takes no body")
            }
            Self::TokenRequired => {
                ("TOKEN_REQUIRED", StatusCode::UNAUTHORIZED, "A bearer token is required")
            }
            Self::InvalidToken => {
                ("INVALID_TOKEN", StatusCode::UNAUTHORIZED, "The token is not valid")
            }
            Self::LoginRefused => {
                ("LOGIN_REFUSED", StatusCode::UNAUTHORIZED, "The login was refused")
            }
            // No 401: clients take that for a word on their token, and drop it.
            Self::BackendLoginRefused => (
                "BACKEND_LOGIN_REFUSED",
                StatusCode::FORBIDDEN,
                "The login to a further backend was refused",
            ),
            Self::Forbidden => ("FORBIDDEN", StatusCode::FORBIDDEN, "Not permitted"),
            Self::NotFound => ("NOT_FOUND", StatusCode::NOT_FOUND, "Not found"),
            Self::UnknownBackend => {
                ("UNKNOWN_BACKEND", StatusCode::NOT_FOUND, "There is no such backend")
            }
            Self::MethodNotAllowed => {
                ("METHOD_NOT_ALLOWED", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::NotAcceptable => {
                ("NOT_ACCEPTABLE", StatusCode::NOT_ACCEPTABLE, "No acceptable representation")
            }
            Self::AmbiguousUuid => {
                ("AMBIGUOUS_UUID", StatusCode::CONFLICT, "Several backends have this uuid")
            }
            Self::CursorExpired => ("CURSOR_EXPIRED", StatusCode::GONE, "The cursor has expired"),
            Self::ForeignRevision => (
                "REVISION_OF_ANOTHER_BOOT",
                StatusCode::CONFLICT,
                "A revision of an earlier run of the gateway",
            ),
            Self::PreconditionFailed => {
                ("PRECONDITION_FAILED", StatusCode::PRECONDITION_FAILED, "Precondition failed")
            }
            Self::BodyTooLarge => {
                ("BODY_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
            }
            Self::UnsupportedMediaType => (
                "UNSUPPORTED_MEDIA_TYPE",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
            ),
            Self::WrongShape => (
                "WRONG_SHAPE",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The body is not what this path takes",
            ),
            Self::BackendRequired => {
                ("BACKEND_REQUIRED", StatusCode::UNPROCESSABLE_ENTITY, "Say which backend is meant")
            }
            Self::Conflict => ("CONFLICT", StatusCode::CONFLICT, "Not possible as things are"),
            Self::OutcomeUnknown => {
                ("OUTCOME_UNKNOWN", StatusCode::BAD_GATEWAY, "How it ended is not known")
            }
            Self::TaskFailed => ("TASK_FAILED", StatusCode::BAD_GATEWAY, "The task failed"),
            Self::NotSupported => {
                ("NOT_SUPPORTED", StatusCode::NOT_IMPLEMENTED, "This backend does not have that")
            }
            Self::NotConfigured => (
                "NOT_CONFIGURED",
                StatusCode::NOT_IMPLEMENTED,
                "The gateway is not set up for this",
            ),
            Self::TooManyAttempts => {
                ("TOO_MANY_ATTEMPTS", StatusCode::TOO_MANY_REQUESTS, "Too many failed logins")
            }
            Self::HeaderTooLarge => (
                "HEADER_TOO_LARGE",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The headers are too large",
            ),
            Self::Internal => {
                ("INTERNAL", StatusCode::INTERNAL_SERVER_ERROR, "A bug of the gateway")
            }
            Self::BadReply => {
                ("BAD_REPLY", StatusCode::BAD_GATEWAY, "The backend's reply makes no sense")
            }
            Self::WriteNotTaken => (
                "WRITE_NOT_TAKEN",
                StatusCode::BAD_GATEWAY,
                "The backend accepted the write and did not make it",
            ),
            Self::Overloaded => {
                ("OVERLOADED", StatusCode::SERVICE_UNAVAILABLE, "The gateway is overloaded")
            }
            // Of all users together, so no 429: this one need not have done anything.
            Self::TooManySessions => (
                "TOO_MANY_SESSIONS",
                StatusCode::SERVICE_UNAVAILABLE,
                "The gateway has as many sessions as it may",
            ),
            Self::TooManyStreams => (
                "TOO_MANY_STREAMS",
                StatusCode::SERVICE_UNAVAILABLE,
                "The gateway has as many event streams as it may",
            ),
            Self::TooManyOwnStreams => (
                "TOO_MANY_OWN_STREAMS",
                StatusCode::TOO_MANY_REQUESTS,
                "The session or its user has as many event streams as one may",
            ),
            Self::TooManyTickets => {
                ("TOO_MANY_TICKETS", StatusCode::TOO_MANY_REQUESTS, "Too many unused tickets")
            }
            Self::TooMuchAtOnce => (
                "TOO_MUCH_AT_ONCE",
                StatusCode::TOO_MANY_REQUESTS,
                "The session or its user does as much at once as one may",
            ),
            Self::LoginNotConfigured => (
                "LOGIN_NOT_CONFIGURED",
                StatusCode::SERVICE_UNAVAILABLE,
                "Nobody can log in as it is configured",
            ),
            Self::ShuttingDown => {
                ("SHUTTING_DOWN", StatusCode::SERVICE_UNAVAILABLE, "The gateway is shutting down")
            }
            Self::BackendUnreachable => (
                "BACKEND_UNREACHABLE",
                StatusCode::SERVICE_UNAVAILABLE,
                "The backend cannot be reached",
            ),
            Self::BackendBusy => {
                ("BACKEND_BUSY", StatusCode::SERVICE_UNAVAILABLE, "The backend is busy")
            }
            Self::BackendNotReady => (
                "BACKEND_NOT_READY",
                StatusCode::SERVICE_UNAVAILABLE,
                "The backend's objects are not known yet",
            ),
            Self::BackendTimeout => {
                ("BACKEND_TIMEOUT", StatusCode::GATEWAY_TIMEOUT, "The backend took too long")
            }
            Self::RevisionNotReached => (
                "REVISION_NOT_REACHED",
                StatusCode::GATEWAY_TIMEOUT,
                "Reads have not come to this revision",
            ),
            Self::RequestTimeout => {
                ("REQUEST_TIMEOUT", StatusCode::GATEWAY_TIMEOUT, "The request took too long")
            }
        }
    }

    /// `UNKNOWN_PARAMETER`, …
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        self.facts().1
    }

    /// The same for every problem of this code.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// Whether the same request may succeed a little later, with nobody doing anything.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::TooManyAttempts
                | Self::BadReply
                | Self::Overloaded
                | Self::TooManySessions
                | Self::TooManyStreams
                | Self::TooManyOwnStreams
                | Self::TooManyTickets
                | Self::TooMuchAtOnce
                | Self::ShuttingDown
                | Self::BackendUnreachable
                | Self::BackendBusy
                | Self::BackendNotReady
                | Self::BackendTimeout
                | Self::RevisionNotReached
                | Self::RequestTimeout
        )
    }
}
