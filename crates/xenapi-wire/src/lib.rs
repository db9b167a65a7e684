//! What goes over the wire: calls as XML-RPC or JSON-RPC, replies as JSON.
//!
//! Both dialects meet here. An XML-RPC reply is transcoded, while it streams in, to the JSON that
//! JSON-RPC would have given, so that one path turns replies into records. Everything in this
//! floor reads bytes that a stranger may have written: no input makes it panic, none makes it
//! allocate more than in proportion, and none is ever quoted in an error.

mod arg;
mod error;
#[doc(hidden)]
pub mod invariants;
mod json;
pub mod jsonrpc;
pub mod mend;
mod number;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recordings;
pub mod reply;
pub mod split;
pub mod sxp;
mod words;
pub mod xmlrpc;

pub use arg::Arg;
pub use error::{Limits, ReadError, Seen};
pub use number::integer;
