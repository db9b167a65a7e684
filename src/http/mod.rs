//! Requests and representations.
//!
//! `router.rs` is the table of contents: every route in one list. A route takes what it needs as
//! arguments (`extract`), so that it cannot be written without its checks, and answers a
//! representation or a [`problem::Problem`].

pub mod collections;
mod cors;
pub mod extract;
pub mod openapi;
pub mod problem;
pub mod request_id;
pub mod routes;
pub mod shell;
