//! What clients ask for, a folder per resource: how a request is answered, and beside it (`doc`) what
//! the document says of it.

pub mod actions;
pub mod catalog;
pub mod events;
pub mod gateway;
pub mod objects;
pub mod prometheus;
pub mod samples;
pub mod sessions;
pub mod tasks;
