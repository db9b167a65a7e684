use super::*;
use crate::inventory::standing::MirrorState;

/// A feed and the snapshot that stands for whatever it tells of.
struct Bench {
    feed: Feed,
    snapshot: Arc<Snapshot>,
    revision: u64,
}

impl Bench {
    fn new(limit: usize) -> Self {
        Self { feed: Feed::new(limit), snapshot: Arc::new(Snapshot::empty()), revision: 0 }
    }

    fn changed(&mut self) {
        self.revision += 1;
        let (before, after) = (self.snapshot.clone(), self.snapshot.clone());
        self.feed.changed(self.revision, "lab", Vec::new(), before, after);
    }

    fn stale(&self) {
        let state = MirrorState::Stale;
        let status = Status { state, reachable: false, cause: None, reason: None };
        self.feed.stands("lab", status);
    }

    /// What lies behind `place`, as revisions with a letter each.
    fn behind(&self, mut place: u64) -> String {
        let mut told = Vec::new();
        loop {
            match self.feed.next(place) {
                Next::Nothing => return told.join(" "),
                Next::Gone => return "gone".to_owned(),
                Next::LogEntry(happening) => {
                    assert_eq!(happening.place, place + 1);
                    place = happening.place;
                    let letter = match happening.what {
                        What::Changes(_) => 'c',
                        What::Status(_) => 's',
                        What::Forgotten => 'f',
                    };
                    told.push(format!("{letter}{}", happening.revision));
                }
            }
        }
    }

    /// What someone who has seen everything up to `revision` is told.
    fn since(&self, revision: u64) -> Option<String> {
        self.feed.place_of(revision).map(|place| self.behind(place))
    }
}

#[test]
fn everything_is_told_once_and_in_order() {
    let mut bench = Bench::new(1 << 20);
    assert_eq!(bench.behind(0), "");
    bench.changed();
    bench.stale();
    bench.changed();
    bench.changed();
    assert_eq!(bench.behind(0), "c1 s1 c2 c3");
    assert_eq!(bench.since(0).as_deref(), Some("c1 s1 c2 c3"));
    assert_eq!(bench.since(1).as_deref(), Some("s1 c2 c3"));
    assert_eq!(bench.since(2).as_deref(), Some("c3"));
    assert_eq!(bench.since(3).as_deref(), Some(""));
    assert_eq!(bench.since(4), None, "there is no such revision");
    let present = bench.feed.present();
    assert_eq!((present.place, present.revision), (4, 3));
    assert!(present.snapshots.contains_key("lab"));
}

#[test]
fn what_is_kept_is_bounded_and_who_comes_too_late_is_told_so() {
    let mut bench = Bench::new(3 * (SNAPSHOT + size_of::<LogEntry>() + 3));
    for _ in 0..10 {
        bench.changed();
    }
    assert_eq!(bench.feed.history.lock().kept.len(), 3);
    assert_eq!(bench.behind(0), "gone");
    assert_eq!(bench.behind(6), "gone");
    assert_eq!(bench.behind(7), "c8 c9 c10");
    assert!(bench.feed.reaches_back_to(7) && !bench.feed.reaches_back_to(6));
    assert_eq!(bench.since(6), None);
    assert_eq!(bench.since(7).as_deref(), Some("c8 c9 c10"));
    assert_eq!(bench.since(u64::MAX), None);
    assert_eq!(bench.behind(u64::MAX), "");
}

#[test]
fn what_is_too_large_to_be_kept_is_gone_at_once() {
    let mut bench = Bench::new(16);
    assert_eq!(bench.since(0).as_deref(), Some(""));
    bench.changed();
    assert_eq!(bench.since(0), None);
    assert_eq!(bench.behind(0), "gone");
    assert_eq!(bench.since(1).as_deref(), Some(""));
    assert!(bench.feed.reaches_back_to(1));
    assert_eq!(bench.feed.history.lock().bytes, 0);
}

#[test]
fn that_a_mirror_forgot_everything_is_never_missed() {
    let mut bench = Bench::new(2 * (SNAPSHOT + size_of::<LogEntry>() + 3));
    bench.changed();
    bench.feed.forgot("lab");
    assert!(bench.feed.present().snapshots.is_empty());
    // What changed before is told of as forgotten too: its objects are not kept for that.
    assert_eq!(bench.since(1).as_deref(), Some("f1 f1"));
    for _ in 0..3 {
        bench.changed();
    }
    assert_eq!(bench.behind(2), "gone");
    assert_eq!(bench.since(1), None, "it saw that revision, not what came behind it");
    assert_eq!(bench.since(2).as_deref(), Some("c3 c4"));
}

#[tokio::test]
async fn followers_hear_of_everything() {
    let mut bench = Bench::new(1 << 20);
    let mut newest = bench.feed.newest();
    bench.changed();
    newest.changed().await.expect("the feed is there");
    assert_eq!(*newest.borrow_and_update(), 1);
    bench.stale();
    newest.changed().await.expect("the feed is there");
    assert_eq!(*newest.borrow_and_update(), 2);
}
