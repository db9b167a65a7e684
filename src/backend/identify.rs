//! Finding out what listens at an address, by calls that change nothing and need no session.
//!
//! XAPI knows `pool.get_all`, and says that the session is not good. xend knows no pools; its
//! Xen-API knows `host.get_all`, its own interface neither. Both of xend's take XML-RPC only, and
//! close the connection on anything else.

use std::sync::Arc;
use std::time::Duration;

use super::connections::{Endpoint, Use};
use super::error::{CallError, Phase};
use super::xapi::{Question, Xapi};
use super::{Retry, Value};
use crate::config::Kind;
use crate::wire::Arg;
use crate::wire::reply::Dialect;

/// How long one question may take.
const WITHIN: Duration = Duration::from_secs(5);

/// What a backend turned out to be.
pub(super) enum Identity {
    /// XAPI.
    Xapi,
    /// It may be XAPI: a supporter takes calls and says nothing.
    Silent,
    /// xend, of this kind and at this address.
    Xend(Kind, Arc<Endpoint>),
}

/// Finds out what listens at the addresses of `xapi`, whatever it is.
pub(super) async fn identify(xapi: &Xapi) -> Result<Identity, CallError> {
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
