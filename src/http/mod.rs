//! Floor 5.

pub mod collections;
