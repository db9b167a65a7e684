//! Typed calls, tasks, flows of several calls: what clients want done, as the Xen-API does it.
//!
//! A client speaks in JSON, uuids and RFC 3339; [`arguments`] turns that into the arguments of a
//! call by the datamodel's types.

pub mod arguments;
pub mod defaults;
pub mod lookup;
