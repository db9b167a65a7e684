//! XAPI, the toolstack of XenServer and XCP-ng.

mod calls;
mod events;
mod guard;
mod hosts;
mod login;
pub(super) mod redact;
mod rrd;
mod toolstack;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::connections::{Connections, Endpoint, LaneUse};
use super::description::Description;
use super::error::{BackendError, CallError, Phase};
use super::session::PermissionSets;
use super::software::HostSoftware;
use super::tally::Tally;
use super::toolstack::Setup;
pub(super) use calls::{Question, session_invalid};
use guard::Guard;
use hosts::Hosts;
pub(super) use toolstack::TOOLSTACK;
use xenapi_wire::reply::Dialect;
use xengate_config::{PasswordCheck, SecretSource};

/// The failure of a call whose session is no more.
pub(super) const SESSION_INVALID: &str = "SESSION_INVALID";

/// How long a login goes on at least when nobody waits for it any more: a session may come of it, to
/// be logged out of.
const SHORTEST_LOGIN: Duration = Duration::from_secs(60);

/// A pool that speaks XAPI's Xen-API.
pub(super) struct Xapi {
    connections: Connections,
    hosts: Hosts,
    guard: Guard,
    auth: Option<PasswordCheck>,
    account: Option<(String, SecretSource)>,
    call_timeout: Duration,
    login_within: Duration,
    ids: AtomicU64,
    facts: Mutex<Facts>,
    permissions: PermissionSets,
    last_error: Mutex<Option<String>>,
    tally: Arc<Tally>,
}

/// What a pool says about itself.
#[derive(Debug, Default)]
struct Facts {
    software: HostSoftware,
    read: Option<Instant>,
}

impl Xapi {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, BackendError> {
        let config = setup.config;
        let endpoints = config
            .uris
            .iter()
            .enumerate()
            .map(|(index, uri)| match Endpoint::parse(uri) {
                Ok(endpoint) => Ok(Arc::new(endpoint)),
                Err(why) => Err(BackendError::Uri { place: index + 1, why }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(BackendError::NoUri);
        }
        Ok(Self {
            connections: Connections::new(config, &endpoints)?,
            hosts: Hosts::new(endpoints),
            guard: Guard::default(),
            auth: config.auth,
            account: config.service_username.clone().zip(config.service_password.clone()),
            call_timeout: config.call_timeout,
            login_within: config.login_timeout.saturating_mul(2).max(SHORTEST_LOGIN),
            ids: AtomicU64::new(1),
            facts: Mutex::default(),
            permissions: PermissionSets::default(),
            last_error: Mutex::default(),
            tally: Arc::clone(&setup.tally),
        })
    }

    pub(super) fn description(&self) -> Description {
        let software = self.facts.lock().software.clone();
        Description {
            kind: TOOLSTACK.kind,
            api_version: software.api_version(),
            product: software.product,
            version: software.version,
            address: self.hosts.current().map(|host| host.to_string()),
            last_error: self.last_error.lock().clone(),
        }
    }

    pub(super) fn dialect(&self) -> Option<&'static str> {
        Some(match self.hosts.current_or_first().dialect()? {
            Dialect::JsonRpc => "JSON-RPC",
            Dialect::XmlRpc => "XML-RPC",
        })
    }

    pub(super) fn connections(&self) -> [LaneUse; 4] {
        self.connections.used()
    }

    /// Remembers how the backend is doing. A failure is an answer like any other.
    fn note<T>(&self, result: &Result<T, CallError>) {
        let error = match result {
            Ok(_) | Err(CallError::Failure(_)) => None,
            // Says something about the call or the gateway, nothing about the backend.
            Err(
                CallError::Unsendable(_) | CallError::Busy(_) | CallError::Timeout(Phase::Queue),
            ) => return,
            Err(error) => Some(error.to_string()),
        };
        *self.last_error.lock() = error;
    }
}
