//! JSON: one document.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use super::List;
use crate::formats::stream::PIECE;
use crate::problem::{Code, Problem};
use crate::unsent_budget;
use xenapi_mirror::inventory::query::{Expand, Expanded, Fields, TooCostly};
use xenapi_mirror::inventory::{Object, Snapshot};

/// How many objects show how long the others are.
const SOME: usize = 8;

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
    pub(super) fn of(list: &List<'_>, expanded: Option<Expanded>) -> Self {
        Self {
            items: list.page.items.iter().map(|item| item.object.clone()).collect(),
            fields: list.fields.cloned(),
            total: list.page.total,
            next: list.next.clone(),
            partial: list.partial.to_vec(),
            expanded,
        }
    }

    /// About how many bytes it has.
    pub(super) fn size(&self) -> usize {
        let items = match &self.fields {
            None => self.items.iter().map(|object| object.record().json().len() + 1).sum(),
            Some(fields) => {
                let (mut out, some) = (Vec::new(), self.items.len().min(SOME));
                self.items[..some].iter().for_each(|object| fields.write(object, &mut out));
                self.items.len() * (out.len() / some.max(1) + out.len() / some.max(1) / 4 + 16)
            }
        };
        items + self.expanded.as_ref().map_or(0, |expanded| expanded.size().1) + 256
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        let end = self.write_items(0, usize::MAX, &mut out);
        debug_assert_eq!(end, self.items.len());
        self.write_end(&mut out);
        out
    }

    /// What it takes to write it piece by piece.
    pub(super) fn streamed_size(&self) -> usize {
        self.items.len() * size_of::<Arc<Object>>()
            + self.expanded.as_ref().map_or(0, |expanded| expanded.size().1)
            + 2 * PIECE
    }

    /// The same as a body that is written as its client takes it; it holds its share meanwhile.
    pub(super) fn stream(self: Arc<Self>, share: unsent_budget::Share) -> Body {
        let mut next = Some(0);
        let pieces = std::iter::from_fn(move || {
            let _ = &share;
            let (begin, mut out) = (next?, Vec::with_capacity(PIECE));
            let end = self.write_items(begin, PIECE, &mut out);
            next = (end < self.items.len()).then_some(end);
            if next.is_none() {
                self.write_end(&mut out);
            }
            Some(Ok::<_, Infallible>(Bytes::from(out)))
        });
        Body::from_stream(futures_util::stream::iter(pieces))
    }

    /// Writes what comes before the first item, and items from there on until that is enough; where
    /// it came to.
    fn write_items(&self, begin: usize, enough: usize, out: &mut Vec<u8>) -> usize {
        if begin == 0 {
            out.extend_from_slice(b"{\"items\":[");
        }
        let mut end = begin;
        while end < self.items.len() && out.len() < enough {
            if end > 0 {
                out.push(b',');
            }
            record(&self.items[end], self.fields.as_ref(), out);
            end += 1;
        }
        end
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],\"total\":");
        out.extend_from_slice(self.total.to_string().as_bytes());
        out.extend_from_slice(b",\"next\":");
        write_json(&self.next, out);
        if !self.partial.is_empty() {
            out.extend_from_slice(b",\"partial\":");
            write_json(&self.partial, out);
        }
        if let Some(expanded) = &self.expanded {
            out.extend_from_slice(b",\"expanded\":");
            expanded.write(out);
        }
        out.push(b'}');
    }
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
