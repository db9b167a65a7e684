//! `/openapi.json`, `/openapi-3.0.json` and `/docs`: the API's own documentation, embedded, public,
//! readable offline.

use std::borrow::Cow;
use std::collections::BTreeSet;
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
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::extract::{AcceptsJson, Query, echo};
use crate::middleware::{Embedded, not_found};
use crate::openapi::{Choice, Document, Version};
use crate::problem::{Code, Problem};
use crate::validators::{ETag, Preconditions};

/// The pages load what the gateway itself serves and nothing else. Swagger UI sets style attributes
/// from its script and has its icons as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What of the page is the gateway's own: Swagger UI with its tags in groups and a search.
const OWN: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("docs/index.html")),
    ("index.html", "text/html; charset=utf-8", include_str!("docs/index.html")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("docs/page.js")),
    ("page.css", "text/css; charset=utf-8", include_str!("docs/page.css")),
];

/// Where the document is.
type Whole = fn() -> &'static Document;

/// What of the document is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct DocumentQuery {
    /// Only operations with these tags, with commas between them.
    tags: Option<String>,
    /// As people read it.
    #[serde(default)]
    brief: bool,
}

/// A document that is kept, as it is sent.
#[derive(Clone)]
struct Kept {
    body: Bytes,
    etag: ETag,
}

/// Pages, which are no operations: the document says nothing of them.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>() -> [(&'static str, MethodRouter<S>); 3] {
    let moved = || async { (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "docs/")]) };
    [
        ("/docs", get(moved)),
        ("/docs/", get(|| page(Path(String::new())))),
        ("/docs/{*file}", get(page)),
    ]
}

/// The document.
pub(super) async fn newest(
    Extension(whole): Extension<Whole>,
    validators: Preconditions,
    accepts: AcceptsJson,
    query: Query<DocumentQuery>,
) -> Result<Response, Problem> {
    document(whole(), Version::Newest, validators, accepts, query).await
}

/// The document, in an older version of OpenAPI.
pub(super) async fn older(
    Extension(whole): Extension<Whole>,
    validators: Preconditions,
    accepts: AcceptsJson,
    query: Query<DocumentQuery>,
) -> Result<Response, Problem> {
    document(whole(), Version::Older, validators, accepts, query).await
}

async fn document(
    whole: &'static Document,
    version: Version,
    validators: Preconditions,
    _: AcceptsJson,
    Query(query): Query<DocumentQuery>,
) -> Result<Response, Problem> {
    let choice = Choice { tags: tags(whole, query.tags.as_deref())?, brief: query.brief };
    let place = place(version, &choice);
    let is_kept = place.is_some();
    let Kept { body, etag } = text(whole, place, version, choice).await?;
    let mut response = validators.answer(&etag, || {
        let mut response = ([(CONTENT_TYPE, "application/json")], body).into_response();
        if is_kept {
            response.extensions_mut().insert(Embedded);
        }
        response
    })?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The tags that are asked for. One that the document does not have is an error.
fn tags(whole: &Document, asked: Option<&str>) -> Result<BTreeSet<String>, Problem> {
    let Some(asked) = asked else { return Ok(BTreeSet::new()) };
    let mut tags = BTreeSet::new();
    for tag in asked.split(',').map(str::trim) {
        if !whole.has_tag(tag) {
            let detail = format!(
                "tags: the document has no tag {:?}; its `tags` lists those it has",
                echo(tag)
            );
            return Err(Problem::new(Code::BadParameter, detail).with_params(["tags"]));
        }
        tags.insert(tag.to_owned());
    }
    Ok(tags)
}

/// The documents that everybody asks for, which are made once.
static KEPT: [OnceLock<Kept>; 3] = [const { OnceLock::new() }; 3];

/// Where one of those is kept.
fn place(version: Version, choice: &Choice) -> Option<&'static OnceLock<Kept>> {
    match version {
        Version::Newest if choice.is_all() => Some(&KEPT[0]),
        Version::Older if choice.is_all() => Some(&KEPT[1]),
        Version::Older if choice.tags.is_empty() => Some(&KEPT[2]),
        _ => None,
    }
}

/// The document that is asked for. Anybody may ask, and making one takes a while: one is made at a
/// time, and not where requests are answered.
async fn text(
    whole: &'static Document,
    place: Option<&'static OnceLock<Kept>>,
    version: Version,
    choice: Choice,
) -> Result<Kept, Problem> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    if let Some(kept) = place.and_then(OnceLock::get) {
        return Ok(kept.clone());
    }
    let turn = ONE_AT_A_TIME.lock().await;
    let make = move || {
        let make = || made(whole.part(version, &choice));
        let kept = match place {
            Some(place) => place.get_or_init(make).clone(),
            None => make(),
        };
        drop(turn);
        kept
    };
    tokio::task::spawn_blocking(make).await.map_err(|_| Problem::from(Code::Internal))
}

/// A document with its entity tag, which is made from its content: equal builds answer alike.
fn made(text: String) -> Kept {
    let hash = Sha256::digest(&text);
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Kept { body: Bytes::from(text), etag: ETag::lasting(&hex) }
}

async fn page(Path(file): Path<String>) -> Response {
    if let Some((_, media, text)) = OWN.iter().find(|(name, ..)| *name == file) {
        let etag = made((*text).to_owned()).etag;
        return embedded(media, &etag, Bytes::from_static(text.as_bytes()));
    }
    // Only the configuration can fail to be written, and the tests have written it.
    match utoipa_swagger_ui::serve(&file, config()).ok().flatten() {
        Some(SwaggerFile { bytes: Cow::Borrowed(bytes), content_type, .. }) => {
            embedded(&content_type, &ETag::lasting(&file), Bytes::from_static(bytes))
        }
        // What Swagger UI would make is not used: the page starts it itself.
        _ => not_found().await.into_response(),
    }
}

fn embedded(media: &str, etag: &ETag, bytes: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, media),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    // Compressed once for everyone, as what has a tag is.
    (headers, Extension(Embedded), Extension(etag.version()), bytes).into_response()
}

fn config() -> Arc<Config<'static>> {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| Arc::new(Config::new(["../openapi-3.0.json"]))))
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
    use crate::api;
    use crate::openapi::endpoint::With;

    async fn get(path: &str, known: &[&str]) -> (StatusCode, HeaderMap, Bytes) {
        let request =
            known.iter().fold(Request::get(path), |r, etag| r.header(IF_NONE_MATCH, *etag));
        let request = request.body(Body::empty()).expect("a request");
        let whole: Whole = api::document;
        let documents = Router::new()
            .route("/openapi.json", axum::routing::get(With(whole, newest)))
            .route("/openapi-3.0.json", axum::routing::get(With(whole, older)));
        let pages = pages().into_iter();
        let routes = pages.fold(documents, |routes, (path, one)| routes.route(path, one));
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
        assert_eq!(body, api::document().json().as_bytes());
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
        assert_eq!((status, body.len()), (StatusCode::OK, api::document().json().len()));
    }

    #[tokio::test]
    async fn the_pages_are_embedded_and_may_load_nothing_from_elsewhere() {
        let (status, headers, _) = get("/docs", &[]).await;
        assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(headers[LOCATION], "docs/");

        let (status, headers, body) = get("/docs/", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
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
        let (status, headers, body) = get("/docs/page.js", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8");
        let script = std::str::from_utf8(&body).expect("UTF-8");
        assert!(script.contains(r#"url: "../openapi-3.0.json?brief=true""#), "{script}");
        assert!(script.contains(r#"validatorUrl: "none""#), "{script}");
        assert!(!script.contains("http"), "the page names another host: {script}");
    }

    #[tokio::test]
    async fn parts_of_the_document_have_tags_of_their_own() {
        let mut seen = BTreeSet::new();
        for path in [
            "/openapi.json",
            "/openapi-3.0.json",
            "/openapi-3.0.json?brief=true",
            "/openapi.json?tags=VM,task",
            "/openapi.json?tags=VM",
            "/openapi-3.0.json?tags=VM",
        ] {
            let (status, headers, body) = get(path, &[]).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            let etag = headers[ETAG].to_str().expect("ASCII").to_owned();
            let (status, ..) = get(path, &[&etag]).await;
            assert_eq!(status, StatusCode::NOT_MODIFIED, "{path}");
            assert!(seen.insert(etag), "{path}");
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");
        }
        // The order and what is said twice make no difference.
        let (_, one, _) = get("/openapi.json?tags=VM,task", &[]).await;
        let (_, other, _) = get("/openapi.json?tags=task,VM,task&brief=false", &[]).await;
        assert_eq!(one[ETAG], other[ETAG]);
        for path in
            ["/openapi.json?tags=vm", "/openapi.json?tags=", "/openapi-3.0.json?tags=VM,,task"]
        {
            let (status, _, body) = get(path, &[]).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body:?}");
        }
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
