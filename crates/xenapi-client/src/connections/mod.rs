//! Connections to the hosts of one pool: kept open, bounded in number, with a deadline for every
//! wait.
//!
//! This is HTTP and nothing more; what is said over it is the business of [`super::xapi`] and
//! [`super::xend`].

mod body;
mod certificate;
mod dial;
mod endpoint;
mod get;
mod inspect;
mod lane;
mod live;
mod once;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use body::Reply;
pub use certificate::Certificate;
pub(crate) use endpoint::Endpoint;
pub(crate) use get::Got;
pub use inspect::{Handshake, Looked, look};
pub use lane::LaneUse;
pub(crate) use lane::Slot;
pub use once::{AskError, Server};
pub use tls::connector;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use body::{MaxReply, Pace};
use dial::Dialer;
use endpoint::Place;
use get::Asides;
use lane::Lane;
use live::{Live, SendError};

use super::call::Retry;
use super::error::{BackendError, BadReply, CallError, Fault, Phase, Reason, Unreachable};
use xengate_config::BackendConfig;

/// XAPI takes no larger body.
pub(crate) const LARGEST_CALL: usize = 300 * 1024;

/// How long a call waits for a connection to come free.
const QUEUE_WAIT: Duration = Duration::from_secs(20);

/// How many calls wait in a lane at most.
const MAX_WAITING: usize = 256;

/// How many passwords are tried at once. They have connections of their own, beside the configured
/// ones, and only for as long as they take: none of them is in the way of anything else.
const PASSWORDS: usize = 24;

/// How long a body may pause.
const PIECE_WAIT: Duration = Duration::from_secs(30);

/// The fewest connections a backend can do with.
const FEWEST: usize = 3;

const AGENT: &str = concat!("xengate/", env!("CARGO_PKG_VERSION"));

/// Which connections an exchange may use. Sync, login and checks have one each to themselves, so that
/// neither slow calls nor each other can starve them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Calls of the gateway's own.
    Calls,
    /// Calls of a user.
    CallsOf(u64),
    /// The mirror's sync.
    Sync,
    /// Logging in and out.
    Login,
    /// Whether a session still lives.
    Check,
    /// Trying passwords, on which a directory may take its time.
    Password,
}

/// What is sent to a host.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Whether the connection is of no use after this.
    pub(crate) close: bool,
}

/// How long a request and its reply may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within {
    /// From first to last.
    pub(crate) whole: Duration,
    /// Until there is a connection, if less than configured.
    pub(crate) connect: Duration,
}

impl From<Duration> for Within {
    fn from(whole: Duration) -> Self {
        Self { whole, connect: Duration::MAX }
    }
}

/// What an exchange has to keep to.
#[derive(Clone, Copy)]
struct Terms {
    /// When the reply has to have begun.
    begin: Instant,
    /// How long connecting may take, if less than configured.
    connect: Duration,
    limit: MaxReply,
    pace: Pace,
    /// Whether a reply that never comes speaks against the host. A login's does: nobody gives up on
    /// one lightly.
    owed: bool,
}

/// The connections to the hosts of one pool.
pub(crate) struct Connections {
    dialer: Dialer,
    calls: Arc<Lane>,
    sync: Arc<Lane>,
    login: Arc<Lane>,
    check: Arc<Lane>,
    passwords: Arc<Lane>,
    asides: Asides,
    queue_wait: Duration,
    max_reply: u64,
    max_sync_reply: u64,
}

impl Connections {
    /// Sets up what the configuration says; opens nothing yet.
    pub(crate) fn new(
        config: &BackendConfig,
        endpoints: &[Arc<Endpoint>],
    ) -> Result<Self, BackendError> {
        let size = config.max_connections;
        if size < FEWEST {
            return Err(BackendError::TooFewConnections { given: size, least: FEWEST });
        }
        let needs_tls =
            |endpoint: &Arc<Endpoint>| matches!(endpoint.place, Place::Tcp { tls: true, .. });
        let tls = match endpoints.iter().any(needs_tls) {
            true => Some(tls::connector(&config.tls)?),
            false => None,
        };
        Ok(Self {
            dialer: Dialer { tls, within: config.connect_timeout },
            calls: Lane::shared(size - 2, MAX_WAITING),
            sync: Lane::new(1, MAX_WAITING),
            login: Lane::new(1, MAX_WAITING),
            // Beside those that are configured, and open only while somebody is asked about.
            check: Lane::new(1, MAX_WAITING),
            passwords: Lane::new(PASSWORDS, MAX_WAITING),
            asides: Asides::default(),
            queue_wait: QUEUE_WAIT.min(config.call_timeout),
            max_reply: config.max_reply,
            max_sync_reply: config.max_sync_reply,
        })
    }

    /// The right to use a connection; comes as soon as one is free.
    ///
    /// A pool takes seconds to refuse a password, so one connection for all logins would let one
    /// bad password hold up everybody: logins may use what calls leave over, but never more than
    /// half of it.
    pub(crate) async fn slot(&self, of: Use) -> Result<Slot, CallError> {
        let (lane, user) = match of {
            Use::Calls => (&self.calls, None),
            Use::CallsOf(user) => (&self.calls, Some(user)),
            Use::Sync => (&self.sync, None),
            Use::Check => (&self.check, None),
            Use::Password => (&self.passwords, None),
            Use::Login => match self.login.free_slot().or_else(|| self.calls.spare_slot()) {
                Some(slot) => return Ok(slot),
                None => (&self.login, None),
            },
        };
        lane.slot(user, self.queue_wait).await
    }

    /// Sends a request and reads the reply's whole body. A lost connection is met with one more
    /// attempt where the request may be repeated.
    pub(crate) async fn fetch(
        &self,
        of: Use,
        endpoint: &Arc<Endpoint>,
        post: &Post,
        retry: Retry,
        within: Within,
    ) -> Result<Vec<u8>, CallError> {
        let slot = self.slot(of).await?;
        let begin = Instant::now() + within.whole;
        let terms = Terms {
            begin,
            connect: within.connect,
            limit: MaxReply { setting: "max_reply", bytes: self.max_reply },
            pace: Pace { whole: begin, piece: PIECE_WAIT },
            owed: matches!(of, Use::Login | Use::Password),
        };
        let once =
            async |kept| self.exchange(&slot, endpoint, post, terms, kept).await?.whole().await;
        match once(true).await {
            Err(error) if retry == Retry::Read && error.is_loss() => {
                tracing::debug!(%error, address = %endpoint, "asking again");
                once(false).await
            }
            other => other,
        }
    }

    /// Sends a request; its reply is read piece by piece.
    pub(crate) async fn stream<'a>(
        &self,
        slot: &'a Slot,
        endpoint: &Arc<Endpoint>,
        post: &Post,
        begin_within: Duration,
        whole_within: Duration,
    ) -> Result<Reply<'a>, CallError> {
        let now = Instant::now();
        let terms = Terms {
            begin: now + begin_within,
            connect: Duration::MAX,
            limit: MaxReply { setting: "max_sync_reply", bytes: self.max_sync_reply },
            pace: Pace { whole: now + whole_within, piece: PIECE_WAIT },
            owed: false,
        };
        self.exchange(slot, endpoint, post, terms, true).await
    }

    /// How they are used.
    pub(crate) fn used(&self) -> [LaneUse; 4] {
        [
            self.calls.used("calls"),
            self.sync.used("sync"),
            self.login.used("login"),
            self.check.used("check"),
        ]
    }

    /// The largest reply a call may have.
    pub(crate) fn max_reply(&self) -> u64 {
        self.max_reply
    }

    /// The largest reply the sync may have.
    pub(crate) fn max_sync_reply(&self) -> u64 {
        self.max_sync_reply
    }

    /// One request and the head of its reply, on a kept connection if one may be used. One that
    /// turns out to be closed is replaced while nothing of the request has been sent.
    async fn exchange<'a>(
        &self,
        slot: &'a Slot,
        endpoint: &Arc<Endpoint>,
        post: &Post,
        terms: Terms,
        kept: bool,
    ) -> Result<Reply<'a>, CallError> {
        let request = request(endpoint, post);
        if kept && let Some(mut live) = slot.kept(endpoint).await {
            match send(endpoint, &mut live, request.clone(), terms).await? {
                Err(SendError::Unsent) => {}
                sent => return reply(slot, endpoint, live, sent, terms).await,
            }
        }
        slot.make_room();
        let since = Instant::now();
        let mut live = timeout_at(terms.begin, self.dialer.dial(endpoint, terms.connect))
            .await
            .map_err(|_| not_connected(endpoint, since.elapsed()))??;
        let sent = send(endpoint, &mut live, request, terms).await?;
        reply(slot, endpoint, live, sent, terms).await
    }
}

type Sent = Result<Response<Incoming>, SendError>;

async fn send(
    endpoint: &Endpoint,
    live: &mut Live,
    request: Request<Full<Bytes>>,
    terms: Terms,
) -> Result<Sent, CallError> {
    let debt = terms.owed.then(|| Debt(endpoint));
    let sent = timeout_at(terms.begin, live.send(request)).await;
    drop(debt);
    if sent.is_ok() {
        endpoint.answered();
    }
    sent.map_err(|_| CallError::Timeout(Phase::Reply))
}

/// Holds it against a host that it let someone wait in vain, be it until the deadline or until the
/// caller went away.
struct Debt<'a>(&'a Endpoint);

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        self.0.doubt();
    }
}

async fn reply<'a>(
    slot: &'a Slot,
    endpoint: &Endpoint,
    live: Live,
    sent: Sent,
    terms: Terms,
) -> Result<Reply<'a>, CallError> {
    match sent {
        Ok(response) => Reply::begin(slot, live, response, terms.limit, terms.pace).await,
        Err(SendError::Unsent) => Err(lost(endpoint, false)),
        Err(SendError::Lost) => Err(lost(endpoint, true)),
        Err(SendError::NotHttp) => {
            Err(BadReply { status: None, fault: Fault::NotHttp, read: 0 }.into())
        }
    }
}

/// The time was up before there was a connection.
fn not_connected(endpoint: &Endpoint, within: Duration) -> CallError {
    Unreachable { address: endpoint.to_string(), reason: Reason::TimedOut(within) }.into()
}

/// The connection to a host broke.
fn lost(endpoint: &Endpoint, sent: bool) -> CallError {
    Unreachable { address: endpoint.to_string(), reason: Reason::Lost { sent } }.into()
}

fn host_header(endpoint: &Endpoint) -> HeaderValue {
    HeaderValue::from_str(&endpoint.host_header())
        .expect("a host of letters, digits and a few marks")
}

/// XAPI refuses a head of more than about 1,000 bytes, so it holds what is needed and nothing else.
/// XAPI insists on the Content-Length.
fn request(endpoint: &Endpoint, post: &Post) -> Request<Full<Bytes>> {
    let mut request = Request::post(post.path);
    if post.close {
        request = request.header(CONNECTION, HeaderValue::from_static("close"));
    }
    request
        .header(HOST, host_header(endpoint))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .header(CONTENT_TYPE, HeaderValue::from_static(post.content_type))
        .header(CONTENT_LENGTH, post.body.len())
        .body(Full::new(post.body.clone()))
        .expect("a constant path and good headers")
}
