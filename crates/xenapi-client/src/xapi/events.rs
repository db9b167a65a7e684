//! Following a pool's events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::Xapi;
use super::calls::{
    contradicts_dialect, is_answer, json_cannot_carry, session_invalid, speaks_otherwise,
};
use crate::call::EventFrame;
use crate::connections::{Endpoint, Reply, Use};
use crate::error::{CallError, Fault};
use crate::session::Session;
use crate::toolstack::Each;
use xenapi_wire::reply::{Dialect, Outcome};
use xenapi_wire::split::ArraySplitter;
use xenapi_wire::xmlrpc::Transcoder;
use xenapi_wire::{Arg, Limits, ReadError, integer, reply};

/// How much longer than it was told to wait a host may take to begin its answer.
const MARGIN: Duration = Duration::from_secs(10);

/// How long an answer may take from beginning to end: a first sync holds the whole pool.
const WHOLE_WITHIN: Duration = Duration::from_secs(300);

impl Xapi {
    pub(super) async fn events(
        &self,
        session: &Session,
        classes: &[&str],
        token: &str,
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        let args = [
            Arg::Secret(session.reference().clone()),
            Arg::Array(classes.iter().map(|class| Arg::from(*class)).collect()),
            Arg::from(token),
            Arg::Float(timeout.as_secs_f64()),
        ];
        tokio::select! {
            // Whoever logged out waits for nothing more, even if the backend was not told.
            biased;
            () = session.ended().cancelled() => Err(session_invalid()),
            result = self.follow(session, &args, timeout, each) => self.settle(session, result),
        }
    }

    async fn follow(
        &self,
        session: &Session,
        args: &[Arg],
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        let host = self.hosts.current_or_first();
        self.know_dialect(&host, session).await?;
        let dialect = host.dialect_of_events().unwrap_or(Dialect::JsonRpc);
        let mut handed_out = false;
        let mut count = |event: &[u8]| {
            handed_out = true;
            each(event)
        };
        let result = self.stream(dialect, &host, args, timeout, &mut count).await;
        if dialect == Dialect::JsonRpc
            && host.may_speak_xml()
            && result.as_ref().is_err_and(json_cannot_carry)
        {
            host.follow_in_xml(true);
            // Half a reply has told of objects that may be no more in the next.
            if !handed_out {
                let xml = Dialect::XmlRpc;
                let again = self.stream(xml, &host, args, timeout, each).await;
                if is_answer(&again) {
                    return again;
                }
            }
        }
        if result.as_ref().is_err_and(speaks_otherwise) {
            host.follow_in_xml(false);
        }
        if result.as_ref().is_err_and(contradicts_dialect) {
            host.learn_dialect(None);
        }
        result
    }

    async fn stream(
        &self,
        dialect: Dialect,
        host: &Arc<Endpoint>,
        args: &[Arg],
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        let post = self.post(dialect, host, "event.from", args)?;
        let slot = self.connections.slot(Use::Sync).await?;
        let head_within = timeout + MARGIN.min(self.call_timeout);
        let mut reply = self
            .connections
            .stream(&slot, host, &post, head_within, head_within + WHOLE_WITHIN)
            .await?;
        let mut reader = Reader::new(dialect, self.connections.max_sync_reply());
        while let Some(piece) = reply.piece().await? {
            reader.push(&piece, each).map_err(|error| unread(&reply, error))?;
            // A whole pool takes long to read; others want to run as well.
            tokio::task::yield_now().await;
        }
        let rest = reader.finish().map_err(|error| unread(&reply, error))?;
        let mut room = String::new();
        let outcome = reply::read_leniently(dialect, &rest, &mut room);
        match outcome.map_err(|error| unread(&reply, error))? {
            Outcome::Failure(failure) => Err(CallError::Failure(failure)),
            Outcome::Success(value) => frame(value.get())
                .ok_or_else(|| reply.bad(Fault::Unfit("not what event.from returns")).into()),
        }
    }
}

fn unread(reply: &Reply<'_>, error: ReadError) -> CallError {
    reply.bad(Fault::Unread(error)).into()
}

/// Takes the events out of a reply while it comes in, holding one event and one piece at a time.
struct Reader {
    transcoder: Option<(Transcoder, Vec<u8>)>,
    splitter: ArraySplitter,
}

impl Reader {
    fn new(dialect: Dialect, max_bytes: u64) -> Self {
        let limits = Limits { max_bytes, ..Limits::default() };
        match dialect {
            Dialect::JsonRpc => Self {
                transcoder: None,
                splitter: ArraySplitter::new(&["result", "events"], limits),
            },
            Dialect::XmlRpc => Self {
                transcoder: Some((Transcoder::new(limits), Vec::new())),
                splitter: ArraySplitter::new(&["Value", "events"], limits),
            },
        }
    }

    fn push(&mut self, piece: &[u8], each: Each<'_>) -> Result<(), ReadError> {
        match &mut self.transcoder {
            None => self.splitter.push(piece, each),
            Some((transcoder, json)) => {
                json.clear();
                transcoder.push(piece, json)?;
                self.splitter.push(json, each)
            }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, ReadError> {
        if let Some((transcoder, _)) = &mut self.transcoder {
            transcoder.finish()?;
        }
        self.splitter.finish()
    }
}

/// What `event.from` returns, the events taken out.
fn frame(json: &str) -> Option<EventFrame> {
    // Of a name that comes twice the last one counts.
    type Members<'a> = HashMap<String, &'a RawValue>;
    let members: Members<'_> = serde_json::from_str(json).ok()?;
    let token = serde_json::from_str(members.get("token")?.get()).ok()?;
    let counts = members.get("valid_ref_counts");
    let counts: Members<'_> =
        counts.and_then(|counts| serde_json::from_str(counts.get()).ok()).unwrap_or_default();
    // Ints of odd servers come as strings; a count that is none says nothing about its class.
    let count = |(class, count): (String, &RawValue)| {
        let count = integer(count.get().trim_matches('"'))?;
        Some((class, u64::try_from(count).ok()?))
    };
    Some(EventFrame { token, valid_ref_counts: counts.into_iter().filter_map(count).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_cannot_be_read_costs_itself_alone() {
        let json = r#"{"events":[],"token":"1","token":"2","valid_ref_counts":{"vm":3,"sr":"4",
            "host":2.0,"vbd":1e2,"vif":null,"pif":1e999,"pool":-1,"task":"x","vdi":1,"vdi":7}}"#;
        let frame = frame(json).expect("a frame");
        assert_eq!(frame.token, "2");
        let counts: Vec<_> =
            frame.valid_ref_counts.iter().map(|(class, count)| (class.as_str(), *count)).collect();
        assert_eq!(counts, [("host", 2), ("sr", 4), ("vbd", 100), ("vdi", 7), ("vm", 3)]);
        assert_eq!(
            super::frame(r#"{"token":"1","valid_ref_counts":7}"#).map(|it| it.token),
            Some("1".into())
        );
        assert!(super::frame(r#"{"token":7}"#).is_none());
    }
}
