//! Turns of those who change one version of an object or nothing: between looking at the version
//! and seeing what came of the change, nobody else of them gets to look.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::datamodel::ClassId;

type Key = (ClassId, Uuid);

/// Whose turn it is, by object. There is an entry only while somebody waits or works.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn at this object.
    pub async fn of(&self, class: ClassId, uuid: Uuid) -> Turn<'_> {
        let key = (class, uuid);
        let queue = self.0.lock().entry(key).or_default().clone();
        // Made first: who goes away while waiting cleans up as well.
        let mut turn = Turn { turns: self, key, guard: None };
        turn.guard = Some(queue.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut queues = self.turns.0.lock();
        // The map's own is the last one; others are cloned under its lock only.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datamodel::datamodel;

    #[tokio::test]
    async fn one_at_a_time_for_each_object_and_nothing_is_left() {
        let class = datamodel().class("VM").expect("there").id;
        let (turns, [one, other]) = (Turns::default(), [1, 2].map(Uuid::from_u128));
        let first = turns.of(class, one).await;
        let second = turns.of(class, other).await;
        {
            let mut third = Box::pin(turns.of(class, one));
            assert!(futures_util::poll!(&mut third).is_pending());
            drop(first);
            third.await;
        }
        drop(second);
        assert!(turns.0.lock().is_empty());
    }
}
