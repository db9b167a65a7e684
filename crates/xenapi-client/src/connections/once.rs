//! One exchange at a time with an HTTP server that is no backend, each on a connection of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;

use super::dial::Dialer;
use super::endpoint::{Endpoint, Place};
use super::live::SendError;
use super::{AGENT, host_header, tls};
use crate::error::{BackendError, Unreachable};
use xengate_config::BackendTls;

/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// An HTTP server.
pub struct Server {
    dialer: Dialer,
    endpoint: Arc<Endpoint>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// Its time is up.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
    /// The connection ended first.
    #[error("the connection was lost before the whole answer came")]
    Cut,
    /// Something else listens there.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// A body beyond all measure.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Server {
    /// The server at an address like those of backends. Nothing is connected yet.
    pub fn new(uri: &str, trust: &BackendTls) -> Result<Self, BackendError> {
        let endpoint = Endpoint::parse(uri).map_err(|why| BackendError::Uri { place: 1, why })?;
        let tls = match endpoint.place {
            Place::Tcp { tls: true, .. } => Some(tls::connector(trust)?),
            _ => None,
        };
        let dialer = Dialer { tls, within: CONNECT_WITHIN };
        Ok(Self { dialer, endpoint: Arc::new(endpoint) })
    }

    /// Sends a request, which needs no headers about the connection, and reads the whole answer: of
    /// at most so many bytes, whatever its status.
    pub async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
        within: Duration,
        most: usize,
    ) -> Result<Response<Vec<u8>>, AskError> {
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&self.endpoint));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let answer = timeout(within, self.exchange(request, most)).await;
        answer.unwrap_or(Err(AskError::Late(within)))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Response<Vec<u8>>, AskError> {
        let mut live = self.dialer.dial(&self.endpoint, CONNECT_WITHIN).await?;
        let sent = live.send(request).await;
        let (head, mut body) = sent.map_err(AskError::from)?.into_parts();
        if body.size_hint().lower() > most as u64 {
            return Err(AskError::TooLong(most));
        }
        let mut whole = Vec::new();
        while let Some(frame) = live.drive(body.frame()).await {
            let frame = frame.map_err(|error| match error.is_parse() {
                true => AskError::NotHttp,
                false => AskError::Cut,
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            if whole.len() + piece.len() > most {
                return Err(AskError::TooLong(most));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Response::from_parts(head, whole))
    }
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Unsent | SendError::Lost => Self::Cut,
            SendError::NotHttp => Self::NotHttp,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What becomes of a request that is answered with these bytes and then with silence.
    async fn asked(reply: &'static str, most: usize) -> Result<(u16, Vec<u8>), AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("http://{}", listener.local_addr().expect("an address"));
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.expect("a request");
            stream.write_all(reply.as_bytes()).await.expect("sent");
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let server = Server::new(&uri, &BackendTls::System).expect("an address");
        let request = Request::get("/x?y=1").body(Full::default()).expect("a request");
        let answer = server.ask(request, Duration::from_secs(30), most).await;
        let head = answers.await.expect("it ends");
        assert!(head.starts_with("GET /x?y=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: 127.0.0.1:") && head.contains("connection: close"), "{head}");
        answer.map(|answer| (answer.status().as_u16(), answer.into_body()))
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_whatever_its_status() {
        let reply = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";
        assert_eq!(asked(reply, 4).await.expect("an answer"), (404, b"none".to_vec()));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(asked(chunked, 4).await.expect("an answer"), (200, b"abc".to_vec()));
    }

    #[tokio::test]
    async fn what_is_no_whole_answer_is_none() {
        let cut = asked("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 99).await;
        assert!(matches!(cut, Err(AskError::Cut)), "{cut:?}");
        let gone = asked("", 99).await;
        assert!(matches!(gone, Err(AskError::Cut)), "{gone:?}");
        let other = asked("220 ready for mail\r\n", 99).await;
        assert!(matches!(other, Err(AskError::NotHttp)), "{other:?}");
        let promised = asked("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 99).await;
        assert!(matches!(promised, Err(AskError::TooLong(99))), "{promised:?}");
        let endless =
            asked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 2).await;
        assert!(matches!(endless, Err(AskError::TooLong(2))), "{endless:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("http://{}", silent.local_addr().expect("an address"));
        let server = Server::new(&uri, &BackendTls::System);
        let request = Request::get("/").body(Full::default()).expect("a request");
        let within = Duration::from_secs(3);
        let late = server.expect("an address").ask(request, within, 9).await;
        assert!(matches!(late, Err(AskError::Late(_))), "{late:?}");
    }
}
