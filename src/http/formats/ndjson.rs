//! Lines of JSON: an object each, with what comes along with it.

use axum::body::Body;

use super::{List, document, stream};
use crate::http::problem::Problem;
use crate::inventory::query::{Expanded, MOST_BYTES, MOST_OBJECTS, TooCostly};

/// The lines of the page's objects.
pub(super) fn body(list: &List<'_>) -> Result<Body, Problem> {
    let (fields, expand) = (list.fields.cloned(), list.expand.cloned());
    // Once lines are on their way, it is too late to say that they are too many.
    if let Some(expand) = &expand {
        let (mut objects, mut bytes) = (0, 0);
        for item in &list.page.items {
            let mut expanded = Expanded::default();
            expand.collect(item.shelf.snapshot, [&**item.object], &mut expanded)?;
            objects += expanded.size().0;
            bytes += expanded.size().1;
            if objects > MOST_OBJECTS || bytes > MOST_BYTES {
                return Err(TooCostly.into());
            }
        }
    }
    Ok(stream::body(list, Vec::new(), move |snapshot, object, out| {
        match &expand {
            None => document::record(object, fields.as_ref(), out),
            // It has been counted above.
            Some(expand) => {
                let line = document::object(snapshot, object, fields.as_ref(), Some(expand));
                out.extend_from_slice(&line.unwrap_or_default());
            }
        }
        out.push(b'\n');
    }))
}
