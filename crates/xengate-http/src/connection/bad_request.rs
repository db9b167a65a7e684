//! What is told to clients whose requests hyper cannot read.
//!
//! Such a request reaches no service: hyper answers it by itself, with a status and nothing else.
//! That answer is known by how it looks, and is told in words instead. Only where it is written
//! together with the answer to an earlier request, as to a client that pipelines, it stays bare.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::spoken::{BEGINNING, instead_of_http};
use crate::connection::stream::{Policy, write};
use crate::problem::{Code, Problem};
use crate::request_id;
use crate::request_id::RequestId;

/// hyper's own answers are shorter.
const LONGEST: usize = 256;

/// What is read of what such a client still sends, and for how long, before its connection is closed:
/// with something unread in it, that would take the answer along.
const UNREAD: usize = 64 << 10;
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

const UNREADABLE: &str = "the request cannot be read; in its path and query a space, a quote or another character that is \
     not allowed there has to be percent-encoded: %20, %22";

/// hyper's own answers on a client's stream are told in words.
#[derive(Default)]
pub(super) struct ExplainBadRequest {
    /// Something came since something was last written: only then an answer begins.
    asked: bool,
    /// How that begins.
    begins: Vec<u8>,
    /// What is written instead, and how much of it has been.
    instead: Option<(Vec<u8>, usize)>,
    /// Something was: how much may still be read, and for how long.
    told: Option<(usize, Pin<Box<Sleep>>)>,
}

impl ExplainBadRequest {
    /// Writes something else than these bytes, if they are hyper's own answer; none if not.
    fn explain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<Option<usize>>> {
        if self.instead.is_none() && self.asked {
            self.instead = in_words(bytes, &self.begins).map(|answer| (answer, 0));
        }
        let Some((answer, written)) = &mut self.instead else { return Poll::Ready(Ok(None)) };
        while *written < answer.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &answer[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        (self.instead, self.asked) = (None, false);
        self.told = Some((UNREAD, Box::pin(tokio::time::sleep(TAKEN_WITHIN))));
        Poll::Ready(Ok(Some(bytes.len())))
    }
}

/// The answer in place of hyper's own to what begins so, if these bytes are one. The gateway's name
/// their request.
fn in_words(bytes: &[u8], begins: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > LONGEST || !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (line, headers) = head.split_once("\r\n")?;
    let problem = match line.split(' ').nth(1)? {
        "400" => Problem::new(Code::BadRequest, instead_of_http(begins).unwrap_or(UNREADABLE)),
        "414" | "431" => Problem::from(Code::HeaderTooLarge),
        _ => return None,
    };
    let headers = headers.to_ascii_lowercase();
    let of_the_gateway = headers.contains(request_id::HEADER.as_str());
    if of_the_gateway || !headers.contains("content-length: 0") {
        return None;
    }
    Some(answer(&problem))
}

/// An answer outside of any HTTP that is spoken: a head, the problem, the end.
pub(super) fn answer(problem: &Problem) -> Vec<u8> {
    let id = RequestId::of(&HeaderMap::new());
    let document = problem.document(id.as_str());
    let later = match problem.status() {
        StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {}\r\n{later}content-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\n{}: {}\r\nx-content-type-options: nosniff\r\n\
         cache-control: no-store\r\n\r\n",
        problem.status(),
        document.len(),
        request_id::HEADER.as_str(),
        id.as_str(),
    );
    [head.into_bytes(), document].concat()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Policy<S> for ExplainBadRequest {
    fn read(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        let filled = &buffer.filled()[before..];
        if !filled.is_empty() {
            if !std::mem::replace(&mut self.asked, true) {
                self.begins.clear();
            }
            let room = BEGINNING - self.begins.len();
            self.begins.extend_from_slice(&filled[..room.min(filled.len())]);
        }
        read
    }

    fn write(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's own answer has no body: it is one piece.
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && let Some(written) = ready!(self.explain(stream, cx, only))?
        {
            return Poll::Ready(Ok(written));
        }
        let written = write(stream, cx, pieces);
        self.asked &= written.is_pending();
        written
    }

    fn shutdown(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        let Some((unread, until)) = &mut self.told else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 4096];
        while *unread > 0 && until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    *unread = unread.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_answers_are_told_in_words() {
        let own = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        let told =
            String::from_utf8(in_words(own.as_bytes(), b"GET /a b HTTP/1.1\r\n").expect("words"))
                .expect("text");
        assert!(told.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{told}");
        assert!(told.contains("\"code\":\"BAD_REQUEST\"") && told.contains("%22"), "{told}");
        let long = own.replace("400 Bad Request", "431 Request Header Fields Too Large");
        let told = String::from_utf8(in_words(long.as_bytes(), b"").expect("words")).expect("text");
        assert!(told.contains("\"code\":\"HEADER_TOO_LARGE\""), "{told}");
        for other in [
            own.replace("400 Bad Request", "304 Not Modified"),
            own.replace("date: today", "x-request-id: 7"),
            own.replace("length: 0", "length: 7"),
            format!("{own}x"),
            own.replace("today", &"x".repeat(LONGEST)),
            own[..own.len() - 2].to_owned(),
            String::new(),
        ] {
            assert_eq!(in_words(other.as_bytes(), b""), None, "{other}");
        }
    }
}
