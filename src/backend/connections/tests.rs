use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use super::lane::{IDLE, Lane};
use super::*;
use crate::backend::error::Busy;
use crate::backend::testing::{Act, Server, http, json};
use crate::config::BackendTls;
use crate::wire::Seen;

const LONG: Duration = Duration::from_secs(60);

/// The connections to one address.
struct One {
    connections: Connections,
    endpoint: Arc<Endpoint>,
}

impl One {
    fn new(uri: &str, change: impl FnOnce(&mut BackendConfig)) -> Self {
        let mut config = BackendConfig::new(vec![uri.to_owned()]);
        change(&mut config);
        let endpoint = Arc::new(Endpoint::parse(uri).expect("an address"));
        let connections =
            Connections::new(&config, &[Arc::clone(&endpoint)]).expect("a good configuration");
        Self { connections, endpoint }
    }

    async fn fetch(&self, retry: Retry) -> Result<String, CallError> {
        self.fetch_on(Use::Calls, retry).await
    }

    async fn fetch_on(&self, of: Use, retry: Retry) -> Result<String, CallError> {
        let post = Post {
            path: "/jsonrpc",
            content_type: "application/json",
            body: Bytes::from_static(b"{}"),
        };
        let body = self.connections.fetch(of, &self.endpoint, &post, retry, LONG).await?;
        Ok(String::from_utf8(body).expect("text"))
    }
}

fn ok() -> Vec<u8> {
    json("1")
}

#[tokio::test]
async fn a_connection_is_kept_and_used_again() {
    let server = Server::start(|_| Act::Answer(ok())).await;
    let one = One::new(&server.uri(), |_| {});
    for _ in 0..5 {
        assert!(one.fetch(Retry::Write).await.expect("a reply").contains("result"));
    }
    assert_eq!((server.opened(), server.asked().len()), (1, 5));
}

#[tokio::test]
async fn the_head_is_small() {
    let server = Server::start(|_| Act::Answer(ok())).await;
    let one = One::new(&server.uri(), |_| {});
    one.fetch(Retry::Read).await.expect("a reply");
    let head = &server.asked()[0].head;
    let names: Vec<String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    assert_eq!(names, ["host", "user-agent", "content-type", "content-length"]);
    // The longest name a host can have is the only thing that can make it longer.
    let longest = head.len() + 253;
    assert!(longest < 1000, "{longest}");
    assert!(head.contains(concat!("xengate/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_connection_closed_while_kept_is_replaced_even_for_a_write() {
    let server = Server::start(|_| Act::Last(ok())).await;
    let one = One::new(&server.uri(), |_| {});
    for n in 1..=3 {
        one.fetch(Retry::Write).await.expect("a reply");
        server.closed(n).await;
    }
    assert_eq!((server.opened(), server.asked().len()), (3, 3));
}

#[tokio::test]
async fn after_a_loss_a_read_is_repeated_once() {
    let server = Server::start(|asked| match asked.number {
        2 => Act::Last(Vec::new()),
        4.. => Act::Last(Vec::new()),
        _ => Act::Answer(ok()),
    })
    .await;
    let one = One::new(&server.uri(), |_| {});
    one.fetch(Retry::Read).await.expect("the first");
    one.fetch(Retry::Read).await.expect("lost, and asked again");
    assert_eq!((server.opened(), server.asked().len()), (2, 3));
    let error = one.fetch(Retry::Read).await.expect_err("lost twice");
    assert!(error.is_loss() && error.maybe_done(), "{error}");
    assert_eq!(server.asked().len(), 5);
}

#[tokio::test]
async fn after_a_loss_a_write_is_not_repeated() {
    let server = Server::start(|asked| match asked.number {
        1 => Act::Answer(ok()),
        _ => Act::Last(Vec::new()),
    })
    .await;
    let one = One::new(&server.uri(), |_| {});
    one.fetch(Retry::Write).await.expect("the first");
    let error = one.fetch(Retry::Write).await.expect_err("lost");
    assert!(matches!(
        &error,
        CallError::Unreachable(Unreachable { reason: Reason::Lost { sent: true }, .. })
    ));
    assert_eq!((server.opened(), server.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_reply_cut_in_half_is_a_loss() {
    let half = ok();
    let half = half[..half.len() - 5].to_vec();
    let server = Server::start(move |_| Act::Last(half.clone())).await;
    let one = One::new(&server.uri(), |_| {});
    let error = one.fetch(Retry::Write).await.expect_err("cut");
    assert_eq!(error.to_string(), "the answer ends in the middle (HTTP status 200, 30 bytes read)");
    assert_eq!(server.asked().len(), 1);
    one.fetch(Retry::Read).await.expect_err("cut twice");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn what_is_no_http_is_said_to_be_none() {
    let server = Server::start(|_| Act::Last(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec())).await;
    let error = One::new(&server.uri(), |_| {}).fetch(Retry::Read).await.expect_err("no HTTP");
    assert_eq!(error.to_string(), "the answer is not HTTP");
}

#[tokio::test]
async fn an_http_error_says_what_was_seen() {
    let page = "<html><body><h1>HTTP 500 internal server error</h1>sentinel</body></html>";
    let server = Server::start(move |asked| match asked.number {
        1 => Act::Last(http("500 Internal Error", "text/html", page)),
        _ => Act::Last(http("503 Service Unavailable", "text/plain", "")),
    })
    .await;
    let one = One::new(&server.uri(), |_| {});
    let error = one.fetch(Retry::Read).await.expect_err("an HTTP error");
    assert!(matches!(
        &error,
        CallError::BadReply(BadReply {
            status: Some(500),
            fault: Fault::Status(Some(Seen::Html)),
            ..
        })
    ));
    assert!(error.to_string().contains("HTML (HTTP status 500, 73 bytes read)"), "{error}");
    assert!(!format!("{error} {error:?}").contains("sentinel"));
    let error = one.fetch(Retry::Read).await.expect_err("an HTTP error");
    assert!(error.to_string().contains("no body (HTTP status 503, 0 bytes read)"), "{error}");
}

#[tokio::test]
async fn a_reply_beyond_the_limit_is_given_up() {
    let endless = || b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let piece = || format!("1000\r\n{}\r\n", "a".repeat(0x1000)).into_bytes();
    let server = Server::start(move |asked| match asked.number {
        1 => Act::Endless(endless(), piece()),
        // Refused for its promise alone.
        _ => Act::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n".to_vec()),
    })
    .await;
    let one = One::new(&server.uri(), |config| config.max_reply = 65_536);
    for n in 1..=2 {
        let error = one.fetch(Retry::Read).await.expect_err("too large");
        assert!(error.to_string().starts_with("reply exceeds max_reply = 65536 bytes"), "{error}");
        server.closed(n).await;
    }
    assert_eq!(server.asked().len(), 2, "a reply that is too large is not asked for again");
}

#[tokio::test]
async fn a_host_that_does_not_answer_costs_no_more_than_the_deadline() {
    let server = Server::start(|_| Act::Hang(Vec::new())).await;
    let one = One::new(&server.uri(), |_| {});
    let call = one.fetch(Retry::Read);
    let hang = async {
        server.request(1).await;
        // From here on nothing happens but time, and that runs ahead to the next deadline.
        tokio::time::pause();
    };
    let (error, ()) = tokio::join!(call, hang);
    assert!(matches!(error, Err(CallError::Timeout(Phase::Reply))));
    server.closed(1).await;
    assert_eq!(server.asked().len(), 1, "a deadline is no reason to ask again");
}

#[tokio::test]
async fn a_body_that_stops_costs_no_more_than_the_deadline() {
    let server =
        Server::start(|_| Act::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()))
            .await;
    let one = One::new(&server.uri(), |_| {});
    let slot = one.connections.slot(Use::Sync).await.expect("a slot");
    let post = Post { path: "/", content_type: "text/xml", body: Bytes::new() };
    let mut reply =
        one.connections.stream(&slot, &one.endpoint, &post, LONG, LONG * 10).await.expect("a head");
    assert_eq!(reply.piece().await.expect("a piece").as_deref(), Some(&b"{"[..]));
    tokio::time::pause();
    let before = Instant::now();
    assert!(matches!(reply.piece().await, Err(CallError::Timeout(Phase::Body))));
    assert!(before.elapsed() < LONG, "the pause between two pieces counts, not the whole");
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_connection_along() {
    let server = Server::start(|asked| match asked.number {
        1 => Act::Hang(Vec::new()),
        _ => Act::Answer(ok()),
    })
    .await;
    let one = One::new(&server.uri(), |config| config.max_connections = 3);
    tokio::select! {
        _ = one.fetch(Retry::Read) => panic!("the server does not answer"),
        () = server.request(1) => {}
    }
    server.closed(1).await;
    assert_eq!((one.connections.calls.taken(), one.connections.calls.kept()), (0, 0));
    // There is one slot for calls: had it not come free, this would wait for ever.
    one.fetch(Retry::Read).await.expect("a reply");
}

#[tokio::test]
async fn slow_calls_starve_neither_sync_nor_login() {
    let server = Server::start(|asked| match asked.number {
        1 => Act::Hang(Vec::new()),
        _ => Act::Answer(ok()),
    })
    .await;
    let one = One::new(&server.uri(), |config| config.max_connections = 3);
    let others = async {
        server.request(1).await;
        one.fetch_on(Use::Login, Retry::Write).await.expect("a reply");
        one.fetch_on(Use::Sync, Retry::Read).await.expect("a reply");
    };
    tokio::select! {
        _ = one.fetch(Retry::Read) => panic!("the server does not answer"),
        () = others => {}
    }
}

#[tokio::test]
async fn never_more_connections_than_configured() {
    let server = Server::start(|_| Act::Answer(ok())).await;
    let one = One::new(&server.uri(), |config| config.max_connections = 5);
    let calls = (0..40).map(|_| one.fetch(Retry::Read));
    let mut all = Box::pin(join_all(calls));
    all.as_mut().await;
    assert_eq!(server.asked().len(), 40);
    assert!(server.opened() <= 3, "{}", server.opened());
    assert!(one.connections.calls.kept() <= 3);
}

/// Runs them all at once, on this task.
async fn join_all<F: Future<Output = Result<String, CallError>>>(calls: impl Iterator<Item = F>) {
    let mut calls: Vec<_> = calls.map(|call| Some(Box::pin(call))).collect();
    std::future::poll_fn(|cx| {
        for call in &mut calls {
            if let Some(running) = call
                && let std::task::Poll::Ready(result) = running.as_mut().poll(cx)
            {
                result.expect("a reply");
                *call = None;
            }
        }
        match calls.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[tokio::test]
async fn an_unused_connection_is_closed_after_a_while() {
    let server = Server::start(|_| Act::Answer(ok())).await;
    let one = One::new(&server.uri(), |_| {});
    one.fetch(Retry::Read).await.expect("a reply");
    assert_eq!(one.connections.calls.kept(), 1);
    tokio::time::pause();
    tokio::time::sleep(IDLE * 2).await;
    assert_eq!(one.connections.calls.kept(), 0);
    tokio::time::resume();
    server.closed(1).await;
    one.fetch(Retry::Read).await.expect("a reply");
    assert_eq!((server.opened(), one.connections.calls.kept()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told() {
    let lane = Lane::new(1, 8);
    let slot = lane.slot(LONG).await.expect("a slot");
    assert!(matches!(lane.slot(LONG).await, Err(CallError::Timeout(Phase::Queue))));
    assert_eq!(lane.waiting(), 0);
    drop(slot);
    lane.slot(LONG).await.expect("a slot again");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_short_and_in_order() {
    let lane = Lane::new(1, 2);
    let slot = lane.slot(LONG).await.expect("a slot");
    let mut first = by_hand(lane.slot(LONG));
    let mut second = by_hand(lane.slot(LONG));
    assert!(first.poll_once().await.is_none() && second.poll_once().await.is_none());
    assert!(matches!(lane.slot(LONG).await, Err(CallError::Busy(Busy { waiting: 2 }))));
    drop(slot);
    assert!(second.poll_once().await.is_none(), "not before the first");
    let slot = first.poll_once().await.expect("the first's turn").expect("a slot");
    // One that goes away gives its place back.
    drop(second);
    assert_eq!(lane.waiting(), 0);
    drop(slot);
    assert_eq!(lane.taken(), 0);
}

/// A future that is polled by hand.
struct ByHand<F: Future>(std::pin::Pin<Box<F>>);

fn by_hand<F: Future>(future: F) -> ByHand<F> {
    ByHand(Box::pin(future))
}

impl<F: Future> ByHand<F> {
    async fn poll_once(&mut self) -> Option<F::Output> {
        std::future::poll_fn(|cx| match self.0.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}

#[tokio::test]
async fn a_dead_host_costs_one_attempt_at_a_time_and_is_found_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("xapi");
    let one = One::new(&format!("unix:{}", path.display()), |_| {});
    let error = one.fetch(Retry::Read).await.expect_err("nobody listens");
    let CallError::Unreachable(Unreachable { reason, .. }) = &error else { panic!("{error}") };
    assert_eq!(*reason, Reason::Connect(std::io::ErrorKind::NotFound));
    assert!(!error.maybe_done());
    let server = Server::unix(&path, |_| Act::Answer(ok()));
    let again = one.fetch(Retry::Read).await.expect_err("too early to ask again");
    assert_eq!(again.to_string(), error.to_string());
    assert_eq!(server.opened(), 0);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    one.fetch(Retry::Read).await.expect("a reply");
}

#[tokio::test]
async fn a_unix_socket_works_as_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("xapi");
    let server = Server::unix(&path, |_| Act::Answer(ok()));
    let one = One::new(&format!("unix:{}", path.display()), |_| {});
    one.fetch(Retry::Write).await.expect("a reply");
    one.fetch(Retry::Write).await.expect("a reply");
    assert_eq!(server.opened(), 1);
    assert!(server.asked()[0].head.contains("host: localhost\r\n"));
}

#[test]
fn too_few_connections_are_refused() {
    let mut config = BackendConfig::new(vec!["http://localhost".to_owned()]);
    config.max_connections = 2;
    assert!(matches!(
        Connections::new(&config, &[]),
        Err(BackendError::TooFewConnections { given: 2, least: 3 })
    ));
}

/// A certificate authority and a certificate of its for these names.
struct Authority {
    ca_pem: String,
    leaf: rustls_pki_types::CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

fn authority(names: &[&str]) -> Authority {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).expect("a CA");
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = rcgen::CertificateParams::new(names)
        .expect("parameters")
        .signed_by(&leaf_key, &issuer)
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls_pki_types::PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("a key"),
        )
        .expect("a server's configuration");
    Authority {
        ca_pem: ca.pem(),
        leaf: leaf.der().clone(),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// What comes of one call to a server with a certificate for these names.
async fn over_tls(authority: &Authority, policy: BackendTls) -> Result<String, CallError> {
    let server = Server::tls(authority.acceptor.clone(), |_| Act::Answer(ok())).await;
    let one = One::new(&format!("https://{}", server.addr), |config| config.tls = policy);
    one.fetch(Retry::Read).await?;
    let again = one.fetch(Retry::Read).await;
    assert_eq!(server.opened(), 1, "kept, with its TLS");
    again
}

fn tls_error(result: Result<String, CallError>) -> String {
    match result {
        Err(CallError::Unreachable(Unreachable { reason: Reason::Tls(text), .. })) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_the_ca_is_good_for_its_names_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).expect("a file");
        BackendTls::CaFile(path)
    };
    let good = authority(&["127.0.0.1"]);
    over_tls(&good, ca_file("good.pem", &good.ca_pem)).await.expect("a reply");
    let other = authority(&["127.0.0.1"]);
    let error = tls_error(over_tls(&good, ca_file("other.pem", &other.ca_pem)).await);
    assert!(error.contains("invalid peer certificate"), "{error}");
    let elsewhere = authority(&["pool.example.com"]);
    let error = tls_error(over_tls(&elsewhere, ca_file("name.pem", &elsewhere.ca_pem)).await);
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_pinned_certificate_is_good_and_no_other() {
    use sha2::{Digest, Sha256};
    let server = authority(&["whatever"]);
    let pin: [u8; 32] = Sha256::digest(server.leaf.as_ref()).into();
    over_tls(&server, BackendTls::Fingerprints(vec![[0; 32], pin])).await.expect("a reply");
    let error = tls_error(over_tls(&server, BackendTls::Fingerprints(vec![[0; 32]])).await);
    let seen: String = pin.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(error.contains(&seen), "{error}");
}

#[tokio::test]
async fn any_certificate_is_good_on_request() {
    over_tls(&authority(&["whatever"]), BackendTls::Insecure).await.expect("a reply");
}

#[test]
fn a_tls_policy_that_trusts_nothing_is_refused() {
    let config = |tls| {
        let mut config = BackendConfig::new(vec!["https://localhost".to_owned()]);
        config.tls = tls;
        let endpoint = Arc::new(Endpoint::parse("https://localhost").expect("an address"));
        Connections::new(&config, &[endpoint]).err()
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    let empty = config(BackendTls::CaFile(file.path().to_owned()));
    assert!(matches!(empty, Some(BackendError::CaFile(_))));
    let none = config(BackendTls::Fingerprints(Vec::new()));
    assert!(matches!(none, Some(BackendError::NoFingerprints)));
}
