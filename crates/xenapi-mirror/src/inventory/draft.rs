//! A snapshot in the making: takes events, settles references, and tells what changed.

use std::borrow::Cow;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use serde_json::value::RawValue;

use super::bound::whole_size;
use super::encode::{EncodeError, Encoded, Encoder};
use super::refs::{RefId, RefIndex, Target};
use super::store::{Change, Object, Snapshot};
use super::unread::{Reread, Unread};
use xenapi_client::Found;
use xenapi_model::{Class, datamodel};
use xenapi_wire::mend::{may_hold_half_pairs, mended};

/// Classes that events tell of and that no mirror keeps: sessions hold what must not leave the
/// gateway, roles are the datamodel's own.
const NOT_MIRRORED: [&str; 4] = ["session", "event", "role", "secret"];

/// Whether the mirror keeps objects of this class.
pub fn is_mirrored(class: &Class) -> bool {
    class.gen_events
        && class.field_index("uuid").is_some()
        && !NOT_MIRRORED.contains(&class.name.as_str())
}

/// One event of `event.from`.
#[derive(serde::Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    class: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(rename = "ref", borrow)]
    reference: Cow<'a, str>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    fn of(json: &'a str) -> Option<Self> {
        if let Ok(event) = serde_json::from_str(json) {
            return Some(event);
        }
        // A name that comes twice: the last one counts.
        let members: HashMap<String, &'a RawValue> = serde_json::from_str(json).ok()?;
        let text = |name: &str| serde_json::from_str::<String>(members.get(name)?.get()).ok();
        Some(Self {
            class: text("class")?.into(),
            operation: text("operation").unwrap_or_default().into(),
            reference: text("ref")?.into(),
            snapshot: members.get("snapshot").copied().filter(|json| json.get() != "null"),
        })
    }

    /// What an event is about of which more cannot be read: XAPI puts the snapshot last.
    fn without_snapshot(json: &'a str) -> Option<Event<'static>> {
        let head = json.get(..json.find("\"snapshot\"")?)?.trim_end().trim_end_matches(',');
        let event = format!("{head}}}");
        let Event { class, operation, reference, .. } = Event::of(&event)?;
        let (class, operation) = (class.into_owned().into(), operation.into_owned().into());
        let reference = reference.into_owned().into();
        Some(Event { class, operation, reference, snapshot: None })
    }
}

/// Objects as they were before, by class and uuid; `None` for one that was not there.
type Before = HashMap<Target, Option<Arc<Object>>>;

/// A snapshot in the making.
pub(super) struct Draft {
    snapshot: Snapshot,
    /// What each touched object was before. A fresh draft does not need it: there, everything is
    /// new.
    before: Option<Before>,
    /// Refs whose objects show a ref that changed its target.
    dirty: HashSet<RefId>,
    /// Refs of objects to delete, once everything else is in place.
    gone: HashSet<RefId>,
    /// Events and records that could not be read.
    unreadable: u64,
    /// The objects that they are about.
    unread: Unread,
    /// What the objects that were put in take in memory.
    bytes: usize,
}

impl Draft {
    /// A draft that starts from nothing, for a fresh sync.
    pub(super) fn fresh() -> Self {
        Self { before: None, ..Self::from(Snapshot::empty()) }
    }

    /// A draft that starts from `snapshot`, for a batch of changes.
    pub(super) fn from(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            before: Some(HashMap::default()),
            dirty: HashSet::default(),
            gone: HashSet::default(),
            unreadable: 0,
            unread: Unread::default(),
            bytes: 0,
        }
    }

    /// The same where these objects could not be read before.
    pub(super) fn with_unread(self, unread: Unread) -> Self {
        Self { unread, ..self }
    }

    /// Objects that could not be read so far.
    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    /// What the objects that it has taken take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one event, as the JSON of `event.from`.
    pub(super) fn take(&mut self, event: &[u8], encoder: &mut Encoder, refs: &mut RefIndex) {
        let text;
        let read = match serde_json::from_slice::<Event<'_>>(event) {
            Ok(read) if !may_hold_half_pairs(event) => Some(read),
            // Sloppy bytes, and a value that cannot be read, cost an object nothing else.
            _ => {
                text = mended(event);
                Event::of(&text).or_else(|| Event::without_snapshot(&text))
            }
        };
        let Some(event) = read else {
            self.unreadable += 1;
            self.unread.note_unknown();
            return;
        };
        // A class of a newer release is not in the datamodel, and has no route either.
        let Some(class) = datamodel().class_of_event(&event.class) else { return };
        if !is_mirrored(class) {
            return;
        }
        let id = refs.intern(&event.reference);
        match (&*event.operation, event.snapshot) {
            ("add" | "mod", Some(snapshot)) => match encoder.encode(class, snapshot.get(), refs) {
                Ok(encoded) => {
                    self.unread.settle(&event.reference);
                    self.put(class, id, encoded, None, refs);
                }
                Err(_) => self.not_read(class, &event.reference),
            },
            ("del", _) => {
                self.unread.settle(&event.reference);
                self.gone.insert(id);
            }
            _ => self.not_read(class, &event.reference),
        }
    }

    fn not_read(&mut self, class: &'static Class, reference: &str) {
        self.unreadable += 1;
        self.unread.note(class, reference);
    }

    /// Takes what came of asking for objects that could not be read.
    pub(super) fn take_again(
        &mut self,
        read: &[Reread],
        encoder: &mut Encoder,
        refs: &mut RefIndex,
    ) {
        for Reread { class, reference, record } in read {
            let id = refs.intern(reference);
            let Some(record) = record else {
                self.unread.settle(reference);
                self.gone.insert(id);
                continue;
            };
            match encode(encoder, class, record, refs) {
                Ok(encoded) => {
                    self.unread.settle(reference);
                    self.put(class, id, encoded, None, refs);
                }
                Err(_) => self.unreadable += 1,
            }
        }
    }

    /// Keeps what `old` has of objects that could not be read and are not here yet.
    pub(super) fn keep_unread(
        &mut self,
        old: &Snapshot,
        encoder: &mut Encoder,
        refs: &mut RefIndex,
    ) {
        if self.unread.is_empty() {
            return;
        }
        for (class, reference) in self.unread.clone().objects() {
            let mut known = old.class(class.id).iter();
            let Some(object) = known.find(|object| &**object.reference() == reference) else {
                continue;
            };
            if self.snapshot.object(class.id, &object.uuid()).is_none() {
                let (uuid, id) = (object.uuid(), refs.intern(reference));
                let kept = encoder.again(class, uuid, object.record(), &object.sources, refs);
                self.put(class, id, kept, object.raw().cloned(), refs);
            }
        }
    }

    /// Takes word of what a ref names that no event tells of.
    pub(super) fn learn(&mut self, name: &str, target: Target, refs: &mut RefIndex) {
        let id = refs.intern(name);
        self.dirty.extend(refs.set_target(id, Some(target)));
    }

    /// Takes an object as a backend that is asked gives it. Whether it could be read.
    pub(super) fn take_found(
        &mut self,
        found: &Found,
        encoder: &mut Encoder,
        refs: &mut RefIndex,
    ) -> bool {
        let Some(class) = datamodel().class(found.class).filter(|class| is_mirrored(class)) else {
            return true;
        };
        let id = refs.intern(&found.reference);
        let Some(record) = &found.record else {
            self.unread.settle(&found.reference);
            self.gone.insert(id);
            return true;
        };
        let encoded = encode(encoder, class, record, refs);
        let is_read = encoded.is_ok();
        match encoded {
            Ok(encoded) => {
                self.unread.settle(&found.reference);
                self.put(class, id, encoded, found.raw.as_deref().map(Arc::from), refs);
            }
            Err(_) => self.not_read(class, &found.reference),
        }
        is_read
    }

    /// Takes it that those objects of a class are no more whose refs are not among these.
    pub(super) fn keep_only(&mut self, class: &Class, known: &HashSet<&str>, refs: &mut RefIndex) {
        self.unread.keep_only(class, known);
        let table = self.snapshot.class(class.id);
        let missing = table.iter().filter(|object| !known.contains(&**object.reference()));
        let missing: Vec<Arc<str>> = missing.map(|object| object.reference().clone()).collect();
        self.gone.extend(missing.iter().map(|reference| refs.intern(reference)));
    }

    fn put(
        &mut self,
        class: &Class,
        id: RefId,
        mut encoded: Encoded,
        raw: Option<Arc<str>>,
        refs: &mut RefIndex,
    ) {
        self.gone.remove(&id);
        let target = (class.id, encoded.uuid);
        // A ref that comes to name another uuid leaves the object of the old one.
        if let Some(old) = refs.target(id).filter(|old| *old != target) {
            self.remove(old, id, refs);
        }
        // A console's location names the console: when it was encoded, its ref named nothing yet.
        if encoded.shown.contains(&id) && refs.target(id) != Some(target) {
            self.dirty.insert(id);
        }
        self.dirty.extend(refs.set_target(id, Some(target)));
        refs.set_points_to(id, &mut encoded.shown);
        let Some(reference) = refs.name(id).cloned() else { return };
        let object =
            Object::new(class.id, encoded.uuid, reference, encoded.record, encoded.sources);
        let object = object.with_raw(raw);
        self.bytes += whole_size(&object);
        self.insert(Arc::new(object));
    }

    fn insert(&mut self, object: Arc<Object>) {
        let key = (object.class().id, object.uuid());
        let before = self.snapshot.insert(object);
        self.note(key, before);
    }

    /// Removes the object at `target`, if it is still the one that `id` names.
    fn remove(&mut self, target: Target, id: RefId, refs: &RefIndex) {
        let (class, uuid) = target;
        let is_its = self
            .snapshot
            .object(class, &uuid)
            .is_some_and(|object| refs.name(id) == Some(object.reference()));
        if is_its {
            let before = self.snapshot.remove(class, &uuid);
            self.note(target, before);
        }
    }

    fn note(&mut self, key: Target, object: Option<Arc<Object>>) {
        if let Some(before) = &mut self.before {
            before.entry(key).or_insert(object);
        }
    }

    /// Deletes what is to go and encodes again what shows a ref that came or went.
    pub(super) fn settle(&mut self, encoder: &mut Encoder, refs: &mut RefIndex) {
        let gone: Vec<RefId> = self.gone.drain().collect();
        for id in &gone {
            if let Some(target) = refs.target(*id) {
                self.remove(target, *id, refs);
            }
            self.dirty.extend(refs.set_target(*id, None));
            refs.set_points_to(*id, &mut Vec::new());
        }
        for id in self.dirty.drain().collect::<Vec<_>>() {
            self.encode_again(id, encoder, refs);
        }
        for id in gone {
            refs.forget_unused(id);
        }
    }

    fn encode_again(&mut self, id: RefId, encoder: &mut Encoder, refs: &mut RefIndex) {
        let Some((class, uuid)) = refs.target(id) else { return };
        let Some(object) = self.snapshot.object(class, &uuid).cloned() else { return };
        if refs.name(id) != Some(object.reference()) {
            return;
        }
        let again = encoder.again(object.class(), uuid, object.record(), &object.sources, refs);
        if again.record != *object.record() {
            let (reference, raw) = (object.reference().clone(), object.raw().cloned());
            drop(object);
            let object = Object::new(class, uuid, reference, again.record, again.sources);
            self.insert(Arc::new(object.with_raw(raw)));
        }
    }

    /// After a fresh sync: takes over the unchanged objects of `old`, and tells what differs.
    pub(super) fn finish_against(mut self, old: &Snapshot) -> Finished {
        let mut changes = Vec::new();
        for class in &datamodel().classes {
            let mut kept = Vec::new();
            for after in self.snapshot.class(class.id).iter() {
                match old.object(class.id, &after.uuid()) {
                    Some(before) if same(before, after) => {
                        kept.extend(before.keep_over(after));
                    }
                    before => {
                        changes
                            .push(Change { before: before.cloned(), after: Some(after.clone()) });
                    }
                }
            }
            for object in kept {
                self.snapshot.insert(object);
            }
            for before in old.class(class.id).iter() {
                if self.snapshot.object(class.id, &before.uuid()).is_none() {
                    changes.push(Change { before: Some(before.clone()), after: None });
                }
            }
        }
        changes.sort_unstable_by_key(Change::order);
        self.snapshot.keep_revisions(old);
        Finished {
            snapshot: self.snapshot,
            changes,
            unreadable: self.unreadable,
            unread: self.unread,
        }
    }

    /// After a batch: the snapshot, and what the batch changed in the end.
    pub(super) fn finish(mut self) -> Finished {
        let mut changes = Vec::new();
        for ((class, uuid), before) in self.before.take().unwrap_or_default() {
            let after = self.snapshot.object(class, &uuid).cloned();
            match (before, after) {
                (None, None) => {}
                // XAPI tells of many changes that no record shows.
                (Some(before), Some(after)) if same(&before, &after) => {
                    if let Some(before) = before.keep_over(&after) {
                        self.snapshot.insert(before);
                    }
                }
                (before, after) => changes.push(Change { before, after }),
            }
        }
        changes.sort_unstable_by_key(Change::order);
        Finished {
            snapshot: self.snapshot,
            changes,
            unreadable: self.unreadable,
            unread: self.unread,
        }
    }
}

fn encode(
    encoder: &mut Encoder,
    class: &'static Class,
    record: &str,
    refs: &mut RefIndex,
) -> Result<Encoded, EncodeError> {
    match may_hold_half_pairs(record.as_bytes()) {
        false => encoder.encode(class, record, refs),
        true => encoder.encode(class, &mended(record.as_bytes()), refs),
    }
}

/// Whether clients see no difference.
fn same(before: &Object, after: &Object) -> bool {
    before.record() == after.record() && before.reference() == after.reference()
}

/// A draft that became a snapshot.
pub(super) struct Finished {
    pub(super) snapshot: Snapshot,
    pub(super) changes: Vec<Change>,
    /// How many events and records could not be read.
    pub(super) unreadable: u64,
    /// The objects of which what is here is old, or that are missing.
    pub(super) unread: Unread,
}

#[cfg(test)]
mod tests;
