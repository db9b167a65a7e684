//! What a backend's version has and has not.
//!
//! The datamodel says which release brought or removed a thing: by code name in the old days, by
//! XAPI's own version since. A backend says its API version and often XAPI's version. Where the two
//! cannot be compared, nothing is claimed, and the backend is asked.

use super::unimplemented;
use xenapi_client::HostSoftware;
use xenapi_mirror::inventory::Snapshot;
use xenapi_model::{Call, Class, Field, Lifecycle, State, datamodel};

/// Objects of a class that are looked at for the fields they have. Those of one backend are alike.
const LOOKED_AT: usize = 16;

/// What a backend says of its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// `2.21`.
    api: Option<(u64, u64)>,
    /// `25.16.0`, as far as it goes.
    xapi: Option<Vec<u64>>,
}

/// What a backend's version has not: in older ones what came later, in newer ones what has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Lacking {
    /// Whole classes: `VM_group`.
    pub classes: Vec<&'static str>,
    /// Fields of other classes: `VM.groups`.
    pub fields: Vec<String>,
    /// Calls of other classes: `VM.sysprep`.
    pub calls: Vec<&'static str>,
}

/// How a release stands to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The backend is that release or a later one.
    Reached,
    /// The backend is older.
    Ahead,
    /// Who knows.
    Unknown,
}

impl Version {
    /// The version of a pool's coordinator.
    pub fn of(snapshot: &Snapshot) -> Self {
        let host = || {
            let (pool, host) = (datamodel().class("pool")?, datamodel().class("host")?);
            let master = snapshot.class(pool.id).iter().next()?.record().uuid(pool, "master")?;
            let record = snapshot.object(host.id, &master)?.record();
            Some(HostSoftware::of_record(record.json()))
        };
        host().map(|software| Self::of_host(&software)).unwrap_or_default()
    }

    fn of_host(software: &HostSoftware) -> Self {
        let xapi = software.xapi.as_deref().and_then(dotted);
        Self { api: software.api_version, xapi }
    }

    /// Why the backend cannot have a thing with this life cycle, if it cannot.
    pub fn lacks(&self, lifecycle: &Lifecycle) -> Option<String> {
        if self.standing(&lifecycle.since) == Standing::Ahead {
            return Some(format!("it came with {}, and this backend is older", lifecycle.since));
        }
        // What was removed and then published again is there; nobody says since when.
        let removed = lifecycle.removed.as_ref().filter(|_| lifecycle.state == State::Removed)?;
        (self.standing(removed) == Standing::Reached)
            .then(|| format!("it was removed with {removed}"))
    }

    /// Why the backend cannot carry a call out, if it cannot.
    pub fn lacks_call(&self, call: &Call) -> Option<String> {
        self.lacks(&call.lifecycle).or_else(|| {
            let never = unimplemented::find(&call.wire_name)?;
            let since = never.since.is_none_or(|since| self.standing(since) == Standing::Reached);
            since.then(|| never.why.to_owned())
        })
    }

    /// Why the backend, which has these objects, does not have a class, if it does not. What a
    /// class was removed with says nothing where its objects are still told of.
    pub fn lacks_class(&self, class: &Class, snapshot: &Snapshot) -> Option<String> {
        let why = self.lacks(&class.lifecycle)?;
        let is_told_of = class.lifecycle.state == State::Removed && !is_gone(class);
        (!is_told_of && snapshot.class(class.id).is_empty()).then_some(why)
    }

    /// All that the backend, which has these objects, cannot have, as far as clients could ask for
    /// it. A field that an object has is there whatever the datamodel says.
    pub fn lacking(&self, snapshot: &Snapshot) -> Lacking {
        let mut lacking = Lacking::default();
        for class in datamodel().classes.iter().filter(|class| class.name != "session") {
            if self.lacks_class(class, snapshot).is_some() {
                lacking.classes.push(&class.name);
                continue;
            }
            let is_shown = |field: &Field| {
                let mut objects = snapshot.class(class.id).iter().take(LOOKED_AT);
                objects.any(|object| object.record().field_named(class, &field.name).is_some())
            };
            let fields = class.fields.iter();
            let fields =
                fields.filter(|field| self.lacks(&field.lifecycle).is_some() && !is_shown(field));
            lacking.fields.extend(fields.map(|field| format!("{}.{}", class.name, field.name)));
            let calls = super::actions::actions(class).map(|action| action.call);
            let calls = calls.filter(|call| self.lacks_call(call).is_some());
            lacking.calls.extend(calls.map(|call| call.wire_name.as_str()));
        }
        lacking
    }

    fn standing(&self, release: &str) -> Standing {
        match (dotted(release), &self.xapi) {
            (Some(release), Some(xapi)) => compare(xapi, &release),
            (Some(_), None) => Standing::Unknown,
            (None, _) => self.standing_by_api(release),
        }
    }

    fn standing_by_api(&self, code_name: &str) -> Standing {
        let releases = &datamodel().releases;
        let api = |index: usize| pair(&releases[index].api_version);
        let named =
            |release: &xenapi_model::Release| release.code_name.as_deref() == Some(code_name);
        let Some(index) = releases.iter().position(named) else { return Standing::Unknown };
        let (Some(ours), Some(wanted)) = (self.api, api(index)) else { return Standing::Unknown };
        // Releases that share an API version cannot be told apart, save that the first comes first.
        let first = index == 0 || api(index - 1) != Some(wanted);
        match ours.cmp(&wanted) {
            std::cmp::Ordering::Less => Standing::Ahead,
            std::cmp::Ordering::Equal if !first => Standing::Unknown,
            _ => Standing::Reached,
        }
    }
}

/// Whether nothing is left of a class that was removed. Of others, records and events are still told
/// (`VIF_metrics`): they keep their uuids.
pub fn is_gone(class: &Class) -> bool {
    let is_published = |field: &Field| field.lifecycle.state == State::Published;
    class.lifecycle.state == State::Removed && !class.field("uuid").is_some_and(is_published)
}

/// How a release stands to a version, either of which may be cut short: `26.17`.
fn compare(version: &[u64], release: &[u64]) -> Standing {
    for (ours, wanted) in version.iter().zip(release) {
        match ours.cmp(wanted) {
            std::cmp::Ordering::Less => return Standing::Ahead,
            std::cmp::Ordering::Greater => return Standing::Reached,
            std::cmp::Ordering::Equal => {}
        }
    }
    // 26.17 is some 26.17.x: at least 26.17.0, perhaps not 26.17.1.
    let rest = release.get(version.len()..).unwrap_or_default();
    if rest.iter().all(|part| *part == 0) { Standing::Reached } else { Standing::Unknown }
}

/// The leading numbers of `25.16.0` or `26.17.0-5-gdeadbee`; a code name has none.
fn dotted(text: &str) -> Option<Vec<u64>> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let parts: Option<Vec<u64>> =
        text[..end].trim_end_matches('.').split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() > 1)
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::State;

    fn version(api: (u64, u64), xapi: Option<&str>) -> Version {
        Version { api: Some(api), xapi: xapi.and_then(dotted) }
    }

    fn lifecycle(since: &str, removed: Option<&str>) -> Lifecycle {
        Lifecycle {
            state: if removed.is_some() { State::Removed } else { State::Published },
            since: since.to_owned(),
            deprecated: None,
            removed: removed.map(str::to_owned),
        }
    }

    #[test]
    fn a_host_tells_its_version() {
        let of = |api_version, xapi: &str| {
            let xapi = Some(xapi.to_owned());
            Version::of_host(&HostSoftware { api_version, xapi, ..HostSoftware::default() })
        };
        assert_eq!(of(Some((2, 21)), "25.6.1-3"), version((2, 21), Some("25.6.1")));
        assert_eq!(of(None, "next"), Version::default());
    }

    #[test]
    fn old_releases_are_told_by_the_api_version() {
        let dundee = version((2, 5), None);
        for (since, lacks) in [
            ("rio", false),
            ("dundee", false),
            ("ely", true),
            ("cream", false),
            // 2.4 is two releases, but 2.5 is later than both.
            ("indigo", false),
            // Which release this is cannot be known, so it is tried.
            ("never-heard-of", false),
            ("25.16.0", false),
        ] {
            assert_eq!(dundee.lacks(&lifecycle(since, None)).is_some(), lacks, "{since}");
        }
        let cream = version((2, 4), None);
        assert_eq!(cream.lacks(&lifecycle("indigo", None)), None, "may be the later of the two");
        assert!(version((2, 3), None).lacks(&lifecycle("indigo", None)).is_some());
        assert!(dundee.lacks(&lifecycle("cowley", Some("clearwater"))).is_some());
        assert!(dundee.lacks(&lifecycle("cowley", Some("ely"))).is_none());
        assert_eq!(Version::default().lacks(&lifecycle("ely", Some("falcon"))), None);
    }

    #[test]
    fn new_releases_are_told_by_xapis_version() {
        let xapi = version((2, 21), Some("25.16"));
        for (since, lacks) in [
            ("25.16.0", false),
            ("25.15.9", false),
            ("25.16.1", false),
            ("25.17.0", true),
            ("26.0.0", true),
            ("1.301.0", false),
        ] {
            assert_eq!(xapi.lacks(&lifecycle(since, None)).is_some(), lacks, "{since}");
        }
        assert!(xapi.lacks(&lifecycle("rio", Some("23.25.0"))).is_some());
        assert!(xapi.lacks(&lifecycle("rio", Some("26.0.0"))).is_none());
    }

    #[test]
    fn an_old_version_lacks_more_than_a_new_one() {
        let nothing = Snapshot::empty();
        let (old, new) = (version((2, 0), Some("1.9")), version((2, 23), Some("99.0")));
        let (old, new) = (old.lacking(&nothing), new.lacking(&nothing));
        assert!(old.classes.contains(&"VM_group") && !old.classes.contains(&"VM"), "{old:?}");
        assert!(old.fields.contains(&"VM.NVRAM".to_owned()), "{:?}", old.fields);
        assert!(!old.fields.iter().any(|field| field.starts_with("VM_group.")));
        assert!(old.calls.contains(&"VM.restart_device_models"), "{:?}", old.calls);
        // VIF_metrics and VBD_metrics are told of in events to this day.
        assert_eq!(new.classes, ["VMPP"]);
        assert!(new.calls.contains(&"host.get_log") && new.calls.len() < 15, "{new:?}");
        let nobody = Version::default().lacking(&nothing);
        assert!(nobody.classes.is_empty() && nobody.fields.is_empty(), "nothing is claimed");
    }

    #[test]
    fn what_was_removed_and_published_again_is_there() {
        let new = version((2, 23), Some("26.17.0"));
        let mut again = 0;
        for class in &datamodel().classes {
            let lives = class.fields.iter().map(|field| &field.lifecycle);
            let lives = lives.chain(class.calls.iter().map(|call| &call.lifecycle));
            for life in lives.filter(|life| life.removed.is_some()) {
                let lacks = new.lacks(life);
                assert_eq!(lacks.is_some(), life.state == State::Removed, "{life:?}");
                again += usize::from(lacks.is_none());
            }
        }
        assert!(again > 0, "VDI.resize_online is one of them");
    }

    #[test]
    fn calls_that_no_release_carries_out_are_known() {
        let (old, new) = (version((1, 8), None), version((2, 23), Some("26.17.0")));
        for (name, old_lacks) in [("host.get_log", true), ("pool.test_archive_target", false)] {
            let call = datamodel().call(name).expect("a call").1;
            assert!(new.lacks_call(call).is_some(), "{name}");
            assert_eq!(old.lacks_call(call).is_some(), old_lacks, "{name}");
        }
        let start = datamodel().call("VM.start").expect("a call").1;
        assert_eq!(new.lacks_call(start), None);
    }

    #[test]
    fn every_release_of_the_datamodel_can_be_compared() {
        let newest = version((2, 23), Some("99.0.0"));
        for class in &datamodel().classes {
            let lives = class.fields.iter().map(|field| &field.lifecycle);
            let lives = lives.chain(class.calls.iter().map(|call| &call.lifecycle));
            for life in lives {
                assert_ne!(newest.standing(&life.since), Standing::Unknown, "{}", life.since);
            }
        }
    }
}
