//! A REST/JSON gateway to the Xen-API.
//!
//! The modules are floors, lowest first: a file imports its own floor or lower ones, and
//! `tests/it/floors.rs` enforces it.

/// Floor 0: XML-RPC and JSON-RPC as bytes and values. Does not know what a VM is.
pub mod wire;

/// Floor 0: what an operator wrote, as plain data. Does not know what is done with it.
pub mod config;

/// Floor 0: counters, gauges and histograms. Does not know what they count.
pub mod telemetry;

/// Floor 0: places that users share. Does not know of what.
pub mod fair;

/// Floor 1: classes, fields, types, calls, roles, failures. Knows no connection and no HTTP.
pub mod datamodel;

/// Floor 2: one Xen pool: connections, login, coordinator, calls, events. Knows nothing of the JSON
/// that clients see, nor of axum.
pub mod backend;

/// Floor 3: the live mirror of each backend: records, revisions, changes. Knows no axum, no token.
pub mod inventory;

/// Floor 3: what `xm list` prints of a backend's domains. Knows no backend, no mirror, no HTTP.
pub mod xm;

/// Floor 3: what is measured: samples and their history. Knows no axum, no token.
pub mod metrics;

/// Floor 4: tokens, sessions, who may do what. Knows no route.
pub mod auth;

/// Floor 4: typed calls, tasks, flows of several calls. Knows no route, no status, no token.
pub mod ops;

/// Floor 5: requests and representations. Does not know `wire`.
pub mod http;

/// Floor 6: the wiring.
pub mod app;

/// Floor 6: the command line.
pub mod cli;

/// Beside the floors: a simulated pool. Knows `wire` and `datamodel` and nothing else, so that a
/// bug of the gateway cannot cancel itself out.
pub mod sim;
