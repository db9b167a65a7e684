//! Reads the head of a request with XAPI's limits.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::reply::Page;
use crate::clock::Clock;

/// Request line and headers together, the empty line included.
const HEAD_LIMIT: usize = 1006;

/// How long the first request of a connection may take to arrive.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// The largest body of a call.
const BODY_LIMIT: usize = 307_200;

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) http_1_0: bool,
    pub(super) close: bool,
    pub(super) content_length: Option<u64>,
    pub(super) requested_headers: Option<String>,
}

/// Why no request was read.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The client is gone.
    Gone,
    /// This is to be answered, and the connection closed.
    Refused(Page),
}

impl From<std::io::Error> for NoRequest {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// What has been read from a connection and not used yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Reads a head; only the first of a connection has a deadline.
    pub(super) async fn head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        clock: &Clock,
        first: bool,
    ) -> Result<Head, NoRequest> {
        let read = self.read_head(stream);
        if !first {
            return read.await;
        }
        tokio::select! {
            head = read => head,
            () = clock.sleep(FIRST_HEAD) => Err(NoRequest::Refused(Page::request_timeout())),
        }
    }

    async fn read_head<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Head, NoRequest> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.bytes, b"\r\n\r\n") {
                if end + 4 > HEAD_LIMIT {
                    return Err(NoRequest::Refused(Page::headers_too_large()));
                }
                let rest = self.bytes.split_off(end + 4);
                let head = std::mem::replace(&mut self.bytes, rest);
                return parse(&head).ok_or_else(|| NoRequest::Refused(Page::bad_headers()));
            }
            if self.bytes.len() > HEAD_LIMIT {
                return Err(NoRequest::Refused(Page::headers_too_large()));
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(NoRequest::Gone);
            }
        }
    }

    /// Reads the body of a call.
    pub(super) async fn body<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        head: &Head,
    ) -> Result<Vec<u8>, NoRequest> {
        let refused = |what: &str| NoRequest::Refused(Page::internal(head, what));
        let Some(length) = head.content_length else {
            return Err(refused("Failure(\"We require a content-length: HTTP header\")"));
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= BODY_LIMIT)
        else {
            return Err(refused("Http_svr.Client_requested_size_over_limit"));
        };
        while self.bytes.len() < length {
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(NoRequest::Gone);
            }
        }
        let rest = self.bytes.split_off(length);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(bytes).ok().filter(httparse::Status::is_complete)?;
    let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
    let http_1_0 = request.version? == 0;
    let mut head = Head {
        method: request.method?.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        http_1_0,
        close: http_1_0,
        content_length: None,
        requested_headers: None,
    };
    for header in request.headers {
        let value = String::from_utf8_lossy(header.value);
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => head.content_length = Some(value.trim().parse().ok()?),
            "connection" if value.eq_ignore_ascii_case("close") => head.close = true,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => head.close = false,
            "access-control-request-headers" => head.requested_headers = Some(value.into_owned()),
            _ => {}
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::super::super::clock::Time;
    use super::*;

    async fn read(request: &[u8]) -> Result<Head, NoRequest> {
        let mut stream = request;
        Inbox::default().head(&mut stream, &Clock::new(Time::Held), true).await
    }

    fn request_of(size: usize) -> Vec<u8> {
        let line = "POST / HTTP/1.1\r\nContent-Length: 0\r\n";
        let filler = "a".repeat(size - line.len() - "X: \r\n\r\n".len());
        format!("{line}X: {filler}\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn heads_end_at_xapis_limit() {
        assert!(read(&request_of(HEAD_LIMIT)).await.is_ok());
        for size in [HEAD_LIMIT + 1, 5_000] {
            let Err(NoRequest::Refused(page)) = read(&request_of(size)).await else {
                panic!("a head of {size} bytes was read");
            };
            assert!(page.text().starts_with("HTTP/1.1 431 "), "{}", page.text());
        }
    }

    #[tokio::test]
    async fn connections_are_kept_by_version_and_header() {
        for (version, header, close) in [
            ("1.1", "", false),
            ("1.0", "", true),
            ("1.1", "Connection: close\r\n", true),
            ("1.0", "Connection: keep-alive\r\n", false),
        ] {
            let request = format!("POST /RPC2?x=1 HTTP/{version}\r\n{header}\r\n");
            let head = read(request.as_bytes()).await.expect("a head");
            assert_eq!((head.path.as_str(), head.close), ("/RPC2", close), "{request}");
        }
        let wrong = read(b"nonsense\r\n\r\n").await;
        assert!(matches!(wrong, Err(NoRequest::Refused(_))));
        assert!(matches!(read(b"POST / HT").await, Err(NoRequest::Gone)));
    }
}
