//! What holds of the readers whatever they are given; for tests and fuzzing.

use super::{Archive, Updates};

/// Any bytes as a reply to `/rrd_updates`: no panic, no number that is not one, memory in proportion.
pub fn updates(body: &[u8]) {
    let Ok(updates) = Updates::read(body) else { return };
    assert!(updates.step > 0, "a step forwards");
    let mut last = i64::MAX;
    for (time, values) in updates.rows() {
        assert!(time < last, "newest first, each time once");
        last = time;
        assert_eq!(values.len(), updates.columns.len(), "a value for each column");
        assert!(values.iter().all(|value| !value.is_infinite()), "finite or unknown");
    }
    assert!(updates.columns.len() <= body.len(), "no column from nothing");
}

/// Any bytes as a whole RRD: the same.
pub fn archive(body: &[u8]) {
    let Ok(archive) = Archive::read(body) else { return };
    assert!(archive.step > 0 && archive.last_update > 0);
    for rra in &archive.rras {
        assert_eq!(rra.values.len(), rra.rows * archive.sources.len(), "a value for each source");
        assert!(rra.values.iter().all(|value| !value.is_infinite()), "finite or unknown");
        assert!(archive.step_of(rra) > 0);
    }
}
