//! What tests and the demo hold of a running xend.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::Connection;
use super::machine::{Machine, Power};
use super::{Dialect, Xend, XendConfig, population};
use crate::fault::Fault;

/// A running xend.
#[derive(Debug)]
pub struct XendHandle {
    xend: Arc<Xend>,
    api: SocketAddr,
    legacy: SocketAddr,
    listening: Mutex<CancellationToken>,
    /// What holds the TCP ports.
    accepting: TaskTracker,
}

/// What a VM is at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct XendVm {
    /// Its uuid, which is its ref, too.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Its power state.
    pub power: Power,
    /// Its domain's number.
    pub domid: Option<i64>,
    /// The uuid of its metrics.
    pub metrics: String,
    /// Its memory in bytes: what it may have, and what it has.
    pub memory: (i64, i64),
    /// Its virtual CPUs: the most, and those online.
    pub vcpus: (i64, i64),
}

impl XendHandle {
    pub(super) fn start(xend: Arc<Xend>, config: &XendConfig) -> io::Result<Self> {
        let (api, legacy) = (bind(config.api)?, bind(config.legacy)?);
        let handle = Self {
            api: api.local_addr()?,
            legacy: legacy.local_addr()?,
            listening: Mutex::new(xend.stop.child_token()),
            accepting: TaskTracker::new(),
            xend,
        };
        handle.accept(api, legacy);
        for (path, dialect) in
            [(&config.api_socket, Dialect::Api), (&config.legacy_socket, Dialect::Legacy)]
        {
            if let Some(path) = path {
                handle.accept_unix(path, dialect)?;
            }
        }
        Ok(handle)
    }

    fn accept(&self, api: TcpListener, legacy: TcpListener) {
        for (listener, dialect) in [(api, Dialect::Api), (legacy, Dialect::Legacy)] {
            let (xend, until) = (Arc::clone(&self.xend), self.listening.lock().clone());
            self.accepting.spawn(async move {
                loop {
                    let accepted = tokio::select! {
                        accepted = listener.accept() => accepted,
                        () = until.cancelled() => return,
                    };
                    if let Ok((stream, _)) = accepted {
                        // The 40 ms that a real one may wait for an acknowledgement are left out.
                        _ = stream.set_nodelay(true);
                        serve(&xend, dialect, stream);
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    }

    fn accept_unix(&self, path: &Path, dialect: Dialect) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        let (xend, until) = (Arc::clone(&self.xend), self.xend.stop.clone());
        self.xend.work.spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => serve(&xend, dialect, stream),
                        Err(_) => tokio::task::yield_now().await,
                    },
                    () = until.cancelled() => return,
                }
            }
        });
        Ok(())
    }

    /// Where the Xen-API dialect listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where the Xen-API dialect listens, as a URL.
    pub fn api_url(&self) -> String {
        format!("http://{}/", self.api)
    }

    /// Where the legacy dialect listens.
    pub fn legacy_addr(&self) -> SocketAddr {
        self.legacy
    }

    /// Where the legacy dialect listens, as a URL.
    pub fn legacy_url(&self) -> String {
        format!("http://{}/", self.legacy)
    }

    /// Stops it and waits until nothing of it runs.
    pub async fn stop(&self) {
        self.xend.stop.cancel();
        for work in [&self.accepting, &self.xend.work] {
            work.close();
            work.wait().await;
        }
    }

    /// Closes the TCP ports and drops every connection, as if the daemon had died.
    pub fn stop_listening(&self) {
        self.listening.lock().cancel();
        self.drop_connections();
    }

    /// Opens the TCP ports again. Sessions are gone if `afresh`: they die with a real xend.
    pub async fn listen_again(&self, afresh: bool) -> io::Result<()> {
        self.listening.lock().cancel();
        self.accepting.close();
        self.accepting.wait().await;
        self.accepting.reopen();
        let (api, legacy) = (bind(self.api)?, bind(self.legacy)?);
        if afresh {
            self.end_sessions();
        }
        *self.listening.lock() = self.xend.stop.child_token();
        self.accept(api, legacy);
        Ok(())
    }

    /// Drops every connection there is.
    pub fn drop_connections(&self) {
        let fresh = CancellationToken::new();
        std::mem::replace(&mut *self.xend.connections.lock(), fresh).cancel();
    }

    /// Moves a held clock on.
    pub fn advance(&self, by: Duration) {
        self.xend.clock.advance(by);
    }

    /// Arms a fault for one call, as `VM.start` or `xend.domain.start`, or for all with `None`; it
    /// strikes so many times, or until cleared.
    pub fn fault(&self, call: Option<&str>, fault: Fault, times: Option<usize>) {
        self.xend.faults.arm(call, fault, times);
    }

    /// Disarms every fault, releases what is held and lifts delays.
    pub fn clear_faults(&self) {
        self.xend.faults.clear();
        self.xend.delays.lock().clear();
    }

    /// Keeps every reply to a call back for so long, or to all calls with `None`.
    pub fn set_delay(&self, call: Option<&str>, delay: Duration) {
        let name = call.unwrap_or_default();
        let mut delays = self.xend.delays.lock();
        delays.retain(|(known, _)| known != name);
        delays.push((name.to_owned(), delay));
    }

    /// Holds the replies to a call back until [`XendHandle::release`].
    pub fn hold(&self, call: &str) {
        self.xend.faults.hold(call);
    }

    /// Lets held replies go.
    pub fn release(&self, call: &str) {
        self.xend.faults.release(call);
    }

    /// Keeps tasks of a call, as `VM.start`, from being carried out.
    pub fn hold_tasks(&self, call: &str) {
        self.xend.faults.hold_tasks(call);
    }

    /// Lets what was held be carried out.
    pub fn release_tasks(&self, call: &str) {
        self.xend.faults.release_tasks(call);
    }

    /// How long guests take to do as asked, from now on.
    pub fn set_guest_delay(&self, delay: Duration) {
        self.xend.world.lock().guest_delay = delay;
    }

    /// How often a call was made, an asynchronous one under its whole name.
    pub fn seen(&self, call: &str) -> u64 {
        self.xend.seen.count(Some(call))
    }

    /// How many calls were made, whatever their names.
    pub fn seen_in_all(&self) -> u64 {
        self.xend.seen.count(None)
    }

    /// Names of the calls that were made, sorted.
    pub fn calls(&self) -> Vec<String> {
        self.xend.seen.names()
    }

    /// The most calls at once, of one name or of any.
    pub fn most_at_once(&self, call: Option<&str>) -> u64 {
        self.xend.seen.most(call)
    }

    /// How often `xend.*` was called on the Xen-API listener, where no session is asked for. A
    /// gateway must never do that.
    pub fn called_without_session(&self) -> u64 {
        *self.xend.without_session.lock()
    }

    /// How often `event.*` was called, which makes a real xend hang in the end.
    pub fn event_calls(&self) -> u64 {
        self.xend.seen.count_of("event.")
    }

    /// How many sessions are open.
    pub fn sessions_open(&self) -> usize {
        self.xend.world.lock().sessions.len()
    }

    /// The sessions handed out, open or not, oldest first: what must never be seen behind the
    /// gateway.
    pub fn session_refs(&self) -> Vec<String> {
        self.xend.handed_out.lock().clone()
    }

    /// Ends all sessions.
    pub fn end_sessions(&self) {
        self.xend.world.lock().sessions.clear();
    }

    /// Every VM, Domain-0 first.
    pub fn vms(&self) -> Vec<XendVm> {
        let mut world = self.xend.world.lock();
        world.refresh(&self.xend.clock, &self.xend.identifiers);
        world.machines.iter().map(describe).collect()
    }

    /// A VM by its name, domid or uuid.
    pub fn vm(&self, key: &str) -> Option<XendVm> {
        let mut world = self.xend.world.lock();
        world.refresh(&self.xend.clock, &self.xend.identifiers);
        world.lookup(key).map(|index| describe(&world.machines[index]))
    }

    /// Some VM in a power state, Domain-0 aside, that xend keeps when it ends.
    pub fn vm_that_is(&self, power: Power) -> Option<XendVm> {
        let world = self.xend.world.lock();
        let mut guests = world.machines.iter().filter(|machine| !machine.is_domain_0());
        guests.find(|machine| machine.managed && machine.power == power).map(describe)
    }

    /// Adds a halted VM of that name and returns its uuid.
    pub fn add_vm(&self, name: &str) -> String {
        let mut world = self.xend.world.lock();
        let mut machine = population::vm(world.machines.len(), &self.xend.identifiers);
        name.clone_into(&mut machine.name);
        machine.managed = true;
        let uuid = machine.uuid.clone();
        world.machines.push(machine);
        uuid
    }

    /// Takes a VM away, by its name, domid or uuid. Says whether there was one.
    pub fn remove_vm(&self, key: &str) -> bool {
        let mut world = self.xend.world.lock();
        let found = world.lookup(key);
        found.map(|index| world.machines.remove(index)).is_some()
    }

    /// Puts a VM in a power state behind everyone's back. Says whether there was one.
    pub fn set_power(&self, key: &str, power: Power) -> bool {
        let mut world = self.xend.world.lock();
        let Some(index) = world.lookup(key) else { return false };
        let now = self.xend.clock.elapsed();
        match power {
            Power::Halted | Power::Suspended => world.tear_down(index, power, now),
            _ if world.machines[index].domid.is_none() => {
                world.build(index, power, &self.xend.clock)
            }
            _ => world.machines[index].set_power(power, now),
        }
        true
    }

    /// Changes what xend says of a VM: its kernel's command line, any bytes.
    pub fn set_args(&self, key: &str, args: &[u8]) -> bool {
        self.change(key, |machine| machine.args = args.to_vec())
    }

    /// Changes an entry of a VM's `other_config` to any bytes.
    pub fn set_other_config(&self, key: &str, name: &str, value: &[u8]) -> bool {
        self.change(key, |machine| {
            machine.other_config.retain(|(known, _)| known != name);
            machine.other_config.push((name.to_owned(), value.to_vec()));
        })
    }

    /// An entry of a VM's `other_config`, if there is one.
    pub fn other_config(&self, key: &str, name: &str) -> Option<String> {
        let world = self.xend.world.lock();
        let machine = &world.machines[world.lookup(key)?];
        let (_, value) = machine.other_config.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Changes what becomes of a VM whose guest crashes, in the Xen-API's words:
    /// `coredump_and_destroy`.
    pub fn set_on_crash(&self, key: &str, mode: &str) -> bool {
        self.change(key, |machine| mode.clone_into(&mut machine.on_crash))
    }

    /// Whether a VM's domain neither runs nor waits for anything.
    pub fn set_at_rest(&self, key: &str, at_rest: bool) -> bool {
        self.change(key, |machine| machine.at_rest = at_rest)
    }

    /// Changes what becomes of a VM whose guest shuts down: `destroy`, `restart` or `preserve`.
    pub fn set_on_poweroff(&self, key: &str, mode: &str) -> bool {
        self.change(key, |machine| mode.clone_into(&mut machine.on_poweroff))
    }

    /// Changes what becomes of a VM whose guest reboots: `destroy`, `restart` or `preserve`.
    pub fn set_on_reboot(&self, key: &str, mode: &str) -> bool {
        self.change(key, |machine| mode.clone_into(&mut machine.on_reboot))
    }

    /// Whether a VM stays halted after a reboot, because xend thinks that it is restarting too fast.
    pub fn set_restarts_too_fast(&self, key: &str, too_fast: bool) -> bool {
        self.change(key, |machine| machine.restarts_too_fast = too_fast)
    }

    /// What xend says when a VM is to start, instead of starting it.
    pub fn set_complaint(&self, key: &str, text: &str) -> bool {
        self.change(key, |machine| machine.complaint = Some(text.to_owned()))
    }

    /// Sets the password of a VM's console.
    pub fn set_vncpasswd(&self, key: &str, password: &str) -> bool {
        self.change(key, |machine| machine.vncpasswd = Some(password.to_owned()))
    }

    /// Leaves, before a VM that has a domain, an older domain of the same uuid that is on its way
    /// out.
    pub fn leave_dying(&self, key: &str) -> bool {
        let mut world = self.xend.world.lock();
        let Some(index) = world.lookup(key) else { return false };
        let mut old = world.machines[index].clone();
        old.dying = true;
        old.power = Power::Halted;
        old.running_since = None;
        old.name = format!("Zombie-{}", old.name);
        world.machines.insert(index, old);
        world.build(index + 1, Power::Running, &self.xend.clock);
        true
    }

    /// Whether xend keeps a VM when it ends.
    pub fn set_managed(&self, key: &str, managed: bool) -> bool {
        self.change(key, |machine| machine.managed = managed)
    }

    /// Renames a VM, whatever xend thinks of the name.
    pub fn rename(&self, key: &str, name: &str) -> bool {
        self.change(key, |machine| name.clone_into(&mut machine.name))
    }

    /// Makes the next `VM.get_all_records` hold nil for so many VMs, as if they had gone meanwhile.
    pub fn vanish(&self, vms: usize) {
        self.xend.world.lock().vanishing = vms;
    }

    /// Whether xend says yes to settings of VMs, and makes none of them.
    pub fn ignore_writes(&self, ignores: bool) {
        self.xend.world.lock().ignores_writes = ignores;
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Machine)) -> bool {
        let mut world = self.xend.world.lock();
        let found = world.lookup(key);
        found.map(|index| change(&mut world.machines[index])).is_some()
    }
}

/// A xend that nobody holds any more stops.
impl Drop for XendHandle {
    fn drop(&mut self) {
        self.xend.stop.cancel();
    }
}

fn describe(machine: &Machine) -> XendVm {
    XendVm {
        uuid: machine.uuid.clone(),
        name: machine.name.clone(),
        power: machine.power,
        domid: machine.domid,
        metrics: machine.metrics.clone(),
        memory: (machine.memory_static_max, machine.memory_dynamic_max),
        vcpus: (machine.vcpus_max, machine.vcpus_online),
    }
}

fn serve<S>(xend: &Arc<Xend>, dialect: Dialect, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (dropped, stop) = (xend.connections.lock().clone(), xend.stop.clone());
    let connection = Connection::new(Arc::clone(xend), dialect, stream);
    xend.work.spawn(async move {
        tokio::select! {
            // A client that goes away in the middle is nothing to report.
            _ = connection.serve() => {}
            () = stop.cancelled() => {}
            () = dropped.cancelled() => {}
        }
    });
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
