//! Instants as clients write them: RFC 3339, to the letter.
//!
//! [`jiff`] knows the calendar. It also takes more than RFC 3339 has (`20261122T07Z`, `+0130`, a zone's
//! name in brackets), so what is no RFC 3339 is turned away before it is asked.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

/// An instant, to the nanosecond; leap seconds are those after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(
    /// By UTC, in the years 1 to 9999.
    DateTime,
);

impl Moment {
    /// Reads RFC 3339, with any zone.
    pub fn of_rfc3339(text: &str) -> Option<Self> {
        let (time, zone) = split(text)?;
        // jiff has no leap seconds: to it they are the seconds before them.
        let is_leap = time.get(17..19) == Some("60");
        // Nobody needs more than nanoseconds.
        let local: DateTime = time[..time.len().min(29)].parse().ok()?;
        let ahead = match zone {
            "Z" | "z" => SignedDuration::ZERO,
            _ => offset(zone)?,
        };
        let leap = SignedDuration::from_secs(i64::from(is_leap));
        let utc = local.checked_sub(ahead).ok()?.checked_add(leap).ok()?;
        // A leap second is the last of a day by UTC.
        let possible = !is_leap || (utc.hour(), utc.minute(), utc.second()) == (0, 0, 0);
        (possible && local.year() >= 1 && utc.year() >= 1).then_some(Self(utc))
    }

    /// The time since the beginning of 1970; negative before.
    pub fn since_1970(self) -> SignedDuration {
        self.0.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0))
    }

    /// `2026-11-22T07:25:54`, in UTC, without a fraction.
    pub fn to_seconds(self) -> String {
        format!("{:.0}", self.0)
    }
}

/// In UTC, with as much of a fraction as there is: `2026-11-22T07:25:54.25`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A day, `2026-01-31`, if there is such a day.
pub(super) fn day(text: &str) -> Option<Box<str>> {
    let there =
        is_like(text, "0000-00-00") && text.parse::<Date>().is_ok_and(|day| day.year() >= 1);
    there.then(|| text.into())
}

/// The date and time, and the zone, of what looks like RFC 3339.
fn split(text: &str) -> Option<(&str, &str)> {
    let zone = match text.as_bytes().last()? {
        b'Z' | b'z' => text.len() - 1,
        _ => text.len().checked_sub(6)?,
    };
    let (time, zone) = text.split_at_checked(zone)?;
    let (second, fraction) = time.split_at_checked(19)?;
    let is_fraction = match fraction.strip_prefix('.') {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => fraction.is_empty(),
    };
    (is_like(second, "0000-00-00T00:00:00") && is_fraction).then_some((time, zone))
}

/// How far a zone such as `+01:30` is ahead of UTC.
fn offset(zone: &str) -> Option<SignedDuration> {
    let (sign, time) = zone.split_at_checked(1)?;
    let (hours, minutes) = time.split_once(':').filter(|_| is_like(time, "00:00"))?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    let ahead = SignedDuration::from_mins(hours * 60 + minutes);
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        "+" => Some(ahead),
        "-" => Some(-ahead),
        _ => None,
    }
}

/// Whether the text is the form with other digits; letters may be small.
fn is_like(text: &str, form: &str) -> bool {
    let is_like = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(&form),
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(is_like)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clients_keep_to_the_letter() {
        for (text, want, unix) in [
            ("2026-11-22T07:25:54Z", "2026-11-22T07:25:54", 1_795_332_354),
            ("2026-11-22t07:25:54z", "2026-11-22T07:25:54", 1_795_332_354),
            ("2026-11-22T07:25:54.250+01:30", "2026-11-22T05:55:54.25", 1_795_326_954),
            ("2026-11-22T07:25:54.1234567899Z", "2026-11-22T07:25:54.123456789", 1_795_332_354),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59", -1),
            ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:58.5", -1),
            ("1970-01-01T00:00:00+01:00", "1969-12-31T23:00:00", -3600),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00", 1_483_228_800),
            ("2017-01-01T05:29:60.5+05:30", "2017-01-01T00:00:00.5", 1_483_228_800),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00", -62_135_596_800),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59", 253_402_300_799),
        ] {
            let moment = Moment::of_rfc3339(text).expect(text);
            assert_eq!(
                (moment.to_string().as_str(), moment.since_1970().as_secs()),
                (want, unix),
                "{text}"
            );
            assert_eq!(moment.to_seconds(), want[..19], "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T07:25:54",
            "2026-11-22 07:25:54Z",
            "20261122T07:25:54Z",
            "+02026-11-22T07:25:54Z",
            "2026-11-22T072554Z",
            "2026-11-22T07:25Z",
            "2026-11-22T07:25:54,5Z",
            "2026-11-22T07:25:54.Z",
            "2026-11-22T07:25:54.+1Z",
            "2026-11-22T07:25:54ZZ",
            "2026-11-22T07:25:54++1:30",
            "2026-11-22T07:25:54+1:30",
            "2026-11-22T07:25:54+01:+3",
            "2026-11-22T07:25:54+0130",
            "2026-11-22T07:25:54+01",
            "2026-11-22T07:25:54*01:30",
            "2026-11-22T07:25:54+24:00",
            "2026-11-22T07:25:54+01:60",
            "2026-11-22T07:25:54+é:00",
            "2026-11-22T07:25:5éZ",
            "2026-11-22T07:25:54Z[UTC]",
            "2026-11-22T07:25:54 GMT",
            "2026-02-30T07:25:54Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T07:60:00Z",
            "2026-11-22T07:25:61Z",
            "2016-12-31T12:59:60Z",
            "2016-12-31T23:59:60+02:00",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(Moment::of_rfc3339(text), None, "{text}");
        }
        assert_eq!(day("1969-02-28").as_deref(), Some("1969-02-28"));
        for none in ["2026-02-29", "2026-2-28", "20260228", "2026-02-28T", "2026-02-2é"] {
            assert_eq!(day(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_another_reader(seconds in 0_u64..253_402_300_800) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let utc = humantime::format_rfc3339_seconds(at).to_string();
            let moment = Moment::of_rfc3339(&utc).expect("RFC 3339");
            prop_assert_eq!(u64::try_from(moment.since_1970().as_secs()), Ok(seconds));
            prop_assert_eq!(format!("{moment}Z"), utc);
        }

        #[test]
        fn no_text_is_too_odd(text: String, zone in "[0-9+:.ZzTt-]{0,12}") {
            Moment::of_rfc3339(&text);
            Moment::of_rfc3339(&format!("2026-11-22T07:25:54{zone}"));
            day(&text);
        }
    }
}
