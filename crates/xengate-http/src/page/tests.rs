//! Limits.

use super::*;

#[test]
fn limits_are_bounded() {
    assert_eq!(limit(None).ok(), Some(1000));
    assert_eq!(limit(Some(10_000)).ok(), Some(10_000));
    for wrong in [0, 10_001, u64::MAX] {
        assert!(limit(Some(wrong)).is_err(), "{wrong}");
    }
}
