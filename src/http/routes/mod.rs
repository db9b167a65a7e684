//! One file per resource.

pub mod docs;
