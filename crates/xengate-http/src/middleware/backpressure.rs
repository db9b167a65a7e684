//! Answers on their way to the client.
//!
//! An answer takes memory until its client has taken it, so it holds its share of
//! `limits.max_unsent` for as long as its bytes live, wherever they have got to: into hyper, or
//! into the queue of an HTTP/2 stream whose client opens no window.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http::Version;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::middleware::activity::{Activity, UnderWay};
use crate::unsent_budget;

/// What an HTTP/2 stream is given at once, so that it shows whether its client takes anything.
const PIECE: usize = 64 << 10;

/// An extension of answers whose bytes are the program's own: however many clients do not take
/// them, they are there once.
#[derive(Debug, Clone, Copy)]
pub struct Embedded;

/// An answer's share of the room; no answer without a known length has one, its route sees to its limits.
/// Answers with the same bytes have one together.
pub(super) type Share = Option<Held>;

/// What an answer holds: of the whole room, and of its user's share of it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) _room: Arc<unsent_budget::Share>,
    pub(super) _of_user: Option<Arc<xengate_core::auth::Unsent>>,
}

/// The answers of one connection that its client has not taken yet, and since when each has not
/// moved.
///
/// Only those of HTTP/2, whose clients can stop a stream while the connection goes on. In HTTP/1 it
/// is the connection that stops.
#[derive(Debug, Default)]
pub struct UnsentWatch {
    waiting: Mutex<Waiting>,
    /// They are under way too.
    pub(super) activity: Arc<Activity>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    since: BTreeMap<u64, Instant>,
}

impl UnsentWatch {
    /// Of the connection on which this is under way.
    pub fn of(activity: Arc<Activity>) -> Self {
        Self { waiting: Mutex::default(), activity }
    }

    /// Returns when an answer has not moved for so long.
    pub async fn stalled(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let oldest = self.waiting.lock().since.values().min().copied();
            let due = oldest.unwrap_or(now) + patience;
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn begin(self: &Arc<Self>) -> Moving {
        let mut waiting = self.waiting.lock();
        waiting.last += 1;
        let id = waiting.last;
        waiting.since.insert(id, Instant::now());
        drop(waiting);
        let under_way = self.activity.begin();
        Moving { unsent: Arc::clone(self), id, _under_way: under_way }
    }
}

/// A piece of an answer that has not been taken; dropped, it has, or nobody wants it any more.
struct Moving {
    unsent: Arc<UnsentWatch>,
    id: u64,
    _under_way: UnderWay,
}

impl Moving {
    fn moved(&self) {
        self.unsent.waiting.lock().since.insert(self.id, Instant::now());
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.unsent.waiting.lock().since.remove(&self.id);
    }
}

/// A body that holds its share until its last byte is gone.
pub(super) struct TrackedBody {
    body: Body,
    share: Share,
    watch: Option<Arc<UnsentWatch>>,
    /// Of a frame of the body, what is still to be given out.
    rest: Bytes,
    moving: Option<Arc<Moving>>,
    _under_way: UnderWay,
}

impl TrackedBody {
    /// Wraps an answer's body, unless there is nothing in it, or so little that HTTP/1 sends it with
    /// the head.
    pub(super) fn wrap(
        body: Body,
        share: Share,
        version: Version,
        unsent: &Arc<UnsentWatch>,
        under_way: UnderWay,
    ) -> Body {
        let watched = version == Version::HTTP_2;
        let is_whole = body.size_hint().exact().is_some();
        if body.is_end_stream() || (share.is_none() && !watched && is_whole) {
            return body;
        }
        let watch = watched.then(|| Arc::clone(unsent));
        let (rest, moving) = (Bytes::new(), None);
        Body::new(Self { body, share, watch, rest, moving, _under_way: under_way })
    }

    fn begin(&mut self, data: Bytes) {
        if self.share.is_none() && self.watch.is_none() {
            self.rest = data;
            return;
        }
        self.moving = self.watch.as_ref().map(|unsent| Arc::new(unsent.begin()));
        let held = Holding { data, _share: self.share.clone(), _moving: self.moving.clone() };
        self.rest = Bytes::from_owner(held);
    }
}

/// Bytes, and what is held for as long as they live.
struct Holding {
    data: Bytes,
    _share: Share,
    _moving: Option<Arc<Moving>>,
}

impl AsRef<[u8]> for Holding {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            self.moving = None;
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.begin(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = match &self.moving {
            Some(moving) => {
                moving.moved();
                self.rest.len().min(PIECE)
            }
            None => self.rest.len(),
        };
        let piece = self.rest.split_to(size);
        if self.rest.is_empty() {
            // What is watched from here on is the piece itself.
            self.moving = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::unsent_budget::UnsentBudget;

    const H2: Version = Version::HTTP_2;

    fn held(permit: unsent_budget::Share) -> Held {
        Held { _room: Arc::new(permit), _of_user: None }
    }

    fn room(kib: u64) -> UnsentBudget {
        UnsentBudget::new(kib << 10)
    }

    #[tokio::test]
    async fn a_share_is_held_until_the_last_byte_is_gone() {
        let room = room(1024);
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let bytes: Vec<u8> = (0..300_000).map(|n| n as u8).collect();
            let body = Body::from(bytes.clone());
            let share = room.take(&body, H2).expect("room").map(held);
            let unsent = Arc::<UnsentWatch>::default();
            let mut body =
                TrackedBody::wrap(body, share, version, &unsent, unsent.activity.begin());
            assert_eq!(body.size_hint().exact(), Some(300_000));
            let mut pieces = Vec::new();
            while let Some(frame) = body.frame().await {
                pieces.push(frame.expect("no error").into_data().expect("data"));
                let left = 300_000 - pieces.iter().map(Bytes::len).sum::<usize>();
                assert_eq!(body.size_hint().exact(), Some(left as u64));
            }
            assert!(body.is_end_stream());
            assert_eq!(pieces.concat(), bytes);
            let largest = pieces.iter().map(Bytes::len).max().expect("some");
            let expected = if version == Version::HTTP_2 { PIECE } else { 300_000 };
            assert_eq!(largest, expected);
            drop(body);
            let last = pieces.pop().expect("some");
            drop(pieces);
            assert!(room.taken() > 0, "{version:?}: a piece is left");
            let watched = usize::from(version == Version::HTTP_2);
            assert_eq!(unsent.waiting.lock().since.len(), watched);
            assert_eq!(unsent.activity.idle_since().is_none(), watched > 0);
            drop(last);
            assert_eq!(room.taken(), 0);
            assert!(unsent.waiting.lock().since.is_empty());
            assert!(unsent.activity.idle_since().is_some());
        }
    }

    #[tokio::test]
    async fn a_stream_is_under_way_for_as_long_as_it_lasts() {
        let unsent = Arc::<UnsentWatch>::default();
        let stream = || {
            let frames = futures_util::stream::iter([Ok::<_, axum::Error>(Bytes::from("x"))]);
            Body::from_stream(frames)
        };
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let under_way = unsent.activity.begin();
            let mut body = TrackedBody::wrap(stream(), None, version, &unsent, under_way);
            assert!(unsent.activity.idle_since().is_none());
            let frame = body.frame().await.expect("one").expect("no error");
            assert_eq!(frame.into_data().expect("data"), "x");
            assert!(body.frame().await.is_none() && unsent.activity.idle_since().is_none());
            drop(body);
            assert!(unsent.activity.idle_since().is_some());
        }
    }

    #[tokio::test]
    async fn a_body_nobody_reads_gives_its_share_back() {
        let room = room(1);
        let body = Body::from("x");
        let share = room.take(&body, H2).expect("room").map(held);
        let unsent = Arc::<UnsentWatch>::default();
        let under_way = unsent.activity.begin();
        let body = TrackedBody::wrap(body, share, Version::HTTP_2, &unsent, under_way);
        assert!(room.take(&Body::from("x"), H2).is_err());
        drop(body);
        assert!(room.take(&Body::from("x"), H2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_move_is_noticed() {
        let (unsent, patience) = (Arc::<UnsentWatch>::default(), Duration::from_secs(30));
        let body = Body::from(vec![0; 3 * PIECE]);
        let under_way = unsent.activity.begin();
        let mut body = TrackedBody::wrap(body, None, Version::HTTP_2, &unsent, under_way);
        let idle = tokio::time::timeout(patience * 100, unsent.stalled(patience)).await;
        assert!(idle.is_err(), "nothing is under way");
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(body.frame().await.expect("more"));
            let moves = tokio::time::timeout(patience * 2 / 3, unsent.stalled(patience)).await;
            assert!(moves.is_err(), "it moves");
        }
        let before = Instant::now();
        unsent.stalled(patience).await;
        assert_eq!(before.elapsed(), patience / 3);
    }
}
