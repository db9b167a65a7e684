//! Operations of the gateway itself: sessions, backends, health, this document.

use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder};
use utoipa::openapi::{RefOr, Required, Response};

use super::answers::{self, Failure, answer};
use super::operation::{Access, Operation};
use super::parts::Parts;
use super::records::list_of;
use super::shapes::{
    Shape, array, formatted, nullable_string, object, open_enum, or_null_shape, string, uuid,
};

/// Tags of these operations and what they hold.
pub(super) const TAGS: &[(&str, &str)] = &[
    ("Sessions", "Logging in and out. A session of the gateway holds one session on each backend."),
    ("Backends", "The pools behind the gateway."),
    ("Health", "For load balancers and supervisors; public."),
    ("Document", "This document."),
];

/// Failures of every operation that needs a session but no backend.
const SESSION_FAILURES: [Failure; 4] =
    [answers::BAD_REQUEST, answers::UNAUTHORIZED, answers::NOT_ACCEPTABLE, answers::INTERNAL];

/// Failures of an operation that anyone may use.
const PUBLIC_FAILURES: [Failure; 2] = [answers::BAD_REQUEST, answers::INTERNAL];

/// Failures of an operation that takes a user name and a password.
const LOGIN_FAILURES: [Failure; 9] = [
    answers::BAD_REQUEST,
    answers::NOT_ACCEPTABLE,
    answers::TOO_LARGE,
    answers::UNSUPPORTED,
    answers::UNPROCESSABLE,
    answers::TOO_MANY,
    answers::INTERNAL,
    answers::BAD_GATEWAY,
    answers::UNAVAILABLE,
];

/// All of them.
pub(super) fn operations(parts: &mut Parts) -> Vec<Operation> {
    vec![
        login(parts),
        session(parts),
        logout(parts),
        login_to_backends(parts),
        backends(parts),
        livez(parts),
        readyz(parts),
        document(parts),
    ]
}

/// An operation of the gateway; what differs is filled in over it.
fn plain(method: HttpMethod, path: &str, id: &str, tag: &str, summary: &str) -> Operation {
    Operation {
        method,
        path: path.into(),
        id: id.into(),
        tag: tag.into(),
        access: Access::Session,
        calls: Vec::new(),
        summary: summary.into(),
        description: None,
        deprecated: false,
        parameters: Vec::new(),
        body: None,
        responses: Vec::new(),
    }
}

fn with(
    parts: &mut Parts,
    success: (u16, Response),
    failures: &[Failure],
) -> Vec<(u16, RefOr<Response>)> {
    let failures = failures.iter().map(|failure| failure.response(parts));
    std::iter::once((success.0, success.1.into())).chain(failures).collect()
}

fn login(parts: &mut Parts) -> Operation {
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
    let mut failures = vec![answers::REFUSED];
    failures.extend(LOGIN_FAILURES);
    failures.push(answers::GATEWAY_TIMEOUT);
    Operation {
        access: Access::Public,
        calls: vec!["session.login_with_password".into()],
        description: Some(
            "Logs in to the backend that is named, to those that are configured as the default, or \
             to the only one there is: a password is never tried on a backend that nobody named. \
             Where several are asked, one that accepts is enough; `session.backends` tells how each \
             of them answered."
                .into(),
        ),
        body: Some(credentials(parts, false)),
        responses: with(parts, (201, made), &failures),
        ..plain(HttpMethod::Post, "/sessions", "login", "Sessions", "Log in")
    }
}

fn session(parts: &mut Parts) -> Operation {
    let body = session_schema(parts);
    let found = answer(parts, "The session.", Some(body)).build();
    Operation {
        responses: with(parts, (200, found), &SESSION_FAILURES),
        ..plain(
            HttpMethod::Get,
            "/sessions/current",
            "getCurrentSession",
            "Sessions",
            "Read the session of the token",
        )
    }
}

fn logout(parts: &mut Parts) -> Operation {
    let done = answer(parts, "Logged out, here and on the backends.", None).build();
    Operation {
        calls: vec!["session.logout".into()],
        responses: with(parts, (204, done), &SESSION_FAILURES),
        ..plain(HttpMethod::Delete, "/sessions/current", "logout", "Sessions", "Log out")
    }
}

fn login_to_backends(parts: &mut Parts) -> Operation {
    let body = session_schema(parts);
    let done = answer(parts, "The session, with the further backends.", Some(body)).build();
    let mut failures = vec![answers::UNAUTHORIZED];
    failures.extend(LOGIN_FAILURES);
    failures.push(answers::GATEWAY_TIMEOUT);
    Operation {
        calls: vec!["session.login_with_password".into()],
        description: Some(
            "The token stays the same. A backend that refuses leaves it as it was.".into(),
        ),
        body: Some(credentials(parts, true)),
        responses: with(parts, (200, done), &failures),
        ..plain(
            HttpMethod::Post,
            "/sessions/current/backends",
            "loginToBackends",
            "Sessions",
            "Log in to further backends",
        )
    }
}

fn credentials(parts: &mut Parts, backend_required: bool) -> RequestBody {
    let name = if backend_required { "BackendCredentials" } else { "Credentials" };
    let shape = parts.schema(name, |_| {
        let names = AnyOfBuilder::new().item(string()).item(array(string()));
        let mut schema = object(
            [
                ("username", string(), "The user's name on the backend."),
                ("password", formatted("password"), "The user's password; the gateway forgets it."),
                ("backend", names.into(), "The name of a backend, or several."),
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

fn session_example() -> serde_json::Value {
    json!({
        "id": "2f8a4c1e-6b0d-4e7f-9a35-c1d2e3f40516",
        "username": "root",
        "expires_at": "2026-08-01T19:25:54Z",
        "backends": [{"name": "london", "status": "ok"}, {"name": "paris", "status": "unreachable"}],
    })
}

fn session_schema(parts: &mut Parts) -> Shape {
    parts.schema("Session", |parts| {
        let status = "How the backend answered the login.";
        let status =
            parts.schema("LoginStatus", |_| open_enum(&["ok", "refused", "unreachable"], status));
        let backend = parts.schema("SessionBackend", |_| {
            object(
                [
                    ("name", string(), "The backend's name."),
                    ("status", status, "How the backend answered the login."),
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

fn mirror_state(parts: &mut Parts) -> Shape {
    parts.schema("BackendState", |_| {
        let text = "How far the gateway follows a backend: `waiting` for a session to read with, \
                    `syncing` for the first time, `live`, `stale` (answers come from what was last \
                    known) or `down`.";
        open_enum(&["waiting", "syncing", "live", "stale", "down"], text)
    })
}

fn backends(parts: &mut Parts) -> Operation {
    let item = parts.schema("Backend", |parts| {
        let state = mirror_state(parts);
        let kind = parts.schema("BackendKind", |_| {
            open_enum(&["xapi", "xend", "legacy"], "What a backend speaks.")
        });
        let example = json!({
            "name": "london",
            "kind": "xapi",
            "state": "live",
            "product": "XCP-ng",
            "version": "8.3.0",
            "api_version": "2.21",
            "address": "https://pool.example.com",
            "error": null,
        });
        object(
            [
                ("name", string(), "The name it has in the configuration."),
                ("kind", or_null_shape(kind), "Null while that is unknown."),
                ("state", state, "How far the gateway follows it."),
                ("product", nullable_string(), "The product it runs; null while unknown."),
                ("version", nullable_string(), "That product's version; null while unknown."),
                ("api_version", nullable_string(), "Its Xen-API version; null while unknown."),
                ("address", nullable_string(), "Where calls go now: the pool's coordinator."),
                ("error", nullable_string(), "Why it is not live; null when it is."),
            ],
            &["name", "state"],
        )
        .examples([example])
        .into()
    });
    let list = list_of(parts, "Backend", item);
    let found = answer(parts, "Every configured backend, by name.", Some(list)).build();
    let mut failures = SESSION_FAILURES.to_vec();
    failures.push(answers::UNAVAILABLE);
    Operation {
        responses: with(parts, (200, found), &failures),
        ..plain(HttpMethod::Get, "/backends", "listBackends", "Backends", "List backends")
    }
}

fn livez(parts: &mut Parts) -> Operation {
    let body = parts.schema("Liveness", |_| {
        object([("status", string(), "Always `live`.")], &["status"])
            .examples([json!({"status": "live"})])
            .into()
    });
    let live = answer(parts, "The process answers.", Some(body)).build();
    Operation {
        access: Access::Public,
        responses: with(parts, (200, live), &PUBLIC_FAILURES),
        ..plain(
            HttpMethod::Get,
            "/livez",
            "getLiveness",
            "Health",
            "Tell whether the process lives",
        )
    }
}

fn readyz(parts: &mut Parts) -> Operation {
    let body = parts.schema("Readiness", |parts| {
        let state = mirror_state(parts);
        let backend = parts.schema("BackendReadiness", |_| {
            object(
                [
                    ("name", string(), "The backend's name."),
                    ("state", state, "How far the gateway follows it."),
                    ("detail", nullable_string(), "Why it is not live; null when it is."),
                ],
                &["name", "state"],
            )
            .into()
        });
        let status = parts.schema("ReadinessStatus", |_| {
            open_enum(&["ready", "unready"], "Whether logins can be taken.")
        });
        let example = json!({
            "status": "ready",
            "backends": [{"name": "london", "state": "live", "detail": null}],
        });
        object(
            [
                ("status", status, "Whether logins can be taken."),
                ("backends", array(backend), "Each backend, by name."),
            ],
            &["status", "backends"],
        )
        .examples([example])
        .into()
    });
    let ready = answer(parts, "Logins can be taken.", Some(body.clone())).build();
    let unready = answer(parts, "No login can be taken now.", Some(body))
        .header_ref("Retry-After", answers::retry_after(parts))
        .build();
    let mut responses = with(parts, (200, ready), &PUBLIC_FAILURES);
    responses.push((503, unready.into()));
    Operation {
        access: Access::Public,
        responses,
        ..plain(
            HttpMethod::Get,
            "/readyz",
            "getReadiness",
            "Health",
            "Tell whether logins can be taken",
        )
    }
}

fn document(parts: &mut Parts) -> Operation {
    let body = parts.schema("OpenApiDocument", |_| {
        object([("openapi", string(), "The version of OpenAPI: 3.1.0.")], &["openapi"])
            .description(Some("An OpenAPI document."))
            .into()
    });
    let found =
        answer(parts, "The document.", Some(body)).header_ref("ETag", answers::etag(parts)).build();
    let same = answer(parts, "If-None-Match names the present one.", None)
        .header_ref("ETag", answers::etag(parts))
        .build();
    let mut responses = with(parts, (200, found), &PUBLIC_FAILURES);
    responses.push((304, same.into()));
    Operation {
        access: Access::Public,
        responses,
        ..plain(HttpMethod::Get, "/openapi.json", "getOpenApi", "Document", "Read this document")
    }
}
