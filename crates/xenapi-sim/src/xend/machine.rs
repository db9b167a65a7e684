//! A VM as xend keeps it: a managed configuration, and a domain while it runs.

use std::time::Duration;

/// MiB in bytes.
pub(super) const MIB: i64 = 1 << 20;

/// `_stateGet`: the numbers are the legacy dialect's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It does not run.
    Halted = 0,
    /// It is kept from running.
    Paused = 1,
    /// It runs, or waits for something to do.
    Running = 2,
    /// It is saved to disk.
    Suspended = 3,
    /// It has crashed and is kept to be looked at.
    Crashed = 5,
}

impl Power {
    /// The name both dialects use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Halted => "Halted",
            Self::Paused => "Paused",
            Self::Running => "Running",
            Self::Suspended => "Suspended",
            Self::Crashed => "Crashed",
        }
    }
}

/// What a guest was asked to do, and does in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    PowerOff,
    Reboot,
}

#[derive(Debug, Clone)]
pub(super) struct Vif {
    pub(super) uuid: String,
    pub(super) mac: String,
    pub(super) bridge: String,
}

#[derive(Debug, Clone)]
pub(super) struct Vbd {
    pub(super) uuid: String,
    pub(super) dev: String,
    pub(super) uname: String,
    pub(super) writable: bool,
    pub(super) bootable: bool,
    pub(super) cdrom: bool,
}

/// A VM.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) uuid: String,
    pub(super) name: String,
    pub(super) metrics: String,
    /// Whether xend keeps its configuration when it ends.
    pub(super) managed: bool,
    pub(super) power: Power,
    pub(super) domid: Option<i64>,
    /// Whether it has nothing to do.
    pub(super) idle: bool,
    pub(super) vcpus_max: i64,
    pub(super) vcpus_online: i64,
    pub(super) memory_static_max: i64,
    pub(super) memory_static_min: i64,
    pub(super) memory_dynamic_max: i64,
    pub(super) memory_dynamic_min: i64,
    /// Seconds of CPU time until it last changed its power state.
    pub(super) cpu_time: f64,
    /// Since when it has run, on the simulator's clock.
    pub(super) running_since: Option<Duration>,
    /// The last domain it had, whose pages xend remembers.
    pub(super) last_domid: Option<i64>,
    /// Seconds since 1970 when its domain was made.
    pub(super) started: Option<f64>,
    /// How busy each of its CPUs is.
    pub(super) load: f64,
    pub(super) hvm: bool,
    pub(super) kernel: String,
    /// The kernel's command line: bytes, of no encoding.
    pub(super) args: Vec<u8>,
    pub(super) affinity: Vec<Vec<i64>>,
    pub(super) on_poweroff: String,
    pub(super) on_reboot: String,
    pub(super) on_crash: String,
    pub(super) weight: i64,
    pub(super) cap: i64,
    pub(super) auto_power_on: bool,
    pub(super) pause_flag: bool,
    pub(super) other_config: Vec<(String, Vec<u8>)>,
    pub(super) vifs: Vec<Vif>,
    pub(super) vbds: Vec<Vbd>,
    pub(super) console: Option<String>,
    pub(super) asked: Option<(Duration, Asked)>,
    /// Whether a number of its configuration is kept as text: of VCPUs, or of what they may use.
    pub(super) text: TextFor,
    /// The number of VCPUs to which it goes back at the next look, because it runs.
    pub(super) vcpus_before: Option<i64>,
    /// What xend says when it is to start.
    pub(super) complaint: Option<String>,
    /// Whether it is not started again after a reboot, because it was started too lately.
    pub(super) restarts_too_fast: bool,
    /// Whether its domain is on the way out.
    pub(super) dying: bool,
    /// Whether it neither runs nor waits for anything, as its flags have it.
    pub(super) at_rest: bool,
    /// The password of its console.
    pub(super) vncpasswd: Option<String>,
}

/// Which numbers of a VM's configuration xend keeps as text, and cannot start it with.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TextFor {
    pub(super) vcpus: bool,
    pub(super) params: bool,
}

impl Machine {
    /// A halted VM with nothing attached.
    pub(super) fn new(uuid: String, name: String, metrics: String) -> Self {
        Self {
            uuid,
            name,
            metrics,
            managed: true,
            power: Power::Halted,
            domid: None,
            idle: false,
            vcpus_max: 1,
            vcpus_online: 1,
            memory_static_max: 128 * MIB,
            memory_static_min: 0,
            memory_dynamic_max: 128 * MIB,
            memory_dynamic_min: 128 * MIB,
            cpu_time: 0.0,
            running_since: None,
            last_domid: None,
            started: None,
            load: 0.0,
            hvm: false,
            kernel: "/boot/vmlinuz-2.6-xen".into(),
            args: b"root=/dev/xvda1 ro".to_vec(),
            affinity: vec![Vec::new()],
            on_poweroff: "destroy".into(),
            on_reboot: "restart".into(),
            on_crash: "restart".into(),
            weight: 256,
            cap: 0,
            auto_power_on: false,
            pause_flag: false,
            other_config: Vec::new(),
            vifs: Vec::new(),
            vbds: Vec::new(),
            console: None,
            asked: None,
            text: TextFor::default(),
            vcpus_before: None,
            complaint: None,
            restarts_too_fast: false,
            dying: false,
            at_rest: false,
            vncpasswd: None,
        }
    }

    pub(super) fn is_domain_0(&self) -> bool {
        self.domid == Some(0)
    }

    /// How xend's complaints about the domain name it.
    pub(super) fn handle(&self) -> String {
        self.domid.map_or_else(|| self.name.clone(), |domid| domid.to_string())
    }

    /// Seconds of CPU time until now.
    pub(super) fn cpu_time(&self, now: Duration) -> f64 {
        let running =
            self.running_since.map_or(0.0, |since| now.saturating_sub(since).as_secs_f64());
        let total = self.cpu_time + running * self.load * self.vcpus_online as f64;
        // xend counts in nanoseconds.
        (total * 1e9).round() / 1e9
    }

    /// Changes the power state, and so whether CPU time passes.
    pub(super) fn set_power(&mut self, power: Power, now: Duration) {
        self.cpu_time = self.cpu_time(now);
        self.power = power;
        self.running_since = (power == Power::Running).then_some(now);
    }

    /// The flags that xm prints, for what has a domain.
    pub(super) fn flags(&self) -> &'static str {
        match self.power {
            _ if self.dying => "---s-d",
            Power::Paused => "--p---",
            Power::Crashed => "----c-",
            // Shut down, and kept.
            Power::Halted | Power::Suspended => "---s--",
            Power::Running if self.at_rest => "------",
            Power::Running if self.idle => "-b----",
            Power::Running => "r-----",
        }
    }

    /// The flags in the Xen-API's words.
    pub(super) fn state(&self) -> Option<&'static str> {
        if self.at_rest && self.power == Power::Running && !self.dying {
            return None;
        }
        Some(self.word())
    }

    fn word(&self) -> &'static str {
        match self.power {
            _ if self.dying => "dying",
            Power::Paused => "paused",
            Power::Crashed => "crashed",
            Power::Halted | Power::Suspended => "shutdown",
            Power::Running if self.idle => "blocked",
            Power::Running => "running",
        }
    }

    /// The physical CPU that a virtual one runs on.
    pub(super) fn cpu_of(&self, vcpu: i64, host_cpus: i64) -> i64 {
        (self.domid.unwrap_or(0) + vcpu) % host_cpus.max(1)
    }
}
