//! Answers compressed as their clients would have them, where that pays.

use axum::body::{Body, HttpBody};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::compression::Encoding;
use crate::middleware::backpressure::Embedded;
use crate::negotiation::Accepted;
use crate::problem::{Code, Problem};
use crate::response_cache;
use crate::response_cache::{ResponseCache, Version};
use crate::validators::encoded;

/// Smaller bodies fit a packet or two as they are.
const LEAST: u64 = 1 << 10;

/// What a request says of how its answer may be compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct AcceptEncoding {
    accepted: Accepted,
    is_head: bool,
    /// Answers to anything but reads are short, or hold the token.
    is_read: bool,
}

impl AcceptEncoding {
    pub(super) fn of<B>(request: &http::Request<B>) -> Self {
        let is_head = request.method() == http::Method::HEAD;
        let is_read = is_head || request.method() == http::Method::GET;
        Self { accepted: Accepted::of(request.headers()), is_head, is_read }
    }
}

/// The answer as the client would have it. Streams, whose length nobody knows, go as they are, and
/// so do problems.
pub(super) async fn encode(
    bodies: &ResponseCache,
    wish: AcceptEncoding,
    response: Response,
) -> Response {
    if !wish.is_read || !is_worth_it(&response, wish.is_head) {
        return response;
    }
    let Some(encoding) = wish.accepted.best() else { return vary(response) };
    if wish.is_head {
        // As the answer to GET would be, whose length is not known before it is made.
        return head_of(encoding, vary(response));
    }
    let version = response.extensions().get::<Version>().copied();
    let (mut parts, body) = response.into_parts();
    // It is in memory already, or its length would not be known.
    let Ok(plain) = axum::body::to_bytes(body, usize::MAX).await else {
        return axum::response::IntoResponse::into_response(Problem::from(Code::Internal));
    };
    match bodies.encoded(version, encoding, plain.clone()).await {
        Some(shared) => {
            // From here on the bytes are the cache's.
            parts.extensions.remove::<Embedded>();
            let body = response_cache::body(&shared);
            parts.extensions.insert(shared);
            head_of(encoding, vary(Response::from_parts(parts, body)))
        }
        None => vary(Response::from_parts(parts, Body::from(plain))),
    }
}

fn is_worth_it(response: &Response, is_head: bool) -> bool {
    let headers = response.headers();
    let length = match response.body().size_hint().exact() {
        Some(0) if is_head => number(headers, header::CONTENT_LENGTH),
        length => length,
    };
    response.status() == StatusCode::OK
        && length.is_some_and(|length| length >= LEAST)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && is_text(headers)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Whether the media type is one that compresses well.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(Ok(media)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let media = media.split(';').next().unwrap_or_default().trim();
    media.starts_with("text/")
        || matches!(
            media,
            "application/json"
                | "application/x-ndjson"
                | "application/javascript"
                | "image/svg+xml"
        )
}

/// The headers of an answer that is compressed so.
fn head_of(encoding: Encoding, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    headers.remove(header::CONTENT_LENGTH);
    if let Some(tag) = headers.get(header::ETAG).and_then(|tag| encoded(tag, encoding)) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn vary(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("Accept-Encoding"));
    response
}
