//! JSON: one document.

use axum::body::Body;

use super::List;
use crate::http::problem::{Code, Problem};
use crate::inventory::query::{Expand, Expanded, Fields, TooCostly};
use crate::inventory::{Object, Snapshot};

/// A list document: `{"items":[…],"total":…,"next":…}`, with `partial` and `expanded` where there
/// is something to say.
pub(super) fn body(list: &List<'_>) -> Result<Body, Problem> {
    let items = &list.page.items;
    let expanded = match list.expand {
        Some(expand) => Some(expanded(list, expand)?),
        None => None,
    };
    let size = match list.fields {
        None => items.iter().map(|item| item.object.record().json().len() + 1).sum(),
        Some(_) => items.len() * 128,
    };
    let mut out = Vec::with_capacity(size + expanded.as_ref().map_or(0, |e| e.size().1) + 256);
    out.extend_from_slice(b"{\"items\":[");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        record(item.object, list.fields, &mut out);
    }
    out.extend_from_slice(b"],\"total\":");
    out.extend_from_slice(list.page.total.to_string().as_bytes());
    out.extend_from_slice(b",\"next\":");
    write_json(&list.next, &mut out);
    if !list.partial.is_empty() {
        out.extend_from_slice(b",\"partial\":");
        write_json(&list.partial, &mut out);
    }
    if let Some(expanded) = expanded {
        out.extend_from_slice(b",\"expanded\":");
        expanded.write(&mut out);
    }
    out.push(b'}');
    Ok(Body::from(out))
}

/// What comes along with the whole page.
fn expanded(list: &List<'_>, expand: &Expand) -> Result<Expanded, Problem> {
    let mut expanded = Expanded::default();
    let same = |one: &super::super::page::Item<'_>, other: &super::super::page::Item<'_>| {
        one.shelf.backend == other.shelf.backend
    };
    for items in list.page.items.chunk_by(same) {
        let objects = items.iter().map(|item| &**item.object);
        expand.collect(items[0].shelf.snapshot, objects, &mut expanded)?;
    }
    Ok(expanded)
}

/// Writes the record, or the fields of it that are asked for.
pub(super) fn record(object: &Object, fields: Option<&Fields>, out: &mut Vec<u8>) {
    match fields {
        Some(fields) => fields.write(object, out),
        None => out.extend_from_slice(object.record().json()),
    }
}

/// One object with what comes along.
pub fn object(
    snapshot: &Snapshot,
    object: &Object,
    fields: Option<&Fields>,
    expand: Option<&Expand>,
) -> Result<Vec<u8>, TooCostly> {
    let mut out = Vec::new();
    record(object, fields, &mut out);
    let Some(expand) = expand else { return Ok(out) };
    let mut expanded = Expanded::default();
    expand.collect(snapshot, [object], &mut expanded)?;
    let mut value = Vec::with_capacity(expanded.size().1 + 256);
    expanded.write(&mut value);
    Ok(with_member(&out, "expanded", &value))
}

/// A record with one more member at its end.
pub fn with_member(record: &[u8], name: &str, value: &[u8]) -> Vec<u8> {
    let open = record.strip_suffix(b"}").unwrap_or(record);
    let mut out = Vec::with_capacity(record.len() + name.len() + value.len() + 8);
    for part in [open, b",\"", name.as_bytes(), b"\":", value, b"}"] {
        out.extend_from_slice(part);
    }
    out
}

impl From<TooCostly> for Problem {
    fn from(error: TooCostly) -> Self {
        Self::new(Code::BadParameter, format!("expand: {error}")).with_params(["expand"])
    }
}

fn write_json<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text is always JSON");
}
