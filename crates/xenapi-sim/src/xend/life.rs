//! The life of a VM, with xend's own complaints. Both dialects come here.

use super::machine::{Asked, MIB, Machine, Power};
use super::world::World;
use crate::clock::Clock;
use crate::identifiers::Identifiers;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No such domain.
    Unknown(String),
    /// A `VMBadState`, which only some calls let through as one.
    State { text: String, expected: Power, actual: Power },
    /// A `XendError`.
    Text(String),
    /// A failure of the Xen-API.
    Failure(Vec<String>),
    /// A call of the wrong form: Python's own words.
    Internal(String),
    /// What was never implemented.
    Todo,
}

impl Trouble {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn failure<P: Into<String>>(parts: impl IntoIterator<Item = P>) -> Self {
        Self::Failure(parts.into_iter().map(Into::into).collect())
    }

    /// As most calls report a wrong state: its text alone.
    fn flattened(self) -> Self {
        match self {
            Self::State { text, .. } => Self::Text(text),
            other => other,
        }
    }
}

pub(super) type Done = Result<(), Trouble>;

fn wrong(machine: &Machine, expected: Power, text: impl Into<String>) -> Trouble {
    Trouble::State { text: text.into(), expected, actual: machine.power }
}

/// A world, and the time in it.
pub(super) struct Life<'a> {
    pub(super) world: &'a mut World,
    pub(super) clock: &'a Clock,
    pub(super) identifiers: &'a Identifiers,
}

impl Life<'_> {
    fn privileged(&self, index: usize, verb: &str, handle: &str) -> Done {
        if self.world.machines[index].is_domain_0() {
            return Err(Trouble::Text(format!("Cannot {verb} privileged domain {handle}")));
        }
        Ok(())
    }

    /// `domain_start`.
    pub(super) fn start(&mut self, index: usize, paused: bool) -> Done {
        let machine = &self.world.machines[index];
        // A domain that is shut down but kept is in the way, too.
        if machine.power != Power::Halted || machine.domid.is_some() {
            return Err(wrong(machine, Power::Halted, "Domain is already running"));
        }
        if machine.text.vcpus {
            return Err(Trouble::text("range() integer end argument expected, got str."));
        }
        if machine.text.params {
            // An assertion.
            return Err(Trouble::text(""));
        }
        if let Some(complaint) = &machine.complaint {
            return Err(Trouble::text(complaint.as_str()));
        }
        let power = if paused { Power::Paused } else { Power::Running };
        self.world.build(index, power, self.clock);
        Ok(())
    }

    /// `domain_pause`, which says which state the VM was in.
    pub(super) fn pause(&mut self, index: usize, handle: &str) -> Result<Power, Trouble> {
        self.privileged(index, "pause", handle)?;
        let now = self.clock.elapsed();
        let machine = &mut self.world.machines[index];
        let before = machine.power;
        match before {
            Power::Running => machine.set_power(Power::Paused, now),
            Power::Paused | Power::Crashed => {}
            Power::Halted | Power::Suspended => {
                let text = format!("Domain '{handle}' is not started");
                return Err(wrong(machine, Power::Running, text).flattened());
            }
        }
        Ok(before)
    }

    /// `domain_unpause`.
    pub(super) fn unpause(&mut self, index: usize, handle: &str) -> Done {
        self.privileged(index, "unpause", handle)?;
        let now = self.clock.elapsed();
        let machine = &mut self.world.machines[index];
        match machine.power {
            Power::Paused => machine.set_power(Power::Running, now),
            Power::Running => {}
            _ => {
                let text = format!("Domain '{handle}' is not started");
                return Err(wrong(machine, Power::Paused, text).flattened());
            }
        }
        Ok(())
    }

    /// `shutdown`: asks the guest, and returns before it has acted.
    pub(super) fn shutdown(&mut self, index: usize, reason: &str) -> Done {
        let when = self.clock.elapsed() + self.world.guest_delay;
        let machine = &mut self.world.machines[index];
        if machine.power == Power::Halted {
            return Err(Trouble::text("Domain cannot be shutdown"));
        }
        if machine.is_domain_0() {
            return Err(Trouble::text("Domain 0 cannot be shutdown"));
        }
        let asked = match reason {
            "poweroff" | "halt" => Asked::PowerOff,
            "reboot" => Asked::Reboot,
            "suspend" | "crash" => return Ok(()),
            _ => return Err(Trouble::Text(format!("Invalid reason: {reason}"))),
        };
        machine.asked = Some((when, asked));
        self.world.refresh(self.clock, self.identifiers);
        Ok(())
    }

    /// `domain_destroy`: takes the domain away at once; what has none is left as it is.
    pub(super) fn destroy(&mut self, index: usize, handle: &str) -> Done {
        self.privileged(index, "destroy", handle)?;
        if self.world.machines[index].domid.is_some() {
            self.world.tear_down(index, Power::Halted, self.clock.elapsed());
        }
        Ok(())
    }

    /// `domain_reset`: a new domain at once.
    pub(super) fn reset(&mut self, index: usize) -> Done {
        let machine = &mut self.world.machines[index];
        if machine.is_domain_0() || !matches!(machine.power, Power::Running | Power::Paused) {
            let text = format!("Domain '{}' is not started", machine.handle());
            return Err(wrong(machine, Power::Running, text));
        }
        machine.metrics = self.identifiers.uuid().to_string();
        self.world.build(index, Power::Running, self.clock);
        Ok(())
    }

    /// `domain_suspend`.
    pub(super) fn suspend(&mut self, index: usize, handle: &str) -> Done {
        self.privileged(index, "suspend", handle)?;
        let machine = &self.world.machines[index];
        if machine.power != Power::Running {
            return Err(wrong(machine, Power::Running, "Domain is not running"));
        }
        if !machine.managed {
            return Err(Trouble::text("Domain is not managed by Xend lifecycle support."));
        }
        self.world.tear_down(index, Power::Suspended, self.clock.elapsed());
        Ok(())
    }

    /// `domain_resume`.
    pub(super) fn resume(&mut self, index: usize, handle: &str, paused: bool) -> Done {
        let failed = |why: &str| Trouble::Text(format!("Error occurred when resuming: {why}"));
        let machine = &self.world.machines[index];
        if machine.is_domain_0() {
            return Err(failed(&format!("Cannot resume privileged domain {handle}")));
        }
        if machine.power != Power::Suspended {
            return Err(failed("Cannot resume domain that is not suspended."));
        }
        let power = if paused { Power::Paused } else { Power::Running };
        self.world.build(index, power, self.clock);
        Ok(())
    }

    /// `domain_delete`: forgets the VM.
    pub(super) fn delete(&mut self, index: usize) -> Done {
        let machine = &self.world.machines[index];
        if machine.power != Power::Halted || machine.domid.is_some() {
            return Err(wrong(machine, Power::Halted, "Domain is not halted.").flattened());
        }
        self.world.machines.remove(index);
        Ok(())
    }

    /// `setName`.
    pub(super) fn rename(&mut self, index: usize, name: &str) -> Done {
        self.check_name(name, Some(index))?;
        name.clone_into(&mut self.world.machines[index].name);
        Ok(())
    }

    /// What xend takes for a name.
    pub(super) fn check_name(&self, name: &str, own: Option<usize>) -> Done {
        if name.is_empty() {
            return Err(Trouble::text("Missing VM Name"));
        }
        let plain = |byte: u8| matches!(byte, b'_' | b'-' | b'.' | b':' | b'+');
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || plain(byte)) {
            return Err(Trouble::text("Invalid VM Name"));
        }
        let others = self.world.machines.iter().enumerate();
        match others.filter(|(index, _)| Some(*index) != own).find(|(_, m)| m.name == name) {
            None => Ok(()),
            Some((_, Machine { domid: Some(domid), .. })) => {
                Err(Trouble::Text(format!("VM name '{name}' already exists as domain {domid}")))
            }
            Some(_) => Err(Trouble::Text(format!("VM name '{name}' already exists"))),
        }
    }

    /// `setMemoryTarget`, in MiB.
    pub(super) fn set_memory(&mut self, index: usize, mib: i64) -> Done {
        let machine = &mut self.world.machines[index];
        let target = mib.saturating_mul(MIB);
        if target > machine.memory_static_max {
            let text = "memory_dynamic_max must be less than or equal to memory_static_max";
            return Err(Trouble::text(text));
        }
        if target < machine.memory_static_min {
            let text = "memory_dynamic_min must be greater than or equal to memory_static_min";
            return Err(Trouble::text(text));
        }
        machine.memory_dynamic_max = target;
        machine.memory_dynamic_min = target;
        Ok(())
    }

    /// `domain_maxmem_set`, in MiB.
    pub(super) fn set_max_memory(&mut self, index: usize, mib: i64) -> Done {
        let machine = &mut self.world.machines[index];
        let limit = mib.saturating_mul(MIB);
        if limit < machine.memory_dynamic_max {
            let text = "memory_dynamic_max must be less than or equal to memory_static_max";
            return Err(Trouble::text(text));
        }
        machine.memory_static_max = limit;
        Ok(())
    }

    /// `setVCpuCount`.
    pub(super) fn set_vcpus(&mut self, index: usize, count: i64) -> Done {
        let machine = &mut self.world.machines[index];
        if count <= 0 {
            return Err(Trouble::text("Zero or less VCPUs is invalid"));
        }
        if machine.domid.is_none() {
            machine.vcpus_max = count;
            machine.text.vcpus = false;
            machine.affinity.resize(usize::try_from(count).unwrap_or(0), Vec::new());
        } else if count > machine.vcpus_max {
            let text = "Cannot set vcpus greater than max vcpus on running domain";
            return Err(Trouble::text(text));
        }
        machine.vcpus_online = count;
        Ok(())
    }
}
