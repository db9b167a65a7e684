//! Classes of a polled backend that are read apart from its VMs: each by itself, at its own pace, and
//! only while somebody reads or follows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::demand::FIRST_POLL_WITHIN;
use super::mirror::{Mirror, Reading};
use super::standing::NotReady;
use xenapi_client::Pace;
use xenapi_model::{ClassId, datamodel};

/// When the backend was last asked for the classes that are read apart.
pub(super) type Apart = Arc<BTreeMap<ClassId, Instant>>;

/// Objects that were asked for longer ago than this are stale, whatever the backend is doing.
pub(super) const TOO_OLD: Duration = Duration::from_secs(120);

/// Whoever comes back to a class after longer than this waits for it to be read again.
const OLD: Duration = Duration::from_secs(90);

impl Reading {
    /// How old objects of these classes may be, and those that every answer shows; `None` while they
    /// are as new as can be.
    pub fn age_of(&self, classes: &[ClassId]) -> Option<Duration> {
        let apart = classes.iter().filter_map(|class| self.apart.get(class));
        let age = self.age()?;
        Some(apart.map(Instant::elapsed).fold(age, Duration::max))
    }

    /// Whether objects of these classes may be out of date for longer than a live mirror's are.
    pub fn is_stale(&self, classes: &[ClassId]) -> bool {
        let is_old = || self.age_of(classes).is_some_and(|age| age > TOO_OLD);
        self.stale_since.is_some() || (self.as_of.is_some() && is_old())
    }

    fn has(&self, classes: &[ClassId]) -> bool {
        classes.iter().all(|class| self.apart.contains_key(class))
    }

    fn has_fresh(&self, classes: &[ClassId]) -> bool {
        let is_fresh = |asked: &Instant| asked.elapsed() < OLD;
        classes.iter().all(|class| self.apart.get(class).is_some_and(is_fresh))
    }
}

impl Mirror {
    /// Whether objects of these classes can be read at once. Where the backend has to be asked, it
    /// is from now on.
    pub fn at_hand(&self, classes: &[ClassId]) -> bool {
        let Some(reading) = self.reading() else { return false };
        if !self.is_polled() {
            return true;
        }
        let apart = self.apart(classes);
        self.demand.note();
        self.demand.note_classes(&apart);
        !self.demand.is_asleep() && reading.has_fresh(&apart)
    }

    /// What is mirrored, these classes included, waiting as [`Mirror::ready`] does. A class that has
    /// never been read is waited for, and its absence is an error.
    pub async fn ready_with(
        &self,
        classes: &[ClassId],
        patience: Duration,
    ) -> Result<Arc<Reading>, NotReady> {
        let until = Instant::now() + patience.max(FIRST_POLL_WITHIN);
        self.demand.note_classes(&self.apart(classes));
        let reading = self.ready(patience).await?;
        // Which classes those are may have been found out meanwhile.
        let apart = self.apart(classes);
        if apart.is_empty() || reading.has_fresh(&apart) {
            return Ok(reading);
        }
        self.demand.note_classes(&apart);
        let brought = || self.reading().is_none_or(|reading| reading.has_fresh(&apart));
        self.demand.brings(until, brought).await;
        let reading = self.reading().filter(|reading| reading.has(&apart));
        reading.ok_or_else(|| NotReady::Late { backend: self.name().to_owned() })
    }

    /// Notes that somebody would read objects of these classes if they were there.
    pub fn note(&self, classes: &[ClassId]) {
        self.demand.note_classes(&self.apart(classes));
    }

    /// Has the classes read for as long as what is returned lives.
    pub fn follow(self: &Arc<Self>, classes: impl IntoIterator<Item = ClassId>) -> Following {
        let classes: Box<[ClassId]> = classes.into_iter().collect();
        self.demand.follow(&classes, true);
        Following { mirror: self.clone(), classes }
    }

    /// Those of the classes that are read apart.
    fn apart(&self, classes: &[ClassId]) -> Vec<ClassId> {
        let polls = self.backend.polls(Pace::Slow).iter().copied().flatten();
        let known = polls.filter_map(|class| datamodel().class(class));
        known.map(|class| class.id).filter(|class| classes.contains(class)).collect()
    }
}

/// Somebody who follows what becomes of the objects of some classes.
#[derive(Debug)]
pub struct Following {
    mirror: Arc<Mirror>,
    classes: Box<[ClassId]>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.mirror.demand.follow(&self.classes, false);
    }
}
