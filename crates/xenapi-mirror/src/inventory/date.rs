//! Dates as backends write them. What clients write is read in [`super::moment`].
//!
//! Records have them in one form, RFC 3339 in UTC: such texts sort as dates do. The reader is our
//! own because no library has this one's: a zone may be missing, or any mixture of ISO 8601's short
//! and long forms, and almost every date of a pool's hundred thousands is only put together anew.

use std::fmt::Write as _;

/// A date and time as a backend wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Date {
    /// An instant, as RFC 3339 in UTC.
    Instant(String),
    /// The time of some place, of which nobody says where it is: the same without a zone.
    Local(String),
}

/// What the Xen-API's servers and ISO 8601 have for a date and time: `20261122T07:25:54Z`, or with
/// dashes, without colons, with a fraction, with another zone than UTC, or without any.
pub(super) fn date_time(text: &str) -> Option<Date> {
    let Read { second, zone, fraction } = read(text)?;
    if let Some(usual) = usual(text) {
        return Some(Date::Instant(usual));
    }
    let mut out = String::with_capacity(21 + fraction.len());
    second.write(&mut out)?;
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    Some(match zone {
        Zone::Offset(_) => {
            out.push('Z');
            Date::Instant(out)
        }
        Zone::Unknown => Date::Local(out),
    })
}

/// Almost every date is of this form, whose parts need nothing but to be put together.
fn usual(text: &str) -> Option<String> {
    let parts = [text.get(..4)?, "-", text.get(4..6)?, "-", text.get(6..)?];
    let bytes = text.as_bytes();
    let is_usual = bytes.len() == 18
        && (bytes[8], bytes[11], bytes[14], bytes[17]) == (b'T', b':', b':', b'Z')
        && bytes[15] < b'6';
    is_usual.then(|| parts.concat())
}

/// A second, in UTC; leap seconds are those after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Second(
    /// Since the beginning of 1970; negative before.
    i64,
);

impl Second {
    /// Writes it to the second; nothing for one that four digits of a year cannot tell.
    fn write(self, out: &mut String) -> Option<()> {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        if !(1..=9999).contains(&year) {
            return None;
        }
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").ok()
    }
}

/// The seconds of a day.
const DAY: i64 = 86_400;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// So many seconds ahead of UTC.
    Offset(i64),
    Unknown,
}

struct Read<'a> {
    /// By UTC, or by nobody knows which clock.
    second: Second,
    zone: Zone,
    /// Its digits.
    fraction: &'a str,
}

/// Reads what [`date_time`] takes.
fn read(text: &str) -> Option<Read<'_>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let number = |at: &mut usize, digits: usize| -> Option<i64> {
        let number = bytes.get(*at..*at + digits)?.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })?;
        *at += digits;
        Some(number)
    };
    let is = |at: &mut usize, wanted: &[u8]| {
        let is = bytes.get(*at).is_some_and(|byte| wanted.contains(byte));
        *at += usize::from(is);
        is
    };
    let year = number(&mut at, 4)?;
    let dashed = is(&mut at, b"-");
    let month = number(&mut at, 2)?;
    if dashed != is(&mut at, b"-") {
        return None;
    }
    let day = number(&mut at, 2)?;
    let there = year >= 1
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && is(&mut at, b"Tt ");
    if !there {
        return None;
    }
    let hour = number(&mut at, 2)?;
    let colons = is(&mut at, b":");
    let minute = number(&mut at, 2)?;
    if colons != is(&mut at, b":") {
        return None;
    }
    let second = number(&mut at, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut fraction = "";
    if is(&mut at, b".,") {
        let start = at;
        while is(&mut at, b"0123456789") {}
        // Nobody needs more than nanoseconds.
        fraction = text.get(start..at.min(start + 9)).filter(|digits| !digits.is_empty())?;
    }
    let zone = zone(&bytes[at..])?;
    let offset = match zone {
        Zone::Offset(seconds) => seconds,
        Zone::Unknown => 0,
    };
    let of_day = hour * 3600 + minute * 60 + second;
    let seconds = days_since_1970(year, month, day) * DAY + of_day - offset;
    // A leap second is the last of a day by UTC, and counts as the first of the next one.
    let is_leap = second == 60;
    let possible = match zone {
        Zone::Offset(_) => seconds.rem_euclid(DAY) == 0,
        Zone::Unknown => minute % 15 == 14,
    };
    if is_leap && !possible {
        return None;
    }
    Some(Read { second: Second(seconds), zone, fraction })
}

/// What stands behind the time.
fn zone(bytes: &[u8]) -> Option<Zone> {
    let digits = |pair: &[u8]| -> Option<i64> {
        let both = pair.iter().all(u8::is_ascii_digit);
        both.then(|| i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0'))
    };
    let (sign, hours, minutes) = match *bytes {
        [] => return Some(Zone::Unknown),
        [b'Z' | b'z'] => return Some(Zone::Offset(0)),
        [sign, h, g] => (sign, digits(&[h, g])?, 0),
        [sign, h, g, m, n] | [sign, h, g, b':', m, n] => (sign, digits(&[h, g])?, digits(&[m, n])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60;
    match sign {
        b'+' => Some(Zone::Offset(ahead)),
        b'-' => Some(Zone::Offset(-ahead)),
        _ => None,
    }
}

/// How many days a month has.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The days from the beginning of 1970 to a day: Howard Hinnant's `days_from_civil`, in which years
/// begin with March, so that the odd day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day: the way back.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400, if month < 10 { month + 3 } else { month - 9 });
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        date_time(text).map(|date| match date {
            Date::Instant(text) | Date::Local(text) => text,
        })
    }

    #[test]
    fn a_date_is_rfc_3339_in_utc_whatever_its_zone() {
        for (text, want) in [
            ("20261122T07:25:54Z", "2026-11-22T07:25:54Z"),
            ("2026-11-22T07:25:54Z", "2026-11-22T07:25:54Z"),
            ("20261122T072554Z", "2026-11-22T07:25:54Z"),
            ("20261122T07:25:54.5Z", "2026-11-22T07:25:54.5Z"),
            ("20261122T07:25:54,500Z", "2026-11-22T07:25:54.500Z"),
            ("2026-11-22T07:25:54.1234567891Z", "2026-11-22T07:25:54.123456789Z"),
            ("20260101T02:00:00+02:00", "2026-01-01T00:00:00Z"),
            ("20260101T01:00:00+02:00", "2025-12-31T23:00:00Z"),
            ("20260101T02:00:00+0530", "2025-12-31T20:30:00Z"),
            ("20261231T23:30:00-01", "2027-01-01T00:30:00Z"),
            ("2028-02-29T23:59:59-00:01", "2028-03-01T00:00:59Z"),
            ("20260101T02:00:00.25+02:00", "2026-01-01T00:00:00.25Z"),
            ("20260101T02:00:00-00:00", "2026-01-01T02:00:00Z"),
            ("19691231T23:59:59Z", "1969-12-31T23:59:59Z"),
            ("19700101T00:30:00+01:00", "1969-12-31T23:30:00Z"),
            ("16000229T12:00:00Z", "1600-02-29T12:00:00Z"),
            ("00010101T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("20161231T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("20170101T01:59:60+02:00", "2017-01-01T00:00:00Z"),
            ("20170101T05:29:60.5+05:30", "2017-01-01T00:00:00.5Z"),
            ("20261122T07:25:54", "2026-11-22T07:25:54"),
            ("2026-11-22 07:25:54.5", "2026-11-22T07:25:54.5"),
            ("20170101T01:59:60", "2017-01-01T02:00:00"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2026",
            "20260230T00:00:00Z",
            "20260229T00:00:00Z",
            "21000229T00:00:00Z",
            "20260431T00:00:00",
            "20261301T00:00:00Z",
            "20260100T00:00:00Z",
            "00000101T00:00:00Z",
            "20261122T24:00:00Z",
            "20261122T07:60:00Z",
            "20261122T07:25:61Z",
            "20161231T12:59:60Z",
            "20161231T23:59:60+02:00",
            "20161231T12:58:60",
            "2026-1122T07:25:54Z",
            "20261122T07:2554Z",
            "20261122T07:25:54.Z",
            "20261122T07:25:54ZZ",
            "20261122T07:25:54+24:00",
            "20261122T07:25:54+2:00",
            "20261122T07:25:54*02:00",
            "20261122T07:25:54 GMT",
            "00010101T00:00:00+01:00",
            "99991231T23:59:59-01:00",
            "2026112éT06:59:52",
            "20261122T07:25:5éZ",
            "20261122T07:25:54+é",
        ] {
            assert_eq!(date_time(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn instants_agree_with_another_reader(seconds in 0_u64..253_402_300_800, ahead in -1439_i64..1440) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let utc = humantime::format_rfc3339_seconds(at).to_string();
            prop_assert_eq!(date_time(&utc), Some(Date::Instant(utc.clone())));
            let local = i64::try_from(seconds).unwrap() + ahead * 60;
            let mut text = String::new();
            let written = Second(local).write(&mut text);
            prop_assume!(written.is_some());
            let sign = if ahead < 0 { '-' } else { '+' };
            let (hours, minutes) = (ahead.abs() / 60, ahead.abs() % 60);
            let text = format!("{text}{sign}{hours:02}:{minutes:02}");
            prop_assert_eq!(date_time(&text), Some(Date::Instant(utc)), "{}", text);
        }

        #[test]
        fn days_come_one_after_the_other(day in -719_162_i64..2_932_896) {
            let (year, month, of_month) = civil(day);
            prop_assert_eq!(days_since_1970(year, month, of_month), day);
            prop_assert!((1..=days_of(year, month)).contains(&of_month));
        }

        #[test]
        fn no_text_is_too_odd(text: String) {
            if let Some(text) = shown(&text) {
                let again = shown(&text);
                prop_assert_eq!(again, Some(text));
            }
        }
    }
}
