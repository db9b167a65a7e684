//! What clients ask of objects: which, which fields, in which order, and with which others.
//!
//! All of it is read once, checked against the datamodel, and then works on the records' ready JSON.
//! Nothing here knows HTTP: lists and events ask alike.

mod cost;
mod error;
mod expand;
mod fields;
mod filter;
mod glob;
mod json;
mod literal;
mod order;
mod parse;
mod path;
#[cfg(test)]
mod properties;
mod syntax;
mod test;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use cost::{Cost, Population, Pricing};
pub use error::QueryError;
pub use expand::{Expand, Expanded, MOST_BYTES, MOST_OBJECTS, Seen, TooCostly};
pub use fields::{Fields, Named};
pub use filter::Filter;
pub use order::Order;
pub use path::further;
