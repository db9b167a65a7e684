//! The live mirror of each backend: records, revisions, changes.
mod draft;
mod encode;
pub mod record;
pub mod refs;
pub mod store;
mod value;
