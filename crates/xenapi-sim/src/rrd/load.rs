//! Load that could be real: slow over the day, uneven over minutes, restless over seconds.

use std::f64::consts::TAU;

const DAY: f64 = 86_400.0;
/// How long a spell of work lasts, about.
const SPELL: f64 = 420.0;
/// How long a burst lasts, about.
const BURST: f64 = 15.0;

/// How a source moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wave {
    seed: u64,
    low: f64,
    high: f64,
    /// How much of the range it usually takes, and how far it strays from that.
    level: f64,
    swing: f64,
}

impl Wave {
    /// What never changes.
    pub(super) fn flat(value: f64) -> Self {
        Self { seed: 0, low: value, high: value, level: 0.0, swing: 0.0 }
    }

    /// What stays between two values, in a way of its own for each `of`.
    pub(super) fn between(low: f64, high: f64, of: &str) -> Self {
        let seed = hash(of, 0);
        let level = 0.08 + 0.5 * unit(mix(seed));
        Self { seed, low, high, level, swing: 0.15 + 0.35 * unit(mix(seed ^ 1)) }
    }

    /// Its value at a time, in seconds since 1970.
    pub(super) fn at(&self, time: i64) -> f64 {
        if self.swing == 0.0 {
            return self.low;
        }
        let time = time as f64;
        let day = (TAU * (time / DAY + unit(self.seed))).sin();
        let moved = 0.35 * day + 0.4 * self.noise(time, SPELL) + 0.25 * self.noise(time, BURST);
        let share = (self.level + self.swing * moved).clamp(0.0, 1.0);
        self.low + share * (self.high - self.low)
    }

    /// Something from -1 to 1 that changes over so many seconds.
    fn noise(&self, time: f64, period: f64) -> f64 {
        let (place, within) = ((time / period).floor(), (time / period).fract());
        let corner = |place: f64| {
            unit(mix(self.seed ^ mix(place as i64 as u64 ^ (period as u64) << 48))) * 2.0 - 1.0
        };
        let smooth = within * within * (3.0 - 2.0 * within);
        corner(place) * (1.0 - smooth) + corner(place + 1.0) * smooth
    }
}

/// A number from 0 to 1 for each text, always the same.
pub(super) fn share(of: &str) -> f64 {
    unit(hash(of, 0x5eed))
}

fn hash(text: &str, seed: u64) -> u64 {
    mix(text.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_moves_within_its_bounds() {
        let wave = Wave::between(10.0, 20.0, "cpu0 of some VM");
        let values: Vec<f64> = (0..2000).map(|n| wave.at(1_790_000_000 + n * 5)).collect();
        assert!(values.iter().all(|value| (10.0..=20.0).contains(value)));
        assert!(values.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1000);
        assert_eq!(values[7], wave.at(1_790_000_035), "one time, one value");
        assert_ne!(values[7], Wave::between(10.0, 20.0, "another").at(1_790_000_035));
        assert_eq!(Wave::flat(3.0).at(7), 3.0);
    }
}
