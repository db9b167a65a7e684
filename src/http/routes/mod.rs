//! One file per resource.

pub mod backends;
pub mod docs;
pub mod health;
pub mod objects;
pub mod related;
pub mod sessions;
pub mod vms;
