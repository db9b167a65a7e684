//! How much memory the objects of all mirrors may take.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::store::Object;

/// What an object takes beside itself: its place in tables and in the index of refs, and what the
/// allocator rounds up to and leaves between. Measured with 10,000 VMs and all that belongs to them.
const AROUND: usize = 700;

/// How much of it each mirror takes, and how much there is.
#[derive(Debug)]
pub(super) struct Bound {
    limit: usize,
    taken: Mutex<BTreeMap<Arc<str>, usize>>,
}

impl Bound {
    /// So many bytes; any number of them where it is not said.
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { limit: limit.unwrap_or(usize::MAX), taken: Mutex::default() }
    }

    /// Whether a mirror may take so many bytes beside what the others take.
    pub(super) fn fits(&self, backend: &str, bytes: usize) -> bool {
        let taken = self.taken.lock();
        let others = taken.iter().filter(|(name, _)| &***name != backend);
        others.fold(bytes, |sum, (_, bytes)| sum.saturating_add(*bytes)) <= self.limit
    }

    /// Notes that a mirror has these objects instead of those, by what they take.
    pub(super) fn exchange(&self, backend: &Arc<str>, gone: usize, come: usize) {
        let mut taken = self.taken.lock();
        let bytes = taken.entry(Arc::clone(backend)).or_default();
        *bytes = bytes.saturating_sub(gone).saturating_add(come);
    }

    /// Notes that a mirror has none any more.
    pub(super) fn clear(&self, backend: &str) {
        self.taken.lock().remove(backend);
    }

    /// What a mirror takes.
    pub(super) fn taken(&self, backend: &str) -> usize {
        self.taken.lock().get(backend).copied().unwrap_or_default()
    }
}

/// What an object takes, all in all.
pub(super) fn whole_size(object: &Object) -> usize {
    object.size() + AROUND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_share_what_there_is() {
        let bound = Bound::new(Some(100));
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert!(bound.fits("one", 100) && !bound.fits("one", 101));
        bound.exchange(&one, 0, 60);
        bound.exchange(&other, 0, 30);
        bound.exchange(&other, 20, 10);
        assert_eq!(bound.taken("other"), 20);
        assert!(bound.fits("one", 80) && bound.fits("other", 40) && !bound.fits("other", 41));
        bound.clear("one");
        assert!(bound.fits("other", 100));
        assert!(Bound::new(None).fits("one", usize::MAX));
    }
}
