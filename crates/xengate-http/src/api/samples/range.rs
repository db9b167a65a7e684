//! Times: as clients write them, and as they read them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use xenapi_mirror::inventory::Moment;
use xenapi_mirror::metrics::Bound;

/// Longer ago than anything is kept.
const LONGEST: Duration = Duration::from_secs(20 * 366 * 86_400);

/// The last time that can be written with four digits for the year.
const LAST: i64 = 253_402_300_799;

/// One end of a range: RFC 3339, seconds since 1970, or so long before the newest sample (`-2h`).
pub fn bound(text: &str) -> Option<Bound> {
    let text = text.trim();
    if text == "now" {
        return Some(Bound::Ago(0));
    }
    if let Some(ago) = text.strip_prefix('-') {
        let seconds = match ago.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => humantime::parse_duration(ago).ok()?,
        };
        let seconds = (seconds <= LONGEST).then_some(seconds.as_secs())?;
        return i64::try_from(seconds).ok().map(Bound::Ago);
    }
    let time = match text.parse::<f64>() {
        Ok(seconds) => (0.0..=LAST as f64).contains(&seconds).then_some(seconds.floor() as i64)?,
        Err(_) => rfc_3339(text)?,
    };
    Some(Bound::At(time))
}

/// Seconds since 1970 of RFC 3339; nothing before that.
fn rfc_3339(text: &str) -> Option<i64> {
    // In a query a plus that nobody has encoded is a space.
    let moment = match text.rsplit_once(' ') {
        Some((time, zone)) => Moment::of_rfc3339(&format!("{time}+{zone}")),
        None => Moment::of_rfc3339(text),
    };
    let since = moment?.since_1970();
    (!since.is_negative()).then_some(since.as_secs())
}

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Instants {
    /// `2026-11-22T07:25:54Z`.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    Unix,
}

/// A time as clients get it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub(super) i64, pub(super) Instants);

impl Time {
    /// As text: for CSV.
    pub(super) fn text(self) -> String {
        match self.1 {
            Instants::Unix => self.0.to_string(),
            Instants::Rfc3339 => rfc_3339_of(self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Instants::Unix => serializer.serialize_i64(self.0),
            Instants::Rfc3339 => serializer.serialize_str(&rfc_3339_of(self.0)),
        }
    }
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn rfc_3339_of(time: i64) -> String {
    let seconds = u64::try_from(time.clamp(0, LAST)).unwrap_or_default();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_however_they_are_written() {
        for (text, wanted) in [
            ("2026-09-21T14:26:40Z", Bound::At(1_790_000_800)),
            ("2026-09-21T14:26:40.75z", Bound::At(1_790_000_800)),
            ("2026-09-21T16:26:40+02:00", Bound::At(1_790_000_800)),
            ("2026-09-21T16:26:40 02:00", Bound::At(1_790_000_800)),
            ("2026-09-21T09:56:40-04:30", Bound::At(1_790_000_800)),
            ("1790000800", Bound::At(1_790_000_800)),
            ("1790000800.9", Bound::At(1_790_000_800)),
            ("-2h", Bound::Ago(7200)),
            ("-1d 30m", Bound::Ago(88_200)),
            ("-3600", Bound::Ago(3600)),
            ("now", Bound::Ago(0)),
        ] {
            assert_eq!(bound(text), Some(wanted), "{text}");
        }
        for wrong in [
            "",
            "-",
            "2h",
            "yesterday",
            "--1h",
            "-999y",
            "NaN",
            "inf",
            "1e300",
            "-inf",
            "2026-13-01T00:00:00Z",
            "2026-09-21T14:26:40",
            "2026-09-21T14:26:40+0200",
            "2026-09-21T14:26:40++2:00",
            "2026-09-21 14:26:40Z",
            "1969-12-31T23:59:59Z",
            "é+02:00",
            "2026-09-21T14:26:40+99:00",
            "2026-09-21",
        ] {
            assert_eq!(bound(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_time_is_too_far_away_to_be_written() {
        assert_eq!(rfc_3339_of(1_790_000_800), "2026-09-21T14:26:40Z");
        assert_eq!(rfc_3339_of(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(rfc_3339_of(-1), "1970-01-01T00:00:00Z");
    }
}
