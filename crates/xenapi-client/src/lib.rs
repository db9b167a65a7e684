//! One Xen pool, behind a small interface: log in, call, follow events.
//!
//! A pool is spoken to in one of several ways: XAPI's, xend's Xen-API, xend's own interface. Each is a
//! [`toolstack::Toolstack`] in a folder of its own. [`Backend`] is the same for all of them; where
//! they differ it says so: XAPI tells of changes in events and xend has to be asked again, XAPI keeps
//! tasks and xend forgets nothing that it once was asked to keep. This floor knows nothing of the
//! JSON that clients see.

mod call;
mod connections;
mod description;
mod error;
pub mod fair;
mod identify;
mod legacy;
mod records;
mod rrd;
mod session;
mod software;
mod tally;
mod toolstack;
mod xapi;
mod xend;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

// Parts of the errors, for floors that do not know `wire`.
pub use call::{EventFrame, Retry, Value};
pub use connections::{Certificate, Handshake, LaneUse, Looked, connector as tls_connector, look};
pub use description::{Capability, Description, Measurements, UpdateMode};
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
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::Instant;

use identify::Identity;
use tally::Tally;
use toolstack::{Login, Registration, TOOLSTACKS, Toolstack, Trust};
use xenapi_wire::Arg;
use xengate_config::{BackendConfig, Kind, PasswordCheck};

/// One Xen pool: its addresses, its connections, its coordinator.
pub struct Backend {
    name: String,
    config: BackendConfig,
    identity: Identity,
    tally: Arc<Tally>,
    /// How many calls it has answered, with a result or a failure.
    answers: watch::Sender<u64>,
}

impl Backend {
    /// Sets a backend up as it is configured. Nothing is connected yet, so a backend that is down
    /// is no error.
    pub fn new(name: &str, config: &BackendConfig) -> Result<Arc<Self>, BackendError> {
        Self::of_kinds(name, config, TOOLSTACKS)
    }

    /// The same where these are all the kinds there are.
    fn of_kinds(
        name: &str,
        config: &BackendConfig,
        kinds: &'static [&'static Registration],
    ) -> Result<Arc<Self>, BackendError> {
        let tally = Arc::new(Tally::default());
        let identity = Identity::new(name, config, Arc::clone(&tally), kinds)?;
        let (name, config, answers) = (name.to_owned(), config.clone(), watch::Sender::new(0));
        Ok(Arc::new(Self { name, config, identity, tally, answers }))
    }

    /// The name it is configured under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a login to it is waited for where no other can stand in for it.
    pub fn login_timeout(&self) -> Duration {
        self.config.login_timeout
    }

    /// How long a guest may take to shut down or reboot.
    pub fn guest_timeout(&self) -> Duration {
        self.config.guest_timeout
    }

    /// How the mirror learns of changes; found out first where that is not known yet.
    pub async fn update_mode(&self) -> Result<UpdateMode, CallError> {
        self.identity.find().await.map(Toolstack::update_mode)
    }

    /// The same, if it is known.
    pub fn known_update_mode(&self) -> Option<UpdateMode> {
        self.identity.known().map(Toolstack::update_mode)
    }

    /// Asks a backend once more what it is that has said nothing so far. While it is down, or says
    /// nothing again, it is taken for what it was.
    pub async fn ask_again(&self) {
        self.identity.ask_again().await;
    }

    /// What is known about the backend.
    pub fn description(&self) -> Description {
        let unknown = || Description::of_kind(Kind::Auto);
        self.identity.known().map_or_else(unknown, Toolstack::description)
    }

    /// What its kind can do.
    pub fn capabilities(&self) -> &'static [Capability] {
        self.identity.known().map_or(&[], Toolstack::capabilities)
    }

    /// Where its measurements are found, be it that it is only taken for what it seems.
    pub fn measurements(&self) -> Measurements {
        self.identity.likely().map_or(Measurements::Records, Toolstack::measurements)
    }

    /// Whether the backend can be asked for this call, if its kind alone decides that.
    pub fn has(&self, call: &str) -> Option<bool> {
        self.identity.known()?.has(call)
    }

    /// Whether the backend's objects have this field, if its kind alone decides that.
    pub fn has_field(&self, class: &str, field: &str) -> Option<bool> {
        self.identity.known()?.has_field(class, field)
    }

    /// Whether it is asked for VCPUs and the host as xm asks: [`Self::vcpus`], [`Self::host_info`].
    pub fn answers_xm(&self) -> bool {
        self.identity.known().is_some_and(Toolstack::answers_xm)
    }

    /// The classes that are worth reading at this pace, those together that are read together.
    pub fn polls(&self, pace: Pace) -> &'static [&'static [&'static str]] {
        self.identity.known().map_or(&[], |toolstack| toolstack.polls(pace))
    }

    /// The dialect that its coordinator speaks, as far as known.
    pub fn dialect(&self) -> Option<&'static str> {
        self.identity.known()?.dialect()
    }

    /// How its connections are used.
    pub fn connections(&self) -> Vec<LaneUse> {
        self.identity.known().map(Toolstack::connections).unwrap_or_default()
    }

    /// The calls made so far, by name.
    pub fn calls(&self) -> Vec<CallCounts> {
        self.tally.read()
    }

    /// Tells of every call that the backend answers, events apart: whoever waits for it to come
    /// back learns so that it is there.
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// Who checks the passwords of those who log in to it.
    pub async fn password_check(&self) -> Result<PasswordCheck, CallError> {
        Ok(self.identity.find().await?.password_check()?)
    }

    /// Whether nothing can be read of it on nobody's behalf but with an account there.
    pub fn needs_account(&self) -> bool {
        self.identity.known().is_none_or(Toolstack::needs_account)
    }

    /// Whether users whose password the gateway checks may work with it though nobody said so: where
    /// it turned out that it checks none, and has an account for them.
    pub fn may_admit(&self) -> bool {
        let has_account = || self.identity.likely().is_some_and(Toolstack::has_account);
        self.config.auth.is_none() && has_account()
    }

    /// Opens a session for a user whose password the gateway has checked, and who may do this much.
    pub async fn admit(
        self: &Arc<Self>,
        username: &str,
        access: Access,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        let (reference, access) = match self.identity.find().await?.admit(originator).await? {
            Some((reference, own)) => (reference, access.within(&own)),
            // Names nothing anywhere: calls are made in the gateway's own session, or in none.
            None => (SecretString::from(uuid::Uuid::new_v4().to_string()), access),
        };
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
        self.open(Login { username, password, originator, trust: Trust::Account }).await
    }

    /// Logs somebody in for whom nothing speaks but the password: only once it is certain that the
    /// backend looks at it.
    pub async fn authenticate(
        self: &Arc<Self>,
        username: &str,
        password: &SecretString,
        originator: &str,
    ) -> Result<Arc<Session>, CallError> {
        self.open(Login { username, password, originator, trust: Trust::Backend }).await
    }

    async fn open(self: &Arc<Self>, login: Login<'_>) -> Result<Arc<Session>, CallError> {
        let toolstack = self.identity.find().await?;
        let calling = self.tally.begin("session.login_with_password");
        let (reference, access) = self.heard(calling.end(toolstack.login(login).await))?;
        Ok(Arc::new(Session::new(&self.name, login.username, reference, access)))
    }

    /// Logs out, as well as it can be done in a few seconds. The session counts as ended whatever
    /// the backend says.
    pub async fn logout(&self, session: &Session) {
        if self.own(session).is_ok() && session.end() {
            // Known since the login, be it that it is only taken for what it seems.
            if let Ok(toolstack) = self.identity.find().await {
                toolstack.logout(session).await;
            }
        }
    }

    /// Gives back what the gateway itself holds of the backend.
    pub async fn leave(&self) {
        if let Some(toolstack) = self.identity.known() {
            toolstack.leave().await;
        }
    }

    /// Asks whether the session is still good, in a call that costs next to nothing.
    pub async fn check(&self, session: &Session) -> Result<(), CallError> {
        self.own(session)?;
        let (toolstack, asked) = (self.identity.find().await?, Instant::now());
        let result = toolstack.check(session).await;
        session.hear(asked, &result);
        self.heard(result)
    }

    /// Asks whether the backend is there, without a session.
    pub async fn probe(&self) -> Result<(), CallError> {
        self.heard(self.identity.find().await?.probe().await)
    }

    /// Whether it looks at passwords: a made-up one is tried. False where none are taken anyhow.
    pub async fn prove(&self) -> Result<bool, CallError> {
        self.identity.find().await?.prove().await
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
        let toolstack = self.identity.find().await.map_err(|error| error.before(retry))?;
        let asked = Instant::now();
        let calling = self.tally.begin(call);
        let result = calling.end(toolstack.call(session, call, args, retry).await);
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
        match self.identity.find().await?.read_otherwise(session, call, args) {
            Some(asking) => self.heard(self.tally.begin(call).end(asking.await)),
            None => self.call(session, call, args, Retry::Read).await,
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
        let (toolstack, asked) = (self.identity.find().await?, Instant::now());
        let calling = self.tally.begin("event.from");
        let result = calling.end(toolstack.events(session, classes, token, timeout, each).await);
        session.hear(asked, &result);
        result
    }

    /// Every object of the classes of a poll of this pace. A class that the backend fails to tell of
    /// is left out, unless there is nothing without it.
    pub async fn records(
        &self,
        session: &Session,
        pace: Pace,
        classes: &'static [&'static str],
    ) -> Result<Records, CallError> {
        self.own(session)?;
        self.identity.find().await?.records(session, pace, classes).await
    }

    /// One object and what comes along with it. Without a record it has gone.
    pub async fn record(
        &self,
        session: &Session,
        class: &'static str,
        reference: &str,
    ) -> Result<Vec<Found>, CallError> {
        self.own(session)?;
        self.identity.find().await?.record(session, class, reference).await
    }

    /// What a host has measured, as its RRD daemon answers it.
    pub async fn rrd(
        &self,
        session: &Session,
        request: &RrdRequest<'_>,
    ) -> Result<Vec<u8>, CallError> {
        self.own(session)?;
        let toolstack = self.identity.find().await?;
        let calling = self.tally.begin(request.handler.path());
        calling.end(toolstack.rrd(session, request).await)
    }

    /// The VCPUs of a domain as `xend.domain.getVCPUInfo` lists them, where there is such a thing;
    /// none of a domain that is there no more. Whoever reads what the same poll brought, which began
    /// then, shares one question.
    pub async fn vcpus(
        &self,
        session: &Session,
        uuid: &str,
        name: &str,
        as_of: Option<Instant>,
    ) -> Result<Option<Arc<Value>>, CallError> {
        self.own(session)?;
        self.identity.find().await?.vcpus(uuid, name, as_of).await
    }

    /// What `xend.node.info` tells of the host, where there is such a thing.
    pub async fn host_info(&self, session: &Session) -> Result<Value, CallError> {
        self.own(session)?;
        self.identity.find().await?.host_info().await
    }

    /// Notes whether the backend has answered. A failure is an answer like any other.
    fn heard<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        if matches!(result, Ok(_) | Err(CallError::Failure(_))) {
            self.answers.send_modify(|answers| *answers = answers.wrapping_add(1));
        }
        result
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
