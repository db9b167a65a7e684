//! Writing to clients that do not read.
//!
//! `tokio-io-timeout` has such a timeout, and tells nobody when it begins to run: that has to be known,
//! since a connection on which something is stuck is not idle.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use crate::connection::stream::{Policy, write};
use crate::middleware::{Activity, UnderWay};

/// A stream fails once it has taken nothing for a while although there was something to write.
/// Reading may take as long as it likes.
pub(super) struct WriteTimeout {
    patience: Duration,
    /// Runs while the stream takes nothing. Meanwhile something is under way.
    stalled: Option<(Pin<Box<Sleep>>, UnderWay)>,
    activity: Arc<Activity>,
}

impl WriteTimeout {
    pub(super) fn new(patience: Duration, activity: Arc<Activity>) -> Self {
        Self { patience, stalled: None, activity }
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

impl<S: AsyncRead + AsyncWrite + Unpin> Policy<S> for WriteTimeout {
    fn write(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = write(stream, cx, pieces);
        self.judge(cx, written)
    }

    fn flush(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn shutdown(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::super::stream::Governed;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(10);
        let activity = Arc::<Activity>::default();
        let mut ours = Governed::new(ours, WriteTimeout::new(PATIENCE, activity.clone()));
        let before = Instant::now();
        let error = ours.write_all(&[0; 11]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), before.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
        assert!(activity.idle_since().is_none(), "something is left to be written");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let activity = Arc::<Activity>::default();
        let mut ours = Governed::new(ours, WriteTimeout::new(PATIENCE, activity.clone()));
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
