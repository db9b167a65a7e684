//! A simulated pool: what a real XAPI says and does, without hardware. [`xend`] is one of the kind
//! before it.
//!
//! It serves the demo, the tests and anyone who writes a client. It shares nothing with the
//! gateway but the datamodel, so that a mistake made once cannot hide; recordings of a real XAPI
//! say what is right. It can be told to misbehave, and a test can hold its clock.

mod activity;
mod calls;
mod clock;
mod database;
mod edit;
mod events;
mod fault;
mod handle;
mod http;
mod identifiers;
mod operations;
mod population;
mod protocol;
#[cfg(test)]
mod recorded;
mod rrd;
mod sessions;
mod state;
pub mod xend;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use calls::Running;
use clock::Clock;
use database::Database;
use fault::Faults;
use identifiers::Identifiers;
use sessions::Sessions;
use state::{Background, Settings, State};

pub use clock::Time;
pub use database::{NULL, Text, Value, WriteError};
pub use fault::{Fault, RawReply};
pub use handle::SimHandle;
pub use protocol::{Failure, Integers, JsonWriter};
pub use rrd::Measuring;
pub use sessions::User;
pub use state::SeenCall;

/// The password of the users that a pool has unless told otherwise.
pub const PASSWORD: &str = "simulated";

/// How a simulated pool is to be.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A Unix socket it listens on as well. Like xapi's own it takes whoever comes for root.
    pub unix: Option<PathBuf>,
    /// The certificate and key it serves TLS with; plain HTTP without.
    pub tls: Option<Arc<ServerConfig>>,
    /// How many VMs the pool has.
    pub vms: usize,
    /// How many hosts it has; one for each hundred VMs unless told otherwise.
    pub hosts: Option<usize>,
    /// What makes this pool differ from others: one seed, one pool.
    pub seed: u64,
    /// Who may log in: a local superuser `root`, and a user for each role, unless told otherwise.
    pub users: Vec<User>,
    /// How time passes.
    pub time: Time,
    /// How long `event.from` gathers changes: XAPI's 50 ms in real time, nothing on a held clock,
    /// unless told otherwise.
    pub batching: Option<Duration>,
    /// How long a refused login takes; a real pool needs some seconds.
    pub refusal_delay: Duration,
    /// How many parameters a login takes: 4 since 6.2, 3 since 4.1, 2 before.
    pub login_params: usize,
    /// Whether it speaks XML-RPC only, as servers before JSON-RPC.
    pub xml_only: bool,
    /// How long what a call begins takes: a VM's start, a disk's copy. Nothing unless told
    /// otherwise: a task is over when its ref is answered.
    pub task_duration: Duration,
    /// Whether VMs start, stop and work by themselves.
    pub activity: bool,
    /// Whether its port does the same, as what forwards to that socket does.
    pub trusting: bool,
    /// What the refs of sessions begin with, for tests that look for leaks: up to 8 hex digits.
    pub session_mark: Option<String>,
}

impl Default for SimConfig {
    fn default() -> Self {
        let roles = xenapi_model::datamodel().roles.iter();
        let mut users = vec![User::superuser("root", PASSWORD)];
        users.extend(roles.map(|role| User::with_role(role, PASSWORD, role)));
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            unix: None,
            tls: None,
            vms: 10,
            hosts: None,
            seed: 1,
            users,
            time: Time::Real,
            batching: None,
            refusal_delay: Duration::ZERO,
            login_params: 4,
            xml_only: false,
            task_duration: Duration::ZERO,
            activity: false,
            trusting: false,
            session_mark: None,
        }
    }
}

impl SimConfig {
    /// A pool to look at: VMs start, stop and work, and who guesses passwords waits.
    pub fn lively(listen: SocketAddr, vms: usize) -> Self {
        let (refusal_delay, task_duration) = (Duration::from_secs(2), Duration::from_secs(2));
        Self { listen, vms, refusal_delay, task_duration, activity: true, ..Self::default() }
    }
}

/// Starts simulated pools.
#[derive(Debug)]
pub struct Sim;

impl Sim {
    /// Starts a pool on the current runtime. It runs until [`SimHandle::stop`] or until the handle
    /// is dropped.
    pub fn start(config: SimConfig) -> io::Result<SimHandle> {
        let clock = Clock::new(config.time);
        let identifiers = Identifiers::new(config.seed);
        let mut db = Database::default();
        let hosts = config.hosts.unwrap_or_else(|| population::hosts_for(config.vms)).max(1);
        let addresses: Vec<String> = (0..hosts).map(|n| address(config.listen.ip(), n)).collect();
        population::populate(&mut db, &identifiers, &clock, &config.users, config.vms, &addresses);
        let default_batching =
            if clock.is_held() { Duration::ZERO } else { Duration::from_millis(50) };
        let settings = Settings {
            batching: config.batching.unwrap_or(default_batching),
            refusal_delay: config.refusal_delay,
            login_params: config.login_params,
            xml_only: config.xml_only,
            task_duration: config.task_duration,
        };
        let state = Arc::new(State {
            changed: tokio::sync::watch::Sender::new(db.generation()),
            db: RwLock::new(db),
            sessions: Sessions::new(config.users, config.session_mark),
            trusting: AtomicBool::new(config.trusting),
            identifiers,
            faults: Faults::default(),
            clock,
            settings,
            running: Running::default(),
            background: Background::default(),
            seen: Mutex::new(BTreeMap::new()),
            calls: Mutex::default(),
            measuring: Mutex::default(),
            json: Mutex::default(),
            connections: Mutex::default(),
        });
        let server = http::Server::new(Arc::clone(&state), config.tls.map(TlsAcceptor::from));
        if config.activity {
            state.background.spawn(activity::run(Arc::clone(&state)));
        }
        SimHandle::start(state, server, config.listen, config.unix.as_deref(), &addresses)
    }
}

/// Where the pool's hosts are. Each has a loopback address of its own where the pool listens on one,
/// so that they can be told apart; elsewhere only the coordinator can be reached.
fn address(listen: IpAddr, host: usize) -> String {
    let number = u8::try_from(host % 200).unwrap_or(0);
    match listen {
        IpAddr::V4(address) if address.is_loopback() => {
            let [a, b, c, d] = address.octets();
            Ipv4Addr::from([a, b, c.wrapping_add(number), d]).to_string()
        }
        _ => format!("192.0.2.{}", 10 + number),
    }
}
