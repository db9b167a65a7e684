//! Typed calls, tasks, flows of several calls: what clients want done, as the Xen-API does it.
//!
//! A client speaks in JSON, uuids and RFC 3339; [`arguments`] turns that into the arguments of a
//! call by the datamodel's types. A [`Reach`] is one caller on one backend: it makes calls in the
//! caller's own session, having checked first that they may be made and that the backend has them.
//! [`actions`] are the calls that clients make by name; [`patch`], [`create`] and [`destroy`] make
//! calls of what clients say about objects; [`provision`] is a flow of many. What takes time is a
//! task: [`Tasks`] follows it, keeps how it ended, and tells who waits. [`Writes`] carries all of it out,
//! whether its client is still there or not.

pub mod actions;
pub mod arguments;
mod capability;
pub mod create;
pub mod defaults;
pub mod destroy;
mod error;
mod listing;
mod lookup;
pub mod patch;
pub mod provision;
mod reach;
mod read_through;
mod tasks;
mod typed;
pub mod unimplemented;
mod waited;
mod writes;

pub use capability::{Lacking, Version, is_gone};
pub use error::{Failure, OpError, Unknown};
pub use listing::{domains, with_vcpus};
pub use lookup::{Known, Lookup};
pub use reach::{Done, Reach, Settled, Touched};
pub use tasks::{Left, Status, TaskVersion, TaskView, Tasks};
pub use writes::{Outcome, Work, Write, WriteError, Writes};
