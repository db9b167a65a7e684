//! Objects whose newest record could not be read.
//!
//! What is mirrored of them is old, or nothing at all. They are asked for one by one, and when that
//! does not help either, everything is asked for again, ever more seldom. Until then the mirror says
//! that it is stale.

use std::time::Duration;

use foldhash::{HashMap, HashSet};
use tokio::time::{Instant, timeout};

use xenapi_client::{Backend, CallError, Session};
use xenapi_model::Class;
use xenapi_wire::Arg;

/// More objects than this are not asked for one by one.
const MOST: usize = 64;
/// How long asking may take, all in all.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// The pauses before they are asked for again: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The pauses before everything is asked for because of them.
const SYNC_PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// Objects whose newest record could not be read.
#[derive(Debug, Default, Clone)]
pub(super) struct Unread {
    /// Their classes, by their refs.
    objects: HashMap<Box<str>, &'static Class>,
    /// There was an event of which nobody knows what it is about, or there are too many objects.
    others: bool,
}

impl Unread {
    /// Whether everything has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.others
    }

    /// Notes an object that could not be read.
    pub(super) fn note(&mut self, class: &'static Class, reference: &str) {
        if self.objects.len() < MOST {
            self.objects.insert(reference.into(), class);
        } else if !self.objects.contains_key(reference) {
            self.others = true;
        }
    }

    /// Notes something that could not be read and may be about anything.
    pub(super) fn note_unknown(&mut self) {
        self.others = true;
    }

    /// Notes that an object has been read, or is gone.
    pub(super) fn settle(&mut self, reference: &str) {
        if !self.objects.is_empty() {
            self.objects.remove(reference);
        }
    }

    /// Notes that those objects of a class are no more whose refs are not among these.
    pub(super) fn keep_only(&mut self, class: &Class, known: &HashSet<&str>) {
        self.objects.retain(|reference, of| of.id != class.id || known.contains(&**reference));
    }

    /// The objects, by class and ref.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&'static Class, &str)> {
        self.objects.iter().map(|(reference, class)| (*class, &**reference))
    }

    /// Why the mirror is stale, for clients.
    pub(super) fn reason(&self) -> String {
        match (self.objects.len(), self.others) {
            (count, false) => format!("{count} of its objects cannot be read as they are now"),
            (_, true) => "some of its objects cannot be read as they are now".to_owned(),
        }
    }

    /// Asks for each of them. What does not come in time is left for the next time.
    pub(super) async fn ask(&self, backend: &Backend, session: &Session) -> Vec<Reread> {
        let mut read = Vec::new();
        let asking = async {
            for (class, reference) in self.objects() {
                let args = [Arg::from(reference)];
                let call = format!("{}.get_record", class.name);
                let record = match backend.read_otherwise(session, &call, &args).await {
                    Ok(value) => Some(value.get().to_owned()),
                    Err(CallError::Failure(failure)) if failure.code == "HANDLE_INVALID" => None,
                    Err(error) => {
                        tracing::debug!(backend = backend.name(), %error, "a record was not read");
                        continue;
                    }
                };
                read.push(Reread { class, reference: reference.into(), record });
            }
        };
        let _ = timeout(ASK_WITHIN, asking).await;
        read
    }
}

/// What came of asking for an object.
#[derive(Debug)]
pub(super) struct Reread {
    pub(super) class: &'static Class,
    pub(super) reference: Box<str>,
    /// Its record; none when it is gone.
    pub(super) record: Option<String>,
}

/// What is to be done about objects that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Nothing,
    /// Ask for each of them.
    Reread,
    /// Ask for everything.
    Sync,
}

/// When what is done about them.
#[derive(Debug, Default)]
pub(super) struct Remedies {
    /// When they were last asked for, and how long to wait before the next time.
    asked: Option<(Instant, Duration)>,
    /// When everything was last asked for because of them, or brought them, and how long to wait
    /// before it is again.
    synced: Option<(Instant, Duration)>,
}

impl Remedies {
    /// What is due. Each comes at once the first time, and then more and more seldom.
    pub(super) fn due(&mut self, unread: &Unread) -> Remedy {
        if unread.is_empty() {
            // Objects that are unreadable now and then are no reason to ask for everything as often.
            self.asked = None;
            return Remedy::Nothing;
        }
        let now = Instant::now();
        let is_due = |last: Option<(Instant, Duration)>| match last {
            None => true,
            Some((then, pause)) => now >= then + pause,
        };
        // Asking for them is by far the cheapest.
        if unread.objects().next().is_some() && is_due(self.asked) {
            self.asked = Some(next(self.asked, now, PAUSES));
            return Remedy::Reread;
        }
        if is_due(self.synced) {
            self.synced = Some(next(self.synced, now, SYNC_PAUSES));
            return Remedy::Sync;
        }
        Remedy::Nothing
    }

    /// Notes that everything has been asked for, and that these were among it.
    pub(super) fn synced(&mut self, unread: &Unread) {
        if !unread.is_empty() && self.synced.is_none() {
            self.synced = Some((Instant::now(), SYNC_PAUSES.0));
        }
    }
}

/// When something was done last, and the pause after it. After a long time the pauses are short again.
fn next(
    last: Option<(Instant, Duration)>,
    now: Instant,
    (first, longest): (Duration, Duration),
) -> (Instant, Duration) {
    let pause = match last {
        Some((then, pause)) if now < then + 4 * pause => (pause * 2).min(longest),
        _ => first,
    };
    (now, pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    fn unread(refs: &[&str]) -> Unread {
        let vm = datamodel().class("VM").expect("a class");
        let mut unread = Unread::default();
        refs.iter().for_each(|reference| unread.note(vm, reference));
        unread
    }

    #[test]
    fn what_is_read_or_gone_is_no_longer_unread() {
        let mut two = unread(&["a", "b"]);
        two.settle("a");
        assert_eq!(two.objects().map(|(_, reference)| reference).collect::<Vec<_>>(), ["b"]);
        two.settle("b");
        assert!(two.is_empty());
        two.note_unknown();
        assert!(!two.is_empty());
        let refs: Vec<String> = (0..2 * MOST).map(|n| n.to_string()).collect();
        let mut many = unread(&refs.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(many.objects().count(), MOST);
        refs.iter().for_each(|reference| many.settle(reference));
        assert!(!many.is_empty(), "it is not known whether the others have been read");
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_asked_for_at_once_and_then_more_and_more_seldom() {
        let (mut remedies, one) = (Remedies::default(), unread(&["a"]));
        let begun = Instant::now();
        let (mut rereads, mut syncs) = (0, Vec::new());
        for _ in 0..4 * 3600 {
            match remedies.due(&one) {
                Remedy::Nothing => {}
                Remedy::Reread => rereads += 1,
                Remedy::Sync => syncs.push(begun.elapsed().as_secs()),
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!((200..300).contains(&rereads), "{rereads}");
        assert!(syncs[0] <= 2 && syncs[1] >= 60 && syncs.len() < 12, "{syncs:?}");
        assert_eq!(remedies.due(&Unread::default()), Remedy::Nothing);
        assert_eq!(remedies.due(&one), Remedy::Reread, "it begins anew");
        assert_eq!(remedies.due(&one), Remedy::Nothing, "but everything is not asked for again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_can_name_needs_everything() {
        let (mut remedies, mut other) = (Remedies::default(), Unread::default());
        other.note_unknown();
        assert_eq!(remedies.due(&other), Remedy::Sync);
        assert_eq!(remedies.due(&other), Remedy::Nothing);
        tokio::time::advance(SYNC_PAUSES.0).await;
        assert_eq!(remedies.due(&other), Remedy::Sync);
        // Where everything brought it, asking again at once would bring it again.
        let mut remedies = Remedies::default();
        remedies.synced(&other);
        assert_eq!(remedies.due(&other), Remedy::Nothing);
        tokio::time::advance(SYNC_PAUSES.0).await;
        assert_eq!(remedies.due(&other), Remedy::Sync);
    }
}
