//! Dates that clients write.

use xenapi_mirror::inventory::Moment;

/// What a date must be.
pub(super) const FORM: &str = "a date and time by RFC 3339, such as 2026-11-22T07:25:54Z";

/// RFC 3339 as the wire has it, `20261122T07:25:54Z`: in UTC, to the second.
pub(super) fn to_wire(text: &str) -> Option<String> {
    let text = Moment::of_rfc3339(text)?.to_seconds();
    let (date, time) = text.split_once('T')?;
    Some(format!("{}T{time}Z", date.replace('-', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_zone_becomes_utc() {
        for (text, want) in [
            ("2026-11-22T07:25:54Z", "20261122T07:25:54Z"),
            ("2026-11-22t07:25:54z", "20261122T07:25:54Z"),
            ("2026-11-22T07:25:54.999Z", "20261122T07:25:54Z"),
            ("2026-11-22T07:25:54+01:30", "20261122T05:55:54Z"),
            ("2026-12-31T23:30:00-01:00", "20270101T00:30:00Z"),
            ("1970-01-01T00:00:00Z", "19700101T00:00:00Z"),
            ("2028-02-29T00:00:00+00:00", "20280229T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "19691231T23:59:59Z"),
            ("1970-01-01T00:00:00+01:00", "19691231T23:00:00Z"),
            ("2016-12-31T23:59:60Z", "20170101T00:00:00Z"),
        ] {
            assert_eq!(to_wire(text).as_deref(), Some(want), "{text}");
        }
    }
}
