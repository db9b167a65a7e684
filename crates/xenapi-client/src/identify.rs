//! Finding out what listens at an address, by calls that change nothing and need no session.
//!
//! XAPI knows `pool.get_all`, and says that the session is not good. xend knows no pools; its
//! Xen-API knows `host.get_all`, its own interface neither. Both of xend's take XML-RPC only, and
//! close the connection on anything else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;

use super::call::{Retry, Value};
use super::connections::{Endpoint, Use};
use super::error::{BackendError, CallError, Phase};
use super::tally::Tally;
use super::toolstack::{Answers, Registration, Setup, Toolstack};
use super::xapi::{self, Question, Xapi};
use xenapi_wire::Arg;
use xenapi_wire::reply::Dialect;
use xengate_config::{BackendConfig, Kind};

/// How long one question may take.
const WITHIN: Duration = Duration::from_secs(5);

/// How a backend is spoken to, be it configured or found out.
pub(super) struct Identity {
    known: OnceLock<Arc<dyn Toolstack>>,
    /// For finding out what listens there, if nobody said.
    unknown: Option<Unknown>,
}

/// A backend of which nobody has said what it is.
struct Unknown {
    name: String,
    config: BackendConfig,
    tally: Arc<Tally>,
    /// What it may turn out to be.
    kinds: &'static [&'static Registration],
    /// Puts the questions.
    xapi: Arc<Xapi>,
    /// What it is taken for while it says nothing: a supporter of XAPI's answers logins only.
    assumed: Arc<dyn Toolstack>,
    /// It has said nothing when it was asked. Whoever looks after it asks again; nobody else waits
    /// for that.
    is_silent: AtomicBool,
    /// One asks at a time.
    asking: Mutex<()>,
}

impl Identity {
    /// What is configured, one of these kinds.
    pub(super) fn new(
        name: &str,
        config: &BackendConfig,
        tally: Arc<Tally>,
        kinds: &'static [&'static Registration],
    ) -> Result<Self, BackendError> {
        let setup = Setup { config, tally: Arc::clone(&tally), found_at: None };
        if config.kind != Kind::Auto {
            let of_it = |kind: &&&Registration| kind.kind == config.kind;
            let kind = kinds.iter().find(of_it).ok_or(BackendError::UnknownKind)?;
            let known = OnceLock::from((kind.set_up)(&setup)?);
            return Ok(Self { known, unknown: None });
        }
        let xapi = Arc::new(Xapi::new(&setup)?);
        let unknown = Unknown {
            name: name.to_owned(),
            config: config.clone(),
            tally,
            kinds,
            assumed: Arc::new(Arc::clone(&xapi)),
            xapi,
            is_silent: AtomicBool::new(false),
            asking: Mutex::default(),
        };
        Ok(Self { known: OnceLock::new(), unknown: Some(unknown) })
    }

    /// How it is spoken to, if that is known.
    pub(super) fn known(&self) -> Option<&dyn Toolstack> {
        self.known.get().map(|known| &**known)
    }

    /// How it is spoken to, or would be if it is what such backends mostly are.
    pub(super) fn likely(&self) -> Option<&dyn Toolstack> {
        self.known().or_else(|| self.unknown.as_ref().map(|unknown| &*unknown.assumed))
    }

    /// How it is spoken to; found out first where nobody said and it is not known yet.
    pub(super) async fn find(&self) -> Result<&dyn Toolstack, CallError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let unknown = self.unknown.as_ref().expect("what is not known can be found out");
        if unknown.is_silent.load(Ordering::Acquire) {
            return Ok(&*unknown.assumed);
        }
        let _asking = unknown.asking.lock().await;
        match self.known() {
            Some(known) => Ok(known),
            None if unknown.is_silent.load(Ordering::Acquire) => Ok(&*unknown.assumed),
            None => self.ask(unknown).await,
        }
    }

    /// Asks a backend once more what it is that has said nothing so far. While it is down, or says
    /// nothing again, it is taken for what it was.
    pub(super) async fn ask_again(&self) {
        let Some(unknown) = self.unknown.as_ref().filter(|_| self.known().is_none()) else {
            return;
        };
        let _asking = unknown.asking.lock().await;
        if self.known().is_none()
            && let Err(error) = self.ask(unknown).await
        {
            let backend = &unknown.name;
            tracing::debug!(backend, %error, "it is still not known what listens there");
        }
    }

    async fn ask<'a>(&'a self, unknown: &'a Unknown) -> Result<&'a dyn Toolstack, CallError> {
        let found = answers(&unknown.xapi).await?;
        let kind = found.as_ref().and_then(|(answers, _)| {
            unknown.kinds.iter().find(|kind| (kind.is_it)(*answers)).copied()
        });
        let (Some(kind), Some((_, found_at))) = (kind, found) else {
            unknown.is_silent.store(true, Ordering::Release);
            return Ok(&*unknown.assumed);
        };
        let toolstack = if std::ptr::eq(kind, &xapi::TOOLSTACK) {
            Arc::clone(&unknown.assumed)
        } else {
            let (config, tally) = (&unknown.config, Arc::clone(&unknown.tally));
            // It was set up as XAPI with the same settings, so this cannot fail either.
            (kind.set_up)(&Setup { config, tally, found_at: Some(found_at) })
                .map_err(|_| CallError::Timeout(Phase::Queue))?
        };
        tracing::info!(
            backend = unknown.name,
            kind = kind.kind.name(),
            "it is known what listens there"
        );
        Ok(&**self.known.get_or_init(|| toolstack))
    }
}

/// What listens at the addresses of `xapi`, whatever it is, and where; nothing where it may be XAPI:
/// a supporter takes calls and says nothing.
async fn answers(xapi: &Xapi) -> Result<Option<(Answers, Arc<Endpoint>)>, CallError> {
    let (mut first, mut silent) = (None, false);
    for host in xapi.candidates() {
        match answers_at(xapi, &host).await {
            Ok(None) => silent = true,
            Ok(Some(answers)) => return Ok(Some((answers, host))),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match (silent, first) {
        (false, Some(error)) => Err(error),
        _ => Ok(None),
    }
}

async fn answers_at(xapi: &Xapi, host: &Arc<Endpoint>) -> Result<Option<Answers>, CallError> {
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
        return Ok(None);
    }
    if !is_unknown(&pools) {
        return match pools {
            Ok(_) | Err(CallError::Failure(_)) => Ok(Some(Answers::Pools)),
            Err(error) => Err(error),
        };
    }
    let hosts = xapi.ask_in(Dialect::XmlRpc, host, question("host.get_all")).await;
    // What was learned was learned of XAPI.
    host.learn_dialect(None);
    match hosts {
        hosts if is_unknown(&hosts) => Ok(Some(Answers::Neither)),
        Ok(_) | Err(CallError::Failure(_)) => Ok(Some(Answers::Hosts)),
        Err(error) => Err(error),
    }
}

fn is_unknown(result: &Result<Value, CallError>) -> bool {
    matches!(result, Err(CallError::Failure(failure)) if failure.code == "MESSAGE_METHOD_UNKNOWN")
}
