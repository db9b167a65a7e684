//! Uuids and refs, the same for the same seed.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use uuid::Builder;

use super::database::Text;

/// Makes uuids and refs, and picks among things.
#[derive(Debug)]
pub(crate) struct Identifiers {
    state: Mutex<u64>,
    domains: AtomicI64,
}

impl Identifiers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed), domains: AtomicI64::new(0) }
    }

    /// A uuid.
    pub(crate) fn uuid(&self) -> Text {
        let bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        Builder::from_random_bytes(bytes).into_uuid().to_string().into()
    }

    /// An object's ref, which has nothing to do with its uuid.
    pub(crate) fn reference(&self) -> Text {
        format!("OpaqueRef:{}", self.uuid()).into()
    }

    /// The number of a new domain: no hypervisor gives one twice.
    pub(crate) fn domain(&self, above: i64) -> i64 {
        self.domains.fetch_max(above, Ordering::Relaxed);
        self.domains.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        let index = self.below(among.len() as u64);
        &among[usize::try_from(index).unwrap_or(0)]
    }

    /// SplitMix64: not for secrets, but the same on every machine.
    fn next(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_world() {
        let (one, two, other) = (Identifiers::new(7), Identifiers::new(7), Identifiers::new(8));
        let first = one.uuid();
        assert_eq!(first, two.uuid());
        assert_ne!(first, other.uuid());
        assert_ne!(one.uuid(), first);
        assert!(uuid::Uuid::parse_str(&first).is_ok());
        assert!(one.reference().starts_with("OpaqueRef:"));
    }
}
