//! Where requests come from: the listener, TLS, HTTP/1.1 and HTTP/2.
//!
//! At `max_connections` a new connection takes the place of the one that has been idle for longest;
//! where none is idle, clients wait until one ends. A connection that sends no request within `header_timeout` is closed, and so is
//! one that is idle for that long. So is one whose client takes nothing of an answer for
//! `write_timeout`. A connection that becomes a WebSocket gives its place back: it has one among
//! the event streams, which have limits of their own.

mod bad_request;
mod descriptors;
mod fair_write;
mod half_closed;
mod places;
mod spoken;
mod stream;
#[cfg(test)]
mod tests;
mod write_timeout;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::bad_request::{ExplainBadRequest, answer};
pub use self::descriptors::connections as possible_connections;
use self::fair_write::{FairWrite, LargeWriteSlots};
use self::half_closed::HalfClosed;
use self::places::{Place, Places};
use self::stream::Governed;
use self::write_timeout::WriteTimeout;
use crate::middleware::{Malformed, RequestService, Stack, UnsentWatch, finish_outside};
use crate::problem::{Code, Problem};
use crate::request_id::RequestId;
use crate::telemetry::Telemetry;
use xengate_config::Limits;

/// How long accepting pauses when the system has no sockets left to give.
const BREATH: Duration = Duration::from_millis(100);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);

/// How long a connection that is to end may take over its last words.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 128;

/// hyper's smallest buffer.
const LEAST_BUFFER: usize = 8 << 10;

/// A listener and what it serves.
pub struct Server {
    /// Where it listens.
    pub listener: TcpListener,
    /// How connections are secured, if they are.
    pub tls: Option<TlsAcceptor>,
    /// What answers.
    pub shell: RequestService,
    /// What is taken.
    pub limits: Limits,
    /// Whose connections are many clients'.
    pub trusted_proxies: Vec<IpNet>,
    /// Where connections are counted.
    pub telemetry: Arc<Telemetry>,
}

/// What connections share.
struct Protocols {
    builder: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    slots: LargeWriteSlots,
    first_request: Duration,
    write_timeout: Duration,
    stop: CancellationToken,
}

/// One connection's answers.
struct Service {
    stack: Stack,
    unsent: Arc<UnsentWatch>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves until `stop`, then lets what runs finish within `shutdown_grace`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, tls, shell, limits, trusted_proxies, telemetry } = self;
        let protocols = Arc::new(Protocols {
            builder: builder(&limits),
            tls,
            slots: LargeWriteSlots::of(Handle::current().metrics().num_workers()),
            first_request: limits.header_timeout,
            write_timeout: limits.write_timeout,
            stop: stop.clone(),
        });
        let max_connections = descriptors::connections(limits.max_connections);
        let places = Places::new(max_connections, &limits, &trusted_proxies);
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                while connections.try_join_next().is_some() {}
                let (stream, peer) = accept(&listener, &places).await;
                telemetry.accepted.inc();
                let Ok(place) = places.enter(peer.ip()).await else {
                    telemetry.refused.connections.inc();
                    refuse(&stream, protocols.tls.is_some());
                    continue;
                };
                let open = telemetry.connections.hold();
                let unsent = Arc::new(UnsentWatch::of(place.activity.clone()));
                let stack = shell.for_connection(peer, unsent.clone());
                let (protocols, service) = (protocols.clone(), Service { stack, unsent });
                connections.spawn(async move {
                    protocols.serve(stream, peer, service, &place).await;
                    drop((open, place));
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.shutdown_grace, drained).await.is_err() {
            let left = connections.len();
            tracing::warn!(left, "connections that did not end in time are cut");
            connections.shutdown().await;
        }
    }
}

/// The next connection. What goes wrong with one of them is its own affair; without sockets to
/// spare it helps that others end.
async fn accept(listener: &TcpListener, places: &Places) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections for now");
                places.ease();
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Says, as far as that can be done at once, that there is no place for a connection.
fn refuse(stream: &TcpStream, tls: bool) {
    if !tls {
        let why = "as many connections as one address may have are busy";
        let problem = Problem::new(Code::Overloaded, why);
        // A socket that has just been opened takes as much.
        let _ = stream.try_write(&answer(&problem));
    }
}

/// What is wrong with how the request says which host it is for, if anything (RFC 9112, 3.2).
fn wrong_host<B>(request: &hyper::Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("Host comes more than once"),
        (None, None) if request.version() == Version::HTTP_11 => Some("there is no Host"),
        _ => None,
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let max_header = usize::try_from(limits.max_header).unwrap_or(usize::MAX);
    // Twice the limit, so that what is a little over it can be answered with the limit's number;
    // beyond, hyper answers by itself.
    let buffer = max_header.saturating_mul(2).max(LEAST_BUFFER);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // Who has said all there is to say may still want the answer.
        .half_close(true)
        .max_buf_size(buffer);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX));
    builder
}

impl Protocols {
    async fn serve(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        service: Service,
        place: &Place,
    ) {
        // Answers are written whole; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let patient = |stream| {
            Governed::new(stream, WriteTimeout::new(self.write_timeout, place.activity.clone()))
        };
        let Some(tls) = &self.tls else {
            return self.talk(patient(stream), peer, service, place).await;
        };
        let beginning = async {
            match spoken::to_tls(&mut stream).await? {
                Some(words) => {
                    spoken::tell(stream, &words).await;
                    Err(io::Error::other("HTTP without TLS"))
                }
                None => tls.accept(patient(stream)).await,
            }
        };
        let secured = tokio::select! {
            secured = tokio::time::timeout(self.first_request, beginning) => secured,
            () = self.stop.cancelled() => return,
            () = place.wanted() => return,
        };
        match secured {
            Ok(Ok(stream)) => {
                self.talk(Governed::new(stream, HalfClosed), peer, service, place).await
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        service: Service,
        place: &Place,
    ) {
        let Service { stack, unsent } = service;
        let asked = Arc::new(AtomicBool::new(false));
        let service = {
            let asked = asked.clone();
            hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                if let Some(what) = wrong_host(&request) {
                    request.extensions_mut().insert(Malformed(what));
                }
                // CORS answers preflights before the shell sees them.
                let options = request.method() == Method::OPTIONS;
                let request_id = options.then(|| RequestId::of(request.headers()));
                let answer = stack.clone().oneshot(request);
                async move {
                    let mut response = answer.await.map_err(|never: Infallible| match never {})?;
                    if let Some(request_id) = request_id {
                        finish_outside(&mut response, &request_id);
                    }
                    Ok::<_, Infallible>(response)
                }
            })
        };
        let stream = Governed::new(stream, FairWrite::new(&self.slots));
        let stream = Governed::new(stream, ExplainBadRequest::default());
        let mut connection =
            pin!(self.builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut stopped = pin!(self.stop.cancelled());
        // hyper waits for as long as it takes to learn which HTTP it is, and where that is HTTP/2
        // for the next request.
        let mut patience = pin!(tokio::time::sleep(self.first_request));
        let mut stalled = pin!(unsent.stalled(self.write_timeout));
        let mut last_words = pin!(tokio::time::sleep(Duration::MAX));
        let (mut stopping, mut leaving) = (false, false);
        let ended = loop {
            // Whether nothing is under way, so that the connection may end.
            let leave = tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                () = &mut stalled => {
                    tracing::debug!(%peer, "a client takes nothing of an answer");
                    return;
                }
                () = &mut last_words, if leaving => {
                    if place.activity.idle_since().is_some() {
                        return;
                    }
                    // It ends by itself once that is done.
                    leaving = false;
                    place.keep();
                    continue;
                }
                () = place.wanted() => {
                    let idle = place.activity.idle_since().is_some();
                    if !idle {
                        place.keep();
                    }
                    idle
                }
                () = &mut patience => {
                    let left = match place.activity.idle_for() {
                        None => self.first_request,
                        Some(idle) => self.first_request.saturating_sub(idle),
                    };
                    // HTTP/1 looks at its own clock, a little earlier.
                    patience.as_mut().reset(Instant::now() + left + LEAVE_WITHIN);
                    left.is_zero()
                }
            };
            if leave && !asked.load(Ordering::Relaxed) {
                return;
            }
            if leave && !leaving {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                last_words.as_mut().reset(Instant::now() + LEAVE_WITHIN);
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "a connection ended badly");
        }
    }
}
