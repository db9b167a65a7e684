//! Writing to clients that do not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::shell::{Activity, UnderWay};

/// A stream that fails once it has taken nothing for a while although there was something to
/// write. Reading may take as long as it likes.
pub(super) struct Patience<S> {
    stream: S,
    patience: Duration,
    /// Runs while the stream takes nothing. Meanwhile something is under way.
    stalled: Option<(Pin<Box<Sleep>>, UnderWay)>,
    activity: Arc<Activity>,
}

impl<S> Patience<S> {
    pub(super) fn new(stream: S, patience: Duration, activity: Arc<Activity>) -> Self {
        Self { stream, patience, stalled: None, activity }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let Self { patience, stalled, activity, .. } = self;
        let (sleep, _) = stalled
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(*patience)), activity.begin()));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(10);
        let activity = Arc::<Activity>::default();
        let mut ours = Patience::new(ours, PATIENCE, activity.clone());
        let before = Instant::now();
        let error = ours.write_all(&[0; 11]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), before.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
        assert!(activity.idle_since().is_none(), "something is left to be written");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let activity = Arc::<Activity>::default();
        let mut ours = Patience::new(ours, PATIENCE, activity.clone());
        let reader = async {
            let mut read = [0; 10];
            for _ in 0..10 {
                tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                theirs.read_exact(&mut read).await.expect("more");
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&[0; 100]), reader);
        written.expect("all of it");
        assert!(activity.idle_since().is_some());
    }
}
