//! A server for tests that does with each request what it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// An address that takes no connection and refuses none: its queue of new ones is full.
pub(super) struct BlackHole {
    pub(super) addr: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub(super) async fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let listener = socket.listen(1).expect("a listener");
        let addr = listener.local_addr().expect("an address");
        let mut queue = Vec::new();
        // Loopback answers at once or not at all.
        let enough = Duration::from_millis(200);
        while let Ok(taken) = tokio::time::timeout(enough, TcpStream::connect(addr)).await {
            queue.push(taken.expect("a place in the queue"));
        }
        Self { addr, _listener: listener, _queue: queue }
    }
}

/// What the server does with a request.
pub(super) enum Act {
    /// Answers these bytes and goes on.
    Answer(Vec<u8>),
    /// Answers these bytes and closes the connection.
    Last(Vec<u8>),
    /// Answers the first bytes, then the second ones again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Answers these bytes and nothing more, without closing the connection.
    Hang(Vec<u8>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The request's number on the whole server, from 1.
    pub(super) number: usize,
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn is(&self, call: &str) -> bool {
        self.body.contains(&format!("\"{call}\"")) || self.body.contains(&format!(">{call}<"))
    }
}

type Script = dyn Fn(&Asked) -> Act + Send + Sync;

struct State {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    opened: AtomicUsize,
    closed: watch::Sender<usize>,
    requests: watch::Sender<usize>,
}

/// The server; gone when dropped.
pub(super) struct Server {
    state: Arc<State>,
    pub(super) addr: SocketAddr,
    listener: AbortHandle,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        Self::listen(None, script).await
    }

    pub(super) async fn tls(
        acceptor: TlsAcceptor,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(acceptor), script).await
    }

    async fn listen(
        acceptor: Option<TlsAcceptor>,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let state = State::new(script);
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => state.serve(stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                state.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { state, addr, listener: task.abort_handle() }
    }

    pub(super) fn unix(
        path: &std::path::Path,
        script: impl Fn(&Asked) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        let state = State::new(script);
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move { state.serve(stream).await });
            }
        });
        Self { state, addr: ([0, 0, 0, 0], 0).into(), listener: task.abort_handle() }
    }

    pub(super) fn uri(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything that has been asked.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().clone()
    }

    /// How many connections have been opened.
    pub(super) fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    /// Waits for the nth request.
    pub(super) async fn request(&self, n: usize) {
        let mut requests = self.state.requests.subscribe();
        requests.wait_for(|so_far| *so_far >= n).await.expect("the server lives");
    }

    /// Waits until n connections are closed, and until the client can have noticed.
    pub(super) async fn closed(&self, n: usize) {
        let mut closed = self.state.closed.subscribe();
        closed.wait_for(|so_far| *so_far >= n).await.expect("the server lives");
        // The runtime looks at its sockets before a task that yields runs again.
        tokio::task::yield_now().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl State {
    fn new(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            asked: Mutex::default(),
            opened: AtomicUsize::new(0),
            closed: watch::Sender::new(0),
            requests: watch::Sender::new(0),
        })
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        // However it ends, what counts is that it has.
        let _ = self.talk(&mut stream).await;
        drop(stream);
        self.closed.send_modify(|closed| *closed += 1);
    }

    async fn talk(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let Some((head, body)) = request(stream, &mut buffer).await? else { return Ok(()) };
            let asked = {
                let mut all = self.asked.lock();
                let asked = Asked { number: all.len() + 1, head, body };
                all.push(asked.clone());
                asked
            };
            self.requests.send_replace(asked.number);
            match (self.script)(&asked) {
                Act::Answer(bytes) => stream.write_all(&bytes).await?,
                Act::Last(bytes) => {
                    stream.write_all(&bytes).await?;
                    return stream.shutdown().await;
                }
                Act::Endless(first, again) => {
                    stream.write_all(&first).await?;
                    loop {
                        stream.write_all(&again).await?;
                    }
                }
                Act::Hang(bytes) => {
                    stream.write_all(&bytes).await?;
                    while stream.read_buf(&mut buffer).await? > 0 {}
                    return Ok(());
                }
            }
        }
    }
}

async fn request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(String, String)>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.parse::<usize>().ok())
                .expect("a Content-Length");
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await? == 0 {
                    return Ok(None);
                }
            }
            let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
            buffer.drain(..end + 4 + length);
            return Ok(Some((head, body)));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// An HTTP response.
pub(super) fn http(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: keep-alive\r\n\
         cache-control: no-cache, no-store\r\ncontent-type: {content_type}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A successful JSON-RPC reply with this result.
pub(super) fn json(result: &str) -> Vec<u8> {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":1}}");
    http("200 OK", "application/json", &body)
}

/// A JSON-RPC reply that is a failure.
pub(super) fn failure(code: &str, params: &[&str]) -> Vec<u8> {
    let data = serde_json::to_string(params).expect("strings");
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":1,\"message\":\"{code}\",\"data\":{data}}},\"id\":1}}"
    );
    http("200 OK", "application/json", &body)
}

/// What XAPI answers where there is nothing.
pub(super) fn forbidden() -> Vec<u8> {
    let body = "<html><body><h1>HTTP 403 forbidden</h1>Access to the requested resource is forbidden.</body></html>";
    http("403 Forbidden", "text/html", body)
}
