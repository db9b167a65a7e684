//! A REST/JSON gateway to the Xen-API.
//!
//! The floors are crates, so that Cargo has each of them import lower ones only. Here is the
//! highest, which puts them together.

/// The wiring.
pub mod app;

/// The command line.
pub mod cli;

// The floors by their short names, for the wiring, tests and benchmarks.
pub use xenapi_client as backend;
pub use xenapi_mirror::{inventory, metrics};
pub use xenapi_model as datamodel;
pub use xenapi_sim as sim;
pub use xenapi_wire as wire;
pub use xengate_config as config;
pub use xengate_core::{auth, ops, xm};
pub use xengate_http as http;
pub use xengate_telemetry as telemetry;
