//! Where requests come from: the listener, TLS, HTTP/1.1 and HTTP/2.
//!
//! At `max_connections` no new connection is accepted until one ends; clients wait in the
//! system's queue. A connection that sends no request within `header_timeout` is closed, and so is
//! one that is idle for that long. So is one whose client takes nothing of an answer for
//! `write_timeout`. A connection that becomes a WebSocket gives its place back: it has one among
//! the event streams, which have limits of their own.

mod passing;
mod patience;
#[cfg(test)]
mod tests;
mod unreadable;

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::request_id::RequestId;
use super::shell::{Malformed, Shell, Stack, Unsent, finish_outside};
use super::telemetry::Telemetry;
use crate::config::Limits;
use passing::{Passing, Turns};
use patience::Patience;
use unreadable::Explained;

/// How long accepting pauses when the system has no sockets left to give.
const BREATH: Duration = Duration::from_millis(100);

/// How often an HTTP/2 client is asked whether it is still there, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(20);

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
    pub shell: Shell,
    /// What is taken.
    pub limits: Limits,
    /// Where connections are counted.
    pub telemetry: Arc<Telemetry>,
}

/// What connections share.
struct Protocols {
    builder: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    turns: Turns,
    first_request: Duration,
    write_timeout: Duration,
    stop: CancellationToken,
}

/// One connection's answers.
struct Service {
    stack: Stack,
    unsent: Arc<Unsent>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Server {
    /// Serves until `stop`, then lets what runs finish within `shutdown_grace`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, tls, shell, limits, telemetry } = self;
        let protocols = Arc::new(Protocols {
            builder: builder(&limits),
            tls,
            turns: Turns::of(Handle::current().metrics().num_workers()),
            first_request: limits.header_timeout,
            write_timeout: limits.write_timeout,
            stop: stop.clone(),
        });
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        let mut connections = JoinSet::new();
        let accepting = async {
            let mut crowded = Crowded::new(limits.max_connections);
            loop {
                while connections.try_join_next().is_some() {}
                crowded.look(slots.available_permits());
                let slot = slots.clone().acquire_owned().await;
                let slot = slot.expect("nobody closes this semaphore");
                let (stream, peer) = accept(&listener).await;
                telemetry.accepted.inc();
                let open = telemetry.connections.hold();
                let unsent = Arc::<Unsent>::default();
                let stack = shell.for_connection(peer, unsent.clone());
                let (protocols, service) = (protocols.clone(), Service { stack, unsent });
                connections.spawn(async move {
                    protocols.serve(stream, peer, service).await;
                    drop((open, slot));
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

/// Tells the log once when connections run out, however many come and go at the limit; again only
/// after there was air.
struct Crowded {
    max_connections: usize,
    told: bool,
}

impl Crowded {
    fn new(max_connections: usize) -> Self {
        Self { max_connections, told: false }
    }

    /// Looks at how many connections may still come; whether that was worth a warning.
    fn look(&mut self, free: usize) -> bool {
        let warn = free == 0 && !self.told;
        if warn {
            self.told = true;
            let max_connections = self.max_connections;
            tracing::warn!(max_connections, "no new connections until one ends");
        } else if free > self.max_connections / 10 {
            self.told = false;
        }
        warn
    }
}

/// The next connection. What goes wrong with one of them is its own affair; without sockets to
/// spare it helps to wait.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections for now");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
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
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, service: Service) {
        // Answers are written whole; waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Patience::new(stream, self.write_timeout);
        let Some(tls) = &self.tls else {
            return self.talk(stream, peer, service).await;
        };
        let handshake = tokio::time::timeout(self.first_request, tls.accept(stream));
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.talk(stream, peer, service).await,
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS"),
            Some(Err(_)) => tracing::debug!(%peer, "no TLS in time"),
            None => {}
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        service: Service,
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
        let stream = Passing::new(stream, &self.turns);
        let mut connection = pin!(
            self.builder
                .serve_connection_with_upgrades(TokioIo::new(Explained::new(stream)), service)
        );
        let mut stopped = pin!(self.stop.cancelled());
        // hyper waits for as long as it takes to learn which HTTP it is.
        let mut patience = pin!(tokio::time::sleep(self.first_request));
        let mut stalled = pin!(unsent.stalled(self.write_timeout));
        let (mut stopping, mut patient) = (false, true);
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut stalled => {
                    tracing::debug!(%peer, "a client takes nothing of an answer");
                    return;
                }
                () = &mut patience, if patient => {
                    patient = false;
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "a connection ended badly");
        }
    }
}
