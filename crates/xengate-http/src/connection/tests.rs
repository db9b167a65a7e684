use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, pki_types::ServerName};

use super::*;
use crate::response_cache::ResponseCache;
use crate::tls;
use crate::unsent_budget::UnsentBudget;
use xengate_config::{Cors, ServerTls};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A server of one route, which waits to be let go where it is told to.
struct Bench {
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

fn bodies() -> Arc<ResponseCache> {
    Arc::new(ResponseCache::new(1 << 20, UnsentBudget::new(256 << 20)))
}

impl Bench {
    async fn start(limits: Limits, tls: Option<TlsAcceptor>) -> Self {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inner_entered, inner_leave) = (entered.clone(), leave.clone());
        let slow = get(async move || {
            inner_entered.notify_one();
            inner_leave.notified().await;
            "slow"
        });
        let routes = Router::new()
            .route("/", get(async || "quick"))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route("/slow", slow);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let telemetry = Telemetry::new([]);
        let shell =
            RequestService::new(routes, &limits, &Cors::default(), bodies(), telemetry.clone());
        let stop = CancellationToken::new();
        let trusted_proxies = Vec::new();
        let server = Server { listener, tls, shell, limits, trusted_proxies, telemetry };
        let running = tokio::spawn(server.run(stop.clone()));
        Self { address, stop, running, entered, leave }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }
}

/// All that comes until the connection ends.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer on a connection that stays open.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin), last: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(last) {
        let byte = stream.read_u8().await.expect("more");
        text.push(char::from(byte));
    }
    text
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let bench = Bench::start(Limits::default(), None).await;
    let mut stream = bench.connect().await;
    for _ in 0..2 {
        stream.write_all(GET).await.expect("sent");
        assert!(read_answer(&mut stream, "quick").await.starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn what_runs_at_the_stop_is_finished() {
    let bench = Bench::start(Limits::default(), None).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut idle = bench.connect().await;
    idle.write_all(GET).await.expect("sent");
    read_answer(&mut idle, "quick").await;
    bench.entered.notified().await;

    bench.stop.cancel();
    assert_eq!(read_all(&mut idle).await, "", "an idle connection is closed");
    bench.leave.notify_one();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("slow"), "{answer}");
    bench.running.await.expect("no panic");
    assert!(TcpStream::connect(bench.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_finish_is_cut() {
    let grace = Duration::from_millis(10);
    let bench = Bench::start(Limits { shutdown_grace: grace, ..Limits::default() }, None).await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    bench.entered.notified().await;
    bench.stop.cancel();
    bench.running.await.expect("no panic");
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn at_the_limit_an_idle_connection_makes_way_for_a_new_one() {
    let bench = Bench::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    for beginning in [GET, b"", b"GET / HT"] {
        let mut first = bench.connect().await;
        first.write_all(beginning).await.expect("sent");
        if beginning == GET {
            read_answer(&mut first, "quick").await;
        }
        let mut second = bench.connect().await;
        second.write_all(GET_AND_CLOSE).await.expect("sent");
        assert!(read_all(&mut second).await.ends_with("quick"));
        assert_eq!(read_all(&mut first).await, "");
    }
}

#[tokio::test]
async fn at_the_limit_a_connection_waits_for_one_that_is_busy() {
    let bench = Bench::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    let mut first = bench.connect().await;
    first.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    bench.entered.notified().await;
    let mut second = bench.connect().await;
    second.write_all(GET_AND_CLOSE).await.expect("sent");
    let waits = read_all(&mut second);
    let first_is_done = async {
        // Long enough for the second to be there.
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.leave.notify_one();
        assert!(read_answer(&mut first, "slow").await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(read_all(&mut first).await, "", "it was idle then");
    };
    let (second, ()) = tokio::join!(waits, first_is_done);
    assert!(second.ends_with("quick"), "{second}");
}

#[tokio::test]
async fn an_idle_http_2_connection_makes_way_and_its_stream_does_not() {
    let bench = Bench::start(Limits { max_connections: 1, ..Limits::default() }, None).await;
    for path in ["/", "/slow"] {
        let stream = TokioIo::new(bench.connect().await);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let request = hyper::Request::get(format!("http://x{path}")).body(String::new());
        let answer = sender.send_request(request.expect("a request"));
        let answer = async {
            let answer = answer.await.expect("an answer").into_body().collect().await;
            answer.expect("the whole").to_bytes()
        };
        let second = async || {
            let mut second = bench.connect().await;
            second.write_all(GET_AND_CLOSE).await.expect("sent");
            assert!(read_all(&mut second).await.ends_with("quick"));
        };
        if path == "/slow" {
            let second_then = async {
                bench.entered.notified().await;
                tokio::join!(second(), async {
                    // Long enough for the second to be there.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    bench.leave.notify_one();
                });
            };
            assert_eq!(tokio::join!(answer, second_then).0, "slow");
        } else {
            assert_eq!(answer.await, "quick");
            second().await;
        }
        connection.await.expect("no panic").expect("it was told that it ends");
    }
}

#[tokio::test]
async fn an_http_2_connection_that_is_idle_for_long_is_closed() {
    let header_timeout = Duration::from_millis(50);
    let bench = Bench::start(Limits { header_timeout, ..Limits::default() }, None).await;
    let stream = TokioIo::new(bench.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://x/").body(String::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "quick");
    connection.await.expect("no panic").expect("it was told that it ends");
}

#[tokio::test]
async fn who_never_asks_is_sent_away() {
    let header_timeout = Duration::from_millis(20);
    let bench = Bench::start(Limits { header_timeout, ..Limits::default() }, None).await;
    for beginning in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost:"] {
        let mut stream = bench.connect().await;
        stream.write_all(beginning).await.expect("sent");
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told_what_is_spoken_here() {
    let bench = Bench::start(Limits::default(), None).await;
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let cases: [(&[u8], &str, &str); 9] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "400", "use http:// instead of https://"),
        (b"HELO example.com\r\n\r\n", "400", "the request cannot be read"),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "400", "%20"),
        (b"GET /\r\n", "400", "HTTP/0.9"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "400", "this version of HTTP"),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", "400", "another protocol"),
        (b"SSH-2.0-x\r\n", "400", "SSH"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n", "400", "PROXY"),
        (huge.as_bytes(), "431", "HEADER_TOO_LARGE"),
    ];
    for (bytes, status, words) in cases {
        let mut stream = bench.connect().await;
        // It may be refused before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let said = read_all(&mut stream).await;
        let begins = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(&begins) && said.contains(words), "{words}: {said}");
        assert!(said.contains("application/problem+json"), "{said}");
    }
    let mut stream = bench.connect().await;
    stream.write_all(GET_AND_CLOSE).await.expect("sent");
    assert!(read_all(&mut stream).await.ends_with("quick"), "others are served");
}

/// A server with a certificate of its own, and what makes clients trust it.
async fn secured() -> (Bench, TlsConnector) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let dir = tempfile::tempdir().expect("dir");
    let settings = ServerTls {
        cert_file: dir.path().join("cert.pem"),
        key_file: dir.path().join("key.pem"),
        hsts: None,
    };
    std::fs::write(&settings.cert_file, pair.cert.pem()).expect("write");
    std::fs::write(&settings.key_file, pair.signing_key.serialize_pem()).expect("write");
    let certificate = tls::Certificate::load(&settings).expect("a certificate");
    let acceptor = tls::acceptor(&certificate).expect("an acceptor");
    let bench = Bench::start(Limits::default(), Some(acceptor)).await;
    (bench, connector(&pair))
}

fn connector(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(client))
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_configured() {
    let (bench, connector) = secured().await;
    let mut stream = connector.connect(localhost(), bench.connect().await).await.expect("TLS");
    stream.write_all(GET_AND_CLOSE).await.expect("sent");
    assert!(read_all(&mut stream).await.ends_with("quick"));

    for plain in [GET_AND_CLOSE, b"GET /\r\n", b"POST", b"\r\n"] {
        let mut stream = bench.connect().await;
        stream.write_all(plain).await.expect("sent");
        let said = read_all(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("use https://"), "{said}");
    }
    let stream = TokioIo::new(bench.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    let request = hyper::Request::get("http://x/").body(String::new()).expect("a request");
    let (answer, ended) = tokio::join!(sender.send_request(request), connection);
    let said = format!("{:?} {:?}", answer.expect_err("no answer"), ended);
    assert!(said.contains("INADEQUATE_SECURITY") && said.contains("use https://"), "{said}");
    for garbage in [&b"\x16\x03\x01\x00\x02hm"[..], b"\x80\x2e\x01\x00\x02", b""] {
        let mut stream = bench.connect().await;
        stream.write_all(garbage).await.expect("sent");
        stream.shutdown().await.expect("shut");
        assert!(!read_all(&mut stream).await.contains("HTTP"));
    }
}

const GET_SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn who_shuts_its_sending_side_still_gets_its_answer() {
    let bench = Bench::start(Limits::default(), None).await;
    let mut stream = bench.connect().await;
    stream.write_all(GET_SLOW).await.expect("sent");
    bench.entered.notified().await;
    stream.shutdown().await.expect("shut");
    bench.leave.notify_one();
    assert!(read_all(&mut stream).await.ends_with("slow"));
    // At once, too.
    let mut stream = bench.connect().await;
    stream.write_all(GET).await.expect("sent");
    stream.shutdown().await.expect("shut");
    assert!(read_all(&mut stream).await.ends_with("quick"));
    // Half a request is none.
    let mut stream = bench.connect().await;
    stream.write_all(b"GET / HTT").await.expect("sent");
    stream.shutdown().await.expect("shut");
    assert!(!read_all(&mut stream).await.contains("quick"));
}

#[tokio::test]
async fn so_does_who_does_it_over_tls_in_whatever_words() {
    let (bench, connector) = secured().await;
    for polite in [true, false] {
        let stream = connector.connect(localhost(), bench.connect().await).await.expect("TLS");
        let mut stream = stream;
        stream.write_all(GET_SLOW).await.expect("sent");
        bench.entered.notified().await;
        if polite {
            // `close_notify`, and then the connection's side.
            stream.shutdown().await.expect("shut");
        } else {
            stream.get_mut().0.shutdown().await.expect("shut");
        }
        bench.leave.notify_one();
        let answer = read_all(&mut stream).await;
        assert!(answer.ends_with("slow"), "polite: {polite}: {answer}");
    }
}

/// As much as no socket's buffers hold.
const LARGE: usize = 32 << 20;

/// A server with room for one connection, so that a second one tells when the first has ended.
async fn impatient() -> Bench {
    let write_timeout = Duration::from_millis(50);
    Bench::start(Limits { write_timeout, max_connections: 1, ..Limits::default() }, None).await
}

async fn until_closed(bench: &Bench) {
    let mut next = bench.connect().await;
    next.write_all(GET_AND_CLOSE).await.expect("sent");
    assert!(read_all(&mut next).await.ends_with("quick"));
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_sent_away() {
    let bench = impatient().await;
    let mut stream = bench.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    read_answer(&mut stream, "\r\n\r\n").await;
    until_closed(&bench).await;
    assert!(read_all(&mut stream).await.len() < LARGE);
}

#[tokio::test]
async fn who_takes_nothing_of_a_stream_is_sent_away() {
    let bench = impatient().await;
    let stream = TokioIo::new(bench.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://x/large").body(String::new()).expect("a request");
    // Nobody reads the body, so its stream stops; the connection goes on, and answers pings.
    let response = sender.send_request(request).await.expect("a head");
    until_closed(&bench).await;
    // However it puts it, the client's side has ended as well.
    let _ = connection.await.expect("no panic");
    assert!(response.into_body().collect().await.is_err(), "the body broke off");
}

#[tokio::test]
async fn who_reads_gets_all_of_a_large_answer() {
    let bench = Bench::start(Limits::default(), None).await;
    let stream = TokioIo::new(bench.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://x/large").body(String::new()).expect("a request");
    let response = sender.send_request(request).await.expect("a head");
    let body = response.into_body().collect().await.expect("all of it").to_bytes();
    assert_eq!(body.len(), LARGE);
    drop(sender);
    connection.await.expect("no panic").expect("a good end");
}
