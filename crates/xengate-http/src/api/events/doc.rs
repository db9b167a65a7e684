//! Operations on streams of events.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder};
use utoipa::openapi::{Ref, Required, Type};

use super::streams::MEDIA_TYPE;
use crate::api::{gateway, samples};
use crate::openapi::answers;
use crate::openapi::answers::{answer, with_media};
use crate::openapi::description::Description;
use crate::openapi::endpoint::Endpoint;
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, boolean, formatted, nullable_string, object, open_enum, string, uuid,
};

/// Tags of these operations and what they hold.
pub(crate) const TAGS: &[(&str, &str)] =
    &[("Events", "What happens to the objects, as it happens.")];

/// Failures of a stream before it begins.
const STREAM_FAILURES: [Failure; 11] = [
    failures::BAD_REQUEST,
    failures::UNAUTHORIZED,
    failures::FORBIDDEN,
    failures::UNKNOWN_BACKEND,
    failures::NOT_ACCEPTABLE,
    failures::TOO_MANY_STREAMS,
    failures::HEADER_TOO_LARGE,
    failures::INTERNAL,
    failures::BAD_GATEWAY,
    failures::UNAVAILABLE,
    failures::GATEWAY_TIMEOUT,
];

/// What is here.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/events", "streamEvents", "Events", super::stream, stream),
        Endpoint::post("/events/tickets", "createEventTicket", "Events", super::ticket, ticket),
    ]
}

fn stream(parts: &mut Parts) -> Description {
    let event = event(parts);
    let text = "The stream. The schema is that of one event: over a WebSocket each is a message \
                of this form; as Server-Sent Events its members are the lines `event:`, `id:` and \
                `data:`.";
    let begun = with_media(parts, text, Some((MEDIA_TYPE, event))).build();
    let upgraded = answer(parts, "The stream goes on as a WebSocket.", None).build();
    let mut responses = answers::with(parts, (200, begun), &STREAM_FAILURES);
    responses.insert(0, (101, upgraded.into()));
    Description {
        description: Some(include_str!("doc.md").trim_end().to_owned()),
        parameters: stream_parameters(parts),
        ..Description::of("Be told what happens", responses)
    }
}

fn stream_parameters(parts: &mut Parts) -> Vec<Ref> {
    let texts = [
        (
            "classes",
            "Objects of these classes of the Xen-API, with commas between them: `VM,task`. \
            Of VM, templates and snapshots come too. Without `classes` and `collections`, all.",
        ),
        (
            "collections",
            "Objects of these collections: `vms` is VMs proper, without templates and \
            snapshots. A VM that becomes a template leaves it: a `del`.",
        ),
        (
            "filter",
            "Only objects for which this holds, in the language of lists. One that comes to \
            fit is an `add`, one that no longer does is a `del`, also when that is because of \
            another object that the filter looks into.",
        ),
        (
            "fields",
            "Only these fields of the objects, with commas between them; `uuid` and \
            `backend` always come along. A change to none of them is no event.",
        ),
        ("last_event_id", "The last id that was seen, for clients that cannot send the header."),
        (
            "ticket",
            "A ticket instead of a token: for browsers, whose EventSource and WebSocket \
            cannot send one.",
        ),
    ];
    let mut all: Vec<Ref> = texts
        .into_iter()
        .map(|(name, text)| {
            parts.parameter(&format!("event_{name}"), || query(name, string(), text))
        })
        .collect();
    let samples = "Tell what is measured too, of the VM_metrics, host_metrics and SR among the \
                   objects, as `samples` events: first the newest, then what is new.";
    all.push(parts.parameter("event_samples", || query("samples", boolean(), samples)));
    let snapshot = "Begin with everything there is, each object as an `add`.";
    all.push(parts.parameter("event_snapshot", || query("snapshot", boolean(), snapshot)));
    all.push(parameters::of_reads_backend(parts));
    all.push(parts.parameter("last_event_id", || {
        ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The last id that was seen; the stream goes on behind it."))
            .schema(Some(string()))
            .build()
    }));
    all
}

fn query(name: &str, shape: Shape, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(shape))
        .build()
}

/// One event of any kind.
fn event(parts: &mut Parts) -> Shape {
    parts.schema("Event", |parts| {
        let text = "What happened. `add`, `mod`, `del`: an object; `ready`: all that was asked for \
                    has been told, and what follows is news; `backend`: how the gateway follows a \
                    backend has changed; `samples`: what was measured of an object; `resync`: \
                    begin anew; `end`: the last event; \
                    `heartbeat`: a sign of life, over a WebSocket only.";
        let kinds =
            ["add", "mod", "del", "ready", "backend", "samples", "resync", "end", "heartbeat"];
        let (resync, end, measured) = (resync(parts), end(parts), samples::doc::event(parts));
        let data = [change(parts), ready(parts), backend(parts), measured, resync, end];
        let data = data.into_iter().fold(OneOfBuilder::new(), |all, shape| all.item(shape));
        let id = "Where to go on: `Last-Event-ID` of the next stream. Only the last event of what \
                  happened together has one. Its form is that of `Xen-Revision`.";
        object(
            [
                ("event", open_enum(&kinds, text), text),
                ("id", string(), id),
                ("data", data.into(), "What goes with it; a `heartbeat` has none."),
            ],
            &["event"],
        )
        .examples([json!({
            "event": "mod",
            "id": "0f3c9a71be42-1207",
            "data": change_example(),
        })])
        .into()
    })
}

fn change_example() -> serde_json::Value {
    json!({
        "class": "VM",
        "uuid": "0f7c4dcb-2a0e-4c1b-9d5e-3b8f4f6a1c20",
        "backend": "london",
        "revision": "0f3c9a71be42-1207",
        "object": {
            "uuid": "0f7c4dcb-2a0e-4c1b-9d5e-3b8f4f6a1c20",
            "backend": "london",
            "power_state": "Running",
        },
        "changed": ["power_state"],
    })
}

fn change(parts: &mut Parts) -> Shape {
    parts.schema("ChangeEvent", |_| {
        let record = ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::from_iter([Type::Object, Type::Null]))
            // Generators want to be told that any member may come.
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into();
        let members = [
            ("class", string(), "The object's class: `VM`."),
            ("uuid", uuid(), "The object's uuid."),
            ("backend", string(), "The object's backend."),
            ("revision", string(), "The revision that brought it, as in `Xen-Revision`."),
            ("object", record, "The object as it is now, or its `fields`; null after a `del`."),
            ("changed", array(string()), "After a `mod`, the names of the fields that changed."),
        ];
        let names = members.each_ref().map(|(name, ..)| *name);
        object(members, &names).examples([change_example()]).into()
    })
}

fn ready(parts: &mut Parts) -> Shape {
    let backend = backend(parts);
    parts.schema("ReadyEvent", |_| {
        object(
            [
                ("revision", string(), "How far the stream has come, as in `Xen-Revision`."),
                ("backends", array(backend), "The backends it is about."),
            ],
            &["revision", "backends"],
        )
        .into()
    })
}

fn backend(parts: &mut Parts) -> Shape {
    let state = gateway::doc::mirror_state(parts);
    parts.schema("BackendEvent", |_| {
        let reason = "Why its state is not better; null when there is no reason.";
        object(
            [
                ("backend", string(), "The backend."),
                ("state", state, "How far the gateway follows it now."),
                ("reason", nullable_string(), reason),
            ],
            &["backend", "state", "reason"],
        )
        .into()
    })
}

fn resync(parts: &mut Parts) -> Shape {
    parts.schema("ResyncEvent", |_| {
        let reasons = ["too_old", "other_run", "interrupted", "too_slow", "too_much", "forgotten"];
        let reason = "Why.";
        let snapshot = "Whether everything there is follows, each object as an `add`.";
        object(
            [("reason", open_enum(&reasons, reason), reason), ("snapshot", boolean(), snapshot)],
            &["reason", "snapshot"],
        )
        .into()
    })
}

fn end(parts: &mut Parts) -> Shape {
    parts.schema("EndEvent", |_| {
        let reasons = ["logged_out", "expired", "session_ended", "unconfirmed", "shutdown"];
        let reason = "Why.";
        let backend = "The backend whose login is over, where the session goes on without it.";
        object(
            [
                ("reason", open_enum(&reasons, reason), reason),
                ("backend", nullable_string(), backend),
            ],
            &["reason", "backend"],
        )
        .into()
    })
}

fn ticket(parts: &mut Parts) -> Description {
    let body = parts.schema("EventTicket", |_| {
        object(
            [
                (
                    "ticket",
                    string(),
                    "What to put into the query of `GET /events`; keep it secret.",
                ),
                ("expires_at", formatted("date-time"), "Until when it can be used, once."),
            ],
            &["ticket", "expires_at"],
        )
        .examples([json!({
            "ticket": "vYz1Hk2mQ0oXl3sWn4cBt5uRj6fDa7gEi8pKq9yMw0A",
            "expires_at": "2026-08-01T07:26:24Z",
        })])
        .into()
    });
    let made = answer(parts, "A ticket, good once and for 30 seconds.", Some(body)).build();
    let failures = [&failures::OF_SESSION[..], &[failures::TOO_MANY_STREAMS]].concat();
    Description {
        description: Some(
            "For browsers, whose EventSource and WebSocket cannot send a token. A ticket opens one \
             stream of events for the caller's session, and nothing else."
                .into(),
        ),
        ..Description::of("Make a ticket for a stream of events", answers::with(parts, (201, made), &failures))}
}
