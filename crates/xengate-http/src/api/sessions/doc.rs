//! Operations on sessions: logging in and out.

use serde_json::{Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder};

use super::{permissions, permissions_doc};
use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Access, Endpoint};
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{Shape, array, formatted, object, open_enum, string, uuid};

/// Where the document has them.
const TAG: &str = "Sessions";

/// Failures of an operation that takes a user name and a password, beside a refusal.
const LOGIN_FAILURES: [Failure; 11] = [
    failures::BAD_REQUEST,
    failures::NOT_ACCEPTABLE,
    failures::TOO_LARGE,
    failures::UNSUPPORTED,
    failures::UNPROCESSABLE,
    failures::TOO_MANY,
    failures::HEADER_TOO_LARGE,
    failures::INTERNAL,
    failures::LOGIN_FAILED,
    failures::UNAVAILABLE,
    failures::GATEWAY_TIMEOUT,
];

/// What is here.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/sessions", "login", TAG, super::create, login)
            .open_to(Access::Public)
            .calls(["session.login_with_password"]),
        Endpoint::get("/sessions/current", "getCurrentSession", TAG, super::current, session),
        Endpoint::delete("/sessions/current", "logout", TAG, super::end, logout)
            .calls(["session.logout"]),
        Endpoint::post(
            "/sessions/current/backends",
            "loginToBackends",
            TAG,
            super::add_backends,
            login_to_backends,
        )
        .calls(["session.login_with_password"]),
        Endpoint::get(
            "/sessions/current/permissions",
            "getCurrentPermissions",
            TAG,
            permissions::list,
            permissions_doc::list,
        )
        .calls(["session.get_rbac_permissions"]),
    ]
}

fn login(parts: &mut Parts) -> Description {
    let body = parts.schema("Login", |parts| {
        let example = json!({
            "token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyb290In0.c2lnbmF0dXJl",
            "token_type": "Bearer",
            "expires_at": "2026-08-01T19:25:54Z",
            "session": session_example(),
        });
        let session = session_schema(parts);
        object(
            [
                ("token", string(), "What to send as `Authorization: Bearer …`; keep it secret."),
                ("token_type", string(), "Always `Bearer`."),
                (
                    "expires_at",
                    formatted("date-time"),
                    "When the token stops working at the latest.",
                ),
                ("session", session, "The session that the token names."),
            ],
            &["token", "token_type", "expires_at", "session"],
        )
        .examples([example])
        .into()
    });
    let made = answer(parts, "Logged in to at least one backend.", Some(body))
        .header_ref("Location", answers::location(parts))
        .build();
    let failures = [&[failures::REFUSED, failures::NO_ROLE], &LOGIN_FAILURES[..]].concat();
    Description {
        description: Some(
            "Logs in to the backend that is named, to those that are configured as the default, or \
             to the only one there is: a password is never tried on a backend that nobody named. \
             Where several are asked, one that accepts is enough; `session.backends` tells how each \
             of them answered."
                .into(),
        ),
        body: Some(credentials(parts, false)),
        ..Description::of("Log in", answers::with(parts, (201, made), &failures))}
}

fn session(parts: &mut Parts) -> Description {
    let body = session_schema(parts);
    let found = answer(parts, "The session.", Some(body)).build();
    Description::of(
        "Read the session of the token",
        answers::with(parts, (200, found), &failures::OF_SESSION),
    )
}

fn logout(parts: &mut Parts) -> Description {
    let done = answer(parts, "Logged out, here and on the backends.", None).build();
    Description::of("Log out", answers::with(parts, (204, done), &failures::OF_SESSION))
}

fn login_to_backends(parts: &mut Parts) -> Description {
    let body = session_schema(parts);
    let done = answer(parts, "The session, with the further backends.", Some(body)).build();
    let failures =
        [&[failures::UNAUTHORIZED, failures::BACKEND_REFUSED], &LOGIN_FAILURES[..]].concat();
    Description {
        description: Some(
            "The token stays the same. A backend that refuses leaves it as it was.".into(),
        ),
        body: Some(credentials(parts, true)),
        ..Description::of(
            "Log in to further backends",
            answers::with(parts, (200, done), &failures),
        )
    }
}

fn credentials(parts: &mut Parts, backend_required: bool) -> RequestBody {
    let name = if backend_required { "BackendCredentials" } else { "Credentials" };
    let names = parts.schema("BackendNames", |_| {
        let names = AnyOfBuilder::new().item(string()).item(array(string()));
        names.description(Some("The name of a backend, or several.")).into()
    });
    let shape = parts.schema(name, |_| {
        let mut schema = object(
            [
                ("username", string(), "The user's name on the backend."),
                ("password", formatted("password"), "The user's password; the gateway forgets it."),
                ("backend", names, "The backends to log in to."),
            ],
            &["username", "password"],
        )
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let mut example = json!({"username": "root", "password": "correct horse"});
        if backend_required {
            schema = schema.required("backend");
            example["backend"] = json!("paris");
        }
        schema.examples([example]).into()
    });
    RequestBodyBuilder::new()
        .required(Some(Required::True))
        .content("application/json", ContentBuilder::new().schema(Some(shape)).build())
        .build()
}

fn session_example() -> Value {
    json!({
        "id": "2f8a4c1e-6b0d-4e7f-9a35-c1d2e3f40516",
        "username": "root",
        "expires_at": "2026-08-01T19:25:54Z",
        "backends": [{"name": "london", "status": "ok"}, {"name": "paris", "status": "unreachable"}],
    })
}

fn session_schema(parts: &mut Parts) -> Shape {
    parts.schema("Session", |parts| {
        let status = "How a session stands with a backend: `ok`, `refused` (the login), \
                      `forbidden` (the password was good, its user has no role), `unreachable` (at the login, or for too long since) or `ended` (log in again).";
        let status =
            parts.schema("LoginStatus", |_| open_enum(&["ok", "refused", "forbidden", "unreachable", "ended"], status));
        let backend = parts.schema("SessionBackend", |_| {
            object(
                [
                    ("name", string(), "The backend's name."),
                    ("status", status, "How the session stands with it."),
                ],
                &["name", "status"],
            )
            .into()
        });
        object(
            [
                ("id", uuid(), "Names the session, in the log too; of no use without the token."),
                ("username", string(), "Who logged in."),
                ("expires_at", formatted("date-time"), "When the session ends at the latest."),
                ("backends", array(backend), "The backends that were asked to log the user in."),
            ],
            &["id", "username", "expires_at", "backends"],
        )
        .description(Some("A session of the gateway."))
        .examples([session_example()])
        .into()
    })
}
