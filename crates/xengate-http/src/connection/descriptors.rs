//! How many files the process may have open, which every connection is one of.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::connection::places::LEAVING;

/// What is kept for everything that is no client's connection: backends, files, the log.
const OTHERS: usize = 128;

/// How many connections there can be when so many are wanted. The process's soft limit is raised as
/// far as it may be.
pub fn connections(wanted: usize) -> usize {
    let needed = (wanted + LEAVING + OTHERS) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < needed) else { return wanted };
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    let current = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    let possible = possible(current, wanted);
    if possible < wanted {
        tracing::warn!(
            max_connections = wanted,
            possible,
            open_files = current,
            "the process may not have as many files open as limits.max_connections needs"
        );
    }
    possible
}

/// How many of the connections that are wanted so many files leave room for.
fn possible(files: u64, wanted: usize) -> usize {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    // Where there are few, connections get half of them.
    files.saturating_sub(LEAVING + OTHERS).max(files / 2).clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_others() {
        assert_eq!(possible(1024, 4096), 832);
        assert_eq!(possible(1 << 20, 4096), 4096);
        assert_eq!(possible(100, 4096), 50);
        assert_eq!(possible(0, 4096), 1);
        assert_eq!(connections(10), 10);
    }
}
