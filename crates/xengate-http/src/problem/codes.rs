//! The codes of the gateway's own problems, beside those of the Xen-API: one table.

use http::StatusCode;

/// What is so of every problem of a code.
struct Row {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    retryable: bool,
}

/// The same request may succeed a little later, with nobody doing anything.
const RETRYABLE: bool = true;
/// It will not.
const FINAL: bool = false;

/// Makes [`Code`] of the table's rows: what a code means, its name, status and title, and whether
/// its problems are retryable.
macro_rules! codes {
    ($(
        #[doc = $text:literal]
        $code:ident: $name:literal, $status:ident, $title:literal, $retryable:ident;
    )+) => {
        /// A code of the gateway's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $text] $code,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code,)+];
        }

        /// In the order of the codes.
        const ROWS: &[Row] = &[
            $(Row {
                name: $name,
                status: StatusCode::$status,
                title: $title,
                retryable: $retryable,
            },)+
        ];
    };
}

codes! {
    /// The request's target or headers make no sense.
    BadRequest: "BAD_REQUEST", BAD_REQUEST, "Bad request", FINAL;
    /// A query parameter that this path does not take.
    UnknownParameter: "UNKNOWN_PARAMETER", BAD_REQUEST, "Unknown query parameter", FINAL;
    /// A query parameter that is given twice.
    DuplicateParameter: "DUPLICATE_PARAMETER", BAD_REQUEST, "Query parameter given twice", FINAL;
    /// A query parameter whose value is not one.
    BadParameter: "BAD_PARAMETER", BAD_REQUEST, "Bad value of a query parameter", FINAL;
    /// A query that would take more steps than one may.
    QueryTooCostly: "QUERY_TOO_COSTLY", BAD_REQUEST, "The query costs too much", FINAL;
    /// A uuid in the path that is not one.
    MalformedUuid: "MALFORMED_UUID", BAD_REQUEST, "Malformed uuid", FINAL;
    /// A body that is not JSON.
    MalformedJson: "MALFORMED_JSON", BAD_REQUEST, "Malformed JSON", FINAL;
    /// A field that the body has twice.
    DuplicateField: "DUPLICATE_FIELD", BAD_REQUEST, "Field given twice", FINAL;
    /// A body where none is taken.
    UnexpectedBody: "UNEXPECTED_BODY", BAD_REQUEST, "This operation takes no body", FINAL;
    /// No token came with the request.
    TokenRequired: "TOKEN_REQUIRED", UNAUTHORIZED, "A bearer token is required", FINAL;
    /// The token is wrong, expired or its session has ended.
    InvalidToken: "INVALID_TOKEN", UNAUTHORIZED, "The token is not valid", FINAL;
    /// No backend accepted the user name and the password.
    LoginRefused: "LOGIN_REFUSED", UNAUTHORIZED, "The login was refused", FINAL;
    /// A further backend accepted no login; the session is as good as it was.
    // No 401: clients take that for a word on their token, and drop it.
    BackendLoginRefused: "BACKEND_LOGIN_REFUSED", FORBIDDEN,
        "The login to a further backend was refused", FINAL;
    /// The user may not do this.
    Forbidden: "FORBIDDEN", FORBIDDEN, "Not permitted", FINAL;
    /// The path names nothing.
    NotFound: "NOT_FOUND", NOT_FOUND, "Not found", FINAL;
    /// No backend has this name, or the caller is not logged in to it.
    UnknownBackend: "UNKNOWN_BACKEND", NOT_FOUND, "There is no such backend", FINAL;
    /// The path does not take this method.
    MethodNotAllowed: "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED, "Method not allowed", FINAL;
    /// None of the media types the client accepts can be had.
    NotAcceptable: "NOT_ACCEPTABLE", NOT_ACCEPTABLE, "No acceptable representation", FINAL;
    /// Several backends have an object of this uuid.
    AmbiguousUuid: "AMBIGUOUS_UUID", CONFLICT, "Several backends have this uuid", FINAL;
    /// A revision of an earlier run of the gateway.
    ForeignRevision: "REVISION_OF_ANOTHER_BOOT", CONFLICT,
        "A revision of an earlier run of the gateway", FINAL;
    /// A cursor that goes on in an order which is not kept any more.
    CursorExpired: "CURSOR_EXPIRED", GONE, "The cursor has expired", FINAL;
    /// The object is not the version that `If-Match` names.
    PreconditionFailed: "PRECONDITION_FAILED", PRECONDITION_FAILED, "Precondition failed", FINAL;
    /// The body is larger than the gateway takes.
    BodyTooLarge: "BODY_TOO_LARGE", PAYLOAD_TOO_LARGE, "The body is too large", FINAL;
    /// The body is of another media type than JSON.
    UnsupportedMediaType: "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type", FINAL;
    /// The body is JSON, but not what this path takes.
    WrongShape: "WRONG_SHAPE", UNPROCESSABLE_ENTITY, "The body is not what this path takes", FINAL;
    /// Several backends could be meant, and none is named.
    BackendRequired: "BACKEND_REQUIRED", UNPROCESSABLE_ENTITY, "Say which backend is meant", FINAL;
    /// It cannot be done as things are.
    Conflict: "CONFLICT", CONFLICT, "Not possible as things are", FINAL;
    /// It was sent, and whether or how it was carried out is not known.
    OutcomeUnknown: "OUTCOME_UNKNOWN", BAD_GATEWAY, "How it ended is not known", FINAL;
    /// The task failed, and the backend does not say why.
    TaskFailed: "TASK_FAILED", BAD_GATEWAY, "The task failed", FINAL;
    /// The backend's version does not have this.
    NotSupported: "NOT_SUPPORTED", NOT_IMPLEMENTED, "This backend does not have that", FINAL;
    /// The gateway's configuration does not provide for this.
    NotConfigured: "NOT_CONFIGURED", NOT_IMPLEMENTED, "The gateway is not set up for this", FINAL;
    /// Too many failed logins.
    TooManyAttempts: "TOO_MANY_ATTEMPTS", TOO_MANY_REQUESTS, "Too many failed logins", RETRYABLE;
    /// The headers are larger than the gateway takes.
    HeaderTooLarge: "HEADER_TOO_LARGE", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too large", FINAL;
    /// A bug of the gateway.
    Internal: "INTERNAL", INTERNAL_SERVER_ERROR, "A bug of the gateway", FINAL;
    /// The backend's reply makes no sense, or is too large.
    BadReply: "BAD_REPLY", BAD_GATEWAY, "The backend's reply makes no sense", RETRYABLE;
    /// The backend accepted a write, and did not make it.
    WriteNotTaken: "WRITE_NOT_TAKEN", BAD_GATEWAY,
        "The backend accepted the write and did not make it", FINAL;
    /// The gateway works on as many requests as it may.
    Overloaded: "OVERLOADED", SERVICE_UNAVAILABLE, "The gateway is overloaded", RETRYABLE;
    /// The gateway has as many sessions as it may.
    // Of all users together, so no 429: this one need not have done anything.
    TooManySessions: "TOO_MANY_SESSIONS", SERVICE_UNAVAILABLE,
        "The gateway has as many sessions as it may", RETRYABLE;
    /// The gateway has as many event streams as it may.
    TooManyStreams: "TOO_MANY_STREAMS", SERVICE_UNAVAILABLE,
        "The gateway has as many event streams as it may", RETRYABLE;
    /// The session, or its user, has as many event streams as one may.
    TooManyOwnStreams: "TOO_MANY_OWN_STREAMS", TOO_MANY_REQUESTS,
        "The session or its user has as many event streams as one may", RETRYABLE;
    /// The session has as many unused tickets as it may.
    TooManyTickets: "TOO_MANY_TICKETS", TOO_MANY_REQUESTS, "Too many unused tickets", RETRYABLE;
    /// The session, or its user, does as much at once as one may.
    TooMuchAtOnce: "TOO_MUCH_AT_ONCE", TOO_MANY_REQUESTS,
        "The session or its user does as much at once as one may", RETRYABLE;
    /// Nobody can log in until somebody changes a configuration.
    LoginNotConfigured: "LOGIN_NOT_CONFIGURED", SERVICE_UNAVAILABLE,
        "Nobody can log in as it is configured", FINAL;
    /// The gateway is about to end.
    ShuttingDown: "SHUTTING_DOWN", SERVICE_UNAVAILABLE, "The gateway is shutting down", RETRYABLE;
    /// The backend cannot be reached.
    BackendUnreachable: "BACKEND_UNREACHABLE", SERVICE_UNAVAILABLE,
        "The backend cannot be reached", RETRYABLE;
    /// The backend's connections are all busy.
    BackendBusy: "BACKEND_BUSY", SERVICE_UNAVAILABLE, "The backend is busy", RETRYABLE;
    /// The backend's objects are not known yet.
    BackendNotReady: "BACKEND_NOT_READY", SERVICE_UNAVAILABLE,
        "The backend's objects are not known yet", RETRYABLE;
    /// The backend took too long.
    BackendTimeout: "BACKEND_TIMEOUT", GATEWAY_TIMEOUT, "The backend took too long", RETRYABLE;
    /// Reads have not come to the revision that is asked for.
    RevisionNotReached: "REVISION_NOT_REACHED", GATEWAY_TIMEOUT,
        "Reads have not come to this revision", RETRYABLE;
    /// The request took too long.
    RequestTimeout: "REQUEST_TIMEOUT", GATEWAY_TIMEOUT, "The request took too long", RETRYABLE;
}

impl Code {
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// `UNKNOWN_PARAMETER`, …
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// What it says to people, whatever the request.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Whether the same request may succeed a little later, with nobody doing anything.
    pub const fn retryable(self) -> bool {
        self.row().retryable
    }
}
