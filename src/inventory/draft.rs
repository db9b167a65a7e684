//! A snapshot in the making: takes events, settles references, and tells what changed.

use std::borrow::Cow;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use serde_json::value::RawValue;

use super::encode::{Encoded, Encoder};
use super::json::{self, may_hold_half_pairs};
use super::refs::{RefId, RefIndex, Target};
use super::store::{Change, Object, Snapshot};
use crate::backend::Found;
use crate::datamodel::{Class, datamodel};

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
    /// Events that could not be read.
    unreadable: u64,
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
        }
    }

    /// Takes one event, as the JSON of `event.from`.
    pub(super) fn take(&mut self, event: &[u8], encoder: &mut Encoder, refs: &mut RefIndex) {
        let mended;
        let read = match serde_json::from_slice::<Event<'_>>(event) {
            Ok(read) if !may_hold_half_pairs(event) => Some(read),
            // Sloppy bytes cost an object nothing.
            _ => {
                mended = json::mended(event);
                serde_json::from_str(&mended).ok()
            }
        };
        let Some(event) = read else {
            self.unreadable += 1;
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
                Ok(encoded) => self.put(class, id, encoded, None, refs),
                Err(_) => self.unreadable += 1,
            },
            ("del", _) => {
                self.gone.insert(id);
            }
            _ => self.unreadable += 1,
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
            self.gone.insert(id);
            return true;
        };
        let encoded = match may_hold_half_pairs(record.as_bytes()) {
            false => encoder.encode(class, record, refs),
            true => encoder.encode(class, &json::mended(record.as_bytes()), refs),
        };
        let is_read = encoded.is_ok();
        match encoded {
            Ok(encoded) => self.put(class, id, encoded, found.raw.as_deref().map(Arc::from), refs),
            Err(_) => self.unreadable += 1,
        }
        is_read
    }

    /// Takes it that those objects of a class are no more whose refs are not among these.
    pub(super) fn keep_only(&mut self, class: &Class, known: &HashSet<&str>, refs: &mut RefIndex) {
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
        self.insert(Arc::new(object.with_raw(raw)));
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
        Finished { snapshot: self.snapshot, changes, unreadable: self.unreadable }
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
        Finished { snapshot: self.snapshot, changes, unreadable: self.unreadable }
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
    pub(super) unreadable: u64,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// A backend's events applied as the mirror applies them.
    struct Bench {
        encoder: Encoder,
        refs: RefIndex,
        snapshot: Snapshot,
        revision: u64,
    }

    impl Bench {
        fn new() -> Self {
            let (encoder, refs) = (Encoder::new("lab"), RefIndex::default());
            Self { encoder, refs, snapshot: Snapshot::empty(), revision: 0 }
        }

        fn batch(&mut self, events: &[String]) -> Vec<Change> {
            let mut draft = Draft::from(self.snapshot.clone());
            for event in events {
                draft.take(event.as_bytes(), &mut self.encoder, &mut self.refs);
            }
            draft.settle(&mut self.encoder, &mut self.refs);
            let finished = draft.finish();
            self.publish(finished)
        }

        fn fresh(&mut self, events: &[String]) -> Vec<Change> {
            let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
            for event in events {
                draft.take(event.as_bytes(), &mut self.encoder, &mut refs);
            }
            draft.settle(&mut self.encoder, &mut refs);
            self.refs = refs;
            let finished = draft.finish_against(&self.snapshot);
            self.publish(finished)
        }

        fn publish(&mut self, finished: Finished) -> Vec<Change> {
            assert_eq!(finished.unreadable, 0);
            self.snapshot = finished.snapshot;
            self.revision += 1;
            self.snapshot.stamp(self.revision, &finished.changes);
            finished.changes
        }

        fn json(&self, class: &str, uuid: u128) -> String {
            let class = datamodel().class(class).expect("a class").id;
            let object = self.snapshot.object(class, &Uuid::from_u128(uuid)).expect("an object");
            String::from_utf8(object.record().json().to_vec()).expect("UTF-8")
        }
    }

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn vm(number: u128, fields: &str) -> String {
        let uuid = uuid(number);
        format!(
            r#"{{"id":"1","timestamp":"0.0","class":"vm","operation":"mod",
            "ref":"OpaqueRef:vm{number}","snapshot":{{"uuid":"{uuid}",{fields}}}}}"#
        )
    }

    fn metrics(number: u128) -> String {
        let uuid = uuid(number);
        format!(
            r#"{{"class":"vm_metrics","operation":"add","ref":"OpaqueRef:m{number}",
            "snapshot":{{"uuid":"{uuid}","memory_actual":"5"}}}}"#
        )
    }

    fn del(class: &str, reference: &str) -> String {
        format!(r#"{{"class":"{class}","operation":"del","ref":"OpaqueRef:{reference}"}}"#)
    }

    #[test]
    fn a_reference_may_come_before_its_target_and_outlive_it() {
        let mut bench = Bench::new();
        bench.batch(&[vm(1, r#""metrics":"OpaqueRef:m2""#)]);
        assert!(bench.json("VM", 1).contains(r#""metrics":null"#));
        let changes = bench.batch(&[metrics(2)]);
        assert_eq!(changes.len(), 2, "the referrer changes too");
        let shown = format!(r#""metrics":"{}""#, uuid(2));
        assert!(bench.json("VM", 1).contains(&shown));
        let changes = bench.batch(&[del("vm_metrics", "m2")]);
        assert_eq!(changes.len(), 2);
        assert!(bench.json("VM", 1).contains(r#""metrics":null"#));
    }

    #[test]
    fn a_reference_may_come_to_a_known_object_before_its_target() {
        let mut bench = Bench::new();
        bench.batch(&[vm(1, r#""metrics":"OpaqueRef:NULL""#)]);
        // Nobody sees a change yet: the record shows null as before.
        assert!(bench.batch(&[vm(1, r#""metrics":"OpaqueRef:m2""#)]).is_empty());
        assert_eq!(bench.batch(&[metrics(2)]).len(), 2);
        assert!(bench.json("VM", 1).contains(&format!(r#""metrics":"{}""#, uuid(2))));
        bench.fresh(&[vm(1, r#""metrics":"OpaqueRef:m3""#)]);
        bench.fresh(&[vm(1, r#""metrics":"OpaqueRef:m4""#)]);
        bench.batch(&[metrics(4)]);
        assert!(bench.json("VM", 1).contains(&format!(r#""metrics":"{}""#, uuid(4))));
    }

    #[test]
    fn an_object_may_refer_to_itself() {
        let mut bench = Bench::new();
        bench.batch(&[vm(1, r#""parent":"OpaqueRef:vm1""#)]);
        assert!(bench.json("VM", 1).contains(&format!(r#""parent":"{}""#, uuid(1))));
    }

    #[test]
    fn deletions_come_last_and_an_object_that_comes_back_stays() {
        let mut bench = Bench::new();
        bench.batch(&[metrics(2), vm(1, r#""metrics":"OpaqueRef:m2""#)]);
        // The same batch deletes the metrics and tells of a VM that no longer shows them.
        bench.batch(&[del("vm_metrics", "m2"), vm(1, r#""metrics":"OpaqueRef:NULL""#)]);
        assert!(bench.json("VM", 1).contains(r#""metrics":null"#));
        assert_eq!(bench.refs.len(), 1);
        bench.batch(&[del("vm", "vm1"), vm(1, r#""name_label":"back""#)]);
        assert!(bench.json("VM", 1).contains(r#""name_label":"back""#));
        assert!(bench.batch(&[del("vm", "vm1"), del("vm", "never")]).len() == 1);
        assert!(bench.snapshot.is_empty() && bench.refs.is_empty());
    }

    #[test]
    fn an_object_that_takes_over_a_uuid_survives_the_end_of_the_former() {
        let mut bench = Bench::new();
        bench.batch(&[vm(1, r#""name_label":"old""#)]);
        let imported = vm(1, r#""name_label":"new""#).replace("vm1", "vm9");
        bench.batch(&[imported, del("vm", "vm1")]);
        assert!(bench.json("VM", 1).contains("new"));
        assert_eq!(bench.snapshot.len(), 1);
    }

    #[test]
    fn a_change_that_no_record_shows_is_none() {
        let mut bench = Bench::new();
        bench.batch(&[vm(1, r#""name_label":"a""#)]);
        assert!(bench.batch(&[vm(1, r#""name_label":"a""#)]).is_empty());
        let class = datamodel().class("VM").expect("VM").id;
        let object = bench.snapshot.object(class, &uuid(1)).expect("there");
        assert_eq!(object.revision(), 1);
        assert_eq!(bench.snapshot.class(class).revision(), 1);
    }

    #[test]
    fn a_fresh_sync_keeps_what_is_unchanged() {
        let mut bench = Bench::new();
        let kept = vm(1, r#""metrics":"OpaqueRef:m2""#);
        bench.batch(&[kept.clone(), metrics(2), metrics(3), vm(4, r#""name_label":"x""#)]);
        let changes = bench.fresh(&[kept, metrics(2), vm(4, r#""name_label":"y""#)]);
        assert_eq!(changes.len(), 2, "one deleted, one modified");
        let class = datamodel().class("VM").expect("VM").id;
        let revision = |number| bench.snapshot.object(class, &uuid(number)).map(|o| o.revision());
        assert_eq!((revision(1), revision(4)), (Some(1), Some(2)));
        let hosts = datamodel().class("host").expect("host").id;
        assert_eq!(bench.snapshot.class(class).revision(), 2);
        assert_eq!(bench.snapshot.class(hosts).revision(), 0);
    }

    #[test]
    fn views_follow_the_flags() {
        let mut bench = Bench::new();
        let class = datamodel().class("VM").expect("VM");
        bench.batch(&[vm(1, r#""is_a_template":true"#), vm(2, r#""is_a_template":false"#)]);
        let count = |bench: &Bench, view| bench.snapshot.view(class, view).len();
        use crate::inventory::store::View;
        assert_eq!(count(&bench, View::Template), 1);
        bench.batch(&[vm(1, r#""is_a_template":false"#)]);
        assert_eq!((count(&bench, View::Template), count(&bench, View::Plain)), (0, 2));
        bench.batch(&[vm(1, r#""is_a_template":true,"is_a_snapshot":true"#)]);
        assert_eq!((count(&bench, View::Snapshot), count(&bench, View::Plain)), (1, 1));
        bench.batch(&[del("vm", "vm1")]);
        assert_eq!(count(&bench, View::Snapshot), 0);
    }

    #[test]
    fn sloppy_bytes_lose_nothing() {
        let mut bench = Bench::new();
        let mut draft = Draft::from(Snapshot::empty());
        let event =
            vm(1, "\"name_label\":\"caf@\",\"other_config\":{\"a\":\"1\",\"\\ud800\":\"2\"}");
        let event: Vec<u8> = event.bytes().map(|b| if b == b'@' { 0xe9 } else { b }).collect();
        draft.take(&event, &mut bench.encoder, &mut bench.refs);
        bench.publish(draft.finish());
        let json = bench.json("VM", 1);
        assert!(json.contains("caf\u{e9}") && json.contains(r#"{"a":"1","\ufffd":"2"}"#), "{json}");
    }

    #[test]
    fn what_is_no_event_is_counted_and_nothing_else() {
        let mut bench = Bench::new();
        let mut draft = Draft::from(Snapshot::empty());
        for event in ["", "{}", "[]", r#"{"class":"vm","operation":"add","ref":"r"}"#] {
            draft.take(event.as_bytes(), &mut bench.encoder, &mut bench.refs);
        }
        assert_eq!(draft.finish().unreadable, 4);
    }
}
