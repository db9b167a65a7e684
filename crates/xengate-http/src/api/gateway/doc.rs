//! Operations of the gateway itself: backends, health, this document.

use serde_json::json;

use super::{backends, docs, health};
use crate::openapi::Document;
use crate::openapi::answers;
use crate::openapi::answers::answer;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Access, Endpoint, With};
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, boolean, integer, map, nullable_string, object, open_enum, or_null_shape, string,
    whole_ref,
};
use xenapi_client::Capability;
use xengate_config::Kind;

/// Tags of these operations and what they hold.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("Sessions", "Logging in and out. A session of the gateway holds one session on each backend."),
    ("Backends", "The pools behind the gateway."),
    ("Health", "For load balancers and supervisors; public."),
    ("Metrics", "For monitoring systems, which have tokens of their own."),
    ("Document", "This document."),
];

/// Failures of an operation that anyone may use.
pub(crate) const PUBLIC_FAILURES: [Failure; 5] = [
    failures::BAD_REQUEST,
    failures::NOT_ACCEPTABLE,
    failures::HEADER_TOO_LARGE,
    failures::INTERNAL,
    failures::GATEWAY_TIMEOUT,
];

/// What is here; `whole` is the document.
pub(crate) fn endpoints(whole: fn() -> &'static Document) -> Vec<Endpoint> {
    vec![
        Endpoint::get("/backends", "listBackends", "Backends", backends::list, backends),
        Endpoint::get("/livez", "getLiveness", "Health", health::livez, livez)
            .open_to(Access::Public),
        Endpoint::get("/readyz", "getReadiness", "Health", health::readyz, readyz)
            .open_to(Access::Public),
        Endpoint::get(
            "/openapi.json",
            "getOpenApi",
            "Document",
            With(whole, docs::newest),
            |parts| document(parts, "Read this document"),
        )
        .open_to(Access::Public),
        Endpoint::get(
            "/openapi-3.0.json",
            "getOpenApi30",
            "Document",
            With(whole, docs::older),
            |parts| document(parts, "Read this document in OpenAPI 3.0.3"),
        )
        .open_to(Access::Public),
    ]
}

pub(crate) fn mirror_state(parts: &mut Parts) -> Shape {
    parts.schema("BackendState", |_| {
        let text = "How far the gateway follows a backend: `waiting` for a session to read with, \
                    `syncing` for the first time, `live`, `stale` (answers come from what was last \
                    known) or `down`.";
        open_enum(&["waiting", "syncing", "live", "stale", "down"], text)
    })
}

fn backends(parts: &mut Parts) -> Description {
    let item = parts.schema("Backend", backend);
    let list = parts.schema("BackendList", |_| {
        object(
            [
                ("items", array(item), "In the order of their names."),
                ("total", integer(), "How many there are."),
            ],
            &["items", "total"],
        )
        .into()
    });
    let text = "Every configured backend, those that the session is not logged in to included.";
    let found = answer(parts, text, Some(list)).build();
    Description::of("List backends", answers::with(parts, (200, found), &failures::OF_SESSION))
}

fn backend(parts: &mut Parts) -> Shape {
    let state = mirror_state(parts);
    let kind = parts.schema("BackendKind", |_| {
        let text = "What a backend speaks: XAPI's Xen-API, xend's, or xend's own interface; `auto` \
                    while that is not known.";
        open_enum(&Kind::ALL.map(Kind::name), text)
    });
    let example = json!({
        "name": "london",
        "kind": "xapi",
        "state": "live",
        "reachable": true,
        "reason": null,
        "logged_in": true,
        "product": "XCP-ng",
        "version": "8.3.0",
        "api_version": "2.21",
        "pool": "5d1f9c3e-7a2b-4e86-9f40-b3c8d6e1a207",
        "capabilities": ["events", "tasks", "roles"],
        "lacks": {"classes": ["Rate_limit"], "fields": ["VM.groups"], "calls": ["VM.sysprep"]},
        "objects": {"VM": 212, "host": 3, "pool": 1},
    });
    let pool = or_null_shape(whole_ref("pool"));
    let objects = or_null_shape(map(integer()));
    let capability = parts.schema("BackendCapability", |_| {
        let text = "What not every kind of backend can do: tell of changes as they happen \
                    (`events`), carry calls out in the background (`tasks`), give users `roles`.";
        open_enum(&Capability::ALL.map(Capability::name), text)
    });
    let lacks = parts.schema("BackendLacks", |_| {
        let members = [
            ("classes", array(string()), "Whole classes."),
            ("fields", array(string()), "Fields of other classes; their records are without."),
            ("calls", array(string()), "Calls of other classes; they are a 501."),
        ];
        object(members, &["classes", "fields", "calls"])
            .description(Some(
                "What the backend's version has not, of what this document has: in older ones \
                 what came later, in newer ones what has gone.",
            ))
            .into()
    });
    let members = [
        ("name", string(), "The name it has in the configuration."),
        ("kind", kind, "What it speaks."),
        ("state", state, "How far the gateway follows it."),
        ("reachable", boolean(), "Whether it answered when it was last asked anything."),
        ("reason", nullable_string(), "Why its state is not better; null when there is no reason."),
        ("logged_in", boolean(), "Whether the session is logged in to it."),
        ("product", nullable_string(), "The product it runs; null while unknown."),
        ("version", nullable_string(), "That product's version; null while unknown."),
        ("api_version", nullable_string(), "The Xen-API version it speaks; null while unknown."),
        ("pool", pool, "Its pool; null while unknown."),
        ("capabilities", array(capability), "What its kind can do."),
        ("lacks", or_null_shape(lacks), "What its version has not; null while unknown."),
        ("objects", objects, "How many objects of each class it has; null while unknown."),
    ];
    let names = members.each_ref().map(|(name, ..)| *name);
    object(members, &names)
        .description(Some(
            "A backend. What its objects tell is null where the session is not logged in to it.",
        ))
        .examples([example])
        .into()
}

fn livez(parts: &mut Parts) -> Description {
    let body = parts.schema("Liveness", |_| {
        object([("status", string(), "Always `live`.")], &["status"])
            .examples([json!({"status": "live"})])
            .into()
    });
    let live = answer(parts, "The process answers.", Some(body)).build();
    Description::of(
        "Tell whether the process lives",
        answers::with(parts, (200, live), &PUBLIC_FAILURES),
    )
}

fn readyz(parts: &mut Parts) -> Description {
    let body = parts.schema("Readiness", |parts| {
        let state = mirror_state(parts);
        let backend = parts.schema("BackendReadiness", |_| {
            object(
                [
                    ("name", string(), "The backend's name."),
                    ("state", state, "How far the gateway follows it."),
                    (
                        "detail",
                        nullable_string(),
                        "Why its state is not better, in a few words; null for no reason. \
                         `GET /backends` tells more.",
                    ),
                ],
                &["name", "state", "detail"],
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
    let mut responses = answers::with(parts, (200, ready), &PUBLIC_FAILURES);
    responses.push((503, unready.into()));
    Description::of("Tell whether logins can be taken", responses)
}

/// This document, and the same in an older version of OpenAPI.
fn document(parts: &mut Parts, summary: &str) -> Description {
    let body = parts.schema("OpenApiDocument", |_| {
        object([("openapi", string(), "The version of OpenAPI.")], &["openapi"])
            .description(Some("An OpenAPI document."))
            .into()
    });
    let found = answer(parts, "The document.", Some(body))
        .header_ref("ETag", answers::etag(parts))
        .header_ref("Vary", answers::vary(parts))
        .build();
    let same = answer(parts, "If-None-Match names the present one.", None)
        .header_ref("ETag", answers::etag(parts))
        .header_ref("Vary", answers::vary(parts))
        .build();
    let failures = [&PUBLIC_FAILURES[..], &[failures::PRECONDITION_FAILED]].concat();
    let mut responses = answers::with(parts, (200, found), &failures);
    responses.push((304, same.into()));
    let mut parameters = parameters::of_document(parts);
    parameters.push(parameters::if_none_match(parts));
    Description { parameters, ..Description::of(summary, responses) }
}
