//! Everything that one simulated xend knows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::machine::{Asked, Machine, Power};
use super::tasks::Task;
use crate::clock::Clock;
use crate::identifiers::Identifiers;

/// How many events a session may leave unread before xend blocks on the next.
const EVENT_QUEUE: usize = 50;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: String,
    pub(super) last_active: String,
    /// Events unread, once it has registered for any.
    pub(super) unread: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) uuid: String,
    pub(super) metrics: String,
    pub(super) cpus: Vec<String>,
    pub(super) cpu_pool: String,
    pub(super) networks: Vec<(String, String)>,
    pub(super) storage: Vec<String>,
    /// In bytes.
    pub(super) memory: i64,
}

/// The state behind one lock: xend has one, too.
#[derive(Debug)]
pub(super) struct World {
    pub(super) host: Host,
    pub(super) machines: Vec<Machine>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) tasks: Vec<Task>,
    /// How long a guest takes to do as asked.
    pub(super) guest_delay: Duration,
    /// How many VMs the next `VM.get_all_records` holds that are gone meanwhile.
    pub(super) vanishing: usize,
    /// Whether settings are accepted and not made.
    pub(super) ignores_writes: bool,
    next_domid: i64,
}

impl World {
    pub(super) fn new(host: Host, guest_delay: Duration) -> Self {
        Self {
            host,
            machines: Vec::new(),
            sessions: BTreeMap::new(),
            tasks: Vec::new(),
            guest_delay,
            vanishing: 0,
            ignores_writes: false,
            next_domid: 0,
        }
    }

    pub(super) fn host_cpus(&self) -> i64 {
        i64::try_from(self.host.cpus.len()).unwrap_or(i64::MAX)
    }

    /// Gives a VM a domain.
    pub(super) fn build(&mut self, index: usize, power: Power, clock: &Clock) {
        let domid = self.next_domid;
        self.next_domid += 1;
        let machine = &mut self.machines[index];
        machine.domid = Some(domid);
        machine.last_domid = Some(domid);
        machine.started = Some(clock.seconds());
        machine.cpu_time = 0.0;
        machine.running_since = None;
        machine.vcpus_online = machine.vcpus_max;
        machine.asked = None;
        machine.set_power(power, clock.elapsed());
    }

    /// Takes a VM's domain away. What xend does not manage is gone with it.
    pub(super) fn tear_down(&mut self, index: usize, power: Power, now: Duration) {
        let machine = &mut self.machines[index];
        if !machine.managed {
            self.machines.remove(index);
            return;
        }
        machine.set_power(power, now);
        machine.domid = None;
        machine.cpu_time = 0.0;
        machine.asked = None;
    }

    /// Lets guests do what they were asked to do, if their time has come.
    pub(super) fn refresh(&mut self, clock: &Clock, identifiers: &Identifiers) {
        let now = clock.elapsed();
        let mut index = 0;
        while index < self.machines.len() {
            let machine = &mut self.machines[index];
            if let Some(before) = machine.vcpus_before.take() {
                machine.vcpus_max = before;
            }
            let machine = &self.machines[index];
            let due =
                machine.asked.filter(|(when, _)| *when <= now && machine.power == Power::Running);
            if let Some((_, asked)) = due {
                let before = self.machines.len();
                self.obey(index, asked, clock, identifiers);
                if self.machines.len() < before {
                    continue;
                }
            }
            index += 1;
        }
    }

    fn obey(&mut self, index: usize, asked: Asked, clock: &Clock, identifiers: &Identifiers) {
        let machine = &mut self.machines[index];
        let mode = match asked {
            Asked::PowerOff => machine.on_poweroff.clone(),
            Asked::Reboot => machine.on_reboot.clone(),
        };
        match mode.as_str() {
            "preserve" => {
                machine.asked = None;
                machine.set_power(Power::Halted, clock.elapsed());
            }
            "restart" if !machine.restarts_too_fast => {
                machine.metrics = identifiers.uuid().to_string();
                self.build(index, Power::Running, clock);
            }
            _ => self.tear_down(index, Power::Halted, clock.elapsed()),
        }
    }

    /// Finds a VM by name, then domid, then uuid.
    pub(super) fn lookup(&self, key: &str) -> Option<usize> {
        let named = |running: bool| {
            self.machines.iter().position(|m| m.name == key && m.domid.is_some() == running)
        };
        let by_id = || {
            let id: i64 = key.trim().parse().ok()?;
            self.machines.iter().position(|machine| machine.domid == Some(id))
        };
        named(true).or_else(|| named(false)).or_else(by_id).or_else(|| self.by_uuid(key))
    }

    pub(super) fn by_uuid(&self, uuid: &str) -> Option<usize> {
        // Of two with one uuid the first: that may be one on its way out.
        self.machines.iter().position(|machine| machine.uuid == uuid)
    }

    /// Tells registered sessions of a change. Says whether xend blocks, because one of them does
    /// not read.
    pub(super) fn event(&mut self) -> bool {
        let mut blocks = false;
        for unread in self.sessions.values_mut().filter_map(|session| session.unread.as_mut()) {
            blocks |= *unread >= EVENT_QUEUE;
            *unread += 1;
        }
        blocks
    }
}
