//! `GET /events` and `POST /events/tickets`: what happens, as it happens.

pub mod doc;
mod encode;
pub mod follower;
pub mod frames;
mod group;
pub mod origin;
mod samples;
pub mod selection;
mod snapshot;
pub mod stream_limits;
pub mod streams;
mod websocket;

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use self::follower::Begin;
use self::origin::check_origin;
use self::selection::Choice;
use self::stream_limits::NoPermit;
use self::streams::MEDIA_TYPE;
use crate::Gateway;
use crate::api::sessions::{expose, rfc3339, secret};
use crate::extract::{AcceptsJson, Authenticated, NoBody, NoQuery, OfSession, Query};
use crate::in_flight;
use crate::negotiation::quality;
use crate::problem::{Code, Problem};
use crate::scope::Scope;
use xengate_core::auth::{AuthError, Caller};

/// Where a client goes on.
const LAST_EVENT_ID: &str = "last-event-id";

/// The query of a stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Objects of these classes.
    classes: Option<String>,
    /// Objects of these collections.
    collections: Option<String>,
    /// Only objects for which this holds.
    filter: Option<String>,
    /// Only these fields of them.
    fields: Option<String>,
    /// Begin with everything there is.
    #[serde(default)]
    snapshot: bool,
    /// What is measured of the objects too.
    #[serde(default)]
    samples: bool,
    /// Only this backend's objects.
    backend: Option<String>,
    /// The last id the client has seen, where it cannot send the header.
    last_event_id: Option<String>,
    /// Stands for a session, where the client cannot send the header.
    ticket: Option<SecretString>,
}

/// A ticket.
#[derive(Debug, Serialize)]
pub struct TicketCreated {
    /// What to put into the query.
    #[serde(serialize_with = "expose")]
    pub ticket: SecretString,
    /// Until when it is good, RFC 3339.
    pub expires_at: String,
}

/// Who may open a stream, and what they asked for.
#[derive(Debug)]
pub struct Admission {
    caller: Caller,
    query: EventsQuery,
    last: Option<(String, u64)>,
    /// The client would have a WebSocket.
    upgrade: Option<WebSocketUpgrade>,
}

impl FromRequestParts<Arc<Gateway>> for Admission {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Problem> {
        let Query(query) = Query::<EventsQuery>::from_request_parts(parts, gateway).await?;
        check_origin(parts, &gateway.config.cors)?;
        let upgrade = upgrade(parts, gateway).await?;
        if upgrade.is_none() && quality(&parts.headers, MEDIA_TYPE) == 0 {
            let text = "this path answers text/event-stream, or a WebSocket";
            return Err(Problem::new(Code::NotAcceptable, text));
        }
        let last = last_seen(&parts.headers, query.last_event_id.as_deref())?;
        let caller = match &query.ticket {
            None => Authenticated::from_request_parts(parts, gateway).await?.0,
            Some(_) if parts.headers.contains_key(header::AUTHORIZATION) => {
                let text = "a ticket and an Authorization header: one of them, please";
                return Err(Problem::new(Code::BadRequest, text));
            }
            Some(ticket) => redeem(gateway, ticket).await?,
        };
        Ok(Self { caller, query, last, upgrade })
    }
}

/// Streams what happens to the objects that were asked for.
pub async fn stream(
    State(gateway): State<Arc<Gateway>>,
    admission: Admission,
) -> Result<Response, Problem> {
    let Admission { caller, query, last, upgrade } = admission;
    let EventsQuery { classes, collections, filter, fields, .. } = &query;
    let choice = Choice::parse(
        classes.as_deref(),
        collections.as_deref(),
        filter.as_deref(),
        fields.as_deref(),
        query.samples,
    )?;
    // Before anything is waited for, so that who waits is counted too.
    let seat = gateway.events.seat(&caller)?;
    // Who begins with what there is waits for that.
    let reads: Vec<_> = choice.reads().filter(|_| query.snapshot).collect();
    let scope = Scope::of_classes(&gateway, &caller, query.backend.as_deref(), reads).await?;
    // Those that cannot be read yet are followed all the same: their objects come as they appear.
    let named = scope.readings().iter().map(|(name, _)| name.clone());
    let later = scope.partial().iter().filter(|name| caller.access(name).is_ok());
    let backends = named.chain(later.map(|name| name.as_str().into()));
    let selection = choice.on(backends);
    gateway.costly.permit(&selection.cost(scope.snapshots()))?;
    let begin = Begin { snapshot: query.snapshot, last };
    match upgrade {
        Some(upgrade) => Ok(gateway.events.upgrade(upgrade, seat, selection, begin)?),
        None => Ok(gateway.events.answer(seat, selection, begin)?),
    }
}

/// Makes a ticket for the caller's session.
pub async fn ticket(
    State(gateway): State<Arc<Gateway>>,
    OfSession(holder): OfSession,
    _: AcceptsJson,
    _: NoQuery,
    _: NoBody,
) -> Result<Response, Problem> {
    let ticket = gateway.authority.issue_ticket(&holder);
    let ticket = ticket.map_err(|error| Problem::new(Code::TooManyTickets, error.to_string()))?;
    let expires_at = rfc3339(SystemTime::now() + ticket.life);
    let mut response = secret(&TicketCreated { ticket: ticket.secret, expires_at });
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// The upgrade that was asked for, if one was.
async fn upgrade(
    parts: &mut Parts,
    gateway: &Arc<Gateway>,
) -> Result<Option<WebSocketUpgrade>, Problem> {
    let asked = parts.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    // Some clients would have HTTP/2 at every request.
    if !asked.is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")) {
        return Ok(None);
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, gateway).await;
    upgrade.map(Some).map_err(|error| {
        Problem::new(Code::BadRequest, format!("no WebSocket can be opened: {}", error.body_text()))
    })
}

async fn redeem(gateway: &Gateway, ticket: &SecretString) -> Result<Caller, Problem> {
    let caller = gateway.authority.redeem(ticket.expose_secret()).await;
    let caller = caller.map_err(|error| match error {
        AuthError::Invalid => {
            let text = "the ticket is not valid, has been used or is too old: get another one";
            Problem::new(Code::InvalidToken, text)
        }
        error => Problem::from(error),
    })?;
    in_flight::belongs_to(&caller.session)?;
    Ok(caller)
}

/// What the client has seen: by its header, which a browser that comes back by itself keeps up to
/// date, or by its query.
fn last_seen(headers: &HeaderMap, query: Option<&str>) -> Result<Option<(String, u64)>, Problem> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let Some(id) = header.or(query).filter(|id| !id.is_empty()) else { return Ok(None) };
    let parts = id.rsplit_once('-').filter(|(run, number)| {
        run.len() <= 64 && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let read = parts.and_then(|(run, number)| Some((run.to_owned(), number.parse().ok()?)));
    read.map(Some).ok_or_else(|| {
        let text = "last_event_id: not an id of this gateway's events";
        Problem::new(Code::BadParameter, text).with_params(["last_event_id"])
    })
}

impl From<NoPermit> for Problem {
    fn from(no_seat: NoPermit) -> Self {
        let code = match no_seat {
            NoPermit::Full | NoPermit::Groups => Code::TooManyStreams,
            NoPermit::OfSession | NoPermit::OfUser | NoPermit::GroupsOfUser => {
                Code::TooManyOwnStreams
            }
        };
        Self::new(code, no_seat.to_string())
    }
}
