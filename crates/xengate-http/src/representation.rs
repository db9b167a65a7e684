//! Objects as the bytes that clients get: copies of what the inventory holds ready.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};

pub use crate::formats::with_member;

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
