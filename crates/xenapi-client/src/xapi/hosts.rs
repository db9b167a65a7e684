//! The hosts of a pool, and which of them to ask.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::connections::Endpoint;

/// More hosts than any pool has.
const MOST_OTHERS: usize = 256;

/// The hosts of a pool.
pub(super) struct Hosts {
    configured: Vec<Arc<Endpoint>>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// Where the last login succeeded.
    current: Option<Arc<Endpoint>>,
    /// The coordinator that a supporter named, if it is no configured address.
    named: Option<Arc<Endpoint>>,
    /// Other hosts of the pool that were asked what they measure.
    others: Vec<Arc<Endpoint>>,
}

impl Hosts {
    pub(super) fn new(configured: Vec<Arc<Endpoint>>) -> Self {
        Self { configured, found: Mutex::default() }
    }

    /// Whom to ask for a login, the most promising first: the last good one, then the configured
    /// ones in their order; those that failed last time come after the others.
    pub(super) fn candidates(&self) -> Vec<Arc<Endpoint>> {
        let mut candidates: Vec<Arc<Endpoint>> = Vec::new();
        for host in self.current().iter().chain(&self.configured) {
            if !candidates.iter().any(|known| known.place == host.place) {
                candidates.push(Arc::clone(host));
            }
        }
        candidates.sort_by_key(|host| host.is_doubtful());
        candidates
    }

    /// The coordinator, as far as known.
    pub(super) fn current(&self) -> Option<Arc<Endpoint>> {
        self.found.lock().current.clone()
    }

    /// The coordinator, or the address that a login would try first.
    pub(super) fn current_or_first(&self) -> Arc<Endpoint> {
        self.current().unwrap_or_else(|| Arc::clone(&self.configured[0]))
    }

    /// Remembers the coordinator.
    pub(super) fn settle(&self, host: Arc<Endpoint>) {
        self.found.lock().current = Some(host);
    }

    /// The pool's host at this address, reached in the same way as the coordinator.
    pub(super) fn at(&self, address: &str) -> Result<Arc<Endpoint>, &'static str> {
        let sibling = self.current_or_first().sibling(address)?;
        let mut found = self.found.lock();
        let known = found.current.iter().chain(&self.configured).chain(&found.others);
        if let Some(known) = { known }.find(|known| known.place == sibling.place) {
            return Ok(Arc::clone(known));
        }
        if found.others.len() >= MOST_OTHERS {
            found.others.remove(0);
        }
        let sibling = Arc::new(sibling);
        found.others.push(Arc::clone(&sibling));
        Ok(sibling)
    }

    /// The coordinator that `supporter` names, reached in the same way as the supporter.
    pub(super) fn named_by(
        &self,
        supporter: &Endpoint,
        coordinator: &str,
    ) -> Result<Arc<Endpoint>, &'static str> {
        let sibling = supporter
            .sibling(coordinator)
            .map_err(|_| "the coordinator it names has no usable address")?;
        if sibling.place == supporter.place {
            return Err("the coordinator it names is itself");
        }
        let mut found = self.found.lock();
        let known = found.named.iter().chain(&found.current).chain(&self.configured);
        if let Some(known) = { known }.find(|known| known.place == sibling.place) {
            return Ok(Arc::clone(known));
        }
        let sibling = Arc::new(sibling);
        found.named = Some(Arc::clone(&sibling));
        Ok(sibling)
    }
}
