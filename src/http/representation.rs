//! Objects and lists as the bytes that clients get: copies of what the inventory holds ready.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};

use super::page::Position;
use super::scope::Scope;
use crate::datamodel::Class;
use crate::inventory::{Object, View};

/// An answer that holds this JSON.
pub fn json(body: impl Into<Bytes>) -> Response {
    as_json(Body::from(body.into()).into_response())
}

/// The same answer, marked as JSON unless it is a problem.
pub fn as_json(mut response: Response) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<'a> {
    /// The objects, in order.
    pub items: Vec<&'a Arc<Object>>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins, unless this is the last.
    pub next: Option<Position>,
}

impl<'a> Page<'a> {
    /// The page of a class's view behind `from`, in the order of backend and uuid.
    pub fn of(
        scope: &'a Scope,
        class: &Class,
        view: View,
        from: Option<&Position>,
        limit: usize,
    ) -> Self {
        let mut page = Self { items: Vec::new(), total: 0, next: None };
        let mut last: Option<(&Arc<str>, &Arc<Object>)> = None;
        for (name, reading) in scope.readings() {
            let table = reading.snapshot.view(class, view);
            page.total += table.len();
            let room = limit - page.items.len();
            let before = page.items.len();
            match from {
                Some(from) if **name < *from.backend => continue,
                Some(from) if **name == *from.backend => {
                    page.items.extend(table.after(from.uuid).take(room));
                }
                _ => page.items.extend(table.iter().take(room)),
            }
            if page.next.is_none() {
                // The page is full, and there is more: in this table or in one behind it.
                let more = match from {
                    Some(from) if **name == *from.backend => {
                        table.after(from.uuid).nth(page.items.len() - before).is_some()
                    }
                    _ => table.len() > page.items.len() - before,
                };
                last = page.items[before..].last().map(|object| (name, *object)).or(last);
                if let (true, Some((name, object))) = (more, last) {
                    page.next = Some(Position { backend: name.to_string(), uuid: object.uuid() });
                }
            }
        }
        page
    }

    /// The list document; `next` is the cursor of the next page.
    pub fn json(&self, next: Option<&str>, partial: &[String]) -> Vec<u8> {
        let records: usize = self.items.iter().map(|object| object.record().json().len() + 1).sum();
        let mut out = Vec::with_capacity(records + 128 + next.map_or(0, str::len));
        out.extend_from_slice(b"{\"items\":[");
        for (place, object) in self.items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(object.record().json());
        }
        out.extend_from_slice(b"],\"total\":");
        out.extend_from_slice(self.total.to_string().as_bytes());
        out.extend_from_slice(b",\"next\":");
        write_json(&next, &mut out);
        if !partial.is_empty() {
            out.extend_from_slice(b",\"partial\":");
            write_json(&partial, &mut out);
        }
        out.push(b'}');
        out
    }
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

fn write_json<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text is always JSON");
}
