//! What readers see: one immutable snapshot of a backend's objects.
//!
//! Snapshots share structure: the writer clones one, changes it and publishes it, and readers keep
//! the one they began with for as long as they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imbl::OrdMap;
use uuid::Uuid;

use super::encode::Sources;
use super::record::Record;
use xenapi_model::{Class, ClassId, datamodel};
use xenapi_wire::Limits;
use xenapi_wire::sxp;

/// An object of a backend.
#[derive(Debug)]
pub struct Object {
    class: ClassId,
    uuid: Uuid,
    reference: Arc<str>,
    /// Set once, when the batch that brought this version is published.
    revision: AtomicU64,
    record: Record,
    pub(super) sources: Sources,
    raw: Option<Arc<str>>,
}

impl Object {
    pub(super) fn new(
        class: ClassId,
        uuid: Uuid,
        reference: Arc<str>,
        record: Record,
        sources: Sources,
    ) -> Self {
        Self { class, uuid, reference, revision: AtomicU64::new(0), record, sources, raw: None }
    }

    /// The same with the backend's own form of it.
    pub(super) fn with_raw(self, raw: Option<Arc<str>>) -> Self {
        Self { raw, ..self }
    }

    /// The backend's own form of it as JSON, where that tells more than the record: a domain's
    /// s-expression. It changes from poll to poll without a change of the object.
    pub fn raw(&self) -> Option<&Arc<str>> {
        self.raw.as_ref()
    }

    /// The backend's own form of it as the text of an s-expression.
    pub fn sxp(&self) -> Option<String> {
        let sxp = sxp::read(self.raw.as_deref()?.as_bytes(), Limits::default()).ok()?;
        Some(sxp.pretty())
    }

    /// Its class.
    pub fn class(&self) -> &'static Class {
        datamodel().get(self.class)
    }

    /// Its uuid.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The ref by which its backend knows it; for calls, never for clients.
    pub fn reference(&self) -> &Arc<str> {
        &self.reference
    }

    /// The name of its backend.
    pub fn backend(&self) -> &str {
        self.record.backend()
    }

    /// Its record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The revision that brought this version of it.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    pub(super) fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// This version, if it can stand in for `after`, which looks the same to clients. It cannot
    /// when `after` shows refs of its own, to be encoded again, or tells more; then that takes this revision.
    pub(super) fn keep_over(self: &Arc<Self>, after: &Self) -> Option<Arc<Self>> {
        if self.sources == after.sources && self.raw == after.raw {
            return Some(self.clone());
        }
        after.set_revision(self.revision());
        None
    }

    /// Which of a class's views it belongs to.
    pub fn view(&self) -> View {
        View::of(self.class(), &self.record)
    }

    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        let raw = self.raw.as_ref().map_or(0, |raw| raw.len());
        size_of::<Self>() + self.record.size() + self.sources.size() + raw
    }
}

/// VMs, templates and snapshots are one class on the wire and three collections for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Objects of a class that has no views, and VMs proper, control domains included.
    Plain,
    /// VMs with `is_a_template` and not `is_a_snapshot`.
    Template,
    /// VMs with `is_a_snapshot`.
    Snapshot,
}

impl View {
    fn of(class: &Class, record: &Record) -> Self {
        if class.name != "VM" {
            Self::Plain
        } else if record.is_true(class, "is_a_snapshot") {
            Self::Snapshot
        } else if record.is_true(class, "is_a_template") {
            Self::Template
        } else {
            Self::Plain
        }
    }
}

/// The objects of one class or of one view of it, by uuid.
#[derive(Debug, Clone, Default)]
pub struct Table {
    objects: OrdMap<Uuid, Arc<Object>>,
    revision: u64,
    bytes: usize,
}

impl Table {
    /// The object with this uuid.
    pub fn get(&self, uuid: &Uuid) -> Option<&Arc<Object>> {
        self.objects.get(uuid)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The revision of the newest change to this table, deletions included.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The bytes of all its records as JSON.
    pub fn json_bytes(&self) -> usize {
        self.bytes
    }

    /// About how many bytes so many of them are as JSON.
    pub fn json_bytes_of(&self, objects: usize) -> usize {
        match self.len() {
            0 => 0,
            all if objects >= all => self.bytes,
            all => self.bytes / all * objects,
        }
    }

    /// All objects in the order of their uuids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The objects behind `uuid`, in order.
    pub fn after(&self, uuid: Uuid) -> impl Iterator<Item = &Arc<Object>> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.objects.range((Excluded(uuid), Unbounded)).map(|(_, object)| object)
    }

    /// The objects behind `uuid`, or all of them, in order.
    pub fn behind(&self, uuid: Option<Uuid>) -> impl Iterator<Item = &Arc<Object>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = uuid.map_or(Unbounded, Excluded);
        self.objects.range((from, Unbounded)).map(|(_, object)| object)
    }

    fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        self.bytes += object.record.json().len();
        let before = self.objects.insert(object.uuid, object);
        self.bytes -= before.as_ref().map_or(0, |object| object.record.json().len());
        before
    }

    fn remove(&mut self, uuid: &Uuid) -> Option<Arc<Object>> {
        let before = self.objects.remove(uuid);
        self.bytes -= before.as_ref().map_or(0, |object| object.record.json().len());
        before
    }
}

/// Every mirrored object of a backend at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    revision: u64,
    classes: Box<[Table]>,
    vms: Table,
    templates: Table,
    snapshots: Table,
}

impl Snapshot {
    /// Nothing.
    pub fn empty() -> Self {
        Self {
            revision: 0,
            classes: vec![Table::default(); datamodel().classes.len()].into(),
            vms: Table::default(),
            templates: Table::default(),
            snapshots: Table::default(),
        }
    }

    /// The revision at which it was published.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All objects of a class, whatever their view.
    pub fn class(&self, class: ClassId) -> &Table {
        &self.classes[usize::from(class.0)]
    }

    /// The objects of a class that belong to a view.
    pub fn view(&self, class: &Class, view: View) -> &Table {
        match view {
            _ if class.name != "VM" => self.class(class.id),
            View::Plain => &self.vms,
            View::Template => &self.templates,
            View::Snapshot => &self.snapshots,
        }
    }

    /// The object of this class and uuid.
    pub fn object(&self, class: ClassId, uuid: &Uuid) -> Option<&Arc<Object>> {
        self.class(class).get(uuid)
    }

    /// How many objects there are in all.
    pub fn len(&self) -> usize {
        self.classes.iter().map(Table::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an object in place of the one with its uuid, and gives that back.
    pub(super) fn insert(&mut self, object: Arc<Object>) -> Option<Arc<Object>> {
        let before = self.classes[usize::from(object.class.0)].insert(object.clone());
        if object.class().name == "VM" {
            let view = object.view();
            if let Some(before) = before.as_ref().map(|before| before.view())
                && before != view
            {
                self.view_mut(before).remove(&object.uuid);
            }
            self.view_mut(view).insert(object);
        }
        before
    }

    pub(super) fn remove(&mut self, class: ClassId, uuid: &Uuid) -> Option<Arc<Object>> {
        let before = self.classes[usize::from(class.0)].remove(uuid)?;
        if before.class().name == "VM" {
            self.view_mut(before.view()).remove(uuid);
        }
        Some(before)
    }

    /// Marks the snapshot, the tables that `changes` touch and their objects with `revision`.
    pub(super) fn stamp(&mut self, revision: u64, changes: &[Change]) {
        self.revision = revision;
        for change in changes {
            if let Some(after) = &change.after {
                after.set_revision(revision);
            }
            for object in change.before.iter().chain(&change.after) {
                self.classes[usize::from(object.class.0)].revision = revision;
                if object.class().name == "VM" {
                    self.view_mut(object.view()).revision = revision;
                }
            }
        }
    }

    /// Starts the tables' revisions where those of `old` stood.
    pub(super) fn keep_revisions(&mut self, old: &Self) {
        self.revision = old.revision;
        for (table, old) in self.classes.iter_mut().zip(&old.classes) {
            table.revision = old.revision;
        }
        for view in [View::Plain, View::Template, View::Snapshot] {
            self.view_mut(view).revision = match view {
                View::Plain => old.vms.revision,
                View::Template => old.templates.revision,
                View::Snapshot => old.snapshots.revision,
            };
        }
    }

    fn view_mut(&mut self, view: View) -> &mut Table {
        match view {
            View::Plain => &mut self.vms,
            View::Template => &mut self.templates,
            View::Snapshot => &mut self.snapshots,
        }
    }
}

/// What a batch did to one object: added (no `before`), modified, or deleted (no `after`).
#[derive(Debug, Clone)]
pub struct Change {
    /// The version before.
    pub before: Option<Arc<Object>>,
    /// The version after.
    pub after: Option<Arc<Object>>,
}

impl Change {
    /// The version that is left of the object, the last one where it was deleted.
    pub fn object(&self) -> Option<&Arc<Object>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Where it stands in its batch: by class and uuid, deletions last.
    pub(super) fn order(&self) -> (bool, Option<(ClassId, Uuid)>) {
        (self.after.is_none(), self.object().map(|object| (object.class, object.uuid)))
    }
}
