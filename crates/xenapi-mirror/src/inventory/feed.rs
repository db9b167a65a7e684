//! What has happened to the mirrors lately, in order, for those who follow it.
//!
//! One bounded history serves every follower: nobody has a queue of its own. A follower remembers
//! the place it has come to and asks for what lies behind it; who comes too late is told so, and
//! has to begin anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::standing::Status;
use super::store::{Change, Snapshot};

/// What a snapshot that only the history holds takes in memory: its tables, and the part of their
/// trees that differs from the next one's, about.
const SNAPSHOT: usize = 4 << 10;
const PER_CHANGE: usize = 2 << 10;
const PER_OBJECT: usize = 64;

/// Something that happened, at its place in the order of all that happens to any mirror.
#[derive(Debug)]
pub struct LogEntry {
    /// Its place, counted from 1.
    pub place: u64,
    /// The newest revision by then.
    pub revision: u64,
    /// The backend it is about.
    pub backend: Arc<str>,
    /// What it is.
    pub what: What,
    bytes: usize,
}

/// What can happen to a mirror.
#[derive(Debug)]
pub enum What {
    /// Objects changed.
    Changes(Batch),
    /// The mirror stands differently to its backend.
    Status(Status),
    /// The mirror holds nothing any more.
    Forgotten,
}

/// The changes that one revision brought.
#[derive(Debug)]
pub struct Batch {
    /// In their order: what was deleted comes last.
    pub changes: Box<[Change]>,
    /// The objects before.
    pub before: Arc<Snapshot>,
    /// The objects after.
    pub after: Arc<Snapshot>,
}

/// What lies behind a place.
#[derive(Debug)]
pub enum Next {
    /// The next thing that happened.
    LogEntry(Arc<LogEntry>),
    /// Nothing yet.
    Nothing,
    /// More than is kept.
    Gone,
}

/// The present: where to begin to follow.
#[derive(Debug, Clone)]
pub struct Present {
    /// The place of what happened last.
    pub place: u64,
    /// The newest revision.
    pub revision: u64,
    /// What each mirror that holds anything holds.
    pub snapshots: BTreeMap<Arc<str>, Arc<Snapshot>>,
}

/// The history.
#[derive(Debug)]
pub struct Feed {
    history: Mutex<History>,
    newest: watch::Sender<u64>,
    limit: usize,
}

#[derive(Debug)]
struct History {
    kept: VecDeque<Arc<LogEntry>>,
    bytes: usize,
    present: Present,
    /// Who has seen this revision, or a newer one, has missed nothing that is not kept.
    complete_from: u64,
}

impl Feed {
    /// Keeps about so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        let present = Present { place: 0, revision: 0, snapshots: BTreeMap::new() };
        let history = History { kept: VecDeque::new(), bytes: 0, present, complete_from: 0 };
        Self { history: Mutex::new(history), newest: watch::Sender::new(0), limit }
    }

    /// Tells of everything that happens, by its place.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Whether anybody follows what happens.
    pub(super) fn is_followed(&self) -> bool {
        self.newest.receiver_count() > 0
    }

    /// Where things stand.
    pub fn present(&self) -> Present {
        self.history.lock().present.clone()
    }

    /// What comes right behind `place`.
    pub fn next(&self, place: u64) -> Next {
        let history = self.history.lock();
        if place >= history.present.place {
            return Next::Nothing;
        }
        let first = history.first_place();
        match place.checked_add(1).and_then(|next| next.checked_sub(first)) {
            Some(index) => match usize::try_from(index).ok().and_then(|i| history.kept.get(i)) {
                Some(happening) => Next::LogEntry(happening.clone()),
                None => Next::Gone,
            },
            None => Next::Gone,
        }
    }

    /// Whether everything behind `place` is still kept.
    pub fn reaches_back_to(&self, place: u64) -> bool {
        let history = self.history.lock();
        place >= history.present.place || place + 1 >= history.first_place()
    }

    /// The place from which someone who has seen everything up to `revision` goes on; none when not
    /// everything since is kept, or when there is no such revision yet.
    pub fn place_of(&self, revision: u64) -> Option<u64> {
        let history = self.history.lock();
        if revision < history.complete_from || revision > history.present.revision {
            return None;
        }
        // What followed a revision's changes without bringing a revision of its own may be news.
        let seen = |happening: &Arc<LogEntry>| {
            happening.revision < revision
                || (happening.revision == revision && matches!(happening.what, What::Changes(_)))
        };
        let seen = history.kept.partition_point(seen) as u64;
        Some(history.first_place() + seen - 1)
    }

    /// Notes what a revision brought. To be called in the order of revisions.
    pub(super) fn changed(
        &self,
        revision: u64,
        backend: &str,
        changes: Vec<Change>,
        before: Arc<Snapshot>,
        after: Arc<Snapshot>,
    ) {
        let outlived: usize =
            changes.iter().filter_map(|change| Some(change.before.as_ref()?.size())).sum();
        let trees = (changes.len() * PER_CHANGE).min(before.len() * PER_OBJECT);
        let bytes = SNAPSHOT + trees + outlived + changes.len() * size_of::<Change>();
        let batch = Batch { changes: changes.into(), before, after: after.clone() };
        self.push(backend, What::Changes(batch), bytes, |present, backend| {
            present.revision = revision;
            present.snapshots.insert(backend, after);
        });
    }

    /// Notes that a mirror has another snapshot in which clients see no difference.
    pub(super) fn replaced(&self, backend: &str, snapshot: Arc<Snapshot>) {
        let mut history = self.history.lock();
        if let Some(held) = history.present.snapshots.get_mut(backend) {
            *held = snapshot;
        }
    }

    /// Notes how a mirror stands from now on.
    pub(super) fn stands(&self, backend: &str, status: Status) {
        self.push(backend, What::Status(status), 0, |_, _| {});
    }

    /// Notes that a mirror holds nothing any more.
    pub(super) fn forgot(&self, backend: &str) {
        // What is forgotten takes no memory: neither as what it was before something changed.
        let dropped = self.history.lock().forget(backend);
        self.push(backend, What::Forgotten, 0, |present, backend| {
            present.snapshots.remove(&backend);
        });
        drop(dropped);
    }

    fn push(
        &self,
        backend: &str,
        what: What,
        bytes: usize,
        change: impl FnOnce(&mut Present, Arc<str>),
    ) {
        let backend = Arc::<str>::from(backend);
        let bytes = bytes + size_of::<LogEntry>() + backend.len();
        let mut history = self.history.lock();
        change(&mut history.present, backend.clone());
        history.present.place += 1;
        let Present { place, revision, .. } = history.present;
        let dropped = history.keep(LogEntry { place, revision, backend, what, bytes }, self.limit);
        drop(history);
        self.newest.send_replace(place);
        // Freeing thousands of records takes a while; nobody waits for it.
        drop(dropped);
    }
}

impl History {
    fn first_place(&self) -> u64 {
        self.kept.front().map_or(self.present.place + 1, |first| first.place)
    }

    /// Tells of what has changed on this backend as of something that is forgotten; hands it out.
    fn forget(&mut self, backend: &str) -> Vec<Arc<LogEntry>> {
        let mut dropped = Vec::new();
        for kept in &mut self.kept {
            if &*kept.backend == backend && matches!(kept.what, What::Changes(_)) {
                let bytes = size_of::<LogEntry>() + kept.backend.len();
                let (place, revision, backend) = (kept.place, kept.revision, kept.backend.clone());
                let what = What::Forgotten;
                self.bytes = self.bytes.saturating_sub(kept.bytes) + bytes;
                let forgotten = LogEntry { place, revision, backend, what, bytes };
                dropped.push(std::mem::replace(kept, Arc::new(forgotten)));
            }
        }
        dropped
    }

    /// Keeps this, and hands out what has to go for it.
    fn keep(&mut self, happening: LogEntry, limit: usize) -> Vec<Arc<LogEntry>> {
        self.bytes += happening.bytes;
        self.kept.push_back(Arc::new(happening));
        let mut dropped = Vec::new();
        while self.bytes > limit
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes;
            self.complete_from = match oldest.what {
                What::Changes(_) | What::Status(_) => oldest.revision,
                // It had no revision of its own, so that of its time does not tell who saw it.
                What::Forgotten => oldest.revision + 1,
            };
            dropped.push(oldest);
        }
        dropped
    }
}

#[cfg(test)]
mod tests;
