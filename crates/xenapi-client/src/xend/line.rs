//! XML-RPC with a xend, whichever of its interfaces it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::call::{Retry, Value};
use crate::connections::{Connections, Endpoint, LARGEST_CALL, LaneUse, Post, Use};
use crate::error::{BackendError, BadReply, CallError, Fault, Phase, Unsendable};
use crate::records::Pace;
use xenapi_wire::reply::{self, Dialect, Outcome};
use xenapi_wire::{Arg, Limits, ReadError, xmlrpc};
use xengate_config::BackendConfig;

/// How long a poll's reply may take: a thousand domains take seconds, and more when others ask too.
const POLL_WITHIN: Duration = Duration::from_secs(120);

/// How a reply is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// `Status` with a `Value` or an `ErrorDescription`.
    Status,
    /// None: the value itself, or a fault. An unknown method has the other envelope all the same.
    Bare,
}

/// The way to one xend.
pub(crate) struct Line {
    connections: Connections,
    endpoint: Arc<Endpoint>,
    envelope: Envelope,
    pub(crate) call_timeout: Duration,
    last_error: Mutex<Option<String>>,
}

impl Line {
    pub(crate) fn new(
        config: &BackendConfig,
        endpoint: Arc<Endpoint>,
        envelope: Envelope,
    ) -> Result<Self, BackendError> {
        Ok(Self {
            connections: Connections::new(config, std::slice::from_ref(&endpoint))?,
            endpoint,
            envelope,
            call_timeout: config.call_timeout,
            last_error: Mutex::default(),
        })
    }

    /// The address.
    pub(crate) fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// What went wrong last, unless something has gone well since.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// How its connections are used.
    pub(crate) fn used(&self) -> Vec<LaneUse> {
        self.connections.used().to_vec()
    }

    /// Makes a call. A failure comes as xend gave it.
    pub(crate) async fn ask(
        &self,
        of: Use,
        method: &str,
        args: &[Arg],
        retry: Retry,
        within: Duration,
    ) -> Result<Value, CallError> {
        let asked = async {
            let post = self.post(method, args)?;
            let connections = &self.connections;
            let body = connections.fetch(of, &self.endpoint, &post, retry, within.into()).await?;
            read(self.envelope, &body, connections.max_reply())
        };
        self.noted(asked.await)
    }

    /// Makes a call whose reply is large and takes its time.
    pub(crate) async fn ask_much(
        &self,
        pace: Pace,
        method: &str,
        args: &[Arg],
    ) -> Result<Value, CallError> {
        let asked = async {
            let post = self.post(method, args)?;
            // What is slow is in nobody's way: one of these at a time.
            let of = if pace == Pace::Quick { Use::Sync } else { Use::Calls };
            let slot = self.connections.slot(of).await?;
            let (begin, whole) = (POLL_WITHIN, POLL_WITHIN);
            let stream = self.connections.stream(&slot, &self.endpoint, &post, begin, whole);
            let body = stream.await?.whole().await?;
            let (envelope, limit) = (self.envelope, self.connections.max_sync_reply());
            // Megabytes take long enough to be in others' way.
            let read = tokio::task::spawn_blocking(move || read(envelope, &body, limit)).await;
            read.unwrap_or_else(|_| Err(unfit("the reply could not be read", 0)))
        };
        self.noted(asked.await)
    }

    fn post(&self, method: &str, args: &[Arg]) -> Result<Post, CallError> {
        let body = xmlrpc::call(method, args).map_err(Unsendable::Unwritable)?;
        if body.len() > LARGEST_CALL {
            return Err(Unsendable::TooLarge { size: body.len(), limit: LARGEST_CALL }.into());
        }
        Ok(Post {
            path: self.endpoint.xml_rpc_path(),
            content_type: "text/xml",
            body: Bytes::from(body),
            // A kept connection delays a reply above 8 KB by 40 ms, and opening one costs nothing.
            close: !self.endpoint.is_local(),
        })
    }

    /// Remembers how the backend is doing. A failure is an answer like any other.
    fn noted<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        *self.last_error.lock() = match &result {
            Ok(_) | Err(CallError::Failure(_)) => None,
            // Says something about the call or the gateway, nothing about the backend.
            Err(
                CallError::Unsendable(_) | CallError::Busy(_) | CallError::Timeout(Phase::Queue),
            ) => return result,
            Err(error) => Some(error.to_string()),
        };
        result
    }
}

/// The value in a reply.
fn read(envelope: Envelope, body: &[u8], max_bytes: u64) -> Result<Value, CallError> {
    let bad = |error| {
        let read = body.len() as u64;
        CallError::BadReply(BadReply { status: Some(200), fault: Fault::Unread(error), read })
    };
    let json = xmlrpc::to_json(body, Limits { max_bytes, ..Limits::default() }).map_err(bad)?;
    match reply::read(Dialect::XmlRpc, &json) {
        Ok(Outcome::Success(value)) => Ok(Value(value.to_owned())),
        Ok(Outcome::Failure(failure)) => Err(CallError::Failure(failure)),
        Err(ReadError::NotAReply(_)) if envelope == Envelope::Bare => {
            let text = String::from_utf8(json).map_err(|_| unfit("not UTF-8", body.len()))?;
            let value = RawValue::from_string(text).map_err(|_| unfit("no value", body.len()))?;
            Ok(Value(value))
        }
        Err(error) => Err(bad(error)),
    }
}

pub(crate) fn unfit(what: &'static str, read: usize) -> CallError {
    BadReply { status: Some(200), fault: Fault::Unfit(what), read: read as u64 }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(value: &str) -> Vec<u8> {
        format!("<?xml version='1.0'?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>").into_bytes()
    }

    #[test]
    fn a_bare_value_is_one_where_there_is_no_envelope() {
        for (value, want) in [
            ("<nil/>", "null"),
            ("<int>3</int>", "3"),
            ("<array><data><value><string>domain</string></value></data></array>", "[\"domain\"]"),
            ("<string>a</string>", "\"a\""),
            ("<struct></struct>", "{}"),
        ] {
            let read_as = |envelope| read(envelope, &reply(value), 1 << 20);
            assert_eq!(read_as(Envelope::Bare).expect(value).get(), want);
            assert!(matches!(read_as(Envelope::Status), Err(CallError::BadReply(_))), "{value}");
        }
    }

    #[test]
    fn failures_have_an_envelope_in_either_dialect() {
        let unknown = "<struct><member><name>Status</name><value>Failure</value></member><member>\
            <name>ErrorDescription</name><value><array><data><value>MESSAGE_METHOD_UNKNOWN</value>\
            </data></array></value></member></struct>";
        for envelope in [Envelope::Bare, Envelope::Status] {
            let Err(CallError::Failure(failure)) = read(envelope, &reply(unknown), 1 << 20) else {
                panic!("a failure")
            };
            assert_eq!(failure.code, "MESSAGE_METHOD_UNKNOWN");
        }
    }
}
