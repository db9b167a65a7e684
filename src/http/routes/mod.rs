//! One file per resource.

pub mod actions;
pub mod backends;
pub mod docs;
pub mod events;
pub mod health;
pub mod metrics;
pub mod objects;
pub mod permissions;
pub mod read_through;
pub mod related;
pub mod scrape;
pub mod sessions;
pub mod tasks;
pub mod vms;
pub mod writes;
pub mod xm_list;
