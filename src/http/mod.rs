//! Floor 5.

pub mod collections;
pub mod openapi;
pub mod routes;
