//! Which tasks are kept, and for how long.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::entry::Entry;

/// How many tasks are kept, ended or not. Beyond it the oldest go, those that have ended first.
const MOST: usize = 10_000;
/// How long it is kept how a task ended.
const KEEP: Duration = Duration::from_secs(3600);

type Key = (Arc<str>, Uuid);

/// The tasks that are kept.
#[derive(Debug, Default)]
pub(super) struct Registry {
    tasks: HashMap<Key, Arc<Entry>>,
    /// In the order in which they began.
    begun: VecDeque<Key>,
    /// In the order in which they ended.
    ended: VecDeque<(Instant, Key)>,
    /// The unfinished tasks of each backend that somebody follows.
    followed: HashMap<Arc<str>, Followed>,
}

/// The tasks of a backend whose end is waited for.
#[derive(Debug)]
struct Followed {
    tasks: Vec<Arc<Entry>>,
    wake: Arc<Notify>,
}

impl Registry {
    /// Keeps a task.
    pub(super) fn add(&mut self, entry: &Arc<Entry>, now: Instant) {
        self.expire(now);
        while self.tasks.len() >= MOST && self.evict() {}
        let key = (entry.backend.clone(), entry.uuid);
        self.begun.push_back(key.clone());
        self.tasks.insert(key, entry.clone());
        // Tasks that ended or were removed leave their keys behind.
        if self.begun.len() > 2 * MOST {
            let tasks = &self.tasks;
            self.begun.retain(|key| tasks.contains_key(key));
        }
    }

    /// The task of this uuid.
    pub(super) fn get(&mut self, backend: &str, uuid: Uuid, now: Instant) -> Option<Arc<Entry>> {
        self.expire(now);
        self.tasks.get(&(Arc::from(backend), uuid)).cloned()
    }

    /// The tasks of a backend, the youngest first.
    pub(super) fn of(&mut self, backend: &str, now: Instant) -> Vec<Arc<Entry>> {
        self.expire(now);
        let mut found: Vec<_> =
            self.tasks.values().filter(|entry| *entry.backend == *backend).cloned().collect();
        found.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.since), entry.uuid));
        found
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, backend: &str, uuid: Uuid) {
        self.tasks.remove(&(Arc::from(backend), uuid));
        if let Some(followed) = self.followed.get_mut(backend) {
            followed.tasks.retain(|entry| entry.uuid != uuid);
        }
    }

    /// Notes that a task has ended: from now on its time runs.
    pub(super) fn end(&mut self, entry: &Entry, now: Instant) {
        let key = (entry.backend.clone(), entry.uuid);
        if self.tasks.contains_key(&key) {
            self.ended.push_back((now, key));
        }
        if self.ended.len() > 2 * MOST {
            let tasks = &self.tasks;
            self.ended.retain(|(_, key)| tasks.contains_key(key));
        }
        if let Some(followed) = self.followed.get_mut(&entry.backend) {
            followed.tasks.retain(|other| other.uuid != entry.uuid);
        }
    }

    /// Has a task followed; the way to wake its follower, if one must first be started.
    pub(super) fn follow(&mut self, entry: &Arc<Entry>) -> Option<Arc<Notify>> {
        if let Some(followed) = self.followed.get_mut(&entry.backend) {
            followed.tasks.push(entry.clone());
            followed.wake.notify_one();
            return None;
        }
        let wake = Arc::new(Notify::new());
        let followed = Followed { tasks: vec![entry.clone()], wake: wake.clone() };
        self.followed.insert(entry.backend.clone(), followed);
        Some(wake)
    }

    /// The tasks to follow of a backend; `None` once there are none, and then nobody follows it.
    pub(super) fn unfinished(&mut self, backend: &str) -> Option<Vec<Arc<Entry>>> {
        let tasks = self.followed.get(backend).map(|followed| followed.tasks.clone());
        match tasks {
            Some(tasks) if !tasks.is_empty() => Some(tasks),
            _ => {
                self.followed.remove(backend);
                None
            }
        }
    }

    /// Whether no backend has unfinished tasks that somebody follows.
    pub(super) fn follows_nothing(&self) -> bool {
        self.followed.values().all(|followed| followed.tasks.is_empty())
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.ended.front()
            && now.duration_since(*since) >= KEEP
        {
            if let Some((_, key)) = self.ended.pop_front() {
                self.tasks.remove(&key);
            }
        }
    }

    /// Forgets the oldest task; false when there is none.
    fn evict(&mut self) -> bool {
        let oldest = self.ended.pop_front().map(|(_, key)| key);
        match oldest.or_else(|| self.begun.pop_front()) {
            Some((backend, uuid)) => {
                self.remove(&backend, uuid);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tasks::entry::Work;
    use crate::ops::tasks::outcome::now as wall;

    fn entry(number: u128, at: Instant) -> Arc<Entry> {
        Arc::new(Entry {
            uuid: Uuid::from_u128(number),
            backend: "lab".into(),
            owner: "root".to_owned(),
            name: String::new(),
            created: wall(),
            since: at,
            work: Work::Flow { cancelled: Default::default(), progress: Default::default() },
            outcome: tokio::sync::watch::Sender::new(None),
            request: None,
        })
    }

    fn has(registry: &mut Registry, number: u128, now: Instant) -> bool {
        registry.get("lab", Uuid::from_u128(number), now).is_some()
    }

    #[test]
    fn what_ended_is_kept_for_its_time_and_no_longer() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        let (one, two) = (entry(1, start), entry(2, start));
        registry.add(&one, start);
        registry.add(&two, start);
        registry.end(&one, start + Duration::from_secs(5));
        assert!(has(&mut registry, 1, start + KEEP));
        assert!(registry.get("other", one.uuid, start).is_none(), "of another backend");
        let late = start + Duration::from_secs(5) + KEEP;
        assert!(!has(&mut registry, 1, late));
        assert!(has(&mut registry, 2, late), "it still runs");
        assert_eq!(registry.of("lab", late).len(), 1);
    }

    #[test]
    fn beyond_the_limit_the_oldest_go_and_those_that_ended_first() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        for number in 0..MOST as u128 {
            registry.add(&entry(number, start), start);
        }
        let ended = entry(7, start);
        registry.end(&ended, start);
        registry.add(&entry(MOST as u128, start), start);
        assert!(!has(&mut registry, 7, start) && has(&mut registry, 0, start));
        registry.add(&entry(MOST as u128 + 1, start), start);
        assert!(!has(&mut registry, 0, start), "none has ended, so the oldest goes");
        assert_eq!(registry.tasks.len(), MOST);
    }

    #[test]
    fn tasks_that_come_and_go_leave_nothing_behind_for_long() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        for number in 0..3 * MOST as u128 {
            let entry = entry(number, start);
            registry.add(&entry, start);
            registry.end(&entry, start);
            registry.remove("lab", entry.uuid);
        }
        assert!(registry.tasks.is_empty());
        assert!(registry.begun.len() <= 2 * MOST && registry.ended.len() <= 2 * MOST);
    }

    #[test]
    fn a_follower_is_started_once_and_ends_with_its_last_task() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        let (one, two) = (entry(1, start), entry(2, start));
        assert!(registry.follow(&one).is_some());
        assert!(registry.follow(&two).is_none(), "there is one");
        assert_eq!(registry.unfinished("lab").map(|tasks| tasks.len()), Some(2));
        registry.end(&one, start);
        registry.remove("lab", two.uuid);
        assert!(registry.unfinished("lab").is_none());
        assert!(registry.follow(&two).is_some(), "the last one has gone");
    }
}
