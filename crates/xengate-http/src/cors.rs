//! CORS: which web pages of other origins may use the gateway, by a list of exact origins.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The layer for these settings; none where no origin is allowed, which is how CORS is off.
pub(super) fn layer(cors: &xengate_config::Cors) -> Option<CorsLayer> {
    if cors.origins.is_empty() {
        return None;
    }
    let origins = cors.origins.iter();
    // Shared, because a layer is cloned for every request.
    let origins: Arc<[HeaderValue]> =
        origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE];
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| origins.contains(origin)))
        .allow_methods(methods)
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            super::request_id::HEADER,
        ])
        .expose_headers([
            super::request_id::HEADER,
            header::AGE,
            header::ALLOW,
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("xen-partial"),
            HeaderName::from_static("xen-revision"),
            HeaderName::from_static("xen-revision-pending"),
            HeaderName::from_static("xen-stale"),
            HeaderName::from_static("xen-total"),
        ])
        .max_age(MAX_AGE);
    Some(layer)
}
