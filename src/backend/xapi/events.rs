//! Following a pool's events.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::Xapi;
use super::calls::{session_invalid, speaks_otherwise};
use crate::backend::connections::{Endpoint, Reply, Use};
use crate::backend::error::{CallError, Fault};
use crate::backend::{EventFrame, Session};
use crate::wire::reply::{Dialect, Outcome};
use crate::wire::split::ArraySplitter;
use crate::wire::xmlrpc::Transcoder;
use crate::wire::{Arg, Limits, ReadError, reply};

/// How much longer than it was told to wait a host may take to begin its answer.
const MARGIN: Duration = Duration::from_secs(10);

/// How long an answer may take from beginning to end: a first sync holds the whole pool.
const WHOLE_WITHIN: Duration = Duration::from_secs(300);

/// Takes one event's JSON.
type Each<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), ReadError> + Send);

impl Xapi {
    pub(in crate::backend) async fn events(
        &self,
        session: &Session,
        token: &str,
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        tokio::select! {
            // Whoever logged out waits for nothing more, even if the backend was not told.
            biased;
            () = session.ended().cancelled() => Err(session_invalid()),
            result = self.follow(session, token, timeout, each) => self.settle(session, result),
        }
    }

    async fn follow(
        &self,
        session: &Session,
        token: &str,
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        let host = self.hosts.current_or_first();
        self.know_dialect(&host, session).await?;
        let dialect = host.dialect().unwrap_or(Dialect::JsonRpc);
        let result = self.stream(dialect, &host, session, token, timeout, each).await;
        if result.as_ref().is_err_and(speaks_otherwise) {
            host.learn_dialect(None);
        }
        result
    }

    async fn stream(
        &self,
        dialect: Dialect,
        host: &Arc<Endpoint>,
        session: &Session,
        token: &str,
        timeout: Duration,
        each: Each<'_>,
    ) -> Result<EventFrame, CallError> {
        let args = [
            Arg::Secret(session.reference().clone()),
            Arg::Array(vec![Arg::String("*".to_owned())]),
            Arg::String(token.to_owned()),
            Arg::Float(timeout.as_secs_f64()),
        ];
        let post = self.post(dialect, host, "event.from", &args)?;
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
        match reply::read(dialect, &rest).map_err(|error| unread(&reply, error))? {
            Outcome::Failure(failure) => Err(CallError::Failure(failure)),
            Outcome::Success(value) => match serde_json::from_str::<Frame>(value.get()) {
                Ok(frame) => Ok(frame.into()),
                Err(_) => Err(reply.bad(Fault::Unfit("not what event.from returns")).into()),
            },
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
#[derive(Deserialize)]
struct Frame {
    token: String,
    #[serde(default)]
    valid_ref_counts: serde_json::Value,
}

impl From<Frame> for EventFrame {
    fn from(frame: Frame) -> Self {
        use serde_json::Value;
        // Ints of odd servers come as strings; a count that is none says nothing about its class.
        let count = |(class, count): (&String, &Value)| {
            let count = count.as_u64().or_else(|| count.as_str()?.parse().ok());
            Some((class.clone(), count?))
        };
        let counts = frame.valid_ref_counts.as_object().into_iter().flatten();
        Self { token: frame.token, valid_ref_counts: counts.filter_map(count).collect() }
    }
}
