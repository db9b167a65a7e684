//! The OpenAPI document: what every operation takes and answers, built from the
//! table of endpoints.
//!
//! What of it belongs to one resource stands with that resource; here is what they share, and what
//! makes one document of it.

pub(crate) mod answers;
mod choice;
pub(crate) mod description;
mod document;
pub mod endpoint;
pub(crate) mod examples;
pub(crate) mod failures;
mod groups;
mod older;
pub(crate) mod parameters;
pub(crate) mod parts;
pub(crate) mod problem;
pub(crate) mod shapes;
pub(crate) mod text;
pub(crate) mod tree;

pub use self::choice::Choice;
pub use self::document::{Document, Version};
pub use self::endpoint::{Access, Endpoint};
