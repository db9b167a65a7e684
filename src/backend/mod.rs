//! One Xen pool, behind a small interface: log in, call, follow events.
//!
//! A pool is spoken to in one of several ways (only XAPI's so far); [`Backend`] is the same for all
//! of them. This floor knows nothing of the JSON that clients see.

mod connections;
mod error;
mod rrd;
mod session;
mod xapi;

#[cfg(test)]
mod testing;

// Parts of the errors, for floors that do not know `wire`.
pub use crate::wire::reply::Failure;
pub use crate::wire::{ReadError, Seen};
pub use error::{
    BackendError, BadReply, Busy, CallError, Fault, Phase, Reason, Unguarded, Unreachable,
    Unsendable,
};
pub use rrd::{Handler, RrdRequest};
pub use session::{Access, Permissions, Session};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::value::RawValue;

use crate::config::{BackendConfig, Kind, PasswordCheck};
use crate::wire::Arg;
use xapi::Xapi;

/// One Xen pool: its addresses, its connections, its coordinator.
pub struct Backend {
    name: String,
    way: Way,
}

/// How a pool is spoken to.
enum Way {
    Xapi(Xapi),
}

/// Whether a call may be sent again after its connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It changes nothing: once more will do no harm.
    Read,
    /// It may have been carried out: only when provably nothing of it was sent.
    Write,
}

/// The result of a call, as JSON text. Its `Debug` does not show it.
pub struct Value(Box<RawValue>);

impl Value {
    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.get().len())
    }
}

/// What `event.from` returns beside the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFrame {
    /// Where the next `event.from` goes on.
    pub token: String,
    /// How many objects of each class (in lower case) there are now.
    pub valid_ref_counts: BTreeMap<String, u64>,
}

/// What not every kind of backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// It tells of changes as they happen.
    Events,
    /// It carries calls out in the background, as tasks.
    Tasks,
    /// Its users have roles, which say who may do what.
    Roles,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Tasks, Self::Roles];

    /// `events`, `tasks`, `roles`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Tasks => "tasks",
            Self::Roles => "roles",
        }
    }
}

/// What is known about a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How it is spoken to: `xapi`.
    pub kind: &'static str,
    /// `XenServer`, `XCP-ng`, …; unknown until someone has logged in.
    pub product: Option<String>,
    /// The product's version.
    pub version: Option<String>,
    /// The version of its Xen-API: `2.21`.
    pub api_version: Option<String>,
    /// The address in use; unknown until someone has logged in.
    pub address: Option<String>,
    /// What went wrong last, unless something has gone well since.
    pub last_error: Option<String>,
}

impl Backend {
    /// Sets a backend up as it is configured. Nothing is connected yet, so a backend that is down
    /// is no error.
    pub fn new(name: &str, config: &BackendConfig) -> Result<Arc<Self>, BackendError> {
        let way = match config.kind {
            Kind::Auto | Kind::Xapi => Way::Xapi(Xapi::new(config)?),
            kind @ (Kind::Xend | Kind::Legacy) => return Err(BackendError::Unsupported(kind)),
        };
        Ok(Arc::new(Self { name: name.to_owned(), way }))
    }

    /// The name it is configured under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Logs in. `originator` names, among the backend's sessions, who they belong to.
    pub async fn login(
        self: &Arc<Self>,
        username: &str,
        password: &SecretString,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        let (reference, access) = match &self.way {
            Way::Xapi(xapi) => xapi.login(username, password, originator).await?,
        };
        Ok(Arc::new(Session::new(&self.name, username, reference, access)))
    }

    /// Who checks the passwords of those who log in to it.
    pub async fn password_check(&self) -> Result<PasswordCheck, CallError> {
        match &self.way {
            Way::Xapi(_) => Ok(PasswordCheck::Backend),
        }
    }

    /// Opens a session for a user whose password has been checked, and who may do this much.
    pub async fn admit(
        self: &Arc<Self>,
        username: &str,
        access: Access,
    ) -> Result<Arc<Session>, CallError> {
        let _ = (username, access);
        match &self.way {
            Way::Xapi(_) => Err(Unguarded::NoLogins.into()),
        }
    }

    /// Makes a call: `VM.start`, `Async.VM.start`. The session comes before `args`.
    pub async fn call(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
    ) -> Result<Value, CallError> {
        self.own(session)?;
        match &self.way {
            Way::Xapi(xapi) => xapi.call(session, call, args, retry).await,
        }
    }

    /// The events since `token` (`""`: every object), or none once `timeout` has passed. `each` is
    /// given one event's JSON at a time while the reply comes in.
    pub async fn events(
        &self,
        session: &Session,
        token: &str,
        timeout: Duration,
        each: &mut (dyn FnMut(&[u8]) -> Result<(), ReadError> + Send),
    ) -> Result<EventFrame, CallError> {
        self.own(session)?;
        match &self.way {
            Way::Xapi(xapi) => xapi.events(session, token, timeout, each).await,
        }
    }

    /// What a host has measured, as its RRD daemon answers it.
    pub async fn rrd(
        &self,
        session: &Session,
        request: &RrdRequest<'_>,
    ) -> Result<Vec<u8>, CallError> {
        self.own(session)?;
        match &self.way {
            Way::Xapi(xapi) => xapi.rrd(session, request).await,
        }
    }

    /// Asks whether the session is still good, in a call that costs next to nothing.
    pub async fn check(&self, session: &Session) -> Result<(), CallError> {
        self.own(session)?;
        match &self.way {
            Way::Xapi(xapi) => xapi.check(session).await,
        }
    }

    /// Asks whether the backend is there, without a session.
    pub async fn probe(&self) -> Result<(), CallError> {
        match &self.way {
            Way::Xapi(xapi) => xapi.probe().await,
        }
    }

    /// Logs out, as well as it can be done in a few seconds. The session counts as ended whatever
    /// the backend says.
    pub async fn logout(&self, session: &Session) {
        if self.own(session).is_ok() && session.end() {
            match &self.way {
                Way::Xapi(xapi) => xapi.logout(session.reference()).await,
            }
        }
    }

    /// What its kind can do.
    pub fn capabilities(&self) -> &'static [Capability] {
        match &self.way {
            Way::Xapi(_) => &Capability::ALL,
        }
    }

    /// What is known about the backend.
    pub fn description(&self) -> Description {
        match &self.way {
            Way::Xapi(xapi) => xapi.description(),
        }
    }

    /// A session is shown to no backend but its own.
    fn own(&self, session: &Session) -> Result<(), CallError> {
        if session.backend() == self.name {
            return Ok(());
        }
        Err(CallError::Failure(Failure {
            code: xapi::SESSION_INVALID.to_owned(),
            params: Vec::new(),
        }))
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).finish_non_exhaustive()
    }
}
