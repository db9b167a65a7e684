//! What is the gateway's own: its backends, its health and its document.

pub mod backends;
pub mod doc;
pub mod docs;
pub mod health;
