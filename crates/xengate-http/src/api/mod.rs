//! What clients ask for, a folder per resource: how a request is answered, and beside it (`doc`) what
//! the document says of it. [`endpoints()`] is all of it, in one list.

pub mod actions;
pub mod catalog;
pub mod events;
pub mod gateway;
pub mod objects;
pub mod prometheus;
pub mod samples;
pub mod sessions;
mod table;
pub mod tasks;

pub(crate) use self::table::undocumented;
pub use self::table::{document, endpoints};
