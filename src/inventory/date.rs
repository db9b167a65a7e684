//! Dates.

use std::borrow::Cow;

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
