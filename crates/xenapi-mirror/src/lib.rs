//! What is known of each backend: the live mirror of its records, and what its hosts measure.
//! Knows no axum, no token.

/// The live mirror of each backend: records, revisions, changes.
pub mod inventory;

/// What is measured: samples and their history.
pub mod metrics;
