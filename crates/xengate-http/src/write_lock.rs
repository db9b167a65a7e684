//! Locks of those who change one version of an object or nothing, and of those who patch it: between
//! looking at the object and seeing what came of the change, nobody else of them gets to look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::Gateway;
use crate::in_flight::{NoPlace, waiting};
use crate::validators::Preconditions;
use xenapi_model::ClassId;
use xengate_core::ops::{OpError, Reach, Settled};

/// How long a turn is kept after its answer, for what came of the write to show. Where nothing
/// shows for that long, the object is what it was, and the next may have it.
const KEPT_FOR: Duration = Duration::from_secs(30);

type Key = (ClassId, Uuid);

/// Whose turn it is, by object. There is an entry only while somebody waits or works.
#[derive(Debug, Default)]
pub struct ObjectLocks(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct ObjectLock {
    turns: Arc<ObjectLocks>,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

/// A turn of a write that is under way; nothing where the request has no conditions and is no patch,
/// for those do not ask what it is that they change.
#[derive(Debug)]
pub struct WriteGuard(Option<Guarded>);

#[derive(Debug)]
struct Guarded {
    turn: ObjectLock,
    reach: Reach,
    /// The version that the write is about.
    before: Option<u64>,
    /// Whether who comes next has to see what was done.
    conditional: bool,
}

impl ObjectLocks {
    /// Waits for a turn at this object.
    pub async fn of(self: &Arc<Self>, class: ClassId, uuid: Uuid) -> Result<ObjectLock, NoPlace> {
        let key = (class, uuid);
        let queue = self.0.lock().entry(key).or_default().clone();
        // Made first: who goes away while waiting cleans up as well.
        let mut turn = ObjectLock { turns: self.clone(), key, guard: None };
        turn.guard = Some(waiting(queue.lock_owned()).await?);
        Ok(turn)
    }

    /// The same for a request with conditions; others need not wait.
    pub async fn conditional(
        self: &Arc<Self>,
        validators: &Preconditions,
        class: ClassId,
        uuid: Uuid,
    ) -> Result<Option<ObjectLock>, NoPlace> {
        match validators.has_conditions() {
            true => self.of(class, uuid).await.map(Some),
            false => Ok(None),
        }
    }
}

impl Drop for ObjectLock {
    fn drop(&mut self) {
        self.guard = None;
        let mut queues = self.turns.0.lock();
        // The map's own is the last one; others are cloned under its lock only.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

impl WriteGuard {
    /// Of a write to what the caller has just looked at.
    pub fn new(turn: Option<ObjectLock>, reach: &Reach) -> Self {
        Self(turn.map(|turn| {
            let before = version(reach, turn.key);
            Guarded { turn, reach: reach.clone(), before, conditional: true }
        }))
    }

    /// Of a patch, which takes its turn even where any version will do.
    pub fn of_patch(turn: ObjectLock, reach: &Reach, validators: &Preconditions) -> Self {
        let (before, conditional) = (version(reach, turn.key), validators.has_conditions());
        Self(Some(Guarded { turn, reach: reach.clone(), before, conditional }))
    }

    /// Of a write that is about no one object.
    pub fn none() -> Self {
        Self(None)
    }

    /// Leaves the turn to the next once the mirror shows what was done.
    pub fn done(self, settled: Settled) {
        if let (Some(claimed), Settled::Pending) = (self.0, settled)
            && claimed.conditional
        {
            tokio::spawn(tokio::time::timeout(KEPT_FOR, claimed.changed()));
        }
    }

    /// Leaves the turn to the next: at once where nothing was done, and else once the mirror shows
    /// what was.
    pub fn failed(self, error: &OpError) {
        self.done(if error.is_unknown() { Settled::Pending } else { Settled::Seen });
    }

    /// Leaves the turn to the next once the mirror shows what a task does, or that it has ended.
    pub fn started(self, gateway: &Arc<Gateway>, task: Uuid) {
        let Some(claimed) = self.0 else { return };
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let Reach { mirror, session } = claimed.reach.clone();
            tokio::select! {
                _ = gateway.tasks.wait(&mirror, task, &session, KEPT_FOR) => {}
                () = claimed.changed() => {}
            }
        });
    }
}

impl Guarded {
    /// Returns, and with that ends the turn, when readers see another version of the object.
    async fn changed(self) {
        let mut changes = self.reach.mirror.changes();
        while version(&self.reach, self.turn.key) == self.before {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The version of an object that readers see, if they see it.
fn version(reach: &Reach, (class, uuid): Key) -> Option<u64> {
    let reading = reach.mirror.reading()?;
    reading.snapshot.object(class, &uuid).map(|object| object.revision())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[tokio::test]
    async fn one_at_a_time_for_each_object_and_nothing_is_left() {
        let class = datamodel().class("VM").expect("there").id;
        let (turns, [one, other]) = (Arc::<ObjectLocks>::default(), [1, 2].map(Uuid::from_u128));
        let first = turns.of(class, one).await.expect("a place");
        let second = turns.of(class, other).await.expect("a place");
        {
            let mut third = Box::pin(turns.of(class, one));
            assert!(futures_util::poll!(&mut third).is_pending());
            drop(first);
            third.await.expect("a place");
        }
        drop(second);
        assert!(turns.0.lock().is_empty());
    }
}
