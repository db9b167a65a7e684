//! What one user holds of what all users share, whatever the sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all sessions of one user hold together.
#[derive(Debug, Default)]
pub struct Shares {
    /// Requests that are worked on.
    pub working: Held,
    /// Requests that wait for something.
    pub waiting: Held,
    /// Answers that are not taken.
    unsent: Held,
}

/// What an answer that is not taken holds of its user's share, until it is dropped.
#[derive(Debug)]
pub struct Unsent {
    shares: Arc<Shares>,
    much: usize,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.shares.unsent.give_back(self.much);
    }
}

impl Shares {
    /// A share for an answer that takes so much, where a user's answers take so much at most. One
    /// that is larger gets in alone.
    pub fn unsent(self: &Arc<Self>, much: usize, most: usize) -> Option<Unsent> {
        let much = much.min(most);
        self.unsent.take(much, most).then(|| Unsent { shares: self.clone(), much })
    }

    /// Tells the user from others where they share something, for as long as there is any session
    /// of theirs.
    pub fn sharer(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }
}

/// How much of something is held.
#[derive(Debug, Default)]
pub struct Held(AtomicUsize);

impl Held {
    /// Takes so much more, unless that would be more than `most`; whether it was taken.
    pub fn take(&self, more: usize, most: usize) -> bool {
        let taken = |held: usize| held.checked_add(more).filter(|held| *held <= most);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, taken).is_ok()
    }

    /// Gives back what was taken.
    pub fn give_back(&self, less: usize) {
        self.0.fetch_sub(less, Ordering::AcqRel);
    }

    /// How much it is.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_may_be() {
        let held = Held::default();
        assert!(held.take(2, 3) && held.take(1, 3) && !held.take(1, 3));
        held.give_back(2);
        assert!(!held.take(3, 3) && held.take(2, 3));
        assert_eq!(held.count(), 3);
    }

    #[test]
    fn an_answer_too_large_for_its_users_share_gets_in_alone() {
        let shares = Arc::<Shares>::default();
        let large = shares.unsent(100, 10).expect("alone");
        assert!(shares.unsent(1, 10).is_none());
        drop(large);
        let _few = [shares.unsent(4, 10).expect("room"), shares.unsent(6, 10).expect("room")];
        assert!(shares.unsent(1, 10).is_none());
    }
}
