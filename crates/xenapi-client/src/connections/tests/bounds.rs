use super::super::lane::{IDLE, Lane};
use super::*;
use crate::error::Busy;

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
    let post = Post { path: "/", content_type: "text/xml", body: Bytes::new(), close: false };
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
    let slot = lane.slot(None, LONG).await.expect("a slot");
    assert!(matches!(lane.slot(None, LONG).await, Err(CallError::Timeout(Phase::Queue))));
    assert_eq!(lane.waiting(), 0);
    drop(slot);
    lane.slot(None, LONG).await.expect("a slot again");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_short_and_in_order() {
    let lane = Lane::new(1, 2);
    let slot = lane.slot(None, LONG).await.expect("a slot");
    let mut first = by_hand(lane.slot(None, LONG));
    let mut second = by_hand(lane.slot(None, LONG));
    assert!(first.poll_once().await.is_none() && second.poll_once().await.is_none());
    assert!(matches!(lane.slot(None, LONG).await, Err(CallError::Busy(Busy { waiting: 2 }))));
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

#[test]
fn too_few_connections_are_refused() {
    let mut config = BackendConfig::new(vec!["http://localhost".to_owned()]);
    config.max_connections = 2;
    assert!(matches!(
        Connections::new(&config, &[]),
        Err(BackendError::TooFewConnections { given: 2, least: 3 })
    ));
}
