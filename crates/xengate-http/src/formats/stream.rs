//! ResponseCache that are written as clients take them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use super::List;
use xenapi_mirror::inventory::{Object, Snapshot};

/// About so many bytes are written at a time.
pub(super) const PIECE: usize = 64 << 10;

/// A body of `head` and a row for each object of the page, in order.
pub(super) fn body(
    list: &List<'_>,
    head: Vec<u8>,
    mut row: impl FnMut(&Snapshot, &Object, &mut Vec<u8>) + Send + 'static,
) -> Body {
    let mut snapshots: Vec<Arc<Snapshot>> = Vec::new();
    let items: Vec<(usize, Arc<Object>)> = list
        .page
        .items
        .iter()
        .map(|item| {
            let known = snapshots.iter().position(|known| Arc::ptr_eq(known, item.shelf.snapshot));
            let place = known.unwrap_or_else(|| {
                snapshots.push(item.shelf.snapshot.clone());
                snapshots.len() - 1
            });
            (place, item.object.clone())
        })
        .collect();
    let mut items = items.into_iter();
    let mut head = Some(head);
    let pieces = std::iter::from_fn(move || {
        let mut out = head.take().unwrap_or_default();
        while out.len() < PIECE
            && let Some((snapshot, object)) = items.next()
        {
            row(&snapshots[snapshot], &object, &mut out);
        }
        (!out.is_empty()).then(|| Ok::<_, Infallible>(Bytes::from(out)))
    });
    Body::from_stream(futures_util::stream::iter(pieces))
}
