//! What tests and the demo hold of a running pool.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use xenapi_model::{Class, datamodel};

use super::calls::EVERYTHING;
use super::database::{Text, Value, WriteError};
use super::fault::Fault;
use super::http::Server;
use super::protocol::JsonWriter;
use super::rrd::Measuring;
use super::sessions::User;
use super::state::{SeenCall, State};

/// A running pool.
#[derive(Debug)]
pub struct SimHandle {
    state: Arc<State>,
    server: Server,
    addr: SocketAddr,
    tls: bool,
    listening: Mutex<CancellationToken>,
    supporters: Mutex<BTreeMap<String, CancellationToken>>,
}

impl SimHandle {
    pub(super) fn start(
        state: Arc<State>,
        server: Server,
        listen: SocketAddr,
        unix: Option<&Path>,
        addresses: &[String],
    ) -> io::Result<Self> {
        let listener = bind(listen)?;
        let addr = listener.local_addr()?;
        let listening = server.listening();
        server.accept_tcp(listener, listening.clone(), None);
        let mut supporters = BTreeMap::new();
        for address in addresses.iter().skip(1) {
            let Ok(ip) = address.parse::<IpAddr>() else { continue };
            // Elsewhere than on Linux there is one loopback address only: those hosts are away.
            if ip.is_loopback()
                && let Ok(listener) = bind(SocketAddr::new(ip, addr.port()))
            {
                let listening = server.listening();
                server.accept_tcp(listener, listening.clone(), Some(address.as_str().into()));
                supporters.insert(address.clone(), listening);
            }
        }
        if let Some(path) = unix {
            server.accept_unix(UnixListener::bind(path)?, server.listening());
        }
        let tls = server.is_tls();
        let (listening, supporters) = (Mutex::new(listening), Mutex::new(supporters));
        Ok(Self { state, server, addr, tls, listening, supporters })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Stops the pool and waits until nothing of it runs.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Closes the port and drops every connection, as if the host had gone.
    pub fn stop_listening(&self) {
        self.listening.lock().cancel();
        self.drop_connections();
    }

    /// Opens the port again.
    pub fn listen_again(&self) -> io::Result<()> {
        let listener = bind(self.addr)?;
        let listening = self.server.listening();
        *self.listening.lock() = listening.clone();
        self.server.accept_tcp(listener, listening, None);
        Ok(())
    }

    /// Closes the port of a host that is not the coordinator, and drops every connection, as if
    /// that host had gone. False when there is no such host.
    pub fn stop_host(&self, name: &str) -> bool {
        let address = self.field("host", name, "address");
        let address = address.as_ref().and_then(Value::as_text).map(ToString::to_string);
        let listening = address.and_then(|address| self.supporters.lock().remove(&address));
        if let Some(listening) = &listening {
            listening.cancel();
            self.drop_connections();
        }
        listening.is_some()
    }

    /// Changes how the pool measures.
    pub fn measure(&self, change: impl FnOnce(&mut Measuring)) {
        change(&mut self.state.measuring.lock());
    }

    /// Changes how replies are written in JSON.
    pub fn write_json(&self, writer: JsonWriter) {
        *self.state.json.lock() = writer;
    }

    /// Drops every connection there is.
    pub fn drop_connections(&self) {
        let fresh = CancellationToken::new();
        std::mem::replace(&mut *self.state.connections.lock(), fresh).cancel();
    }

    /// Moves a held clock on.
    pub fn advance(&self, by: Duration) {
        self.state.clock.advance(by);
    }

    /// Arms a fault for one call, as `VM.start`, or for all with `None`; it strikes so many times,
    /// or until cleared. A path is armed as `/rrd_updates`, on one host as `host-02/rrd_updates`,
    /// the question for everything there is as `event.from, everything`.
    pub fn fault(&self, call: Option<&str>, fault: Fault, times: Option<usize>) {
        self.state.faults.arm(call, fault, times);
    }

    /// Arms a fault for one call after so many of its name have been spared; it strikes once.
    pub fn fault_after(&self, call: &str, spared: usize, fault: Fault) {
        self.state.faults.arm_after(call, spared, fault);
    }

    /// Begins to write down the calls that come, anew.
    pub fn record_calls(&self) {
        *self.state.calls.lock() = Some(Vec::new());
    }

    /// The calls that have come since, in their order.
    pub fn recorded_calls(&self) -> Vec<SeenCall> {
        self.state.calls.lock().clone().unwrap_or_default()
    }

    /// Disarms every fault, releases held replies and lifts the pace.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Holds the replies to a call back until [`SimHandle::release`].
    pub fn hold(&self, call: &str) {
        self.state.faults.hold(call);
    }

    /// Lets held replies go.
    pub fn release(&self, call: &str) {
        self.state.faults.release(call);
    }

    /// Keeps what a call such as `VM.start` begins from its end, asynchronous or not, until
    /// [`SimHandle::release_tasks`]: its task stays pending, and the VM busy.
    pub fn hold_tasks(&self, call: &str) {
        self.state.faults.hold_tasks(call);
    }

    /// Lets what was held end.
    pub fn release_tasks(&self, call: &str) {
        self.state.faults.release_tasks(call);
    }

    /// Sends replies no faster than this; 0 lifts the limit.
    pub fn pace(&self, bytes_per_second: u64) {
        self.state.faults.set_pace(bytes_per_second);
    }

    /// Lets in whoever comes, or no longer does.
    pub fn trust_anybody(&self, trust: bool) {
        self.state.trusting.store(trust, Ordering::Release);
    }

    /// Lets the logins of a name take their time, as a directory does.
    pub fn slow_down(&self, name: &str, by: Duration) {
        self.state.sessions.slow_down(name, by);
    }

    /// Adds a user, or replaces the one of that name.
    pub fn put_user(&self, user: User) {
        self.state.sessions.put_user(user);
    }

    /// Forgets a user; open sessions stay.
    pub fn remove_user(&self, name: &str) {
        self.state.sessions.remove_user(name);
    }

    /// Ends all sessions of a user, or of everybody, and says how many there were.
    pub fn end_sessions(&self, user: Option<&str>) -> usize {
        self.state.write(|db| {
            let sessions = &self.state.sessions;
            sessions.end_all(db, |session| user.is_none_or(|name| session.user == name))
        })
    }

    /// How many sessions are open.
    pub fn sessions_open(&self) -> usize {
        self.state.sessions.count()
    }

    /// Originators of the open sessions, sorted.
    pub fn originators(&self) -> Vec<String> {
        self.state.sessions.originators()
    }

    /// Refs of the sessions opened, open or not, oldest first: what must never be seen behind the
    /// gateway.
    pub fn session_refs(&self) -> Vec<String> {
        self.state.sessions.handed_out().iter().map(ToString::to_string).collect()
    }

    /// Marks the refs of sessions from now on.
    pub fn mark_sessions(&self, mark: Option<&str>) {
        self.state.sessions.set_mark(mark.map(Into::into));
    }

    /// How often a call was seen, an asynchronous one under its whole name; or a path such as
    /// `/rrd_updates`, of one host as `host-02/rrd_updates`.
    pub fn seen(&self, call: &str) -> u64 {
        self.state.seen.lock().get(call).copied().unwrap_or(0)
    }

    /// How often `event.from` was asked for everything.
    pub fn everything_read(&self) -> u64 {
        self.seen(EVERYTHING)
    }

    /// How many calls were seen, whatever their names.
    pub fn seen_in_all(&self) -> u64 {
        let seen = self.state.seen.lock();
        let is_call = |name: &str| name != EVERYTHING && !name.contains('/');
        seen.iter().filter(|(name, _)| is_call(name)).map(|(_, count)| count).sum()
    }

    /// How many objects of a class there are.
    pub fn count(&self, class: &str) -> usize {
        class_of(class).map_or(0, |class| self.state.db.read().table(class.id).len())
    }

    /// Refs of a class's objects.
    pub fn refs(&self, class: &str) -> Vec<Text> {
        let Some(class) = class_of(class) else { return Vec::new() };
        let db = self.state.db.read();
        db.table(class.id).iter().map(|object| object.reference().clone()).collect()
    }

    /// The ref of an object, given that or its uuid or its name.
    pub fn find(&self, class: &str, key: &str) -> Option<Text> {
        let class = class_of(class)?;
        let db = self.state.db.read();
        let table = db.table(class.id);
        let named = || {
            let field = class.field_index("name_label")?;
            table.iter().find(|object| {
                object.fields()[field].as_text().is_some_and(|label| **label == *key)
            })
        };
        let found = table.get(key).or_else(|| table.by_uuid(key)).or_else(named)?;
        Some(found.reference().clone())
    }

    /// A field of an object, given its ref or uuid or name.
    pub fn field(&self, class: &str, key: &str, field: &str) -> Option<Value> {
        let reference = self.find(class, key)?;
        let class = class_of(class)?;
        let index = class.field_index(field)?;
        let db = self.state.db.read();
        db.table(class.id).get(&reference).map(|object| object.fields()[index].clone())
    }

    /// Writes a field of an object, given its ref or uuid or name; waiters hear of it.
    pub fn set_field(
        &self,
        class: &str,
        key: &str,
        field: &str,
        value: Value,
    ) -> Result<(), WriteError> {
        let (class, reference) = self.known(class, key)?;
        let index = field_of(class, field)?;
        self.state.write(|db| db.set(class, &reference, index, value))
    }

    /// Makes an object, with defaults for fields that are not named, and returns its ref.
    pub fn create(&self, class: &str, fields: &[(&str, Value)]) -> Result<Text, WriteError> {
        let class = class_of(class).ok_or(WriteError::NoSuchObject { class: "class" })?;
        let fields = fields
            .iter()
            .map(|(name, value)| Ok((field_of(class, name)?, value.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let (reference, uuid) = (self.state.identifiers.reference(), self.state.identifiers.uuid());
        self.state.write(|db| db.create(class, reference.clone(), uuid, fields));
        Ok(reference)
    }

    /// Destroys an object, given its ref or uuid or name.
    pub fn destroy(&self, class: &str, key: &str) -> Result<(), WriteError> {
        let (class, reference) = self.known(class, key)?;
        self.state.write(|db| db.destroy(class, &reference))
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    fn known(&self, class: &str, key: &str) -> Result<(&'static Class, Text), WriteError> {
        let known = class_of(class).ok_or(WriteError::NoSuchObject { class: "class" })?;
        let found = self.find(class, key);
        found.map(|r| (known, r)).ok_or(WriteError::NoSuchObject { class: &known.name })
    }
}

/// A pool that nobody holds any more stops.
impl Drop for SimHandle {
    fn drop(&mut self) {
        self.server.cancel();
    }
}

fn class_of(name: &str) -> Option<&'static Class> {
    datamodel().class(name)
}

fn field_of(class: &'static Class, name: &str) -> Result<usize, WriteError> {
    let unknown = || WriteError::NoSuchField { class: &class.name, field: name.to_owned() };
    class.field_index(name).ok_or_else(unknown)
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
