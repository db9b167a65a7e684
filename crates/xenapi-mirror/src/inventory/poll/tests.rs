//! When a backend is polled next, with a clock that the tests hold.

use super::super::feed::Feed;
use super::super::revision::Revisions;
use super::*;
use crate::inventory::bound::Bound;
use xenapi_client::Backend;
use xengate_config::{BackendConfig, Kind};

/// The poll of a xend that nobody listens for: its replies are the test's.
fn poll() -> Poll {
    let mut config = BackendConfig::new(vec!["http://127.0.0.1:9".to_owned()]);
    config.kind = Kind::Xend;
    let backend = Backend::new("lab", &config).expect("a backend");
    let feed = Arc::new(Feed::new(1 << 20));
    Poll::new(Arc::new(Mirror::new(
        backend,
        None,
        Arc::new(Revisions::default()),
        feed,
        Arc::new(Bound::new(None)),
    )))
}

fn vm(name: &str) -> Found {
    let uuid = "02e009d1-f691-2bde-f9b4-82605834ac6e";
    let record = format!(
        r#"{{"uuid":"{uuid}","name_label":"{name}","power_state":"Running","is_a_template":false}}"#
    );
    Found { class: "VM", reference: uuid.to_owned(), record: Some(record), raw: None }
}

fn brought(found: Vec<Found>) -> Polled {
    Ok(Records { found, classes: vec!["VM"] })
}

/// A poll that takes so long and finds this; how long the backend is left alone then.
async fn after(poll: &mut Poll, took: Duration, polled: Polled) -> Duration {
    poll.began = Instant::now();
    tokio::time::advance(took).await;
    poll.after(polled).await;
    poll.due.duration_since(Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_time_is_spent_on_polls_while_they_are_quick() {
    let mut poll = poll();
    let found = || brought(vec![vm("web01")]);
    for (took, pause) in [
        (Duration::from_millis(1), PAUSES.0),
        (Duration::from_millis(222), PAUSES.0),
        (Duration::from_millis(300), Duration::from_millis(2700)),
        (Duration::from_secs(2), Duration::from_secs(18)),
        (Duration::from_secs(3), Duration::from_secs(27)),
        // Objects would be too old.
        (Duration::from_secs(30), PAUSES.1),
        (Duration::from_millis(50), PAUSES.0),
    ] {
        assert_eq!(after(&mut poll, took, found()).await, pause, "{took:?}");
    }
    let refused = || Err(CallError::Timeout(xenapi_client::Phase::Reply));
    for (took, pause) in
        [(0, FAILED.0), (2, Duration::from_secs(18)), (5, FAILED.1), (300, FAILED.1)]
    {
        assert_eq!(after(&mut poll, Duration::from_secs(took), refused()).await, pause, "{took}");
    }
}

#[test]
fn a_poll_is_waited_for_as_long_as_they_take_and_longer_each_time_in_vain() {
    let took = |seconds| Some(Duration::from_secs(seconds));
    let waits = |took, given_up| patience(took, given_up).as_secs();
    assert_eq!((waits(None, 0), waits(None, 1)), (120, 120), "nobody knows");
    assert_eq!((waits(took(0), 0), waits(took(3), 0), waits(took(60), 0)), (15, 30, 120));
    let again: Vec<u64> = (1..=9).map(|times| waits(took(0), times)).collect();
    assert_eq!(again, [5, 10, 20, 30, 30, 30, 30, 30, 120]);
    assert_eq!(waits(took(4), 1), 40);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_again_meanwhile_is_newer_than_the_poll() {
    let mut poll = poll();
    after(&mut poll, Duration::ZERO, brought(vec![vm("before")])).await;
    let (done, seen) = tokio::sync::oneshot::channel();
    poll.began = Instant::now();
    tokio::time::advance(Duration::from_millis(10)).await;
    let reread = Reread { class: "VM", reference: vm("").reference, done };
    poll.after_reread(reread, Ok(vec![vm("renamed")])).await;
    seen.await.expect("readers can see it");
    let name = |poll: &Poll| {
        let reading = poll.mirror.reading().expect("a reading");
        let class = datamodel().class("VM").expect("a class");
        let vm = reading.snapshot.class(class.id).iter().next().expect("a VM").clone();
        vm.record().text(class, "name_label").expect("a name").to_owned()
    };
    assert_eq!(name(&poll), "renamed");
    // The poll that began before brings what was then. It may even have missed the VM.
    for then in [brought(vec![vm("before")]), brought(Vec::new())] {
        poll.after(then).await;
        assert_eq!(name(&poll), "renamed");
    }
    // The next one knows better.
    tokio::time::advance(Duration::from_millis(1)).await;
    after(&mut poll, Duration::from_millis(10), brought(vec![vm("again")])).await;
    assert_eq!(name(&poll), "again");
    // A class that could not be read is as it was.
    let nothing = Ok(Records { found: Vec::new(), classes: Vec::new() });
    after(&mut poll, Duration::ZERO, nothing).await;
    assert_eq!(name(&poll), "again");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_while_nobody_reads() {
    let mirror = poll().mirror;
    assert!(!mirror.is_wanted());
    mirror.demand.note();
    assert!(mirror.is_wanted());
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(!mirror.is_wanted(), "a minute after the last reader");
    let watched = mirror.changes();
    assert!(mirror.is_wanted(), "whoever waits for changes reads, too");
    drop(watched);
    assert!(!mirror.is_wanted());
}
