//! What is asked of a host's RRD daemon, beside the calls.

use std::time::Duration;

/// A path that a host's RRD daemon answers at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// What everything on the host has measured since a time.
    RrdUpdates,
    /// All that one VM has measured.
    VmRrd,
}

impl Handler {
    /// Its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::RrdUpdates => "/rrd_updates",
            Self::VmRrd => "/vm_rrd",
        }
    }
}

/// A question to one host. The session is added to it, and shown to no host but the pool's.
#[derive(Debug, Clone, Copy)]
pub struct RrdRequest<'a> {
    /// The host's address; the coordinator, wherever that was found, without one.
    pub host: Option<&'a str>,
    /// The address that the coordinator gives itself.
    pub coordinator: Option<&'a str>,
    /// The path.
    pub handler: Handler,
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The addresses of the pool's hosts: a redirect to anywhere else is not followed.
    pub pool: &'a [&'a str],
    /// How long it may take, redirect included.
    pub within: Duration,
}
