//! One thing several times over, so that threads which count at once are not in each other's way.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many times over: beyond this many threads some share.
const SHARDS: usize = 4;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A `T` for each of a few threads.
#[derive(Debug, Default)]
pub struct Sharded<T>([Apart<T>; SHARDS]);

/// Far enough from its neighbours that no cache line is shared.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Sharded<T> {
    /// The one this thread counts in.
    pub fn mine(&self) -> &T {
        let mine = MINE.get();
        let mine = if mine < SHARDS { mine } else { Self::choose() };
        &self.0[mine].0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }

    #[cold]
    fn choose() -> usize {
        let mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        MINE.set(mine);
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counts = Sharded::<Counter>::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 2 {
                scope.spawn(|| (0..1000).for_each(|_| counts.mine().inc()));
            }
        });
        let all: u64 = counts.iter().map(Counter::get).sum();
        assert_eq!(all, 1000 * (SHARDS as u64 + 2));
        assert!(std::ptr::eq(counts.mine(), counts.mine()));
    }
}
