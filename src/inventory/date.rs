//! Dates.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The Xen-API's `20261122T07:25:54Z` (or without Z, or with a fraction) as RFC 3339.
pub(super) fn date_time(text: &str) -> Option<Vec<u8>> {
    let bytes = text.trim_end_matches('Z').as_bytes();
    // Some fields arrive in the extended form already.
    let compact: Cow<'_, [u8]> = match bytes.get(4) {
        Some(b'-') if bytes.len() >= 19 && bytes[7] == b'-' => {
            Cow::Owned([&bytes[..4], &bytes[5..7], &bytes[8..]].concat())
        }
        _ => Cow::Borrowed(bytes),
    };
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        compact.get(range)?.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let (month, day) = (digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(12..14)?, digits(15..17)?);
    let fraction = compact.get(17..)?;
    let well_formed = digits(0..4).is_some()
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60
        && compact[8] == b'T'
        && compact[11] == b':'
        && compact[14] == b':'
        && (fraction.is_empty()
            || (fraction[0] == b'.'
                && (2..=10).contains(&fraction.len())
                && fraction[1..].iter().all(u8::is_ascii_digit)));
    if !well_formed {
        return None;
    }
    let mut out = Vec::with_capacity(20 + fraction.len());
    for part in [&compact[..4], b"-", &compact[4..6], b"-", &compact[6..], b"Z"] {
        out.extend_from_slice(part);
    }
    Some(out)
}

/// An instant from 1970 on; RFC 3339 may name it by the time of any zone.
pub fn instant(text: &str) -> Option<SystemTime> {
    // The library reads UTC only, and takes more than the standard does.
    let text = text.to_ascii_uppercase();
    if text.as_bytes().get(10) != Some(&b'T') || !text.is_ascii() {
        return None;
    }
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(&text).ok();
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, zone) = zone.split_at_checked(1)?;
    let (hours, minutes) = zone.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = Duration::from_secs(hours * 3600 + minutes * 60);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let utc = match sign {
        "+" => local.checked_sub(offset),
        "-" => local.checked_add(offset),
        _ => None,
    }?;
    (utc >= SystemTime::UNIX_EPOCH).then_some(utc)
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// A day, `2026-01-31`, if there is such a day.
pub(super) fn day(text: &str) -> Option<Box<str>> {
    let plain = text.len() == 10 && text.is_ascii();
    let there = plain && humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).is_ok();
    there.then(|| text.into())
}
