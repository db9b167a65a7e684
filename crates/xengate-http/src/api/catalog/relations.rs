//! Collections below an object: `/vms/{uuid}/vbds`, `/hosts/{uuid}/vms`, derived from the
//! datamodel's relations.

use std::sync::OnceLock;

use super::collections;
use crate::api::catalog::collections::{Collection, Source};
use xenapi_model::{Class, Type, datamodel};

/// A collection below the objects of a class.
#[derive(Debug)]
pub struct Relation {
    /// The class's own collection: `hosts`.
    pub parent: &'static Collection,
    /// The last part of the path: `vms`.
    pub path: String,
    /// The collection of the objects it lists.
    pub target: &'static Collection,
    /// Which objects those are.
    pub members: Members,
}

/// Which objects belong to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Those that a field of the other names.
    Named(&'static str),
    /// Every one of its backend: a pool's hosts.
    All,
}

/// Every relation, in the order of the classes and their fields.
pub fn relations() -> &'static [Relation] {
    static RELATIONS: OnceLock<Vec<Relation>> = OnceLock::new();
    RELATIONS.get_or_init(|| {
        let mut relations: Vec<Relation> = datamodel().classes.iter().flat_map(of).collect();
        // The Xen-API has no field for it, because a backend is one pool.
        if let (Some(pools), Some(hosts)) = (own("pool"), own("host")) {
            let path = hosts.path.to_owned();
            relations.push(Relation { parent: pools, path, target: hosts, members: Members::All });
        }
        relations
    })
}

/// The class's own collection, if it is mirrored.
fn own(class: &str) -> Option<&'static Collection> {
    collections::path_of(class)
        .and_then(collections::collection)
        .filter(|collection| collection.source == Source::Mirror)
}

fn of(class: &'static Class) -> Vec<Relation> {
    let related: Vec<(&'static str, &'static Collection)> = class
        .fields
        .iter()
        .filter(|field| is_related(class, &field.name))
        .filter_map(|field| {
            let Type::Set(element) = &field.ty else { return None };
            let Type::Ref(target) = **element else { return None };
            Some((field.name.as_str(), own(&datamodel().get(target).name)?))
        })
        .collect();
    let Some(parent) = own(&class.name) else { return Vec::new() };
    let relation = |&(field, target): &(&'static str, &'static Collection)| {
        // What an object has of one class is called after that class, unless it has several.
        let several = related.iter().filter(|(_, other)| other.class == target.class).count() > 1;
        let path = match several || target.class == class.name {
            true => field.to_ascii_lowercase().replace('_', "-"),
            false => target.path.to_owned(),
        };
        Relation { parent, path, target, members: Members::Named(field) }
    };
    related.iter().map(relation).collect()
}

fn is_related(class: &Class, field: &str) -> bool {
    let mut ends = datamodel().relations.iter().flatten();
    ends.any(|(of, name)| *of == class.id && name == field)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_people_expect_is_there_once() {
        let mut paths = HashSet::new();
        for Relation { parent, path, .. } in relations() {
            assert!(paths.insert(format!("/{}/{path}", parent.path)), "{path} twice");
            assert_ne!(path, "metrics");
            assert_ne!(path, "actions");
        }
        for path in [
            "/vms/vbds",
            "/vms/vifs",
            "/vms/snapshots",
            "/vms/consoles",
            "/vms/children",
            "/hosts/vms",
            "/hosts/pbds",
            "/hosts/pifs",
            "/srs/vdis",
            "/srs/pbds",
            "/vdis/vbds",
            "/networks/vifs",
            "/pools/hosts",
            "/pgpus/supported-vgpu-types",
        ] {
            assert!(paths.contains(path), "{path}");
        }
    }
}
