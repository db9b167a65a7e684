//! What happened, as the events that a client gets.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Bytes;
use serde::Serialize;

use crate::api::events::frames::{Frames, Wire};
use crate::api::events::selection::{Kind, Selection};
use xenapi_mirror::inventory::{Batch, LogEntry, Object, Status, What};

/// How large the events of one batch may be together. Beyond it a client is better served with a
/// fresh start, and nobody has to hold so much at once.
const LARGEST_BATCH: usize = 1 << 20;

/// Why a client has to begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// What has happened since is not all kept any more.
    TooOld,
    /// The id is of an earlier run of the gateway.
    OtherRun,
    /// The stream broke off before it was ready.
    Interrupted,
    /// The client did not take its events as fast as they came.
    TooSlow,
    /// More changed at once than a stream holds.
    TooMuch,
    /// The gateway has let go of a backend's objects.
    Forgotten,
}

/// What something that happened means to a group's followers.
#[derive(Debug, Clone)]
pub(super) enum Encoded {
    /// Nothing.
    Nothing,
    /// These events.
    Frames(Arc<[Bytes]>),
    /// They have to begin anew.
    Resync(Reason),
    /// Their filter costs more by now than one may.
    TooCostly,
}

impl Encoded {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Frames(frames) => frames.iter().map(Bytes::len).sum(),
            Self::Nothing | Self::Resync(_) | Self::TooCostly => 0,
        }
    }
}

/// Writes ids: of a run of the gateway, and a revision.
#[derive(Debug, Clone)]
pub(super) struct Ids(pub(super) Arc<str>);

impl Ids {
    pub(super) fn id(&self, revision: u64) -> String {
        format!("{}-{revision}", self.0)
    }
}

/// How a backend stands, as an event's data.
#[derive(Serialize)]
struct BackendState<'a> {
    backend: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
}

/// What `happening` means to those who want `selection`.
pub(super) fn encode(
    selection: &Selection,
    wire: Wire,
    ids: &Ids,
    happening: &LogEntry,
) -> Encoded {
    if !selection.backends().contains(&happening.backend) {
        return Encoded::Nothing;
    }
    let mut frames = Frames::new(wire);
    match &happening.what {
        What::Forgotten => return Encoded::Resync(Reason::Forgotten),
        What::Status(status) => {
            frames.event("backend", |out| backend(&happening.backend, status, out));
        }
        What::Changes(batch) => {
            let id = ids.id(happening.revision);
            if write_batch(selection, batch, &id, &mut frames).is_break() {
                return Encoded::Resync(Reason::TooMuch);
            }
            if frames.is_empty() {
                return Encoded::Nothing;
            }
            // Only the last event has the id: a client that comes back after half of the others
            // gets all of them again.
            frames.mark(&id);
        }
    }
    Encoded::Frames(frames.finish().into())
}

fn write_batch(
    selection: &Selection,
    batch: &Batch,
    revision: &str,
    frames: &mut Frames,
) -> ControlFlow<()> {
    selection.changes(batch, &mut |kind, object, changed| {
        write(selection, kind, object, revision, changed, frames);
        if frames.bytes() > LARGEST_BATCH {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
}

/// Writes the event of one object.
pub(super) fn write(
    selection: &Selection,
    kind: Kind,
    object: &Object,
    revision: &str,
    changed: &[&str],
    frames: &mut Frames,
) {
    frames.event(kind.name(), |out| {
        let class = &object.class().name;
        let (uuid, backend) = (object.uuid(), object.backend());
        // None of these has a character that JSON would escape: names of the datamodel, of
        // backends as the configuration allows them, and numbers.
        let head = format!(
            "{{\"class\":\"{class}\",\"uuid\":\"{uuid}\",\"backend\":\"{backend}\",\
             \"revision\":\"{revision}\",\"object\":"
        );
        out.extend_from_slice(head.as_bytes());
        match kind {
            Kind::Add | Kind::Mod => selection.write(object, out),
            Kind::Del => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"changed\":");
        write_json(&changed, out);
        out.push(b'}');
    });
}

/// Writes how a backend stands.
pub(super) fn backend(name: &str, status: &Status, out: &mut Vec<u8>) {
    let (state, reason) = (status.state.name(), status.reason.as_deref());
    write_json(&BackendState { backend: name, state, reason }, out);
}

/// Writes a value as JSON.
pub(super) fn write_json(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text and flags are always JSON");
}
