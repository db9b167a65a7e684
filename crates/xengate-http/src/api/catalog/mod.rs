//! Which collections there are, and which stand below the objects of others.

pub mod collections;
pub mod relations;
