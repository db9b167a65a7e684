//! JSON: one document.

use std::sync::Arc;

use super::List;
use crate::http::page::Item;
use crate::http::problem::{Code, Problem};
use crate::inventory::query::{Expand, Expanded, Fields, TooCostly};
use crate::inventory::{Object, Snapshot};

/// A list document to be written: `{"items":[…],"total":…,"next":…}`, with `partial` and `expanded`
/// where there is something to say.
pub(super) struct Document {
    items: Vec<Arc<Object>>,
    fields: Option<Fields>,
    total: usize,
    next: Option<String>,
    partial: Vec<String>,
    expanded: Option<Expanded>,
}

impl Document {
    pub(super) fn of(list: &List<'_>) -> Result<Self, Problem> {
        Ok(Self {
            items: list.page.items.iter().map(|item| item.object.clone()).collect(),
            fields: list.fields.cloned(),
            total: list.page.total,
            next: list.next.clone(),
            partial: list.partial.to_vec(),
            expanded: list.expand.map(|expand| expanded(list, expand)).transpose()?,
        })
    }

    /// About how many bytes it has.
    pub(super) fn size(&self) -> usize {
        let items = match &self.fields {
            None => self.items.iter().map(|object| object.record().json().len() + 1).sum(),
            Some(_) => self.items.len() * 128,
        };
        items + self.expanded.as_ref().map_or(0, |expanded| expanded.size().1) + 256
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        out.extend_from_slice(b"{\"items\":[");
        for (place, object) in self.items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            record(object, self.fields.as_ref(), &mut out);
        }
        out.extend_from_slice(b"],\"total\":");
        out.extend_from_slice(self.total.to_string().as_bytes());
        out.extend_from_slice(b",\"next\":");
        write_json(&self.next, &mut out);
        if !self.partial.is_empty() {
            out.extend_from_slice(b",\"partial\":");
            write_json(&self.partial, &mut out);
        }
        if let Some(expanded) = &self.expanded {
            out.extend_from_slice(b",\"expanded\":");
            expanded.write(&mut out);
        }
        out.push(b'}');
        out
    }
}

/// What comes along with the whole page.
fn expanded(list: &List<'_>, expand: &Expand) -> Result<Expanded, Problem> {
    let mut expanded = Expanded::default();
    let same = |one: &Item<'_>, other: &Item<'_>| one.shelf.backend == other.shelf.backend;
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
