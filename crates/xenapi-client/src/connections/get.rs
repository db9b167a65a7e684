//! GETs of what hosts measure, on connections of their own: neither do they wait for calls, nor
//! calls for them, nor one host for another.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::Full;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Duration, Instant, timeout_at};

use super::body::{MaxReply, Pace};
use super::endpoint::{Endpoint, Place};
use super::lane::{Lane, Slot};
use super::live::{Live, SendError};
use super::{AGENT, Connections, PIECE_WAIT, Reply, Terms, host_header, lost, send};
use crate::error::{BadReply, CallError, Fault, Phase};

/// Connections to one host: one for what is new, one for what is past.
const EACH: usize = 2;

/// How many wait for those at most.
const MAX_WAITING: usize = 64;

/// More hosts than any pool has.
const MOST_HOSTS: usize = 256;

/// What came back.
pub(crate) enum Got {
    /// A document.
    Body(Vec<u8>),
    /// The address of one. It may repeat the session.
    Location(SecretString),
}

/// The lanes that lead to each host.
#[derive(Default)]
pub(super) struct Asides(Mutex<Vec<(Place, Arc<Lane>)>>);

impl Asides {
    fn to(&self, endpoint: &Endpoint) -> Arc<Lane> {
        let mut lanes = self.0.lock();
        if let Some((_, lane)) = lanes.iter().find(|(place, _)| *place == endpoint.place) {
            return lane.clone();
        }
        if lanes.len() >= MOST_HOSTS {
            lanes.remove(0);
        }
        let lane = Lane::new(EACH, MAX_WAITING);
        lanes.push((endpoint.place.clone(), lane.clone()));
        lane
    }
}

impl Connections {
    /// The document at a path, which has a secret in it. A lost connection is met with one more
    /// attempt.
    pub(crate) async fn get(
        &self,
        endpoint: &Arc<Endpoint>,
        target: &SecretString,
        user: u64,
        deadline: Instant,
    ) -> Result<Got, CallError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let slot = self.asides.to(endpoint).slot(Some(user), self.queue_wait.min(left)).await?;
        let request = request(endpoint, target)?;
        let terms = Terms {
            begin: deadline,
            connect: Duration::MAX,
            limit: MaxReply { setting: "max_reply", bytes: self.max_reply },
            pace: Pace { whole: deadline, piece: PIECE_WAIT },
            owed: false,
        };
        match self.got(&slot, endpoint, &request, terms, true).await {
            Err(error) if error.is_loss() => {
                self.got(&slot, endpoint, &request, terms, false).await
            }
            other => other,
        }
    }

    async fn got(
        &self,
        slot: &Slot,
        endpoint: &Arc<Endpoint>,
        request: &Request<Full<Bytes>>,
        terms: Terms,
        kept: bool,
    ) -> Result<Got, CallError> {
        if kept && let Some(mut live) = slot.kept(endpoint).await {
            match send(endpoint, &mut live, request.clone(), terms).await? {
                Err(SendError::Unsent) => {}
                sent => return received(slot, endpoint, live, sent, terms).await,
            }
        }
        slot.make_room();
        let mut live = timeout_at(terms.begin, self.dialer.dial(endpoint, terms.connect))
            .await
            .map_err(|_| CallError::Timeout(Phase::Reply))??;
        let sent = send(endpoint, &mut live, request.clone(), terms).await?;
        received(slot, endpoint, live, sent, terms).await
    }
}

async fn received(
    slot: &Slot,
    endpoint: &Endpoint,
    live: Live,
    sent: super::Sent,
    terms: Terms,
) -> Result<Got, CallError> {
    let response = match sent {
        Ok(response) => response,
        Err(SendError::Unsent) => return Err(lost(endpoint, false)),
        Err(SendError::Lost) => return Err(lost(endpoint, true)),
        Err(SendError::NotHttp) => {
            return Err(BadReply { status: None, fault: Fault::NotHttp, read: 0 }.into());
        }
    };
    if response.status() == http::StatusCode::FOUND {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or(BadReply {
            status: Some(302),
            fault: Fault::Unfit("it refers to nowhere"),
            read: 0,
        })?;
        return Ok(Got::Location(SecretString::from(location)));
    }
    let mut reply = Reply::begin(slot, live, response, terms.limit, terms.pace).await?;
    Ok(Got::Body(reply.whole().await?))
}

/// XAPI refuses a head of more than about 1,000 bytes, so it holds what is needed and nothing else.
fn request(endpoint: &Endpoint, target: &SecretString) -> Result<Request<Full<Bytes>>, CallError> {
    let request = Request::get(target.expose_secret())
        .header(HOST, host_header(endpoint))
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(Full::new(Bytes::new()))
        .map_err(|_| BadReply { status: None, fault: Fault::Unfit("no such path"), read: 0 })?;
    Ok(request)
}
