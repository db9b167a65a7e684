//! Calls and their replies, in the dialect that the host speaks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::redact::{ends_session, redact};
use super::{SESSION_INVALID, Xapi};
use crate::call::{Retry, Value};
use crate::connections::{Endpoint, LARGEST_CALL, Post, Use, Within};
use crate::error::{BadReply, CallError, Fault, Phase, Unsendable};
use crate::session::Session;
use bytes::Bytes;
use xenapi_wire::reply::{Dialect, Failure, Outcome};
use xenapi_wire::{Arg, Limits, ReadError, jsonrpc, reply, xmlrpc};

/// How long the question may take whether a host is there.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// How long the question may take whether a session is still good. Nobody waits for it for that long,
/// and a pool that is slow is no reason to doubt its sessions.
const CHECK_WITHIN: Duration = Duration::from_secs(20);

/// One question to one host.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) of: Use,
    pub(crate) call: &'a str,
    pub(crate) args: &'a [Arg],
    pub(crate) retry: Retry,
    pub(crate) within: Within,
}

impl Xapi {
    pub(super) async fn call(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
        retry: Retry,
    ) -> Result<Value, CallError> {
        still_good(session)?;
        let host = self.hosts.current_or_first();
        self.know_dialect(&host, session).await.map_err(|error| error.before(retry))?;
        let args: Vec<Arg> = [Arg::Secret(session.reference().clone())]
            .into_iter()
            .chain(args.iter().cloned())
            .collect();
        let of = Use::CallsOf(session.sharer());
        let question = Question { of, call, args: &args, retry, within: self.call_timeout.into() };
        let result = self.ask(&host, question).await;
        self.settle(session, result)
    }

    /// Asks a second time, where the answer to the first could not be read: in XML-RPC, which has a
    /// form for more values.
    pub(super) async fn read_otherwise(
        &self,
        session: &Session,
        call: &str,
        args: &[Arg],
    ) -> Result<Value, CallError> {
        still_good(session)?;
        let host = self.hosts.current_or_first();
        let own = Arg::Secret(session.reference().clone());
        let args: Vec<Arg> = [own].into_iter().chain(args.iter().cloned()).collect();
        let (retry, within) = (Retry::Read, self.call_timeout.into());
        let question = Question { of: Use::Calls, call, args: &args, retry, within };
        let mut result = match host.may_speak_xml() {
            true => self.ask_in(Dialect::XmlRpc, &host, question).await,
            false => self.ask(&host, question).await,
        };
        if host.may_speak_xml() && result.as_ref().is_err_and(speaks_otherwise) {
            result = self.ask(&host, question).await;
        }
        self.settle(session, result)
    }

    /// `pool.get_all` is open to every role, has one ref as its result and, like every call, fails
    /// first of all when its session is no more.
    pub(super) async fn check(&self, session: &Session) -> Result<(), CallError> {
        still_good(session)?;
        let host = self.hosts.current_or_first();
        let question = Question {
            of: Use::Check,
            call: "pool.get_all",
            args: &[Arg::Secret(session.reference().clone())],
            retry: Retry::Read,
            within: self.call_timeout.min(CHECK_WITHIN).into(),
        };
        // From when it has its connection: who waits for one has not been asked.
        let result = self.ask_either(&host, question).await;
        self.settle(session, result).map(drop)
    }

    /// Asks whether a host of the pool is there. A call without a good session is refused, which
    /// is answer enough.
    pub(super) async fn probe(&self) -> Result<(), CallError> {
        let question = Question {
            of: Use::Login,
            call: "pool.get_all",
            args: &[Arg::String("OpaqueRef:NULL".to_owned())],
            retry: Retry::Read,
            within: self.call_timeout.min(PROBE_WITHIN).into(),
        };
        let mut first = None;
        for host in self.hosts.candidates() {
            let result = match self.ask_either(&host, question).await {
                // A supporter takes the call and says nothing; only a login makes it name its
                // coordinator.
                Err(CallError::Timeout(Phase::Reply)) if self.hosts.current().is_none() => Ok(()),
                Ok(_) | Err(CallError::Failure(_)) => Ok(()),
                // Others are being served.
                Err(CallError::Busy(_) | CallError::Timeout(Phase::Queue)) => return Ok(()),
                Err(error) => Err(error),
            };
            self.note(&result);
            match result {
                Ok(()) => return Ok(()),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// The hosts to try, the most promising first.
    pub(crate) fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.hosts.candidates()
    }

    /// Makes sure that it is known what the host speaks, so that a call which changes something, or
    /// whose reply streams, is sent in one dialect only.
    pub(super) async fn know_dialect(
        &self,
        host: &Endpoint,
        session: &Session,
    ) -> Result<(), CallError> {
        match host.dialect() {
            Some(_) => Ok(()),
            None => self.check(session).await,
        }
    }

    /// Takes what a session's call came to: no ref of it gets any further, and if it is no more,
    /// that is remembered.
    pub(super) fn settle<T>(
        &self,
        session: &Session,
        result: Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.note(&result);
        result.map_err(|error| match error {
            CallError::Failure(failure) => {
                if ends_session(&failure, session.reference()) {
                    session.lose();
                }
                CallError::Failure(redact(failure, Some(session.reference())))
            }
            other => other,
        })
    }

    /// Asks a host in its dialect. Failures come as the host gave them: see [`Xapi::settle`].
    pub(super) async fn ask(
        &self,
        host: &Arc<Endpoint>,
        question: Question<'_>,
    ) -> Result<Value, CallError> {
        let dialect = host.dialect().unwrap_or(Dialect::JsonRpc);
        let result = self.ask_in(dialect, host, question).await;
        // Never a call that changes something: it may have been carried out.
        if question.retry == Retry::Read
            && dialect == Dialect::JsonRpc
            && host.may_speak_xml()
            && result.as_ref().is_err_and(json_cannot_carry)
        {
            let again = self.ask_in(Dialect::XmlRpc, host, question).await;
            if is_answer(&again) {
                return again;
            }
        }
        if result.as_ref().is_err_and(contradicts_dialect) {
            host.learn_dialect(None);
        }
        result
    }

    /// Asks a host of which it may not be known yet what it speaks, or no longer. JSON-RPC is tried
    /// first: an old or a strange server answers that with an HTTP error or a page. The question may
    /// reach the host twice, so it has to be a harmless one.
    pub(crate) async fn ask_either(
        &self,
        host: &Arc<Endpoint>,
        question: Question<'_>,
    ) -> Result<Value, CallError> {
        let known = host.dialect();
        let dialect = known.unwrap_or(Dialect::JsonRpc);
        let first = self.ask_in(dialect, host, question).await;
        if is_answer(&first) {
            host.learn_dialect(Some(dialect));
        }
        if !first.as_ref().is_err_and(speaks_otherwise) || host.is_bound_to_dialect() {
            return first;
        }
        let other = match dialect {
            Dialect::JsonRpc => Dialect::XmlRpc,
            Dialect::XmlRpc => Dialect::JsonRpc,
        };
        let second = self.ask_in(other, host, question).await;
        let contradicted = first.as_ref().is_err_and(contradicts_dialect);
        if known.is_none() || contradicted {
            host.learn_dialect(is_answer(&second).then_some(other));
        }
        if is_answer(&second) { second } else { first }
    }

    pub(crate) async fn ask_in(
        &self,
        dialect: Dialect,
        host: &Arc<Endpoint>,
        question: Question<'_>,
    ) -> Result<Value, CallError> {
        let Question { of, call, args, retry, within } = question;
        let post = self.post(dialect, host, call, args)?;
        let body = self.connections.fetch(of, host, &post, retry, within).await?;
        read(dialect, &body, self.connections.max_reply())
    }

    /// The call as it is sent.
    pub(super) fn post(
        &self,
        dialect: Dialect,
        host: &Endpoint,
        call: &str,
        args: &[Arg],
    ) -> Result<Post, CallError> {
        let (path, content_type, body) = match dialect {
            Dialect::JsonRpc => {
                let id = self.ids.fetch_add(1, Ordering::Relaxed);
                ("/jsonrpc", "application/json", jsonrpc::call(id, call, args))
            }
            Dialect::XmlRpc => {
                let body = xmlrpc::call(call, args).map_err(Unsendable::Unwritable)?;
                (host.xml_rpc_path(), "text/xml", body)
            }
        };
        if body.len() > LARGEST_CALL {
            return Err(Unsendable::TooLarge { size: body.len(), limit: LARGEST_CALL }.into());
        }
        Ok(Post { path, content_type, body: Bytes::from(body), close: false })
    }
}

/// A session that is known to be no more is not asked about again.
pub(super) fn still_good(session: &Session) -> Result<(), CallError> {
    if session.ended().is_cancelled() { Err(session_invalid()) } else { Ok(()) }
}

/// The failure of a call whose session is known to be no more.
pub(crate) fn session_invalid() -> CallError {
    let failure = Failure { code: SESSION_INVALID.to_owned(), params: vec![String::new()] };
    CallError::Failure(redact(failure, None))
}

fn read(dialect: Dialect, body: &[u8], max_bytes: u64) -> Result<Value, CallError> {
    let bad = |error| {
        let read = body.len() as u64;
        CallError::BadReply(BadReply { status: Some(200), fault: Fault::Unread(error), read })
    };
    let json;
    let text = match dialect {
        Dialect::JsonRpc => body,
        Dialect::XmlRpc => {
            let limits = Limits { max_bytes, ..Limits::default() };
            json = xmlrpc::to_json(body, limits).map_err(bad)?;
            &json
        }
    };
    match reply::read_leniently(dialect, text, &mut String::new()).map_err(bad)? {
        Outcome::Success(value) => Ok(Value(value.to_owned())),
        Outcome::Failure(failure) => Err(CallError::Failure(failure)),
    }
}

/// Whether the host answered in the dialect it was asked in.
pub(super) fn is_answer<T>(result: &Result<T, CallError>) -> bool {
    matches!(result, Ok(_) | Err(CallError::Failure(_)))
}

/// Whether a host that speaks JSON-RPC did not manage to say this in it: a strict JSON writer fails on
/// a float that is not finite, and XAPI then answers an HTTP 500.
pub(super) fn json_cannot_carry(error: &CallError) -> bool {
    let CallError::BadReply(BadReply { status, fault, .. }) = error else { return false };
    match fault {
        Fault::Status(_) => *status == Some(500),
        Fault::Unread(error) => matches!(error, ReadError::Malformed { .. }),
        _ => false,
    }
}

/// Whether an answer shows that the host does not speak the dialect that it was known for. A server's
/// own error, which old ones answer to many a call, shows nothing of the kind.
pub(super) fn contradicts_dialect(error: &CallError) -> bool {
    let own = matches!(error, CallError::BadReply(BadReply { status: Some(500..), .. }));
    speaks_otherwise(error) && !own
}

/// Whether the host answered in a way that makes it worth asking in the other dialect. A gateway
/// that cannot reach the host (502, 503, 504) says nothing about dialects.
pub(super) fn speaks_otherwise(error: &CallError) -> bool {
    let CallError::BadReply(BadReply { status, fault, .. }) = error else { return false };
    match fault {
        Fault::Status(_) => matches!(status, Some(400..=501)),
        Fault::Unread(error) => matches!(
            error,
            ReadError::NotJson(_) | ReadError::NotXmlRpc(_) | ReadError::NotAReply(_)
        ),
        _ => false,
    }
}
