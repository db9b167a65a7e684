//! Finding out what listens at an address, by calls that change nothing and need no session.
//!
//! XAPI knows `pool.get_all`, and says that the session is not good. xend knows no pools; its
//! Xen-API knows `host.get_all`, its own interface neither. Both of xend's take XML-RPC only, and
//! close the connection on anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::call::{Retry, Value};
use super::connections::{Endpoint, Use};
use super::error::{CallError, Phase};
use super::xapi::{Question, Xapi};
use super::{Backend, Way};
use xenapi_wire::Arg;
use xenapi_wire::reply::Dialect;
use xengate_config::Kind;

/// How long one question may take.
const WITHIN: Duration = Duration::from_secs(5);

/// A backend of which nobody has said what it is.
pub(super) struct Unknown {
    xapi: Arc<Xapi>,
    /// What it is taken for while it says nothing: a supporter of XAPI's answers logins only.
    assumed: Way,
    /// It has said nothing when it was asked. Whoever looks after it asks again; nobody else waits
    /// for that.
    is_silent: AtomicBool,
    /// One asks at a time.
    asking: Mutex<()>,
}

impl Unknown {
    /// How it is spoken to if it is XAPI.
    pub(super) fn xapi(&self) -> &Arc<Xapi> {
        &self.xapi
    }

    /// Nothing is known yet but how it is spoken to if it is XAPI.
    pub(super) fn new(xapi: Arc<Xapi>) -> Self {
        let assumed = Way::Xapi(Arc::clone(&xapi));
        Self { xapi, assumed, is_silent: AtomicBool::new(false), asking: Mutex::default() }
    }
}

impl Backend {
    /// How it is spoken to; found out first where nobody said and it is not known yet.
    pub(super) async fn way(&self) -> Result<&Way, CallError> {
        if let Some(way) = self.way.get() {
            return Ok(way);
        }
        let unknown = self.unknown.as_ref().expect("a way that is not there is unknown");
        if unknown.is_silent.load(Ordering::Acquire) {
            return Ok(&unknown.assumed);
        }
        let _asking = unknown.asking.lock().await;
        match self.way.get() {
            Some(way) => Ok(way),
            None if unknown.is_silent.load(Ordering::Acquire) => Ok(&unknown.assumed),
            None => self.find_out(unknown).await,
        }
    }

    /// Asks a backend once more what it is that has said nothing so far. While it is down, or says
    /// nothing again, it is taken for what it was.
    pub async fn ask_again(&self) {
        let Some(unknown) = self.unknown.as_ref().filter(|_| self.way.get().is_none()) else {
            return;
        };
        let _asking = unknown.asking.lock().await;
        if self.way.get().is_none()
            && let Err(error) = self.find_out(unknown).await
        {
            tracing::debug!(backend = self.name, %error, "it is still not known what listens there");
        }
    }

    async fn find_out<'a>(&'a self, unknown: &'a Unknown) -> Result<&'a Way, CallError> {
        let way = match identify(&unknown.xapi).await? {
            Identity::Silent => {
                unknown.is_silent.store(true, Ordering::Release);
                return Ok(&unknown.assumed);
            }
            Identity::Xapi => Way::Xapi(Arc::clone(&unknown.xapi)),
            Identity::Xend(kind, endpoint) => {
                // It was set up as XAPI with the same settings, so this cannot fail either.
                Way::of_xend(kind, &self.config, endpoint)
                    .map_err(|_| CallError::Timeout(Phase::Queue))?
            }
        };
        tracing::info!(
            backend = self.name,
            kind = way.kind().name(),
            "it is known what listens there"
        );
        Ok(self.way.get_or_init(|| way))
    }
}

/// What a backend turned out to be.
enum Identity {
    /// XAPI.
    Xapi,
    /// It may be XAPI: a supporter takes calls and says nothing.
    Silent,
    /// xend, of this kind and at this address.
    Xend(Kind, Arc<Endpoint>),
}

/// Finds out what listens at the addresses of `xapi`, whatever it is.
async fn identify(xapi: &Xapi) -> Result<Identity, CallError> {
    let (mut first, mut silent) = (None, false);
    for host in xapi.candidates() {
        match identify_at(xapi, &host).await {
            Ok(Identity::Silent) => silent = true,
            Ok(identity) => return Ok(identity),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match (silent, first) {
        (false, Some(error)) => Err(error),
        _ => Ok(Identity::Silent),
    }
}

async fn identify_at(xapi: &Xapi, host: &Arc<Endpoint>) -> Result<Identity, CallError> {
    let nobody = [Arg::from("OpaqueRef:NULL")];
    let question = |call| Question {
        of: Use::Login,
        call,
        args: &nobody,
        retry: Retry::Read,
        within: WITHIN.into(),
    };
    let mut pools = xapi.ask_either(host, question("pool.get_all")).await;
    let may_be_xml = host.dialect().is_none();
    if may_be_xml && pools.as_ref().is_err_and(CallError::is_loss) {
        // What is no XML makes xend hang up.
        pools = xapi.ask_in(Dialect::XmlRpc, host, question("pool.get_all")).await;
    }
    if matches!(pools, Err(CallError::Timeout(Phase::Reply))) && may_be_xml {
        return Ok(Identity::Silent);
    }
    if !is_unknown(&pools) {
        return match pools {
            Ok(_) | Err(CallError::Failure(_)) => Ok(Identity::Xapi),
            Err(error) => Err(error),
        };
    }
    let hosts = xapi.ask_in(Dialect::XmlRpc, host, question("host.get_all")).await;
    // What was learned was learned of XAPI.
    host.learn_dialect(None);
    match hosts {
        hosts if is_unknown(&hosts) => Ok(Identity::Xend(Kind::Legacy, Arc::clone(host))),
        Ok(_) | Err(CallError::Failure(_)) => Ok(Identity::Xend(Kind::Xend, Arc::clone(host))),
        Err(error) => Err(error),
    }
}

fn is_unknown(result: &Result<Value, CallError>) -> bool {
    matches!(result, Err(CallError::Failure(failure)) if failure.code == "MESSAGE_METHOD_UNKNOWN")
}
