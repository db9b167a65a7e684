//! Clients that have said all they have to say.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::stream::Policy;

/// On a TLS stream: its client may close its side without a word of farewell (`close_notify`). What
/// is missing of a request is missed by who reads it; after a whole one the answer goes out.
pub(super) struct HalfClosed;

impl<S: AsyncRead + AsyncWrite + Unpin> Policy<S> for HalfClosed {
    fn read(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match std::pin::Pin::new(stream).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}
