//! One file per resource.

pub mod backends;
pub mod docs;
pub mod health;
pub mod objects;
pub mod sessions;
pub mod vms;
