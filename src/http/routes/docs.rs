//! `/openapi.json` and `/docs`: the API's own documentation, embedded, public, readable offline.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::http::extract::{AcceptsJson, NoQuery};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::router::Routes;
use crate::http::shell::{Embedded, not_found};
use crate::http::validators::{ETag, Validators};

/// The pages load what the gateway itself serves and nothing else. Swagger UI sets style attributes
/// from its script and has its icons as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The routes of this file.
pub fn routes() -> Routes {
    all().into_iter().fold(Routes::default(), |routes, (path, method)| routes.route(path, method))
}

fn all<S: Clone + Send + Sync + 'static>() -> [(&'static str, MethodRouter<S>); 4] {
    let moved = || async { (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "docs/")]) };
    [
        ("/openapi.json", get(document)),
        ("/docs", get(moved)),
        ("/docs/", get(|| page(Path(String::new())))),
        ("/docs/{*file}", get(page)),
    ]
}

async fn document(validators: Validators, _: AcceptsJson, _: NoQuery) -> Result<Response, Problem> {
    let mut response = validators.answer(etag(), || {
        let json = [(CONTENT_TYPE, "application/json")];
        let body = Bytes::from_static(openapi::json().as_bytes());
        (json, Extension(Embedded), body).into_response()
    })?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The document's entity tag, from its content: equal builds answer alike.
fn etag() -> &'static ETag {
    static ETAG: OnceLock<ETag> = OnceLock::new();
    ETAG.get_or_init(|| {
        let hash = Sha256::digest(openapi::json());
        let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        ETag::lasting(&hex)
    })
}

async fn page(Path(file): Path<String>) -> Response {
    // Only the configuration can fail to be written, and the tests have written it.
    match utoipa_swagger_ui::serve(&file, config()).ok().flatten() {
        Some(SwaggerFile { bytes, content_type, .. }) => {
            let headers = [
                (CONTENT_TYPE, content_type.as_str()),
                (CONTENT_SECURITY_POLICY, POLICY),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (REFERRER_POLICY, "no-referrer"),
                (CACHE_CONTROL, "no-cache"),
            ];
            match bytes {
                Cow::Borrowed(bytes) => {
                    // Compressed once for everyone, as what has a tag is.
                    let version = Extension(ETag::lasting(&file).version());
                    let bytes = Bytes::from_static(bytes);
                    (headers, Extension(Embedded), version, bytes).into_response()
                }
                Cow::Owned(bytes) => (headers, bytes).into_response(),
            }
        }
        None => not_found().await.into_response(),
    }
}

fn config() -> Arc<Config<'static>> {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        // Relative, so that it holds behind a proxy that puts the gateway under a path.
        let config = Config::new(["../openapi.json"])
            .use_base_layout()
            .display_operation_id(true)
            .default_models_expand_depth(0)
            .doc_expansion("list")
            .filter(true)
            .show_extensions(true)
            // Else the page would ask a validator elsewhere for a badge.
            .validator_url("none");
        Arc::new(config)
    });
    Arc::clone(config)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::header::{ETAG, IF_NONE_MATCH};
    use axum::http::{HeaderMap, Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str, known: &[&str]) -> (StatusCode, HeaderMap, Bytes) {
        let request =
            known.iter().fold(Request::get(path), |r, etag| r.header(IF_NONE_MATCH, *etag));
        let request = request.body(Body::empty()).expect("a request");
        let routes = all().into_iter();
        let routes = routes.fold(Router::new(), |routes, (path, one)| routes.route(path, one));
        let response = routes.oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        (head.status, head.headers, body)
    }

    #[tokio::test]
    async fn the_document_is_served_once_per_change() {
        let (status, headers, body) = get("/openapi.json", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        assert_eq!(body, openapi::json().as_bytes());
        let etag = headers[ETAG].to_str().expect("ASCII");

        let weak = format!("W/{etag}");
        let listed = format!("\"other\", {etag}");
        for known in [etag, &weak, &listed, "*"] {
            let (status, headers, body) = get("/openapi.json", &[known]).await;
            assert_eq!(status, StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(headers[ETAG], etag);
            assert!(body.is_empty());
        }
        let (status, ..) = get("/openapi.json", &["\"other\"", etag]).await;
        assert_eq!(status, StatusCode::NOT_MODIFIED, "the second header counts too");
        let (status, _, body) = get("/openapi.json", &["\"other\""]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, openapi::json().len()));
    }

    #[tokio::test]
    async fn the_pages_are_embedded_and_may_load_nothing_from_elsewhere() {
        let (status, headers, _) = get("/docs", &[]).await;
        assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(headers[LOCATION], "docs/");

        let (status, headers, body) = get("/docs/", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "text/html");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"));
        let page = std::str::from_utf8(&body).expect("UTF-8");
        assert!(!page.contains("//"), "the page names another host: {page}");

        // Whatever the page names is there.
        let mut linked = 0;
        for part in page.split(['"', '\'']).filter(|part| part.starts_with("./")) {
            let (status, headers, body) = get(&format!("/docs/{}", &part[2..]), &[]).await;
            assert_eq!(status, StatusCode::OK, "{part}");
            assert!(!body.is_empty() && headers.contains_key(CONTENT_SECURITY_POLICY), "{part}");
            linked += 1;
        }
        assert!(linked >= 4, "only {linked} files found in {page}");
    }

    #[tokio::test]
    async fn the_page_reads_this_gateways_document_and_asks_no_validator() {
        let (status, _, body) = get("/docs/swagger-initializer.js", &[]).await;
        assert_eq!(status, StatusCode::OK);
        let script = std::str::from_utf8(&body).expect("UTF-8");
        assert!(script.contains(r#""url": "../openapi.json""#), "{script}");
        assert!(script.contains(r#""validatorUrl": "none""#), "{script}");
        assert!(!script.contains("http"), "the page names another host: {script}");
    }

    #[tokio::test]
    async fn what_is_not_embedded_is_not_found() {
        for path in ["/docs/nothing.js", "/docs/..%2f..%2fetc%2fpasswd", "/docs/%00"] {
            let (status, headers, _) = get(path, &[]).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{path}");
        }
    }
}
