//! Large answers let small ones pass.
//!
//! Handing megabytes to the system takes a thread for as long as they are copied, and whoever reads
//! them takes another. On a machine that does nothing else, a small answer then waits behind as many
//! large ones as there are clients that list everything. So while small answers are being sent,
//! large ones take turns: one thread less than there are writes at a time, and rests after every
//! half megabyte. While there are none, large answers go as fast as they can.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

use crate::connection::stream::{Policy, write};

/// A write as short as this never waits.
const SMALL: usize = 64 << 10;

/// What is written in one turn, and between two rests.
const TURN: usize = 512 << 10;

/// How long a rest is.
const REST: Duration = Duration::from_millis(1);

/// For how long after a small answer others are expected.
const EXPECTED: Duration = Duration::from_millis(2);

/// The slots of large writes.
#[derive(Debug, Clone)]
pub(super) struct LargeWriteSlots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    begin: Instant,
    /// When the last small answer was sent, in nanoseconds after `begin`.
    small: AtomicU64,
    /// Bytes that were written in turns since the last rest.
    written: AtomicUsize,
}

impl LargeWriteSlots {
    /// As many at a time as leave one of these threads free.
    pub(super) fn of(threads: usize) -> Self {
        let free = Arc::new(Semaphore::new(threads.saturating_sub(1).max(1)));
        // The first answer comes when nothing is known of others yet.
        let (begin, small) = (Instant::now(), AtomicU64::default());
        Self(Arc::new(Shared { free, begin, small, written: AtomicUsize::default() }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn small(&self) {
        self.0.small.store(self.now(), Ordering::Relaxed);
    }

    /// Whether small answers are being sent.
    fn needed(&self) -> bool {
        let since = self.now().saturating_sub(self.0.small.load(Ordering::Relaxed));
        u128::from(since) < EXPECTED.as_nanos()
    }

    /// Ends a turn in which so much was written, after a rest if one is due.
    fn end(&self, turn: OwnedSemaphorePermit, written: usize) {
        let before = self.0.written.fetch_add(written, Ordering::Relaxed);
        if before.saturating_add(written) >= TURN {
            self.0.written.store(0, Ordering::Relaxed);
            tokio::spawn(async move {
                tokio::time::sleep(REST).await;
                drop(turn);
            });
        }
    }
}

/// Large writes of a stream let small ones of other streams pass.
pub(super) struct FairWrite {
    slots: LargeWriteSlots,
    turn: PollSemaphore,
    /// Whether a turn is waited for. One that comes when none is needed any more is given back.
    waits: bool,
    /// Whether the write before was a large one: then what follows may be the rest of it.
    large: bool,
}

impl FairWrite {
    pub(super) fn new(slots: &LargeWriteSlots) -> Self {
        let turn = PollSemaphore::new(slots.0.free.clone());
        Self { slots: slots.clone(), turn, waits: false, large: false }
    }

    /// Leaves the queue. What the queue has given already would else be held for ever.
    fn wait_no_more(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.turn = PollSemaphore::new(self.slots.0.free.clone());
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Policy<S> for FairWrite {
    fn write(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = pieces.iter().map(|piece| piece.len()).sum();
        if size <= SMALL {
            if !std::mem::take(&mut self.large) {
                self.slots.small();
            }
            self.wait_no_more();
            return write(stream, cx, pieces);
        }
        self.large = true;
        if !self.slots.needed() {
            self.wait_no_more();
            return write(stream, cx, pieces);
        }
        self.waits = true;
        let turn = ready!(self.turn.poll_acquire(cx)).expect("nobody closes this semaphore");
        self.waits = false;
        let result = match size {
            ..=TURN => write(stream, cx, pieces),
            _ => write(stream, cx, &first(pieces, TURN)),
        };
        let written = match &result {
            Poll::Ready(Ok(written)) => *written,
            _ => 0,
        };
        self.slots.end(turn, written);
        result
    }
}

/// The first `size` bytes of these.
fn first<'a>(bytes: &'a [IoSlice<'_>], mut size: usize) -> Vec<IoSlice<'a>> {
    let mut taken = Vec::with_capacity(bytes.len());
    for slice in bytes {
        let length = slice.len().min(size);
        taken.push(IoSlice::new(&slice[..length]));
        size -= length;
        if size == 0 {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::stream::Governed;
    use super::*;

    const LARGE: usize = 3 * TURN;

    /// A stream, and what comes out of it; it takes as much as there is.
    fn stream(slots: &LargeWriteSlots) -> (Governed<DuplexStream, FairWrite>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(4 * LARGE);
        (Governed::new(ours, FairWrite::new(slots)), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_alone_is_written_at_once() {
        let slots = LargeWriteSlots::of(2);
        tokio::time::advance(EXPECTED).await;
        let (mut ours, _theirs) = stream(&slots);
        assert_eq!(ours.write(&[0; LARGE]).await.expect("written"), LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn beside_small_ones_it_rests() {
        let slots = LargeWriteSlots::of(2);
        let ((mut small, _a), (mut large, mut read)) = (stream(&slots), stream(&slots));
        small.write_all(b"small").await.expect("written");
        assert_eq!(large.write(&[1; LARGE]).await.expect("written"), TURN);
        let before = Instant::now();
        {
            let mut second = std::pin::pin!(large.write(&[2; LARGE]));
            assert!(poll!(second.as_mut()).is_pending(), "rests");
            // What is small does not wait for anybody.
            small.write_all(b"small").await.expect("written");
            assert_eq!(before.elapsed(), Duration::ZERO);
            assert_eq!(second.await.expect("written"), TURN);
        }
        assert!(before.elapsed() >= REST);
        drop(large);
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.expect("readable");
        assert!(all[..TURN].iter().all(|byte| *byte == 1) && all.len() == 2 * TURN);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_large_answer_is_not_a_small_one() {
        let slots = LargeWriteSlots::of(2);
        tokio::time::advance(EXPECTED).await;
        let (mut ours, _theirs) = stream(&slots);
        ours.write_all(&[0; LARGE]).await.expect("written");
        ours.write_all(&[0; SMALL]).await.expect("written");
        assert!(!slots.needed());
        ours.write_all(&[0; SMALL]).await.expect("written");
        assert!(slots.needed());
    }

    #[tokio::test(start_paused = true)]
    async fn slices_are_cut_where_the_turn_ends() {
        let slots = LargeWriteSlots::of(2);
        let ((mut small, _a), (mut large, mut read)) = (stream(&slots), stream(&slots));
        small.write_all(b"small").await.expect("written");
        let (head, body, tail) = ([1; 100], vec![2; TURN], [3; 100]);
        let slices = [IoSlice::new(&head), IoSlice::new(&body), IoSlice::new(&tail)];
        assert_eq!(large.write_vectored(&slices).await.expect("written"), TURN);
        drop(large);
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.expect("readable");
        assert_eq!((all.len(), all[99], all[100], all[TURN - 1]), (TURN, 1, 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_given_back_by_who_needs_none_any_more() {
        let slots = LargeWriteSlots::of(1);
        let ((mut small, _a), (mut first, _b), (mut second, _c)) =
            (stream(&slots), stream(&slots), stream(&slots));
        small.write_all(b"small").await.expect("written");
        assert_eq!(first.write(&[1; LARGE]).await.expect("written"), TURN);
        let mut bytes = std::pin::pin!(second.write(&[1; LARGE]));
        assert!(poll!(bytes.as_mut()).is_pending());
        // Its turn comes, and no small answers any more.
        tokio::time::sleep(REST + EXPECTED).await;
        assert_eq!(bytes.await.expect("written"), LARGE);
        small.write_all(b"small").await.expect("written");
        assert_eq!(first.write(&[1; TURN]).await.expect("written"), TURN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_given_back_by_who_goes_away() {
        let slots = LargeWriteSlots::of(1);
        let ((mut small, _a), (mut first, _b), (second, _c)) =
            (stream(&slots), stream(&slots), stream(&slots));
        small.write_all(b"small").await.expect("written");
        assert_eq!(first.write(&[1; LARGE]).await.expect("written"), TURN);
        let mut waiting = Box::pin({
            let mut second = second;
            async move { second.write(&[1; LARGE]).await }
        });
        assert!(poll!(waiting.as_mut()).is_pending());
        drop(waiting);
        tokio::time::advance(REST).await;
        assert_eq!(first.write(&[1; TURN]).await.expect("written"), TURN);
    }
}
