//! A client's stream with a policy of how it is read and written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read and written as the stream `S` does it, but for what a policy does otherwise.
pub(super) trait Policy<S: AsyncRead + AsyncWrite + Unpin>: Unpin {
    /// As `poll_read`.
    fn read(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_read(cx, buffer)
    }

    /// As `poll_write_vectored`, and for one piece as `poll_write`.
    fn write(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write(stream, cx, pieces)
    }

    /// As `poll_flush`.
    fn flush(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_flush(cx)
    }

    /// As `poll_shutdown`.
    fn shutdown(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_shutdown(cx)
    }
}

/// Writes these pieces, or the first of them.
pub(super) fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match pieces {
        [only] => Pin::new(stream).poll_write(cx, only),
        pieces => Pin::new(stream).poll_write_vectored(cx, pieces),
    }
}

/// A stream that keeps to a policy.
pub(super) struct Governed<S, P> {
    stream: S,
    policy: P,
}

impl<S, P> Governed<S, P> {
    pub(super) fn new(stream: S, policy: P) -> Self {
        Self { stream, policy }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Policy<S>> AsyncRead for Governed<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, policy } = &mut *self;
        policy.read(stream, cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: Policy<S>> AsyncWrite for Governed<S, P> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, policy } = &mut *self;
        policy.write(stream, cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, policy } = &mut *self;
        policy.flush(stream, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, policy } = &mut *self;
        policy.shutdown(stream, cx)
    }
}
