//! How durations, sizes and counts are written: `"5s"`, `"64MiB"`, `8`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Longer than anything anyone waits for, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// More than any machine holds open or counts up to here, and safe to give to a semaphore.
const LARGEST_COUNT: u64 = 10_000_000;

/// A duration above zero.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = duration_or_zero(from)?;
    if duration.is_zero() {
        return Err(D::Error::custom("a duration of zero makes no sense here"));
    }
    Ok(duration)
}

/// A duration, zero included.
pub(super) fn duration_or_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(DurationText { longest: LONGEST })
}

/// A duration, zero included, that is only told to others and may therefore be long.
pub(super) fn long_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    from.deserialize_str(DurationText { longest: 10 * LONGEST }).map(Some)
}

/// A size in bytes, above zero.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = from.deserialize_any(SizeText)?;
    if size == 0 {
        return Err(D::Error::custom("a size of zero makes no sense here"));
    }
    Ok(size)
}

/// The same where there need not be one.
pub(super) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

/// A number of things, at least one.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    from.deserialize_any(Count)
}

/// A number of things, at least one, where there need not be one.
pub(super) fn some_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    count(from).map(Some)
}

/// A number of steps, at least one.
pub(super) fn steps<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match u64::deserialize(from)? {
        0 => Err(D::Error::custom("no steps at all make no sense here")),
        steps => Ok(steps),
    }
}

struct DurationText {
    longest: Duration,
}

impl Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"5s\", \"1m 30s\" or \"12h\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= self.longest => Ok(duration),
            Ok(_) if self.longest > LONGEST => {
                Err(E::custom("a duration may be ten years at most here"))
            }
            Ok(_) => Err(E::custom("a duration may be one year at most")),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

struct SizeText;

impl Visitor<'_> for SizeText {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\", \"16 kB\" or a number of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) => Ok(size.as_u64()),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: Error>(self, size: i64) -> Result<u64, E> {
        u64::try_from(size).map_err(|_| E::invalid_value(Unexpected::Signed(size), &self))
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<u64, E> {
        Ok(size)
    }
}

struct Count;

impl Visitor<'_> for Count {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 1 to {LARGEST_COUNT}")
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<usize, E> {
        match usize::try_from(count) {
            Ok(count) if (1..=LARGEST_COUNT).contains(&(count as u64)) => Ok(count),
            _ => Err(E::invalid_value(Unexpected::Signed(count), &self)),
        }
    }
}
