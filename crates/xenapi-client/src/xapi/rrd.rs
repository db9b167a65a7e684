//! What hosts measure: plain GETs, with the session in the query.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::Xapi;
use super::calls::{session_invalid, still_good};
use crate::connections::{Endpoint, Got};
use crate::error::{BadReply, CallError, Fault, Reason, Unreachable};
use crate::rrd::RrdRequest;
use crate::session::Session;
use xengate_config::address;

/// The parameter that holds the session's ref.
const SESSION: &str = "session_id";

/// XAPI refuses a head of more than about 1,000 bytes.
const LONGEST_TARGET: usize = 600;

impl Xapi {
    /// Asks a host, and the one it refers to, if that is a host of the pool.
    pub(super) async fn rrd(
        &self,
        session: &Session,
        request: &RrdRequest<'_>,
    ) -> Result<Vec<u8>, CallError> {
        still_good(session)?;
        let deadline = Instant::now() + request.within.min(self.call_timeout);
        let host = match request.host {
            None => self.hosts.current_or_first(),
            Some(address) => self.at(address)?,
        };
        let query = request.query.iter().copied();
        let target = target(request.handler.path(), query, session)?;
        let location = match self.get(session, &host, &target, deadline).await? {
            Got::Body(body) => return Ok(body),
            Got::Location(location) => location,
        };
        // The location repeats the session's ref.
        let (host, target) = self.referred(&location, request, session)?;
        match self.get(session, &host, &target, deadline).await? {
            Got::Body(body) => Ok(body),
            Got::Location(_) => Err(strayed("it is referred from host to host")),
        }
    }

    async fn get(
        &self,
        session: &Session,
        host: &Arc<Endpoint>,
        target: &SecretString,
        deadline: Instant,
    ) -> Result<Got, CallError> {
        match self.connections.get(host, target, session.sharer(), deadline).await {
            // A host that takes no session of the pool's may be at odds with the pool, so the
            // coordinator has the last word on whether the session is good.
            Err(CallError::BadReply(BadReply { status: Some(401), .. })) => {
                self.check(session).await?;
                Err(session_invalid())
            }
            other => other,
        }
    }

    /// Where a redirect leads, if that is an RRD of a host of the pool. How a host is reached is the
    /// configuration's business, so neither the scheme nor the port of the location counts.
    fn referred(
        &self,
        location: &SecretString,
        request: &RrdRequest<'_>,
        session: &Session,
    ) -> Result<(Arc<Endpoint>, SecretString), CallError> {
        let uri: http::Uri =
            location.expose_secret().parse().map_err(|_| strayed("it is referred to nowhere"))?;
        let address = address::host(uri.host().unwrap_or_default());
        let address = address.as_deref().unwrap_or_default();
        let is_it = |known: &str| address::host(known).is_some_and(|known| known == address);
        if !request.pool.iter().any(|known| is_it(known)) {
            return Err(strayed("it is referred to a host that is not of this pool"));
        }
        if uri.path() != request.handler.path() {
            return Err(strayed("it is referred to something else"));
        }
        let query = uri.query().unwrap_or_default();
        let pairs: Vec<_> =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != SESSION).collect();
        let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
        let target = target(uri.path(), pairs, session)?;
        // The coordinator is where it has been found, whatever address it gives itself.
        let host = match request.coordinator.is_some_and(is_it) {
            true => self.hosts.current_or_first(),
            false => self.at(address)?,
        };
        Ok((host, target))
    }

    fn at(&self, address: &str) -> Result<Arc<Endpoint>, CallError> {
        self.hosts.at(address).map_err(|why| {
            Unreachable { address: address.to_owned(), reason: Reason::NoWay(why) }.into()
        })
    }
}

/// A path with its query and the session's ref.
fn target<'a>(
    path: &str,
    query: impl Iterator<Item = (&'a str, &'a str)>,
    session: &Session,
) -> Result<SecretString, CallError> {
    let mut text = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    for (name, value) in query {
        text.append_pair(name, value);
    }
    text.append_pair(SESSION, session.reference().expose_secret());
    let text = text.finish();
    if text.len() > LONGEST_TARGET {
        return Err(strayed("the question is too long"));
    }
    Ok(SecretString::from(text))
}

fn strayed(why: &'static str) -> CallError {
    CallError::BadReply(BadReply { status: Some(302), fault: Fault::Unfit(why), read: 0 })
}
