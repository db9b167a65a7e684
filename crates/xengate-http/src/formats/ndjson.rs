//! Lines of JSON: an object each, with what comes along with it.

use axum::body::Body;

use super::{List, document, stream};

/// The lines of the page's objects.
pub(super) fn body(list: &List<'_>) -> Body {
    let (fields, expand) = (list.fields.cloned(), list.expand.cloned());
    stream::body(list, Vec::new(), move |snapshot, object, out| {
        match &expand {
            None => document::record(object, fields.as_ref(), out),
            // It has been counted before.
            Some(expand) => {
                let line = document::object(snapshot, object, fields.as_ref(), Some(expand));
                out.extend_from_slice(&line.unwrap_or_default());
            }
        }
        out.push(b'\n');
    })
}
