//! How much memory there is, and which part of it is whose.

use std::path::{Path, PathBuf};

use xengate_config::Limits;

/// What the program takes by itself: its code, its threads, connections, sessions.
const PROGRAM: u64 = 32 << 20;

/// Where control groups are looked up.
const GROUPS: &str = "/sys/fs/cgroup";

/// The largest limit that is one: without any, the kernel tells of about as much as it can count.
const UNLIMITED: u64 = 1 << 60;

/// Shares out what there is, so that no limit promises what is not there. What is left for the
/// objects of all pools, in bytes; none where nothing says how much there is.
pub(super) fn share_out(limits: &mut Limits) -> Option<u64> {
    let memory = [limits.memory, limit_of_the_container()].into_iter().flatten().min()?;
    let objects = shares(memory, limits);
    let Limits { max_unsent, max_cached, event_history, .. } = *limits;
    tracing::info!(memory, objects, max_unsent, max_cached, event_history, "memory, in bytes");
    Some(objects)
}

fn shares(memory: u64, limits: &mut Limits) -> u64 {
    let rest = memory.saturating_sub(PROGRAM).max(memory / 2);
    limits.event_history = limits.event_history.min(rest / 20).max(1);
    limits.max_unsent = limits.max_unsent.min(rest / 6).max(1);
    limits.max_cached = limits.max_cached.min(limits.max_unsent);
    rest - limits.event_history.min(rest) - limits.max_unsent.min(rest / 6)
}

/// The smallest limit of the control groups that this process is in.
fn limit_of_the_container() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit(&own, |file| std::fs::read_to_string(file).ok())
}

/// The same by what `/proc/self/cgroup` says (a line is `NUMBER:CONTROLLERS:PATH`, for version 2
/// `0::PATH`) and `read`.
fn limit(own: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        let root = PathBuf::from(GROUPS);
        match controllers {
            "" => Some((root, path, "memory.max")),
            _ if controllers.split(',').any(|one| one == "memory") => {
                Some((root.join("memory"), path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    let limits = groups.flat_map(|(root, path, file)| {
        // Each group is held to its parents' limits too. Within a container the path may be the
        // host's, and then only the root is there.
        let mut found = Vec::new();
        for group in Path::new(path).ancestors() {
            let text = read(&root.join(group).join(file));
            found.extend(text.and_then(|text| text.trim().parse::<u64>().ok()));
        }
        found
    });
    limits.filter(|limit| (1..UNLIMITED).contains(limit)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(own: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit(own, |file| {
            let found = files.iter().find(|(name, _)| Path::new(GROUPS).join(name) == file)?;
            Some(format!("{}\n", found.1))
        })
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_its_parents_counts() {
        let v2 = "0::/system.slice/xengate.service\n";
        let files = [
            ("system.slice/xengate.service/memory.max", "max"),
            ("system.slice/memory.max", "335544320"),
            ("memory.max", "8589934592"),
        ];
        assert_eq!(limit_of(v2, &files), Some(320 << 20));
        assert_eq!(limit_of(v2, &files[2..]), Some(8 << 30));
        assert_eq!(limit_of("0::/\n", &[("memory.max", "1048576")]), Some(1 << 20));
        let v1 = "9:name=systemd:/x\n5:cpu,memory:/docker/17ab\n0::/\n";
        let files = [("memory/memory.limit_in_bytes", "335544320")];
        assert_eq!(limit_of(v1, &files), Some(320 << 20), "the path is the host's");
        let none = [("memory/docker/17ab/memory.limit_in_bytes", "9223372036854771712")];
        assert_eq!(limit_of(v1, &none), None);
        assert_eq!(limit_of("", &files), None);
        assert_eq!(limit_of("nonsense\n::\n0::\n", &[("memory.max", "many")]), None);
    }

    #[test]
    fn shares_add_up_and_never_exceed_what_is_configured() {
        for memory in [1, 1 << 20, 64 << 20, 320 << 20, 16 << 30] {
            let configured = Limits::default();
            let mut limits = configured.clone();
            let objects = shares(memory, &mut limits);
            assert!(limits.max_unsent <= configured.max_unsent);
            assert!(limits.max_cached <= configured.max_cached.min(limits.max_unsent));
            assert!(limits.event_history <= configured.event_history);
            assert!(objects + limits.max_unsent + limits.event_history <= memory + 2, "{memory}");
            if memory >= 64 << 20 {
                assert!(objects * 10 >= memory * 3, "{memory}: {objects}");
            }
        }
    }
}
