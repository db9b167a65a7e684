//! A snapshot to ask questions of.

use uuid::Uuid;

use crate::inventory::Snapshot;
use crate::inventory::draft::Draft;
use crate::inventory::encode::Encoder;
use crate::inventory::refs::RefIndex;
use xenapi_model::{Class, datamodel};

/// The class of this name.
pub(super) fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class of the datamodel")
}

/// The objects of this class and these numbers as uuids, with fields as the wire has them. Refs are
/// `OpaqueRef:class/number`.
pub(super) fn snapshot(objects: &[(&str, u128, &str)]) -> Snapshot {
    let (mut draft, mut refs) = (Draft::fresh(), RefIndex::default());
    let mut encoder = Encoder::new("lab");
    for (class, number, fields) in objects {
        let uuid = Uuid::from_u128(*number);
        let event = format!(
            r#"{{"class":"{}","operation":"add","ref":"OpaqueRef:{class}/{number}",
            "snapshot":{{"uuid":"{uuid}",{fields}}}}}"#,
            class.to_ascii_lowercase()
        );
        draft.take(event.as_bytes(), &mut encoder, &mut refs);
    }
    draft.settle(&mut encoder, &mut refs);
    let finished = draft.finish_against(&Snapshot::empty());
    assert_eq!(finished.unreadable, 0, "the test's records are good");
    finished.snapshot
}
