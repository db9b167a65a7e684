//! The memory that answers may take up, until their clients have taken them and while they are kept
//! for who asks next.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use http::Version;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted: so many bytes or a part of them.
const UNIT: u64 = 1024;

/// Answers of HTTP/1 as short as this are not counted: of each connection there is one, and the
/// number of connections is limited.
const SHORT: u64 = 4 << 10;

/// The memory that answers may take up.
#[derive(Debug, Clone)]
pub struct UnsentBudget {
    free: Arc<Semaphore>,
    whole: u32,
}

/// A part of the room, until it is dropped.
pub type Share = OwnedSemaphorePermit;

/// There is not enough room.
#[derive(Debug)]
pub struct OverBudget;

impl UnsentBudget {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Self {
        let whole = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(whole as usize)), whole }
    }

    /// Bytes that are taken, about.
    pub fn taken(&self) -> u64 {
        (self.whole as usize).saturating_sub(self.free.available_permits()) as u64 * UNIT
    }

    /// Bytes there are in all.
    pub fn whole(&self) -> u64 {
        u64::from(self.whole) * UNIT
    }

    /// Room for so many bytes. What is larger than the whole room gets in alone.
    pub fn reserve(&self, bytes: u64) -> Result<Share, OverBudget> {
        let share = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.whole);
        Arc::clone(&self.free).try_acquire_many_owned(share).map_err(|_| OverBudget)
    }

    /// Room for this body, if it takes any that counts.
    pub fn take(&self, body: &Body, version: Version) -> Result<Option<Share>, OverBudget> {
        counted(body, version).map(|size| self.reserve(size)).transpose()
    }

    /// How much a body takes, in the units that room is counted in; none where it does not count.
    pub fn units(body: &Body, version: Version) -> Option<usize> {
        counted(body, version).map(Self::units_of)
    }

    /// So many bytes in those units.
    pub fn units_of(bytes: u64) -> usize {
        usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX)
    }
}

/// The bytes of a body that counts.
fn counted(body: &Body, version: Version) -> Option<u64> {
    match body.size_hint().exact() {
        None | Some(0) => None,
        Some(1..=SHORT) if version != Version::HTTP_2 => None,
        size => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_in_units_and_none_is_too_small_for_one_answer() {
        const H2: Version = Version::HTTP_2;
        let room = UnsentBudget::new(4 << 10);
        let large = room.take(&Body::from(vec![0; 1 << 20]), H2).expect("alone");
        assert!(room.take(&Body::from("x"), H2).is_err());
        drop(large);
        let small: Vec<_> =
            (0..4).map(|_| room.take(&Body::from("x"), H2).expect("room")).collect();
        assert!(room.take(&Body::from("x"), H2).is_err());
        assert!(room.take(&Body::empty(), H2).expect("nothing to hold").is_none());
        let short = room.take(&Body::from("x"), Version::HTTP_11).expect("not counted");
        assert!(short.is_none());
        assert!(room.take(&Body::from(vec![0; 5 << 10]), Version::HTTP_11).is_err());
        assert_eq!((room.taken(), room.whole()), (4 << 10, 4 << 10));
        drop(small);
        assert_eq!(room.taken(), 0);
    }
}
