//! `xm vcpu-list`: a line for each virtual CPU.

use std::fmt::Write;

use super::columns::{left, right, tenths};
use super::domain::{Domain, digits};
use super::lines::UNKNOWN;
use xenapi_wire::sxp::Sxp;

/// What xm knows of a virtual CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Vcpu {
    /// Its number.
    pub number: String,
    /// The physical CPU that it runs on; below 0 for a domain that does not run.
    pub cpu: i64,
    /// Whether it is plugged in.
    pub online: bool,
    /// Whether it waits.
    pub blocked: bool,
    /// Whether it runs.
    pub running: bool,
    /// Seconds of CPU time.
    pub cpu_time: Option<f64>,
    /// Where it may run.
    pub affinity: Affinity,
}

/// Where a virtual CPU may run.
#[derive(Clone, Debug, PartialEq)]
pub enum Affinity {
    /// On these physical CPUs, of which the host may lack some.
    Cpus(Vec<i64>),
    /// That is not known.
    Unknown,
}

impl Vcpu {
    /// What one `vcpu` of `xend.domain.getVCPUInfo` says, given where it stands among them.
    pub(super) fn from_sxp((index, sxp): (usize, &Sxp)) -> Self {
        let flag = |name| sxp.int(name).unwrap_or(0) != 0;
        let cpus = sxp.value("cpumap").and_then(Sxp::items).unwrap_or_default();
        Vcpu {
            number: digits(sxp, "number").unwrap_or_else(|| index.to_string()),
            cpu: sxp.int("cpu").unwrap_or(-1),
            online: flag("online"),
            blocked: flag("blocked"),
            running: flag("running"),
            cpu_time: Some(sxp.double("cpu_time").unwrap_or(0.0)),
            affinity: Affinity::Cpus(cpus.iter().filter_map(Sxp::as_int).collect()),
        }
    }

    fn columns(&self) -> (String, &'static str) {
        match (self.online, self.running, self.blocked) {
            _ if self.cpu < 0 => (String::new(), ""),
            (false, _, _) => (UNKNOWN.to_owned(), "--p"),
            (_, true, true) => (self.cpu.to_string(), "rb-"),
            (_, true, false) => (self.cpu.to_string(), "r--"),
            (_, false, true) => (self.cpu.to_string(), "-b-"),
            (_, false, false) => (self.cpu.to_string(), "---"),
        }
    }
}

/// How many physical CPUs a host has, from what `xend.node.info` says.
pub fn host_cpus(info: &Sxp) -> Option<i64> {
    // xm passes over the first item, as if it were a name, and takes the last that fits.
    info.items()?
        .iter()
        .skip(1)
        .filter_map(|item| match item.items() {
            Some([Sxp::Text(name), cpus, ..]) if name == "nr_cpus" => cpus.as_int(),
            _ => None,
        })
        .next_back()
}

pub(super) fn lines(domains: &[&Domain]) -> String {
    let mut out = String::new();
    left(&mut out, "Name", 32);
    let headers = [("ID", 5), ("VCPU", 5), ("CPU", 5), ("State", 5), ("Time(s)", 9)];
    for (name, width) in headers {
        out.push(' ');
        right(&mut out, name, width);
    }
    out.push_str(" CPU Affinity\n");
    for domain in domains {
        for vcpu in &domain.vcpu_list {
            let (cpu, state) = vcpu.columns();
            let cpu_time = vcpu.cpu_time.map_or_else(|| UNKNOWN.to_owned(), tenths);
            left(&mut out, &domain.name, 32);
            for text in [&domain.id[..], &vcpu.number, &cpu, state] {
                out.push(' ');
                right(&mut out, text, 5);
            }
            out.push_str("  ");
            right(&mut out, &cpu_time, 8);
            out.push(' ');
            affinity(&mut out, &vcpu.affinity, domain.host_cpus);
            out.push('\n');
        }
    }
    out
}

fn affinity(out: &mut String, affinity: &Affinity, host_cpus: Option<i64>) {
    let Affinity::Cpus(cpus) = affinity else { return out.push_str(UNKNOWN) };
    let mut cpus: Vec<i64> =
        cpus.iter().copied().filter(|cpu| host_cpus.is_none_or(|host| *cpu < host)).collect();
    cpus.sort_unstable();
    cpus.dedup();
    if host_cpus.is_some_and(|host| usize::try_from(host) == Ok(cpus.len())) {
        return out.push_str("any cpu");
    }
    if cpus.is_empty() {
        return out.push_str("no cpus");
    }
    for (index, run) in cpus.chunk_by(|one, next| next.checked_sub(*one) == Some(1)).enumerate() {
        if index > 0 {
            out.push(',');
        }
        // Writing to a String cannot fail.
        _ = match run {
            [first, .., last] => write!(out, "{first}-{last}"),
            _ => write!(out, "{}", run[0]),
        };
    }
}
