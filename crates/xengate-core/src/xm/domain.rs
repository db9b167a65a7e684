//! What xm knows of a domain.

use super::vcpus::Vcpu;
use xenapi_wire::sxp::Sxp;

/// What xm knows of a domain. Numbers that are only printed are kept as their digits: xend's ints
/// have no bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Domain {
    /// Which of several hosts it is on. Those of one host stand together.
    pub host: usize,
    /// How many physical CPUs that host has, without which no affinity is `any cpu`.
    pub host_cpus: Option<i64>,
    /// Its name.
    pub name: String,
    /// Its domid; empty when it has none, because it is halted.
    pub id: String,
    /// Its uuid.
    pub uuid: String,
    /// Its power state, as the Xen-API names them.
    pub power_state: String,
    /// Its memory in MiB.
    pub memory: String,
    /// How many virtual CPUs are online, or configured when it is halted.
    pub vcpus: String,
    /// Its flags, as `-b----`; empty when it is halted.
    pub flags: String,
    /// Seconds of CPU time; a `-` is printed where that is not known.
    pub cpu_time: Option<f64>,
    /// Its security label.
    pub label: String,
    /// The name of the pool of CPUs that it runs in.
    pub pool: String,
    /// All that is known, for [`View::Long`](super::View::Long).
    pub sxp: Sxp,
    /// Its virtual CPUs, for [`View::Vcpus`](super::View::Vcpus).
    pub vcpu_list: Vec<Vcpu>,
}

impl Domain {
    /// What a domain's SXP says, as `xend.domain` gives it.
    pub fn from_sxp(mut sxp: Sxp) -> Self {
        as_read_from_xml(&mut sxp);
        let text = |name, default: &str| match sxp.value(name) {
            Some(value) => value.to_python(),
            None => default.to_owned(),
        };
        Domain {
            name: text("name", "??"),
            id: text("domid", ""),
            uuid: text("uuid", ""),
            power_state: sxp.power_state().to_owned(),
            memory: digits(&sxp, "memory").unwrap_or_else(zero),
            // Those online when it is up, or those configured.
            vcpus: digits(&sxp, "online_vcpus")
                .or_else(|| digits(&sxp, "vcpus"))
                .unwrap_or_else(zero),
            flags: text("state", ""),
            cpu_time: Some(sxp.double("cpu_time").unwrap_or(0.0)),
            label: text("security_label", ""),
            pool: text("pool_name", ""),
            sxp,
            ..Domain::default()
        }
    }

    /// Adds what `xend.domain.getVCPUInfo` says of it.
    pub fn set_vcpus(&mut self, info: &Sxp) {
        self.vcpu_list = info.all("vcpu").enumerate().map(Vcpu::from_sxp).collect();
    }
}

/// Ends lines as XML does. xm's parser sees no carriage return that stands in a reply as such, and
/// xend never sends one otherwise.
fn as_read_from_xml(sxp: &mut Sxp) {
    match sxp {
        Sxp::Text(text) if text.contains('\r') => {
            *text = text.replace("\r\n", "\n").replace('\r', "\n");
        }
        Sxp::List(items) => items.iter_mut().for_each(as_read_from_xml),
        Sxp::Map(members) => members.iter_mut().for_each(|(_, value)| as_read_from_xml(value)),
        _ => {}
    }
}

fn zero() -> String {
    "0".to_owned()
}

/// A child's value as `%d` prints it after `int()`.
pub(super) fn digits(sxp: &Sxp, name: &str) -> Option<String> {
    let value = sxp.value(name)?;
    if let Some(int) = value.as_int() {
        return Some(int.to_string());
    }
    match value {
        Sxp::Double(float) if float.is_finite() => Some(format!("{:.0}", float.trunc())),
        // Beyond 64 bits.
        Sxp::Text(text) => {
            let text = text.trim_ascii();
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", text.strip_prefix('+').unwrap_or(text)),
            };
            let is_int = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_int.then(|| format!("{sign}{}", digits.trim_start_matches('0')))
        }
        _ => None,
    }
}
