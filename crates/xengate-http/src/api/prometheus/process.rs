//! What the process takes of its machine, under the names that Prometheus' own libraries use.

use std::fmt;
use std::time::SystemTime;

use crate::api::prometheus::families::Families;

/// Writes when the process began, and what it takes.
pub(super) fn write(started: SystemTime, families: &mut Families<'_>) -> fmt::Result {
    let started = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let help = "When the process began, in seconds since 1970.";
    families.gauge("process_start_time_seconds", help, started.as_secs_f64())?;
    of_system(families)
}

/// What the system says of this process; where it says nothing, nothing.
#[cfg(target_os = "linux")]
fn of_system(families: &mut Families<'_>) -> fmt::Result {
    use procfs::process::{LimitValue, Process};

    let Ok(process) = Process::myself() else { return Ok(()) };
    if let Ok(stat) = process.stat() {
        let per_second = procfs::ticks_per_second() as f64;
        let seconds = |ticks: u64| ticks as f64 / per_second;
        let help = "Processor time in user and system mode.";
        families.counter("process_cpu_seconds", help, seconds(stat.utime + stat.stime))?;
        let help = "Memory that is resident.";
        families.gauge("process_resident_memory_bytes", help, stat.rss * procfs::page_size())?;
        families.gauge("process_virtual_memory_bytes", "Address space.", stat.vsize)?;
        let threads = u64::try_from(stat.num_threads).unwrap_or_default();
        families.gauge("process_threads", "Threads.", threads)?;
    }
    if let Ok(open) = process.fd_count() {
        families.gauge("process_open_fds", "File descriptors that are open.", open as u64)?;
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        families.gauge("process_max_fds", "File descriptors that may be open.", most)?;
    }
    Ok(())
}

/// Only Linux is asked.
#[cfg(not(target_os = "linux"))]
fn of_system(_: &mut Families<'_>) -> fmt::Result {
    Ok(())
}
