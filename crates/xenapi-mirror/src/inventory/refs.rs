//! Refs of one backend: what each names, and who refers to it.
//!
//! XAPI sends references before the objects they name, and some outlive what they named. The index
//! knows every ref that was ever mentioned by an object that is still there, so that when a target
//! appears or goes, the records that show its uuid are found and encoded again.

use std::sync::Arc;

use foldhash::HashMap;
use uuid::Uuid;

use xenapi_model::ClassId;

/// A ref's place in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RefId(u32);

/// What a ref names.
pub type Target = (ClassId, Uuid);

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    target: Option<Target>,
    /// Objects whose records show this ref.
    referrers: Vec<RefId>,
    /// Refs that the object of this ref shows, each once.
    points_to: Box<[RefId]>,
}

/// The refs of one backend.
#[derive(Debug, Default)]
pub(super) struct RefIndex {
    ids: HashMap<Arc<str>, RefId>,
    entries: Vec<Option<Entry>>,
    free: Vec<RefId>,
    /// A ref is the uuid of what it names.
    names_are_uuids: bool,
}

impl RefIndex {
    /// The refs of a backend none of which is known yet; each is the uuid of what it names, or ends
    /// with it, if that is said.
    pub(super) fn new(names_are_uuids: bool) -> Self {
        Self { names_are_uuids, ..Self::default() }
    }

    /// The same without what is known.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.names_are_uuids)
    }

    /// The uuid that stands for a ref in records. Where refs are uuids, it need not be known what
    /// they name.
    pub(super) fn shown(&self, id: RefId) -> Option<Uuid> {
        let entry = self.entry(id)?;
        entry.target.map(|(_, uuid)| uuid).or_else(|| self.named(&entry.name))
    }

    /// The same for a ref that may not be known.
    pub(super) fn shown_of(&self, name: &str) -> Option<Uuid> {
        self.resolve(name).map(|(_, uuid)| uuid).or_else(|| self.named(name))
    }

    fn named(&self, name: &str) -> Option<Uuid> {
        let last = name.rsplit('/').next().filter(|_| self.names_are_uuids)?;
        Uuid::try_parse(last).ok()
    }

    /// What the ref of this name stands for, if it names an object that is there.
    pub(super) fn resolve(&self, name: &str) -> Option<Target> {
        self.entry(*self.ids.get(name)?)?.target
    }

    /// How many refs are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no ref is known.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a ref, known or new.
    pub(super) fn intern(&mut self, name: &str) -> RefId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let name: Arc<str> = name.into();
        let entry =
            Entry { name: name.clone(), target: None, referrers: Vec::new(), points_to: [].into() };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id.0 as usize] = Some(entry);
                id
            }
            None => {
                self.entries.push(Some(entry));
                RefId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.ids.insert(name, id);
        id
    }

    pub(super) fn target(&self, id: RefId) -> Option<Target> {
        self.entry(id)?.target
    }

    /// The ref's own text, shared.
    pub(super) fn name(&self, id: RefId) -> Option<&Arc<str>> {
        Some(&self.entry(id)?.name)
    }

    /// Sets what a ref names, and says who must be encoded again because that changed.
    pub(super) fn set_target(&mut self, id: RefId, target: Option<Target>) -> &[RefId] {
        match self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) {
            Some(entry) if entry.target != target => {
                entry.target = target;
                &entry.referrers
            }
            _ => &[],
        }
    }

    /// Sets which refs the object of `id` shows; `shown` is sorted here.
    pub(super) fn set_points_to(&mut self, id: RefId, shown: &mut Vec<RefId>) {
        shown.sort_unstable();
        shown.dedup();
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        if *entry.points_to == **shown {
            return;
        }
        let before = std::mem::replace(&mut entry.points_to, shown.as_slice().into());
        for target in before.iter().filter(|target| shown.binary_search(target).is_err()) {
            if let Some(entry) = self.entries.get_mut(target.0 as usize).and_then(Option::as_mut) {
                entry.referrers.retain(|referrer| *referrer != id);
            }
            self.forget_unused(*target);
        }
        for target in shown.iter().filter(|target| before.binary_search(target).is_err()) {
            if let Some(entry) = self.entries.get_mut(target.0 as usize).and_then(Option::as_mut) {
                entry.referrers.push(id);
            }
        }
    }

    /// Frees a ref that names nothing and that nobody shows.
    pub(super) fn forget_unused(&mut self, id: RefId) {
        let unused = self.entry(id).is_some_and(|entry| {
            entry.target.is_none() && entry.referrers.is_empty() && entry.points_to.is_empty()
        });
        if unused && let Some(entry) = self.entries[id.0 as usize].take() {
            self.ids.remove(&entry.name);
            self.free.push(id);
        }
    }

    fn entry(&self, id: RefId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_appears_or_goes_names_its_referrers() {
        let mut refs = RefIndex::default();
        let (vm, vbd) = (refs.intern("OpaqueRef:vm"), refs.intern("OpaqueRef:vbd"));
        refs.set_points_to(vm, &mut vec![vbd, vbd]);
        let target = Some((ClassId(1), Uuid::from_u128(7)));
        assert_eq!(refs.set_target(vbd, target), [vm]);
        assert!(refs.set_target(vbd, target).is_empty(), "nothing changed");
        assert_eq!(refs.resolve("OpaqueRef:vbd"), target);
        assert_eq!(refs.set_target(vbd, None), [vm]);
    }

    #[test]
    fn a_ref_that_is_a_uuid_is_shown_before_it_is_known_what_it_names() {
        let uuid = Uuid::from_u128(7);
        let (mut refs, name) = (RefIndex::new(true), uuid.to_string());
        let id = refs.intern(&format!("VIF_metrics/{name}"));
        assert_eq!((refs.target(id), refs.shown(id)), (None, Some(uuid)));
        assert_eq!((refs.shown_of(&name), refs.shown_of("eth0")), (Some(uuid), None));
        assert_eq!(refs.emptied().shown_of(&name), Some(uuid));
        assert_eq!(RefIndex::default().shown_of(&name), None);
    }

    #[test]
    fn a_ref_that_nobody_shows_is_forgotten_and_its_place_used_again() {
        let mut refs = RefIndex::default();
        let (vm, gone) = (refs.intern("vm"), refs.intern("gone"));
        refs.set_target(vm, Some((ClassId(1), Uuid::nil())));
        refs.set_points_to(vm, &mut vec![gone]);
        assert_eq!(refs.len(), 2);
        refs.set_points_to(vm, &mut vec![]);
        assert_eq!(refs.len(), 1);
        assert_eq!(refs.resolve("gone"), None);
        assert_eq!(refs.intern("new"), gone);
    }
}
