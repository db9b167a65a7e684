//! A simulated xend: both dialects of the daemon that older Xen hosts run, without a host.
//!
//! It is made from what a real xend 4.4 said on the wire, sloppiness and dangers included: byte
//! strings go out raw, `<nil/>` stands where a record was, what is malformed closes the connection,
//! and every Xen-API listener carries out `xend.*` for whoever asks, which a test can count.

mod api;
mod arguments;
mod handle;
mod http;
mod legacy;
mod life;
mod machine;
mod population;
mod records;
mod seen;
mod settings;
mod sxp;
mod tasks;
mod value;
mod world;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::{Clock, Time};
use super::fault::Faults;
use super::identifiers::Identifiers;
use super::protocol::{Arg, Call};
use life::Life;
use seen::Seen;
use world::World;

pub use handle::{XendHandle, XendVm};
pub use machine::Power;

/// Who may log in to the Xen-API listener. The legacy one never asks.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Anyone, with anything, as xend comes.
    None,
    /// These users with these passwords, as with PAM.
    Passwords(Vec<(String, String)>),
}

/// How a simulated xend is to be.
#[derive(Debug, Clone)]
pub struct XendConfig {
    /// Where the Xen-API dialect listens; port 0 takes a free one.
    pub api: SocketAddr,
    /// Where the legacy dialect listens.
    pub legacy: SocketAddr,
    /// A Unix socket of the Xen-API dialect as well.
    pub api_socket: Option<PathBuf>,
    /// A Unix socket of the legacy dialect as well.
    pub legacy_socket: Option<PathBuf>,
    /// Who may log in.
    pub auth: Auth,
    /// How many VMs there are beside Domain-0.
    pub vms: usize,
    /// What makes this host differ from others: one seed, one host.
    pub seed: u64,
    /// How time passes.
    pub time: Time,
    /// How long a guest takes to shut down or reboot, after the call has returned.
    pub guest_delay: Duration,
    /// How long an `Async.` call's task takes.
    pub task_duration: Duration,
    /// Whether lists of VMs cost what they cost a real xend: more with each VM, and with its square.
    pub costly: bool,
}

impl Default for XendConfig {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            api: any,
            legacy: any,
            api_socket: None,
            legacy_socket: None,
            auth: Auth::None,
            vms: 10,
            seed: 1,
            time: Time::Real,
            guest_delay: Duration::ZERO,
            task_duration: Duration::ZERO,
            costly: false,
        }
    }
}

/// Which interface a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Api,
    Legacy,
}

/// A simulated xend.
#[derive(Debug)]
pub struct Xend {
    world: Mutex<World>,
    auth: Auth,
    clock: Clock,
    identifiers: Identifiers,
    faults: Faults,
    task_duration: Duration,
    costly: bool,
    /// How long replies are kept back, by call; to any call by the empty name.
    delays: Mutex<Vec<(String, Duration)>>,
    seen: Seen,
    /// How often `xend.*` was called on a Xen-API listener.
    without_session: Mutex<u64>,
    handed_out: Mutex<Vec<String>>,
    /// Cancelled, and replaced, to drop every connection at once.
    connections: Mutex<CancellationToken>,
    stop: CancellationToken,
    work: TaskTracker,
}

impl Xend {
    /// Starts one on the current runtime. It runs until [`XendHandle::stop`] or until the handle is
    /// dropped.
    pub fn start(config: XendConfig) -> io::Result<XendHandle> {
        let clock = Clock::new(config.time);
        // Other refs than those of a simulated XAPI of the same seed.
        let identifiers = Identifiers::new(config.seed ^ u64::from(u32::from_be_bytes(*b"xend")));
        let mut world = World::new(population::host(&identifiers), config.guest_delay);
        population::populate(&mut world, config.vms, &clock, &identifiers);
        let xend = Arc::new(Self {
            world: Mutex::new(world),
            auth: config.auth.clone(),
            clock,
            identifiers,
            faults: Faults::default(),
            task_duration: config.task_duration,
            costly: config.costly,
            delays: Mutex::default(),
            seen: Seen::default(),
            without_session: Mutex::new(0),
            handed_out: Mutex::default(),
            connections: Mutex::default(),
            stop: CancellationToken::new(),
            work: TaskTracker::new(),
        });
        XendHandle::start(xend, &config)
    }

    /// Lets what is due happen: guests obey, tasks end.
    fn settle(&self, life: &mut Life<'_>) {
        life.world.refresh(life.clock, life.identifiers);
        let now = life.clock.elapsed();
        for index in 0..life.world.tasks.len() {
            let task = &life.world.tasks[index];
            if task.outcome.is_some() || task.due > now || self.faults.holds_tasks(&task.call) {
                continue;
            }
            let (call, session, args) =
                (task.call.clone(), task.session.clone(), task.args.clone());
            let (class, name) = call.split_once('.').unwrap_or((&call, ""));
            let outcome = match self.faults.strike_task(&call) {
                Some(failure) => Err([vec![failure.code], failure.params].concat()),
                None => api::perform(life, class, name, &session, &args)
                    .map(value::Value::stringified)
                    .map_err(|trouble| api::description(trouble, "INTERNAL ERROR")),
            };
            if let Some(task) = life.world.tasks.get_mut(index) {
                task.outcome = Some(outcome);
            }
        }
    }

    /// How long the reply to a call takes.
    fn cost(&self, call: &str) -> Duration {
        let delays = self.delays.lock();
        let told: Duration = delays
            .iter()
            .filter(|(name, _)| name.is_empty() || name == call)
            .map(|(_, delay)| *delay)
            .sum();
        if !self.costly {
            return told;
        }
        let vms = self.world.lock().machines.len() as f64;
        let seconds = match call {
            // Each record looks through the list of domains twice.
            "VM.get_all_records" | "xend.domains" => 0.05 + vms * vms * 2.2e-6,
            "xend.domains_with_state" => 0.05 + vms * 8e-3,
            "VM_metrics.get_all_records" => vms * 4e-3,
            "VBD.get_all_records" | "VIF.get_all_records" | "console.get_all_records" => vms * 5e-3,
            "VBD_metrics.get_all_records" => vms * 4e-3,
            // Each looks through the devices of all domains.
            "VIF_metrics.get_all_records" => vms * vms * 2.3e-4,
            _ => 0.0,
        };
        told + Duration::from_secs_f64(seconds)
    }

    /// Ends the session that a call would be made in.
    fn expire(&self, call: &Call) {
        if let Some(Arg::String(session)) = call.args.first() {
            self.world.lock().sessions.remove(session);
        }
    }
}
