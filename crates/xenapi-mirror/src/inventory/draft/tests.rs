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
    let event = vm(1, "\"name_label\":\"caf@\",\"other_config\":{\"a\":\"1\",\"\\ud800\":\"2\"}");
    let event: Vec<u8> = event.bytes().map(|b| if b == b'@' { 0xe9 } else { b }).collect();
    draft.take(&event, &mut bench.encoder, &mut bench.refs);
    bench.publish(draft.finish());
    let json = bench.json("VM", 1);
    assert!(
        json.contains("caf\u{e9}") && json.contains("{\"a\":\"1\",\"\u{fffd}\":\"2\"}"),
        "{json}"
    );
}

#[test]
fn what_is_no_event_is_counted_and_nothing_else() {
    let mut bench = Bench::new();
    let mut draft = Draft::from(Snapshot::empty());
    for event in ["", "{}", "[]", r#"{"class":"vm","operation":"add","ref":"r"}"#] {
        draft.take(event.as_bytes(), &mut bench.encoder, &mut bench.refs);
    }
    assert_eq!(draft.unread().objects().count(), 1, "of one it is known which");
    let finished = draft.finish();
    assert_eq!(finished.unreadable, 4);
    assert!(!finished.unread.is_empty());
}

/// Events of which some cannot be read: the batch that they make, and what is unread then.
fn half_read(bench: &mut Bench, events: &[String], unread: Unread) -> Finished {
    let mut draft = Draft::from(bench.snapshot.clone()).with_unread(unread);
    for event in events {
        draft.take(event.as_bytes(), &mut bench.encoder, &mut bench.refs);
    }
    draft.settle(&mut bench.encoder, &mut bench.refs);
    draft.finish()
}

#[test]
fn what_cannot_be_read_is_known_until_it_is_read_or_gone() {
    let unreadable = |number: u128| {
        format!(
            r#"{{"class":"vm","operation":"mod","ref":"OpaqueRef:vm{number}","snapshot":{{"uuid":NaN}}}}"#
        )
    };
    let broken = r#"{"id":"1","class":"vm","operation":"mod","ref":"OpaqueRef:vm3","snapshot":{]}"#;
    let mut bench = Bench::new();
    let label = r#""name_label":"a""#;
    bench.batch(&[vm(1, label), vm(2, label), vm(3, label)]);
    let events = [unreadable(1), unreadable(2), broken.to_owned()];
    let finished = half_read(&mut bench, &events, Unread::default());
    let mut refs: Vec<_> = finished.unread.objects().map(|(_, it)| it.to_owned()).collect();
    refs.sort_unstable();
    assert_eq!(refs, ["OpaqueRef:vm1", "OpaqueRef:vm2", "OpaqueRef:vm3"]);
    assert_eq!((finished.changes.len(), finished.unreadable), (0, 3), "they stay as they were");
    let finished = half_read(&mut bench, &[vm(1, label), del("vm", "vm2")], finished.unread);
    let refs: Vec<_> = finished.unread.objects().map(|(_, reference)| reference).collect();
    assert_eq!(refs, ["OpaqueRef:vm3"]);
    let mut draft = Draft::from(bench.snapshot.clone()).with_unread(finished.unread);
    let record = format!(r#"{{"uuid":"{}","name_label":"b"}}"#, uuid(3));
    let class = datamodel().class("VM").expect("a class");
    let read = Reread { class, reference: "OpaqueRef:vm3".into(), record: Some(record) };
    draft.take_again(&[read], &mut bench.encoder, &mut bench.refs);
    assert!(draft.unread().is_empty());
    assert_eq!(draft.finish().changes.len(), 1);
}

#[test]
fn a_fresh_sync_keeps_what_it_cannot_read() {
    let mut bench = Bench::new();
    bench.batch(&[vm(1, r#""metrics":"OpaqueRef:m2""#), metrics(2)]);
    let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
    let unreadable =
        vm(1, r#""name_label":"new""#).replace("mod", "add").replace(&uuid(1).to_string(), "?");
    for event in [unreadable, metrics(2)] {
        draft.take(event.as_bytes(), &mut bench.encoder, &mut refs);
    }
    draft.keep_unread(&bench.snapshot, &mut bench.encoder, &mut refs);
    draft.settle(&mut bench.encoder, &mut refs);
    let finished = draft.finish_against(&bench.snapshot);
    assert!(finished.changes.is_empty(), "nothing has gone, and its ref resolves");
    assert_eq!(finished.unread.objects().count(), 1);
}

#[test]
fn a_value_that_cannot_be_read_costs_itself_alone() {
    let mut bench = Bench::new();
    let fields = r#""name_label":"a","HVM_shadow_multiplier":NaN,"memory_static_max":3e9,
        "memory_static_min":1.5,"power_state":null,"domid":-Infinity,"snapshot_time":nan"#;
    bench.batch(&[vm(1, fields)]);
    let want = format!(
        "{{\"uuid\":\"{}\",\"backend\":\"lab\",\"name_label\":\"a\",\
         \"memory_static_max\":3000000000,\"HVM_shadow_multiplier\":null}}",
        uuid(1)
    );
    assert_eq!(bench.json("VM", 1), want);
}

#[test]
fn an_event_may_have_a_name_twice() {
    let mut bench = Bench::new();
    let event = vm(1, r#""name_label":"a""#);
    let twice = event.replace(r#""operation":"mod""#, r#""operation":"del","operation":"mod""#);
    assert_ne!(event, twice);
    bench.batch(&[twice]);
    assert!(bench.json("VM", 1).contains("\"a\""));
}
