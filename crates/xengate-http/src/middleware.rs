//! What happens to every request, whatever its route: limits, deadline, request id, the headers
//! all answers have, panics, problem documents.
//!
//! One function instead of a tower of layers: each layer would cost a box and a future per request,
//! and the order of these steps is easier to read than to compose.

mod activity;
mod backpressure;
mod catch_panic;
mod compress;
mod log;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::Limited;
use ipnet::IpNet;
use tower::Service;
use tower_http::cors::Cors;

use super::cors;
use super::in_flight;
use super::request_id;
use crate::extract::{Underway, without_body};
use crate::in_flight::{InFlight, Place};
use crate::problem::{Code, Problem};
use crate::reading::Reading;
use crate::request_id::RequestId;
use crate::response_cache::{CachedBody, ResponseCache};
use crate::telemetry::{Load, Requests, Telemetry};
use crate::unsent_budget::{OverBudget, UnsentBudget};
use xengate_core::auth::Shares;
use xengate_telemetry::request_span::RequestSpan;

pub use self::activity::{Activity, Eased, UnderWay};
pub use self::backpressure::{Embedded, UnsentWatch};
pub use self::catch_panic::log_panics;

use self::backpressure::{Held, Share, TrackedBody};
use self::compress::{AcceptEncoding, encode};
use self::log::RequestLog;

/// Answers about the gateway's own health go out even when everything else is refused, and take
/// nobody's place.
const ALWAYS: [&str; 2] = ["/livez", "/readyz"];

/// What tells what is being refused is answered too, as far as there is room for it.
const ADMITTED: &str = "/metrics";

/// What is known of a request before its route is; an extension of the request.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The request's id.
    pub request_id: RequestId,
    /// What the log calls the request.
    pub span: Arc<RequestSpan>,
    /// The bodies that are being read.
    pub reading: Arc<Reading>,
}

/// An extension of requests that are not HTTP, with what is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Malformed(pub &'static str);

/// The routes with everything around them, CORS included, for one connection.
pub type Stack = tower::util::Either<Cors<RequestService>, RequestService>;

/// The routes with everything around them.
#[derive(Debug, Clone)]
pub struct RequestService {
    shared: Arc<Shared>,
    cors: Option<tower_http::cors::CorsLayer>,
    peer: SocketAddr,
    unsent: Arc<UnsentWatch>,
}

#[derive(Debug)]
struct Shared {
    routes: Router,
    max_body: u64,
    max_header: u64,
    request_timeout: Duration,
    in_flight: Arc<InFlight>,
    /// As much as a user's answers may take, counted as the room is.
    most_unsent_of_user: usize,
    bodies: Arc<ResponseCache>,
    telemetry: Arc<Telemetry>,
    reading: Arc<Reading>,
    hsts: OnceLock<HeaderValue>,
    /// Whether each request has a line in the log.
    access: AtomicBool,
}

impl RequestService {
    /// Puts the routes into their shell.
    pub fn new(
        routes: Router,
        limits: &xengate_config::Limits,
        cors: &xengate_config::Cors,
        bodies: Arc<ResponseCache>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let in_flight = InFlight::new(limits);
        let room = bodies.room().clone();
        telemetry.load.get_or_init(|| Load { in_flight: in_flight.clone(), room });
        let shared = Shared {
            routes,
            max_body: limits.max_body,
            max_header: limits.max_header,
            request_timeout: limits.request_timeout,
            in_flight,
            most_unsent_of_user: UnsentBudget::units_of(
                limits.max_unsent_per_user.min(limits.max_unsent / 4 * 3),
            ),
            telemetry,
            bodies,
            reading: Arc::default(),
            hsts: OnceLock::new(),
            access: AtomicBool::new(false),
        };
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let (shared, cors) = (Arc::new(shared), cors::layer(cors));
        Self { shared, cors, peer: nobody, unsent: Arc::default() }
    }

    /// Believes what these proxies say about who their clients are.
    pub fn trust(&self, proxies: &[IpNet]) {
        self.shared.reading.trust(proxies);
    }

    /// Has browsers use nothing but HTTPS for so long from each answer on.
    pub fn insist_on_tls(&self, lasting: Duration) {
        let policy = HeaderValue::try_from(format!("max-age={}", lasting.as_secs()));
        let _ = self.shared.hsts.set(policy.expect("digits"));
    }

    /// Logs a line for each request, or does not.
    pub fn log_access(&self, access: bool) {
        self.shared.access.store(access, Ordering::Relaxed);
    }

    /// The service for one connection with this peer. It keeps account of the connection's answers
    /// in `unsent`.
    pub fn for_connection(&self, peer: SocketAddr, unsent: Arc<UnsentWatch>) -> Stack {
        let shell = Self { shared: self.shared.clone(), cors: None, peer, unsent };
        match &self.cors {
            Some(layer) => tower::util::Either::Left(tower::Layer::layer(layer, shell)),
            None => tower::util::Either::Right(shell),
        }
    }
}

impl<B> Service<Request<B>> for RequestService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (shared, peer, unsent) = (self.shared.clone(), self.peer, self.unsent.clone());
        let id = RequestId::of(request.headers());
        let span = RequestSpan::new(id.to_header(), request.method().clone(), request.uri().path());
        Box::pin(async move {
            let answer = pin!(shared.answer(request, peer, id, &span, &unsent));
            Ok(span.clone().scope(answer).await)
        })
    }
}

impl Shared {
    async fn answer<B>(
        &self,
        request: Request<B>,
        peer: SocketAddr,
        request_id: RequestId,
        span: &Arc<RequestSpan>,
        unsent: &Arc<UnsentWatch>,
    ) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let under_way = unsent.activity.begin();
        let (method, uri) = (Requests::method(request.method()), request.uri().clone());
        let access = self.access.load(Ordering::Relaxed);
        let client = |request: &Request<B>| self.reading.client(peer.ip(), request.headers());
        let log = RequestLog::begin(&request, span, access, client);
        let begun = std::time::Instant::now();
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        let always = is_always(&request);
        let underway = (!request.method().is_safe()).then(Arc::<Underway>::default);
        let (response, user, route) = match self.admit(&request) {
            Ok(place) => {
                let run = async {
                    let request_id = request_id.clone();
                    let arrival = ConnectInfo {
                        peer,
                        request_id,
                        span: span.clone(),
                        reading: self.reading.clone(),
                    };
                    let response = self.run(request, arrival, underway.as_ref()).await;
                    (response, in_flight::user(), in_flight::route())
                };
                place.hold(run).await
            }
            Err(problem) => (problem.into_response(), None, None),
        };
        let (mut response, share) = match self.make_room(&response, version, always, user) {
            Ok(share) => (response, share),
            Err(problem) => match underway.is_some_and(|underway| underway.has_begun()) {
                true => (done_all_the_same(&problem).into_response(), None),
                false => (problem.into_response(), None),
            },
        };
        let requests = &self.telemetry.requests;
        let route = route.unwrap_or_else(|| requests.route(uri.path()));
        requests.count(route, method, response.status(), begun.elapsed());
        log.end(&response);
        Problem::render(&mut response, request_id.as_str(), is_head);
        finish(&mut response, &request_id);
        if let Some(policy) = self.hsts.get() {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, policy.clone());
        }
        response.map(|body| TrackedBody::wrap(body, share, version, unsent, under_way))
    }

    /// Refuses what is too large by its own account, or one request too many.
    fn admit<B: HttpBody>(&self, request: &Request<B>) -> Result<Place, Problem> {
        if let Some(Malformed(what)) = request.extensions().get() {
            return Err(Problem::new(Code::BadRequest, *what));
        }
        let refused = &self.telemetry.refused;
        if header_size(request) > self.max_header {
            refused.header.inc();
            let detail = format!("request line and headers are over {} bytes", self.max_header);
            return Err(Problem::new(Code::HeaderTooLarge, detail));
        }
        if request.body().size_hint().lower() > self.max_body {
            refused.body.inc();
            return Err(self.body_too_large());
        }
        if is_always(request) {
            return Ok(self.in_flight.aside());
        }
        match self.in_flight.place() {
            Ok(place) => Ok(place),
            Err(_) if request.uri().path() == ADMITTED => Ok(self.in_flight.aside()),
            Err(no_place) => {
                refused.concurrency.inc();
                Err(Problem::from(no_place))
            }
        }
    }

    /// Refuses an answer for which there is no room, because clients do not take what they asked
    /// for.
    fn make_room(
        &self,
        response: &Response,
        version: Version,
        always: bool,
        user: Option<Arc<Shares>>,
    ) -> Result<Share, Problem> {
        if always || response.extensions().get::<Embedded>().is_some() {
            return Ok(None);
        }
        let body = response.extensions().get::<Arc<CachedBody>>();
        let of_user = match (user, UnsentBudget::units(response.body(), version)) {
            (Some(user), Some(units)) => {
                let take = || user.unsent(units, self.most_unsent_of_user);
                let share = match body {
                    Some(body) => body.of_user(user.sharer(), take),
                    None => take().map(Arc::new),
                };
                Some(share.ok_or_else(|| {
                    self.telemetry.refused.unsent.inc();
                    let detail = "too many answers have not been taken by clients of this user";
                    Problem::new(Code::TooMuchAtOnce, detail)
                })?)
            }
            _ => None,
        };
        let room = match body {
            Some(body) => Ok(body.share()),
            None => {
                let share = self.bodies.make_room(|room| room.take(response.body(), version));
                share.map(|share| share.map(Arc::new))
            }
        };
        let room = room.map_err(|OverBudget| {
            self.telemetry.refused.unsent.inc();
            Problem::new(Code::Overloaded, "too many answers have not been taken by their clients")
        })?;
        Ok(room.map(|room| Held { _room: room, _of_user: of_user }))
    }

    async fn run<B>(
        &self,
        request: Request<B>,
        arrival: ConnectInfo,
        underway: Option<&Arc<Underway>>,
    ) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let wish = AcceptEncoding::of(&request);
        let mut request = request.map(|body| self.limited(body));
        request.extensions_mut().insert(arrival);
        if let Some(underway) = underway {
            request.extensions_mut().insert(Arc::clone(underway));
        }
        let mut routes = self.routes.clone();
        let answer = async {
            if takes_no_body(request.method()) && !request.body().is_end_stream() {
                let (method, uri) = (request.method().clone(), request.uri().clone());
                request = match without_body(request).await {
                    Ok(request) => request,
                    Err(problem) => return refused(&mut routes, method, uri, problem).await,
                };
            }
            let response = Service::call(&mut routes, request).await?;
            Ok::<_, Infallible>(encode(&self.bodies, wish, response).await)
        };
        match catch_panic::caught(tokio::time::timeout(self.request_timeout, answer)).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(_elapsed)) => {
                self.telemetry.refused.timeout.inc();
                let known = underway.and_then(|underway| underway.problem());
                known.unwrap_or_else(|| Problem::from(Code::RequestTimeout)).into_response()
            }
            Err(panic) => {
                self.telemetry.panics.inc();
                tracing::error!(%panic, "a request panicked");
                Problem::new(Code::Internal, "the request ran into a bug of the gateway; its log has more under this request id").into_response()
            }
        }
    }

    /// The body, which fails once it is longer than it may be.
    fn limited<B>(&self, body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        if body.is_end_stream() {
            return Body::empty();
        }
        let limit = usize::try_from(self.max_body).unwrap_or(usize::MAX);
        Body::new(Limited::new(body, limit))
    }

    fn body_too_large(&self) -> Problem {
        let detail = format!("the body is over {} bytes", self.max_body);
        Problem::new(Code::BodyTooLarge, detail)
    }
}

/// What a client is told whose change was made, or begun, and for whose answer there is no room.
fn done_all_the_same(problem: &Problem) -> Problem {
    let detail =
        format!("what was asked for was done or begun; only for the answer: {}", problem.detail());
    problem.clone().with_detail(detail).not_repeatable()
}

/// What refuses a request for its body: that there is no such path, or that it does not have the
/// method, comes first.
async fn refused(
    routes: &mut Router,
    method: Method,
    uri: Uri,
    problem: Problem,
) -> Result<Response, Infallible> {
    let ask = |method| {
        let mut request = Request::new(Body::empty());
        (*request.method_mut(), *request.uri_mut()) = (method, uri.clone());
        request
    };
    // No path has this method, so all that it does is to say what there is.
    let there = Service::call(routes, ask(Method::OPTIONS)).await?;
    let has = there.headers().get_all(header::ALLOW).iter().any(|allowed| {
        let allowed = allowed.to_str().unwrap_or_default();
        allowed.split(',').any(|allowed| allowed.trim() == method.as_str())
    });
    if has { Ok(problem.into_response()) } else { Service::call(routes, ask(method)).await }
}

/// Whether no path takes a body with this method; those that take none with another say so
/// themselves.
fn takes_no_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}

fn is_always<B>(request: &Request<B>) -> bool {
    ALWAYS.contains(&request.uri().path())
}

/// The request line and headers, about as they came over the wire.
fn header_size<B>(request: &Request<B>) -> u64 {
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let line = request.method().as_str().len() + target + " HTTP/1.1\r\n ".len();
    let headers = request.headers().iter();
    let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (line + headers) as u64
}

/// The headers every answer has, of one that was made outside of the shell: to a preflight.
pub fn finish_outside(response: &mut Response, request_id: &RequestId) {
    if !response.headers().contains_key(request_id::HEADER) {
        finish(response, request_id);
    }
}

/// The headers every answer has.
fn finish(response: &mut Response, request_id: &RequestId) {
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, request_id.to_header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        // What a validator came with may be kept by the client itself, if it asks again each time.
        let policy =
            if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(policy));
    }
}

/// The answer where no route fits.
pub(super) async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this path")
}

/// The answer where a route fits, but not with this method; axum adds `Allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this path does not take this method; see Allow")
}
