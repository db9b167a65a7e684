//! The revision: one counter for all mirrors of this process.

use parking_lot::Mutex;

/// Counts what is published. Each publication gets the next number, and a number is never visible
/// before the lower ones are.
#[derive(Debug, Default)]
pub struct Revisions {
    last: Mutex<u64>,
}

impl Revisions {
    /// Publishes something under the next revision.
    pub(super) fn next(&self, publish: impl FnOnce(u64)) {
        let mut last = self.last.lock();
        *last += 1;
        publish(*last);
    }

    /// The newest revision.
    pub fn last(&self) -> u64 {
        *self.last.lock()
    }
}
