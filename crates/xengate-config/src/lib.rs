//! What an operator wrote, as plain data.
//!
//! [`Config::load`] reads `xengate.toml`; every complaint names the file, the line, the column and
//! the key. Nothing here knows what is done with a setting.

pub mod address;
mod backends;
mod document;
pub mod files;
mod listen;
mod load;
mod secret;
#[cfg(test)]
mod tests;
mod units;
mod users;
mod xm;

pub use address::Address;
pub use backends::{BackendConfig, BackendTls, Kind, PasswordCheck, fingerprint};
pub use files::is_readable_by_others;
pub use listen::parse as listen_address;
pub use load::{ConfigError, Examined};
pub use secret::{SecretError, SecretSource};
pub use users::User;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the gateway listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Permits listening without TLS on an address that is not loopback.
    pub allow_plaintext: bool,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate to listen with; without one the gateway listens in plaintext.
    pub tls: Option<ServerTls>,
    /// Which web pages of other origins may use the gateway.
    pub cors: Cors,
    /// What is logged.
    pub log: LogConfig,
    /// What the server takes before it says no.
    pub limits: Limits,
    /// The Xen pools, by the name clients know them by.
    pub backends: BTreeMap<String, BackendConfig>,
    /// Tokens and sessions.
    pub auth: AuthConfig,
    /// Who may read the metrics that monitoring systems scrape.
    pub metrics: MetricsConfig,
    /// Who may log in where the backend does not check passwords.
    pub users: Vec<User>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            allow_plaintext: false,
            trusted_proxies: Vec::new(),
            tls: None,
            cors: Cors::default(),
            log: LogConfig::default(),
            limits: Limits::default(),
            backends: BTreeMap::new(),
            auth: AuthConfig::default(),
            metrics: MetricsConfig::default(),
            users: Vec::new(),
        }
    }
}

/// The certificate the gateway listens with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM: the certificate and its chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM: the private key.
    pub key_file: PathBuf,
    /// For how long browsers are to use nothing but HTTPS; without it they are told nothing.
    #[serde(default, deserialize_with = "units::long_duration")]
    pub hsts: Option<Duration>,
}

/// Which web pages of other origins may use the gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Exact origins (`https://ui.example.com`); empty turns CORS off.
    pub origins: Vec<String>,
}

/// What is logged beside logins, logouts, writes and what goes wrong.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A line for each request.
    pub access: bool,
}

/// What the server takes before it says no.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body in bytes; beyond it 413.
    #[serde(deserialize_with = "units::size")]
    pub max_body: u64,
    /// Largest request line plus headers in bytes; beyond it 431.
    #[serde(deserialize_with = "units::size")]
    pub max_header: u64,
    /// Requests worked on at once; beyond it 503.
    #[serde(deserialize_with = "units::count")]
    pub max_concurrent_requests: usize,
    /// Requests of one user worked on at once, whatever the sessions; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_concurrent_requests_per_user: usize,
    /// Requests that wait for something at once, beside those worked on; beyond it 503.
    #[serde(deserialize_with = "units::count")]
    pub max_waiting_requests: usize,
    /// Requests of one session that wait at once; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_waiting_requests_per_session: usize,
    /// Requests of one user that wait at once, whatever the sessions; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_waiting_requests_per_user: usize,
    /// How long a request may take until its answer begins; beyond it 504.
    #[serde(deserialize_with = "units::duration")]
    pub request_timeout: Duration,
    /// Steps that a filter, an order and what comes along may take together; beyond it 400.
    #[serde(deserialize_with = "units::steps")]
    pub max_query_cost: u64,
    /// How long a client may take nothing of an answer; beyond it its connection is closed.
    #[serde(deserialize_with = "units::duration")]
    pub write_timeout: Duration,
    /// How much memory the process may take, which lowers what follows; without it the container's
    /// limit, if it has one.
    #[serde(deserialize_with = "units::some_size")]
    pub memory: Option<u64>,
    /// How much memory answers may take up until their clients have taken them, those that are kept
    /// included; beyond it 503.
    #[serde(deserialize_with = "units::size")]
    pub max_unsent: u64,
    /// Of that, how much answers to one user may take up, whatever the sessions; beyond it 429.
    #[serde(deserialize_with = "units::size")]
    pub max_unsent_per_user: u64,
    /// How much memory large bodies may take up that are kept for who asks next.
    #[serde(deserialize_with = "units::size")]
    pub max_cached: u64,
    /// How long a connection may take to send its next request's headers, idle time included;
    /// beyond it the connection is closed.
    #[serde(deserialize_with = "units::duration")]
    pub header_timeout: Duration,
    /// Client connections held open at once; at the limit the one that has been idle for longest
    /// makes way for a new one.
    #[serde(deserialize_with = "units::count")]
    pub max_connections: usize,
    /// Those of one address, once three quarters of all places are taken; without it a quarter of
    /// them.
    #[serde(deserialize_with = "units::some_count")]
    pub max_connections_per_address: Option<usize>,
    /// How long running requests may go on after SIGTERM or SIGINT.
    #[serde(deserialize_with = "units::duration_or_zero")]
    pub shutdown_grace: Duration,
    /// Event streams at once; beyond it 503.
    #[serde(deserialize_with = "units::count")]
    pub max_event_streams: usize,
    /// Event streams of one session at once; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_event_streams_per_session: usize,
    /// Event streams of one user at once, whatever the sessions; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_event_streams_per_user: usize,
    /// Event streams that ask for different things at once; beyond it 503.
    #[serde(deserialize_with = "units::count")]
    pub max_event_groups: usize,
    /// Of those, how many one user's streams may ask for, whatever the sessions; beyond it 429.
    #[serde(deserialize_with = "units::count")]
    pub max_event_groups_per_user: usize,
    /// How much memory may be taken by what has happened, for streams that are behind.
    #[serde(deserialize_with = "units::size")]
    pub event_history: u64,
    /// How often an event stream gives a sign of life.
    #[serde(deserialize_with = "units::duration")]
    pub event_heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_header: 16 << 10,
            max_concurrent_requests: 1024,
            max_concurrent_requests_per_user: 512,
            max_waiting_requests: 2000,
            max_waiting_requests_per_session: 500,
            max_waiting_requests_per_user: 1000,
            request_timeout: Duration::from_secs(90),
            max_query_cost: 10_000_000,
            write_timeout: Duration::from_secs(30),
            memory: None,
            max_unsent: 256 << 20,
            max_unsent_per_user: 128 << 20,
            max_cached: 64 << 20,
            header_timeout: Duration::from_secs(60),
            max_connections: 4096,
            max_connections_per_address: None,
            shutdown_grace: Duration::from_secs(10),
            max_event_streams: 3000,
            max_event_streams_per_session: 1000,
            max_event_streams_per_user: 1500,
            max_event_groups: 500,
            max_event_groups_per_user: 250,
            event_history: 16 << 20,
            event_heartbeat: Duration::from_secs(15),
        }
    }
}

/// Who may read the metrics that monitoring systems scrape.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// A file with the token for `/metrics`; without it only this machine's own requests are
    /// answered.
    pub scrape_token_file: Option<PathBuf>,
    /// A file with the token for `/metrics/xen`; without it nobody is answered.
    pub xen_token_file: Option<PathBuf>,
}

/// Tokens and sessions.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Where the key that signs tokens is kept, made on first start; without it the key lives and
    /// dies with the process.
    pub key_file: Option<PathBuf>,
    /// How long a token is good for at most.
    #[serde(deserialize_with = "units::duration")]
    pub token_ttl: Duration,
    /// How long a session may go unused.
    #[serde(deserialize_with = "units::duration")]
    pub idle_ttl: Duration,
    /// How long a session stays good while its backend cannot be asked about it.
    #[serde(deserialize_with = "units::duration")]
    pub revocation_grace: Duration,
    /// The backends a login goes to when it names none and there are several.
    pub default_backends: Vec<String>,
    /// Sessions in all.
    #[serde(deserialize_with = "units::count")]
    pub max_sessions: usize,
    /// Sessions of one user; far below the 500 at which XAPI kills the oldest.
    #[serde(deserialize_with = "units::count")]
    pub max_sessions_per_user: usize,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            key_file: None,
            token_ttl: Duration::from_secs(12 * 3600),
            idle_ttl: Duration::from_secs(3600),
            revocation_grace: Duration::from_secs(300),
            default_backends: Vec::new(),
            max_sessions: 10_000,
            max_sessions_per_user: 100,
        }
    }
}
