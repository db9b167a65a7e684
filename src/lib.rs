//! A REST/JSON gateway to the Xen-API.
//!
//! The modules are floors: a file imports its own floor or lower ones, and
//! `tests/it/floors.rs` enforces it.

/// Floor 1: classes, fields, types, calls, roles, failures. Knows no connection and no HTTP.
pub mod datamodel;
