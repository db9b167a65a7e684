//! What an operator wrote, as plain data.

use std::path::PathBuf;
use std::time::Duration;

/// One Xen pool.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// Addresses of the pool's hosts; the coordinator is found among them.
    pub uris: Vec<String>,
    /// What listens there.
    pub kind: Kind,
    /// The account that feeds the mirror while no caller is logged in.
    pub service_username: Option<String>,
    /// What makes a server's certificate good.
    pub tls: BackendTls,
    /// Connections to the pool in all.
    pub max_connections: usize,
    /// How long a connection may take to open, TLS included.
    pub connect_timeout: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// Largest reply to a call, in bytes.
    pub max_reply: u64,
    /// Largest reply to a first sync, in bytes.
    pub max_sync_reply: u64,
}

/// What listens at a backend's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Found out by asking.
    #[default]
    Auto,
    /// XAPI, of XenServer and XCP-ng.
    Xapi,
    /// xend's Xen-API.
    Xend,
    /// xend before it had the Xen-API.
    Legacy,
}

/// What makes a backend's certificate good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackendTls {
    /// The system's certificate authorities.
    #[default]
    System,
    /// The certificate authorities in this PEM file, and no others.
    CaFile(PathBuf),
    /// Being one of these, by the SHA-256 of the DER; names and dates are not looked at.
    Fingerprints(Vec<[u8; 32]>),
    /// Nothing: any certificate will do.
    Insecure,
}

impl BackendConfig {
    /// A pool at these addresses, everything else as it is by default.
    pub fn new(uris: Vec<String>) -> Self {
        Self {
            uris,
            kind: Kind::Auto,
            service_username: None,
            tls: BackendTls::System,
            max_connections: 8,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            max_reply: 64 << 20,
            max_sync_reply: 1 << 30,
        }
    }
}
