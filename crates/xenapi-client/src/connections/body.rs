//! A reply's body as it comes in.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Duration, Instant, timeout_at};

use super::lane::Slot;
use super::live::Live;
use crate::error::{BadReply, CallError, Fault, Phase};
use xenapi_wire::reply::{self, Dialect};
use xenapi_wire::{ReadError, Seen};

/// The most of an HTTP error's body that is looked at to say what it is.
const SNIFFED: usize = 512;

/// How long it may pause: what matters is known already.
const SNIFF_WAIT: Duration = Duration::from_secs(2);

/// How much a reply may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxReply {
    /// The setting that says so.
    pub(crate) setting: &'static str,
    /// Its value in bytes.
    pub(crate) bytes: u64,
}

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Until it has to be whole.
    pub(crate) whole: Instant,
    /// Between one piece and the next.
    pub(crate) piece: Duration,
}

/// A reply whose body comes in. Dropped before its end, it closes its connection; at its end it
/// gives the connection back.
pub(crate) struct Reply<'a> {
    slot: &'a Slot,
    live: Option<Live>,
    body: Incoming,
    status: u16,
    read: u64,
    limit: MaxReply,
    pace: Pace,
}

impl<'a> Reply<'a> {
    /// The reply with this head, if its status is the one that replies have.
    pub(super) async fn begin(
        slot: &'a Slot,
        live: Live,
        response: http::Response<Incoming>,
        limit: MaxReply,
        pace: Pace,
    ) -> Result<Self, CallError> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let mut reply = Self { slot, live: Some(live), body, status, read: 0, limit, pace };
        if head.status != http::StatusCode::OK {
            let seen = reply.sniff().await;
            return Err(reply.bad(Fault::Status(seen)).into());
        }
        if reply.body.size_hint().lower() > limit.bytes {
            return Err(reply.too_large().into());
        }
        Ok(reply)
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let Some(live) = &mut self.live else { return Ok(None) };
            let by = self.pace.whole.min(Instant::now() + self.pace.piece);
            let frame = timeout_at(by, live.drive(self.body.frame()))
                .await
                .map_err(|_| CallError::Timeout(Phase::Body))?;
            match frame {
                None => {
                    self.give_back().await;
                    return Ok(None);
                }
                Some(Err(error)) if error.is_parse() => {
                    return Err(self.bad(Fault::NotHttp).into());
                }
                Some(Err(_)) => {
                    live.broken();
                    return Err(self.bad(Fault::Cut).into());
                }
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    let Ok(piece) = frame.into_data() else { continue };
                    self.read += piece.len() as u64;
                    if self.read > self.limit.bytes {
                        return Err(self.too_large().into());
                    }
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// The whole body.
    pub(crate) async fn whole(&mut self) -> Result<Vec<u8>, CallError> {
        // What the head promises is no reason to set memory aside before it has come.
        const TRUSTED: u64 = 1 << 20;
        let promised = self.body.size_hint().lower().min(TRUSTED);
        let mut whole = Vec::with_capacity(usize::try_from(promised).unwrap_or_default());
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// This reply as an error.
    pub(crate) fn bad(&self, fault: Fault) -> BadReply {
        BadReply { status: Some(self.status), fault, read: self.read }
    }

    fn too_large(&self) -> BadReply {
        self.bad(Fault::TooLarge { setting: self.limit.setting, limit: self.limit.bytes })
    }

    /// What the body of an HTTP error looks like.
    async fn sniff(&mut self) -> Option<Seen> {
        let mut start = Vec::new();
        self.pace.piece = SNIFF_WAIT;
        while start.len() < SNIFFED {
            // However it ends, the status is what matters.
            let Ok(Some(piece)) = self.piece().await else { break };
            let rest = SNIFFED - start.len();
            start.extend_from_slice(&piece[..piece.len().min(rest)]);
        }
        match reply::read(Dialect::JsonRpc, &start) {
            Err(ReadError::Empty) => None,
            Err(ReadError::NotJson(seen)) => Some(seen),
            _ => Some(Seen::Json),
        }
    }

    async fn give_back(&mut self) {
        if let Some(mut live) = self.live.take()
            && live.is_free().await
        {
            self.slot.keep(live);
        }
    }
}
