//! Who may do what, and doing it. Knows no route, no status.

/// Tokens, sessions, who may do what. Knows no route.
pub mod auth;

/// Typed calls, tasks, flows of several calls. Knows no route, no status, no token.
pub mod ops;

/// What `xm list` prints of a backend's domains. Knows no backend, no mirror, no HTTP.
pub mod xm;
