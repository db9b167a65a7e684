//! Followers who want the same: for them things are looked at once and encoded once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use foldhash::HashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::samples;
use crate::api::events::encode::{Encoded, Ids, encode};
use crate::api::events::frames::Wire;
use crate::api::events::samples::SampleBoard;
use crate::api::events::selection::Selection;
use crate::costly::Costly;
use xenapi_mirror::inventory::query::Cost;
use xenapi_mirror::inventory::{Feed, Following, Inventory, LogEntry, Next, What};
use xenapi_mirror::metrics::Metrics;
use xengate_config::Limits;

/// What a group keeps ready for followers who are a little behind. Who is further behind has the
/// history.
const READY_BYTES: usize = 256 << 10;
const READY_ITEMS: usize = 512;

/// Where more objects than this have to be looked at, it is done where it is in nobody's way.
const MUCH: usize = 500;

/// A place in what happened, and the newest revision there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) place: u64,
    pub(super) revision: u64,
}

impl At {
    pub(super) fn of(happening: &LogEntry) -> Self {
        Self { place: happening.place, revision: happening.revision }
    }
}

/// What lies behind a place, as far as a group has it ready.
#[derive(Debug)]
pub(super) enum Behind {
    /// Something for its followers, and the place it is at.
    Encoded(At, Encoded),
    /// Nothing up to here.
    Nothing(At),
    /// It is not ready any more.
    Unknown,
}

/// All groups.
#[derive(Debug)]
pub(super) struct Groups {
    inventory: Arc<Inventory>,
    metrics: Arc<Metrics>,
    ids: Ids,
    most: usize,
    most_of_user: usize,
    groups: Mutex<All>,
    costly: Arc<Costly>,
    encoded: AtomicU64,
}

/// What tells a group from others.
type Key = (Wire, String);

#[derive(Debug, Default)]
struct All {
    by_key: HashMap<Key, Weak<Group>>,
    /// How many streams of a user are in which group.
    by_user: HashMap<u64, HashMap<Key, usize>>,
}

/// A stream's place in a group, until it is dropped.
#[derive(Debug)]
pub(super) struct Membership {
    all: Arc<Groups>,
    key: Key,
    user: u64,
}

/// One group. Its task lasts as long as somebody holds it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) selection: Selection,
    pub(super) wire: Wire,
    pub(super) ids: Ids,
    /// What is measured, if that is wanted.
    pub(super) board: Option<SampleBoard>,
    ready: RwLock<Ready>,
    /// The place of the newest thing for its followers.
    news: watch::Sender<u64>,
    all: Weak<Groups>,
    costly: Arc<Costly>,
    /// In whose turns it is looked at what takes long: who was first.
    user: u64,
    _task: DropGuard,
}

/// There are as many groups as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooManyGroups {
    /// In all.
    InAll,
    /// Of the user.
    OfUser,
}

#[derive(Debug)]
struct Ready {
    items: VecDeque<(At, Encoded)>,
    bytes: usize,
    /// Everything behind this place and up to `until` that is not nothing is in `items`.
    from: u64,
    until: At,
}

impl Groups {
    pub(super) fn new(
        inventory: Arc<Inventory>,
        metrics: Arc<Metrics>,
        boot_id: Arc<str>,
        costly: Arc<Costly>,
        limits: &Limits,
    ) -> Arc<Self> {
        let most = limits.max_event_groups;
        let most_of_user = limits.max_event_groups_per_user;
        Arc::new(Self {
            inventory,
            metrics,
            ids: Ids(boot_id),
            most,
            most_of_user,
            groups: Mutex::default(),
            costly,
            encoded: AtomicU64::new(0),
        })
    }

    pub(super) fn feed(&self) -> &Arc<Feed> {
        self.inventory.feed()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.groups.lock().by_key.len()
    }

    /// How often something was encoded, for a group or for one follower that was behind.
    pub(super) fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// The group of those who want this, in this form.
    pub(super) fn join(
        self: &Arc<Self>,
        selection: Selection,
        wire: Wire,
        user: u64,
    ) -> Result<(Arc<Group>, Membership), TooManyGroups> {
        let mut groups = self.groups.lock();
        let key = (wire, selection.key().to_owned());
        if let Some(own) = groups.by_user.get(&user)
            && !own.contains_key(&key)
            && own.len() >= self.most_of_user
        {
            return Err(TooManyGroups::OfUser);
        }
        let known = groups.by_key.get(&key).and_then(Weak::upgrade);
        if known.is_none() && groups.by_key.len() >= self.most {
            return Err(TooManyGroups::InAll);
        }
        *groups.by_user.entry(user).or_default().entry(key.clone()).or_default() += 1;
        let membership = Membership { all: self.clone(), key: key.clone(), user };
        if let Some(group) = known {
            drop(groups);
            return Ok((group, membership));
        }
        let feed = self.feed().clone();
        let (newest, present) = (feed.newest(), feed.present());
        let until = At { place: present.place, revision: present.revision };
        let ready = Ready { items: VecDeque::new(), bytes: 0, from: until.place, until };
        let over = CancellationToken::new();
        let board = selection.samples().then(SampleBoard::default);
        let group = Arc::new(Group {
            board,
            selection,
            wire,
            ids: self.ids.clone(),
            ready: RwLock::new(ready),
            news: watch::Sender::new(until.place),
            all: Arc::downgrade(self),
            costly: self.costly.clone(),
            user,
            _task: over.clone().drop_guard(),
        });
        groups.by_key.insert(key, Arc::downgrade(&group));
        drop(groups);
        let mirrors =
            group.selection.backends().iter().filter_map(|name| self.inventory.mirror(name));
        let following: Vec<Following> =
            mirrors.map(|mirror| mirror.follow(group.selection.reads())).collect();
        let measures = group.board.is_some().then(|| {
            let (metrics, inventory) = (self.metrics.clone(), self.inventory.clone());
            (over.clone(), samples::keep_up(Arc::downgrade(&group), metrics, inventory))
        });
        if let Some((over, work)) = measures {
            tokio::spawn(async move { over.run_until_cancelled(work).await });
        }
        let work = Group::keep_up(Arc::downgrade(&group), feed, newest);
        tokio::spawn(async move {
            over.run_until_cancelled(work).await;
            drop(following);
        });
        Ok((group, membership))
    }
}

impl Group {
    /// Tells of everything there is for the followers, by its place.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What comes behind `place`.
    pub(super) fn behind(&self, place: u64) -> Behind {
        let ready = self.ready.read();
        if place < ready.from {
            return Behind::Unknown;
        }
        let next = ready.items.partition_point(|(at, _)| at.place <= place);
        match ready.items.get(next) {
            Some((at, encoded)) => Behind::Encoded(*at, encoded.clone()),
            None => Behind::Nothing(ready.until),
        }
    }

    /// In whose turns it is looked at what takes long.
    pub(super) fn user(&self) -> u64 {
        self.user
    }

    /// Where that is done.
    pub(super) fn costly(&self) -> &Arc<Costly> {
        &self.costly
    }

    /// What something that happened means to the followers.
    pub(super) fn encode(&self, happening: &LogEntry) -> Encoded {
        let encoded = encode(&self.selection, self.wire, &self.ids, happening);
        if matches!(encoded, Encoded::Frames(_)) {
            self.count_encoded();
        }
        encoded
    }

    /// Counts that something was encoded.
    pub(super) fn count_encoded(&self) {
        if let Some(all) = self.all.upgrade() {
            all.encoded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks at everything that happens.
    async fn keep_up(group: Weak<Self>, feed: Arc<Feed>, mut newest: watch::Receiver<u64>) {
        // The history outlives its groups, so this ends only with the group.
        while newest.changed().await.is_ok() {
            let Some(group) = group.upgrade() else { return };
            loop {
                let place = group.ready.read().until.place;
                match feed.next(place) {
                    Next::Nothing => break,
                    Next::LogEntry(happening) => {
                        let encoded = look_at(&group, &happening).await;
                        group.put(At::of(&happening), encoded);
                    }
                    // The followers have missed as much, and find out for themselves.
                    Next::Gone => {
                        let present = feed.present();
                        group.skip_to(At { place: present.place, revision: present.revision });
                    }
                }
            }
        }
    }

    fn put(&self, at: At, encoded: Encoded) {
        let mut ready = self.ready.write();
        ready.until = at;
        if matches!(encoded, Encoded::Nothing) {
            return;
        }
        ready.bytes += encoded.bytes();
        ready.items.push_back((at, encoded));
        while ready.items.len() > 1
            && (ready.bytes > READY_BYTES || ready.items.len() > READY_ITEMS)
            && let Some((oldest, encoded)) = ready.items.pop_front()
        {
            ready.bytes -= encoded.bytes();
            ready.from = oldest.place;
        }
        drop(ready);
        self.news.send_replace(at.place);
    }

    fn skip_to(&self, at: At) {
        let mut ready = self.ready.write();
        *ready = Ready { items: VecDeque::new(), bytes: 0, from: at.place, until: at };
        drop(ready);
        self.news.send_replace(at.place);
    }
}

/// What something that happened means to a group's followers, found out where that is in nobody's
/// way, and in the turns of the user whose group it is.
pub(super) async fn look_at(group: &Arc<Group>, happening: &Arc<LogEntry>) -> Encoded {
    let (cost, objects) = match &happening.what {
        What::Changes(batch) if group.selection.backends().contains(&happening.backend) => {
            (group.selection.cost_of(batch), group.selection.effort(batch))
        }
        What::Changes(_) | What::Status(_) | What::Forgotten => (Cost::default(), 0),
    };
    if group.costly.is_too_much(&cost) {
        return Encoded::TooCostly;
    }
    if objects <= MUCH && !Costly::is_much(&cost) {
        return group.encode(happening);
    }
    let work = {
        let (group, happening) = (group.clone(), happening.clone());
        move || group.encode(&happening)
    };
    // What no filter makes costly is everybody's.
    let user = Costly::is_much(&cost).then_some(group.user);
    match group.costly.work_once(user, work).await {
        Ok(encoded) => encoded,
        Err(problem) => {
            tracing::debug!(code = problem.code(), "events could not be encoded now");
            Encoded::Resync(super::encode::Reason::TooMuch)
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut groups = self.all.groups.lock();
        let Some(own) = groups.by_user.get_mut(&self.user) else { return };
        if let Some(count) = own.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                own.remove(&self.key);
            }
        }
        if own.is_empty() {
            groups.by_user.remove(&self.user);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut groups = all.groups.lock();
        let key = (self.wire, self.selection.key().to_owned());
        // Another of this key may have come in the meantime.
        if groups.by_key.get(&key).is_some_and(|group| group.strong_count() == 0) {
            groups.by_key.remove(&key);
        }
    }
}
