mod bounds;
mod old_tls;
mod tls;

use super::*;
use crate::testing::{Act, Server, http, json};
use xenapi_wire::Seen;

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
            close: false,
        };
        let body = self.connections.fetch(of, &self.endpoint, &post, retry, LONG.into()).await?;
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
