//! What is measured of the objects that followers asked for, as events of their own.
//!
//! [`keep_up`] has the hosts of a group's objects asked for as long as there is a group, and writes
//! what one host has measured once for all followers. Nothing queues up: the [`SampleBoard`] has the
//! newest of each host, so a follower that is slow misses measurements and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::api::events::frames::{Frames, Wire};
use crate::api::events::group::Group;
use crate::api::events::selection::Selection;
use crate::api::samples::newest::samples_json;
use xenapi_client::Session;
use xenapi_mirror::inventory::{Inventory, Mirror, Snapshot};
use xenapi_mirror::metrics::{Metrics, SampleError, Standing, Subject, is_in_records};
use xenapi_model::{Class, datamodel};
use xengate_core::auth::Caller;

/// The classes whose objects have samples, with that of what is measured and, where it is another,
/// its field that names them.
const SAMPLED: [(&str, &str, Option<&str>); 3] = [
    ("VM_metrics", "VM", Some("metrics")),
    ("host_metrics", "host", Some("metrics")),
    ("SR", "SR", None),
];

/// How often the objects are gone through for hosts that have to be asked: as often as those measure.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// The samples of more objects than this are written where it is in nobody's way.
const MUCH: usize = 100;

/// What a board holds at most, beside the newest that was put there.
const LARGEST_BOARD: usize = 8 << 20;

/// What measures: a host, or a backend as a whole.
type Place = (Arc<str>, Option<Uuid>);

/// Whether objects of this class have samples.
pub(super) fn has_samples(class: &Class) -> bool {
    SAMPLED.iter().any(|(shown, ..)| class.name == *shown)
}

/// The newest samples of each host, as a group's followers get them.
#[derive(Debug)]
pub(super) struct SampleBoard {
    sheets: Mutex<Sheets>,
    news: watch::Sender<u64>,
    /// In whose name hosts are asked.
    sponsors: Mutex<Vec<Weak<Caller>>>,
}

#[derive(Debug, Default)]
struct Sheets {
    by_number: BTreeMap<u64, (Place, Arc<[Bytes]>)>,
    of: HashMap<Place, u64>,
    bytes: usize,
    last: u64,
}

impl Default for SampleBoard {
    fn default() -> Self {
        Self { sheets: Mutex::default(), news: watch::Sender::new(0), sponsors: Mutex::default() }
    }
}

impl SampleBoard {
    /// Notes in whose name hosts can be asked.
    pub(super) fn sponsored_by(&self, caller: &Arc<Caller>) {
        let mut sponsors = self.sponsors.lock();
        sponsors.retain(|sponsor| sponsor.strong_count() > 0);
        sponsors.push(Arc::downgrade(caller));
    }

    /// Tells of everything that is put here.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What comes after the one of this number.
    pub(super) fn after(&self, number: u64) -> Option<(u64, Arc<[Bytes]>)> {
        let sheets = self.sheets.lock();
        let (number, (_, frames)) = sheets.by_number.range(number + 1..).next()?;
        Some((*number, frames.clone()))
    }

    /// Puts the newest of a host in the place of what was there.
    fn put(&self, place: &Place, frames: Vec<Bytes>) {
        let mut sheets = self.sheets.lock();
        sheets.take(place);
        sheets.last += 1;
        let number = sheets.last;
        sheets.bytes += size(&frames);
        sheets.of.insert(place.clone(), number);
        sheets.by_number.insert(number, (place.clone(), frames.into()));
        while sheets.bytes > LARGEST_BOARD && sheets.by_number.len() > 1 {
            let oldest = sheets.by_number.values().next().map(|(place, _)| place.clone());
            oldest.iter().for_each(|place| sheets.take(place));
        }
        drop(sheets);
        self.news.send_replace(number);
    }

    /// The session to ask a backend in; another one each time where there are several.
    fn session(&self, backend: &str) -> Option<Arc<Session>> {
        let mut sponsors = self.sponsors.lock();
        sponsors.retain(|sponsor| sponsor.strong_count() > 0);
        if !sponsors.is_empty() {
            sponsors.rotate_left(1);
        }
        let mut callers = sponsors.iter().filter_map(Weak::upgrade);
        callers.find_map(|caller| caller.session_for(backend))
    }
}

impl Sheets {
    fn take(&mut self, place: &Place) {
        let number = self.of.remove(place);
        if let Some((_, frames)) = number.and_then(|number| self.by_number.remove(&number)) {
            self.bytes -= size(&frames);
        }
    }
}

fn size(frames: &[Bytes]) -> usize {
    frames.iter().map(Bytes::len).sum()
}

/// An object that was asked for, and what is measured of it.
#[derive(Debug, Clone)]
struct Sampled {
    /// Its class, and its uuid unless a VM is measured that has no such object.
    shown: (&'static str, Option<Uuid>),
    backend: Box<str>,
    class: &'static str,
    subject: Subject,
}

/// A host whose samples are wanted.
struct Watched {
    mirror: Arc<Mirror>,
    objects: Arc<[Sampled]>,
    /// What was told of it last.
    told: Option<Standing>,
}

/// Puts up what is measured of a group's objects, as long as there is the group.
pub(super) async fn keep_up(group: Weak<Group>, metrics: Arc<Metrics>, inventory: Arc<Inventory>) {
    let mut news = metrics.news();
    let mut look_around = tokio::time::interval(LOOK_AROUND);
    look_around.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched: HashMap<Place, Watched> = HashMap::default();
    loop {
        let around = tokio::select! {
            _ = look_around.tick() => true,
            changed = news.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
        };
        let Some(group) = group.upgrade() else { return };
        let Some(board) = &group.board else { return };
        if around {
            let (group, metrics, inventory) = (group.clone(), metrics.clone(), inventory.clone());
            let before = std::mem::take(&mut watched);
            // Thousands of objects take long enough to be in others' way.
            let (costly, user) = (group.costly().clone(), group.user());
            // What a filter makes long is done in its user's turns.
            let user = group.selection.has_filter().then_some(user);
            let work = move || look(&group, &metrics, &inventory, before);
            match costly.work_once(user, work).await {
                Ok(found) => watched = found,
                Err(problem) => {
                    tracing::warn!(code = problem.code(), "no hosts of objects could be found");
                }
            }
        }
        for (place, host) in &mut watched {
            let Some(standing) = metrics.standing(&host.mirror, place.1) else { continue };
            if host.told.as_ref().is_some_and(|told| told.is_the_same_as(&standing)) {
                continue;
            }
            host.told = Some(standing);
            let frames = write(group.wire, &metrics, host).await;
            if !frames.is_empty() {
                group.count_encoded();
                board.put(place, frames);
            }
        }
    }
}

/// Goes through the objects that were asked for, and has their hosts asked.
fn look(
    group: &Group,
    metrics: &Metrics,
    inventory: &Inventory,
    mut before: HashMap<Place, Watched>,
) -> HashMap<Place, Watched> {
    let mut watched = HashMap::default();
    let (selection, Some(board)) = (&group.selection, &group.board) else { return watched };
    for backend in selection.backends() {
        let Some(mirror) = inventory.mirror(backend) else { continue };
        let Some(reading) = mirror.reading() else { continue };
        let mut homes: HashMap<Option<Uuid>, Vec<Sampled>> = HashMap::default();
        for sampled in sampled(selection, &reading.snapshot) {
            let home = sampled.subject.home.filter(|_| !is_in_records(mirror));
            if home.is_some() || is_in_records(mirror) {
                homes.entry(home).or_default().push(sampled);
            }
        }
        let session = board.session(backend);
        for (home, objects) in homes {
            if let (Some(session), Some(_)) = (&session, home) {
                let hosts = objects.iter().flat_map(|one| &one.subject.hosts);
                hosts.for_each(|host| metrics.follow(mirror, session, *host));
            }
            let place = (backend.clone(), home);
            let told = before.remove(&place).and_then(|before| before.told);
            let objects = objects.into();
            watched.insert(place, Watched { mirror: mirror.clone(), objects, told });
        }
    }
    watched
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the Xen-API")
}

/// The objects that were asked for and of which something may be measured.
fn sampled(selection: &Selection, snapshot: &Snapshot) -> Vec<Sampled> {
    let mut all = Vec::new();
    for (shown, measured, field) in SAMPLED {
        if !selection.classes().any(|class| class.name == shown) {
            continue;
        }
        for owner in snapshot.class(class(measured).id).iter() {
            let object = match field {
                None => Some(owner),
                Some(field) => {
                    let uuid = owner.record().uuid(owner.class(), field);
                    uuid.and_then(|uuid| snapshot.object(class(shown).id, &uuid))
                }
            };
            let is_wanted = match object {
                Some(object) => selection.holds(snapshot, object),
                None => selection.is_unfiltered(),
            };
            if let Some(subject) = Subject::of(snapshot, owner).filter(|_| is_wanted) {
                let shown = (shown, object.map(|object| object.uuid()));
                let backend = owner.backend().into();
                all.push(Sampled { shown, backend, class: measured, subject });
            }
        }
    }
    all
}

/// The events of one host's objects.
async fn write(wire: Wire, metrics: &Arc<Metrics>, host: &Watched) -> Vec<Bytes> {
    let (metrics, mirror, objects) = (metrics.clone(), host.mirror.clone(), host.objects.clone());
    let much = objects.len() > MUCH;
    let work = move || {
        let mut frames = Frames::new(wire);
        objects.iter().for_each(|one| event(one, &metrics, &mirror, &mut frames));
        frames.finish()
    };
    if !much {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "samples could not be written");
        Vec::new()
    })
}

fn event(one: &Sampled, metrics: &Metrics, mirror: &Arc<Mirror>, frames: &mut Frames) {
    let samples = match metrics.known(mirror, &one.subject) {
        // It does not run, or not yet, or not there any more.
        None
        | Some(Err(SampleError::NotRunning | SampleError::NoHost | SampleError::NotMeasured)) => {
            return;
        }
        Some(samples) => samples,
    };
    let (owner, home) = (one.subject.key.owner, one.subject.home);
    let (samples, sampling) = samples_json(owner, home, &samples);
    frames.event("samples", |out| {
        let (class, uuid) = one.shown;
        let uuid = uuid.map_or_else(|| "null".to_owned(), |uuid| format!("\"{uuid}\""));
        let (backend, measured, of) = (&one.backend, one.class, one.subject.key.uuid);
        // Names of the datamodel, of backends as the configuration allows them, and uuids: nothing
        // that JSON would escape.
        let head = format!(
            "{{\"class\":\"{class}\",\"uuid\":{uuid},\"backend\":\"{backend}\",\
             \"of\":{{\"class\":\"{measured}\",\"uuid\":\"{of}\"}},\"samples\":"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&samples);
        out.extend_from_slice(b",\"sampling\":");
        out.extend_from_slice(&sampling);
        out.push(b'}');
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u128) -> Place {
        ("lab".into(), Some(Uuid::from_u128(number)))
    }

    fn text(board: &SampleBoard, seen: &mut u64) -> Option<String> {
        let (number, frames) = board.after(*seen)?;
        *seen = number;
        Some(String::from_utf8(frames.concat()).expect("UTF-8"))
    }

    #[test]
    fn who_is_slow_gets_the_newest_of_each_host() {
        let (board, mut seen) = (SampleBoard::default(), 0);
        let put = |host, text: &'static str| board.put(&place(host), vec![text.into()]);
        put(1, "a1");
        put(2, "b1");
        assert_eq!(text(&board, &mut seen).as_deref(), Some("a1"));
        put(1, "a2");
        put(1, "a3");
        assert_eq!(text(&board, &mut seen).as_deref(), Some("b1"));
        assert_eq!(text(&board, &mut seen).as_deref(), Some("a3"));
        assert_eq!(text(&board, &mut seen), None);
        let mut late = 0;
        assert_eq!(text(&board, &mut late).as_deref(), Some("b1"), "all hosts are there");
        assert_eq!(*board.news().borrow(), 4);
    }

    #[test]
    fn a_board_is_bounded() {
        let board = SampleBoard::default();
        for host in 0..20 {
            board.put(&place(host), vec![vec![b'x'; LARGEST_BOARD / 8].into()]);
        }
        let sheets = board.sheets.lock();
        assert!(sheets.bytes <= LARGEST_BOARD && sheets.by_number.len() == 8);
        assert_eq!(sheets.of.len(), 8);
        drop(sheets);
        board.put(&place(99), vec![vec![b'x'; LARGEST_BOARD * 2].into()]);
        assert_eq!(board.sheets.lock().by_number.len(), 1, "the newest is always there");
    }
}
