//! What a kind of backend has to do, and the list of those there are.
//!
//! A kind is a folder with an implementation of [`Toolstack`], and a line in [`TOOLSTACKS`]. What a
//! kind lacks it leaves out: the trait's own methods say so to whoever asks. Nothing outside the
//! folders asks which kind a backend is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use secrecy::SecretString;
use tokio::time::Instant;

use super::call::{EventFrame, Retry, Value, not_there};
use super::connections::{Endpoint, LaneUse};
use super::description::{Capability, Description, Measurements, UpdateMode};
use super::error::{BackendError, CallError, Misconfigured};
use super::records::{Found, Pace, Records};
use super::rrd::RrdRequest;
use super::session::{Access, Session};
use super::tally::Tally;
use super::{legacy, xapi, xend};
use xenapi_wire::{Arg, ReadError};
use xengate_config::{BackendConfig, Kind, PasswordCheck};

/// Every kind there is. The first that recognises itself is taken where nobody has said what
/// listens at an address.
pub(super) static TOOLSTACKS: &[&Registration] =
    &[&xapi::TOOLSTACK, &xend::TOOLSTACK, &legacy::TOOLSTACK];

/// A kind of backend.
pub(super) struct Registration {
    /// As it is configured and shown to clients.
    pub(super) kind: Kind,
    /// Sets a backend of this kind up. Nothing is connected yet.
    pub(super) set_up: fn(&Setup<'_>) -> Result<Arc<dyn Toolstack>, BackendError>,
    /// Whether a backend that answers so is of this kind.
    pub(super) is_it: fn(Answers) -> bool,
}

/// Which calls a backend knows of which nobody has said what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// It knows `pool.get_all`.
    Pools,
    /// It knows `host.get_all`, and no pools.
    Hosts,
    /// It takes XML-RPC, and knows neither.
    Neither,
}

/// What a backend is set up with.
pub(super) struct Setup<'a> {
    pub(super) config: &'a BackendConfig,
    /// Counts its calls, those apart that [`Backend`](super::Backend) counts itself: `login`,
    /// `call`, `read_otherwise`, `events` and `rrd`.
    pub(super) tally: Arc<Tally>,
    /// Where it was found, if nobody had said what listens there.
    pub(super) found_at: Option<Arc<Endpoint>>,
}

impl Setup<'_> {
    /// The address of a backend that has just one.
    pub(super) fn endpoint(&self) -> Result<Arc<Endpoint>, BackendError> {
        if let Some(found) = &self.found_at {
            return Ok(Arc::clone(found));
        }
        let uri = self.config.uris.first().ok_or(BackendError::NoUri)?;
        let parsed = Endpoint::parse(uri).map_err(|why| BackendError::Uri { place: 1, why })?;
        Ok(Arc::new(parsed))
    }
}

/// What a question to a backend comes to.
pub(super) type Asking<'a, T> = BoxFuture<'a, Result<T, CallError>>;

/// Takes one event's JSON.
pub(super) type Each<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), ReadError> + Send);

/// Who logs in.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a SecretString,
    /// Names, among the backend's sessions, who they belong to.
    pub(super) originator: &'a str,
    pub(super) trust: Trust,
}

/// On whose word somebody is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The operator's, who configured the account: whatever the backend takes will do.
    Account,
    /// The backend's, so it must be certain that it looks at passwords.
    Backend,
}

/// A session that the backend has opened: its ref, and what it may do.
pub(super) type Opened = (SecretString, Access);

/// One backend, as its kind is spoken to. Sessions are those of this backend; errors are as
/// XAPI would have them, so that nobody has to know who failed.
pub(super) trait Toolstack: Send + Sync {
    /// What is known about the backend.
    fn description(&self) -> Description;

    /// How its connections are used.
    fn connections(&self) -> Vec<LaneUse>;

    /// The dialect that it speaks, as far as known.
    fn dialect(&self) -> Option<&'static str>;

    /// How the mirror learns of changes, and how what takes long is done.
    fn update_mode(&self) -> UpdateMode;

    /// Where its measurements are found.
    fn measurements(&self) -> Measurements {
        Measurements::Records
    }

    /// What it can do that others cannot.
    fn capabilities(&self) -> &'static [Capability] {
        &[]
    }

    /// Whether it has this call, if its kind alone decides that.
    fn has(&self, call: &str) -> Option<bool>;

    /// Whether its objects have this field, if its kind alone decides that.
    fn has_field(&self, class: &str, field: &str) -> Option<bool>;

    /// Who checks the passwords of those who log in; an error where that cannot be as it is set.
    fn password_check(&self) -> Result<PasswordCheck, Misconfigured>;

    /// Whether nothing can be read on nobody's behalf but with an account at the backend.
    fn needs_account(&self) -> bool;

    /// Whether there is an account that users can work with whose password it does not check.
    fn has_account(&self) -> bool {
        false
    }

    /// Logs somebody in whose password the backend checks.
    fn login<'a>(&'a self, _: Login<'a>) -> Asking<'a, Opened> {
        ready(Err(Misconfigured::NoLogins.into())).boxed()
    }

    /// Lets a user in whose password the gateway has checked: a session that was opened for that,
    /// or none where calls are made in the gateway's own or in no session at all.
    fn admit<'a>(&'a self, originator: &'a str) -> Asking<'a, Option<Opened>>;

    /// Ends a session, as well as it can be done in a few seconds.
    fn logout<'a>(&'a self, _: &'a Session) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    /// Gives back what the gateway itself holds of the backend.
    fn leave(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    /// Asks whether the session is still good, in a call that costs next to nothing.
    fn check<'a>(&'a self, session: &'a Session) -> Asking<'a, ()>;

    /// Asks whether the backend is there, without a session.
    fn probe(&self) -> Asking<'_, ()>;

    /// Whether it looks at passwords: a made-up one is tried. False where none are taken anyhow.
    fn prove(&self) -> Asking<'_, bool> {
        ready(Ok(false)).boxed()
    }

    /// Makes a call of the datamodel. The session comes before `args`.
    fn call<'a>(
        &'a self,
        session: &'a Session,
        call: &'a str,
        args: &'a [Arg],
        retry: Retry,
    ) -> Asking<'a, Value>;

    /// Makes a call that changes nothing in another dialect than usual, if there is one.
    fn read_otherwise<'a>(
        &'a self,
        _session: &'a Session,
        _call: &'a str,
        _args: &'a [Arg],
    ) -> Option<Asking<'a, Value>> {
        None
    }

    /// The events of these classes (`*`: of all) since `token` (`""`: every object), or none once
    /// `timeout` has passed; of backends in [`UpdateMode::Events`].
    fn events<'a>(
        &'a self,
        _session: &'a Session,
        _classes: &'a [&'a str],
        _token: &'a str,
        _timeout: Duration,
        _each: Each<'a>,
    ) -> Asking<'a, EventFrame> {
        ready(Err(not_there("event.from"))).boxed()
    }

    /// The classes that are worth reading at this pace, those together that are read together; of
    /// backends in [`UpdateMode::Polling`].
    fn polls(&self, _: Pace) -> &'static [&'static [&'static str]] {
        &[]
    }

    /// Every object of the classes of a poll of this pace. A class that the backend fails to tell of
    /// is left out, unless there is nothing without it.
    fn records<'a>(
        &'a self,
        _session: &'a Session,
        _pace: Pace,
        _classes: &'static [&'static str],
    ) -> Asking<'a, Records> {
        ready(Ok(Records::default())).boxed()
    }

    /// One object and what comes along with it. Without a record it has gone.
    fn record<'a>(
        &'a self,
        _session: &'a Session,
        _class: &'static str,
        _reference: &'a str,
    ) -> Asking<'a, Vec<Found>> {
        ready(Err(not_there("get_record"))).boxed()
    }

    /// What a host has measured, as its RRD daemon answers it; of backends with
    /// [`Measurements::Rrds`].
    fn rrd<'a>(&'a self, _: &'a Session, request: &'a RrdRequest<'a>) -> Asking<'a, Vec<u8>> {
        ready(Err(not_there(request.handler.path()))).boxed()
    }

    /// Whether it lists VCPUs and the host as xm asks for them.
    fn answers_xm(&self) -> bool {
        false
    }

    /// The VCPUs of a domain as `xend.domain.getVCPUInfo` lists them; none of a domain that is there
    /// no more. Whoever reads what the same poll brought, which began then, shares one question.
    fn vcpus<'a>(
        &'a self,
        _uuid: &'a str,
        _name: &'a str,
        _as_of: Option<Instant>,
    ) -> Asking<'a, Option<Arc<Value>>> {
        ready(Err(not_there("xend.domain.getVCPUInfo"))).boxed()
    }

    /// What `xend.node.info` tells of the host.
    fn host_info(&self) -> Asking<'_, Value> {
        ready(Err(not_there("xend.node.info"))).boxed()
    }
}
