//! One Xen pool, behind a small interface: log in, call, follow events.
//!
//! A pool is spoken to in one of several ways: XAPI's, xend's Xen-API, xend's own interface.
//! [`Backend`] is the same for all of them; where they differ by nature it says so: XAPI tells of
//! changes in events and xend has to be asked again, XAPI keeps tasks and xend forgets nothing that
//! it once was asked to keep. This floor knows nothing of the JSON that clients see.

mod call;
mod connections;
mod description;
mod error;
pub mod fair;
mod identify;
mod legacy;
mod polled;
mod records;
mod rrd;
mod session;
mod software;
mod tally;
mod xapi;
mod xend;

#[cfg(test)]
mod testing;

// Parts of the errors, for floors that do not know `wire`.
pub use call::{EventFrame, Retry, Value};
pub use connections::{Certificate, Handshake, LaneUse, Looked, connector as tls_connector, look};
pub use description::{Capability, Description};
pub use error::{
    BackendError, BadReply, Busy, CallError, Fault, Misconfigured, NoTls, NotTaken, Phase, Reason,
    Unreachable, Unsendable,
};
pub use xenapi_wire::reply::Failure;
pub use xenapi_wire::{ReadError, Seen};
// For the command line, which asks a gateway in the way that backends are asked.
pub use connections::{AskError, Server};
pub use records::{Found, Pace, Records};
pub use rrd::{Handler, RrdRequest};
pub use session::{Access, Heard, Hold, Permissions, Session};
pub use software::HostSoftware;
pub use tally::CallCounts;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use call::not_there;
use connections::Endpoint;
use identify::Unknown;
use legacy::Legacy;
use tally::Tally;
use xapi::{Trust, Xapi};
use xenapi_wire::Arg;
use xend::Xend;
use xengate_config::{BackendConfig, Kind, PasswordCheck};

pub use polled::Nature;

/// One Xen pool: its addresses, its connections, its coordinator.
pub struct Backend {
    name: String,
    config: BackendConfig,
    way: OnceLock<Way>,
    /// For finding out what listens there, if nobody said.
    unknown: Option<Unknown>,
    tally: Tally,
    /// How many calls it has answered, with a result or a failure.
    answers: watch::Sender<u64>,
}

/// How a pool is spoken to.
enum Way {
    Xapi(Arc<Xapi>),
    Xend(Box<Xend>),
    Legacy(Box<Legacy>),
}

impl Backend {
    /// Sets a backend up as it is configured. Nothing is connected yet, so a backend that is down
    /// is no error.
    pub fn new(name: &str, config: &BackendConfig) -> Result<Arc<Self>, BackendError> {
        let way = match config.kind {
            Kind::Auto => None,
            Kind::Xapi => Some(Way::Xapi(Arc::new(Xapi::new(config)?))),
            kind @ (Kind::Xend | Kind::Legacy) => {
                let uri = config.uris.first().ok_or(BackendError::NoUri)?;
                let uri =
                    Endpoint::parse(uri).map_err(|why| BackendError::Uri { place: 1, why })?;
                Some(Way::of_xend(kind, config, Arc::new(uri))?)
            }
        };
        let unknown = match way {
            Some(_) => None,
            None => Some(Unknown::new(Arc::new(Xapi::new(config)?))),
        };
        let way = way.map_or_else(OnceLock::new, OnceLock::from);
        let (name, config) = (name.to_owned(), config.clone());
        let (tally, answers) = (Tally::default(), watch::Sender::new(0));
        Ok(Arc::new(Self { name, config, way, unknown, tally, answers }))
    }

    /// The name it is configured under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a login to it is waited for where no other can stand in for it.
    pub fn login_timeout(&self) -> Duration {
        self.config.login_timeout
    }

    /// Who checks the passwords of those who log in to it.
    pub async fn password_check(&self) -> Result<PasswordCheck, CallError> {
        Ok(match self.way().await? {
            Way::Xapi(_) => self.config.auth.unwrap_or(PasswordCheck::Backend),
            Way::Xend(xend) => xend.password_check(),
            Way::Legacy(_) => match self.config.auth {
                Some(PasswordCheck::Backend) => return Err(Misconfigured::NoLogins.into()),
                _ => PasswordCheck::Users,
            },
        })
    }

    /// Whether users whose password the gateway checks may work with it though nobody said so: where
    /// it turned out that it checks none, and has an account for them.
    pub fn may_admit(&self) -> bool {
        let xapi = match self.way.get() {
            Some(Way::Xapi(xapi)) => Some(xapi),
            Some(_) => None,
            None => self.unknown.as_ref().map(Unknown::xapi),
        };
        self.config.auth.is_none() && xapi.is_some_and(|xapi| xapi.has_account())
    }

    /// Opens a session for a user whose password the gateway has checked, and who may do this much.
    pub async fn admit(
        self: &Arc<Self>,
        username: &str,
        access: Access,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        match self.way().await? {
            Way::Xapi(xapi) => {
                let calling = self.tally.begin("session.login_with_password");
                let (reference, own) = calling.end(xapi.admit(originator).await)?;
                let access = access.within(&own);
                return Ok(Arc::new(Session::new(&self.name, username, reference, access)));
            }
            Way::Xend(xend) => xend.admit().await?,
            Way::Legacy(legacy) => legacy.probe().await?,
        }
        // Names nothing anywhere: calls are made in the gateway's own session, or in none.
        let reference = SecretString::from(uuid::Uuid::new_v4().to_string());
        Ok(Arc::new(Session::new(&self.name, username, reference, access)))
    }

    /// Logs in with an account that the operator has configured, and by that vouches for.
    /// `originator` names, among the backend's sessions, who they belong to.
    pub async fn login(
        self: &Arc<Self>,
        username: &str,
        password: &SecretString,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        self.open(username, password, originator, Trust::Account).await
    }

    /// Logs somebody in for whom nothing speaks but the password: only once it is certain that the
    /// backend looks at it.
    pub async fn authenticate(
        self: &Arc<Self>,
        username: &str,
        password: &SecretString,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        self.open(username, password, originator, Trust::Backend).await
    }

    async fn open(
        self: &Arc<Self>,
        username: &str,
        password: &SecretString,
        originator: &str,
        trust: Trust,
    ) -> Result<Arc<Session>, CallError> {
        let way = self.way().await?;
        let calling = self.tally.begin("session.login_with_password");
        let (reference, access) = self.heard(calling.end(match way {
            Way::Xapi(xapi) => xapi.login(username, password, originator, trust).await,
            Way::Xend(xend) => xend.login(username, password).await,
            Way::Legacy(_) => Err(Misconfigured::NoLogins.into()),
        }))?;
        Ok(Arc::new(Session::new(&self.name, username, reference, access)))
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
        let way = self.way().await.map_err(|error| error.before(retry))?;
        let asked = Instant::now();
        let result = self.tally.begin(call).end(match way {
            Way::Xapi(xapi) => xapi.call(session, call, args, retry).await,
            Way::Xend(xend) => Box::pin(xend.call(session, call, args, retry)).await,
            Way::Legacy(legacy) => legacy.call(session, call, args).await,
        });
        session.hear(asked, &result);
        self.heard(result)
    }

    /// Makes a call that changes nothing, where its result could not be read before: in another
    /// dialect than usual, if there is one.
    pub async fn read_otherwise(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
    ) -> Result<Value, CallError> {
        self.own(session)?;
        match self.way().await? {
            Way::Xapi(xapi) => {
                let calling = self.tally.begin(call);
                self.heard(calling.end(xapi.read_otherwise(session, call, args).await))
            }
            Way::Xend(_) | Way::Legacy(_) => self.call(session, call, args, Retry::Read).await,
        }
    }

    /// The events of these classes (`*`: of all) since `token` (`""`: every object), or none once
    /// `timeout` has passed. `each` is given one event's JSON at a time while the reply comes in.
    pub async fn events(
        &self,
        session: &Session,
        classes: &[&str],
        token: &str,
        timeout: Duration,
        each: &mut (dyn FnMut(&[u8]) -> Result<(), ReadError> + Send),
    ) -> Result<EventFrame, CallError> {
        self.own(session)?;
        let (way, asked) = (self.way().await?, Instant::now());
        let result = self.tally.begin("event.from").end(match way {
            Way::Xapi(xapi) => xapi.events(session, classes, token, timeout, each).await,
            Way::Xend(_) | Way::Legacy(_) => Err(not_there("event.from")),
        });
        session.hear(asked, &result);
        result
    }

    /// What a host has measured, as its RRD daemon answers it.
    pub async fn rrd(
        &self,
        session: &Session,
        request: &RrdRequest<'_>,
    ) -> Result<Vec<u8>, CallError> {
        self.own(session)?;
        let way = self.way().await?;
        self.tally.begin(request.handler.path()).end(match way {
            Way::Xapi(xapi) => xapi.rrd(session, request).await,
            Way::Xend(_) | Way::Legacy(_) => Err(not_there(request.handler.path())),
        })
    }

    /// Asks whether the session is still good, in a call that costs next to nothing.
    pub async fn check(&self, session: &Session) -> Result<(), CallError> {
        self.own(session)?;
        let counted = |call| self.tally.begin(call);
        let (way, asked) = (self.way().await?, Instant::now());
        let result = match way {
            Way::Xapi(xapi) => counted("pool.get_all").end(xapi.check(session).await),
            Way::Xend(xend) => counted("session.get_uuid").end(xend.check(session).await),
            Way::Legacy(legacy) => counted("xend.node.info").end(legacy.probe().await),
        };
        session.hear(asked, &result);
        self.heard(result)
    }

    /// Asks whether the backend is there, without a session.
    pub async fn probe(&self) -> Result<(), CallError> {
        let counted = |call| self.tally.begin(call);
        self.heard(match self.way().await? {
            Way::Xapi(xapi) => counted("pool.get_all").end(xapi.probe().await),
            Way::Xend(xend) => counted("host.get_all").end(xend.probe().await),
            Way::Legacy(legacy) => counted("xend.node.info").end(legacy.probe().await),
        })
    }

    /// Whether it looks at passwords: a made-up one is tried. False where none are taken anyhow.
    pub async fn prove(&self) -> Result<bool, CallError> {
        match self.way().await? {
            Way::Xapi(xapi) => xapi.prove().await.map(|()| true),
            Way::Xend(_) | Way::Legacy(_) => Ok(false),
        }
    }

    /// The dialect that its coordinator speaks, as far as known.
    pub fn dialect(&self) -> Option<&'static str> {
        match self.way.get() {
            Some(Way::Xapi(xapi)) => xapi.dialect(),
            Some(Way::Xend(_) | Way::Legacy(_)) => Some("XML-RPC"),
            None => None,
        }
    }

    /// Logs out, as well as it can be done in a few seconds. The session counts as ended whatever
    /// the backend says.
    pub async fn logout(&self, session: &Session) {
        if self.own(session).is_ok() && session.end() {
            // Known since the login, be it that it is only taken for what it seems.
            match self.way().await.ok() {
                Some(Way::Xapi(xapi)) => xapi.logout(session.reference()).await,
                Some(Way::Xend(xend)) => xend.logout(session.reference()).await,
                Some(Way::Legacy(_)) | None => {}
            }
        }
    }

    /// Tells of every call that the backend answers, events apart: whoever waits for it to come
    /// back learns so that it is there.
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// Notes whether the backend has answered. A failure is an answer like any other.
    fn heard<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        if matches!(result, Ok(_) | Err(CallError::Failure(_))) {
            self.answers.send_modify(|answers| *answers = answers.wrapping_add(1));
        }
        result
    }

    /// The calls made so far, by name.
    pub fn calls(&self) -> Vec<CallCounts> {
        self.tally.read()
    }

    /// How its connections are used.
    pub fn connections(&self) -> Vec<LaneUse> {
        match self.way.get() {
            Some(Way::Xapi(xapi)) => xapi.connections().to_vec(),
            Some(Way::Xend(xend)) => xend.connections(),
            Some(Way::Legacy(legacy)) => legacy.connections(),
            None => Vec::new(),
        }
    }

    /// What its kind can do.
    pub fn capabilities(&self) -> &'static [Capability] {
        match self.known_nature() {
            Some(Nature::Eventful) => &Capability::ALL,
            Some(Nature::Polled) | None => &[],
        }
    }

    /// What is known about the backend.
    pub fn description(&self) -> Description {
        match self.way.get() {
            Some(Way::Xapi(xapi)) => xapi.description(),
            Some(Way::Xend(xend)) => xend.description(),
            Some(Way::Legacy(legacy)) => legacy.description(),
            None => Description {
                kind: Kind::Auto,
                product: None,
                version: None,
                api_version: None,
                address: None,
                last_error: None,
            },
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

impl Way {
    fn of_xend(
        kind: Kind,
        config: &BackendConfig,
        endpoint: Arc<Endpoint>,
    ) -> Result<Self, BackendError> {
        Ok(match kind {
            Kind::Legacy => Self::Legacy(Box::new(Legacy::new(config, endpoint)?)),
            _ => Self::Xend(Box::new(Xend::new(config, endpoint)?)),
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Xapi(_) => Kind::Xapi,
            Self::Xend(_) => Kind::Xend,
            Self::Legacy(_) => Kind::Legacy,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).finish_non_exhaustive()
    }
}
