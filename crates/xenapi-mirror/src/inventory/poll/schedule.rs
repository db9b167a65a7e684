//! When the classes are read that are read apart.

use std::time::Duration;

use tokio::time::Instant;

use super::pause_after;
use xenapi_model::{ClassId, datamodel};

/// How often what hardly ever changes is read.
const SLOW_EVERY: Duration = Duration::from_secs(30);
/// How soon a class is tried again that could not be asked for.
const AGAIN: Duration = Duration::from_secs(4);
/// The longest pause between one of them and the next.
const BREATH: Duration = Duration::from_secs(5);

/// The classes that are read apart, and when each is due.
pub(super) struct Schedule {
    units: Vec<Unit>,
    /// What has been read before waits until then.
    free: Instant,
}

/// Classes that are read together.
struct Unit {
    names: &'static [&'static str],
    classes: Vec<ClassId>,
    due: Instant,
    is_read: bool,
}

impl Schedule {
    pub(super) fn new(polls: &'static [&'static [&'static str]]) -> Self {
        let now = Instant::now();
        let unit = |names: &&'static [&'static str]| {
            let classes = names.iter().filter_map(|name| datamodel().class(name));
            let classes = classes.map(|class| class.id).collect();
            Unit { names, classes, due: now, is_read: false }
        };
        Self { units: polls.iter().map(unit).collect(), free: now }
    }

    /// Which of those that are wanted is to be read next, and when. One that nobody has seen yet
    /// goes first.
    pub(super) fn next(&self, is_wanted: impl Fn(ClassId) -> bool) -> Option<(usize, Instant)> {
        let wanted = self.units.iter().enumerate();
        let wanted = wanted.filter(|(_, unit)| unit.classes.iter().any(|class| is_wanted(*class)));
        let at = wanted.map(|(place, unit)| {
            (place, if unit.is_read { unit.due.max(self.free) } else { unit.due })
        });
        at.min_by_key(|(_, at)| *at)
    }

    /// The names of what is read together, and the classes.
    pub(super) fn unit(&self, place: usize) -> (&'static [&'static str], &[ClassId]) {
        (self.units[place].names, &self.units[place].classes)
    }

    /// Takes note that it took so long to read it.
    pub(super) fn read(&mut self, place: usize, took: Duration) {
        let (now, unit) = (Instant::now(), &mut self.units[place]);
        unit.is_read = true;
        unit.due = now + pause_after(took).max(SLOW_EVERY);
        self.free = now + took.min(BREATH);
    }

    /// Takes note that it could not be read, after so long.
    pub(super) fn failed(&mut self, place: usize, took: Duration) {
        self.units[place].due = Instant::now() + took.clamp(AGAIN, SLOW_EVERY);
    }

    /// Objects of these classes have come or gone.
    pub(super) fn hurry(&mut self, names: &[&str]) {
        let now = Instant::now();
        for unit in &mut self.units {
            if unit.names.iter().any(|name| names.contains(name)) {
                unit.due = unit.due.min(now);
            }
        }
    }

    /// Nothing is known of any of them any more.
    pub(super) fn forget(&mut self) {
        let now = Instant::now();
        for unit in &mut self.units {
            (unit.is_read, unit.due) = (false, unit.due.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_has_a_pace_of_its_own_and_what_nobody_wants_has_none() {
        let mut schedule = Schedule::new(&[&["VBD"], &["VIF"], &["VIF_metrics"]]);
        let id = |name: &str| datamodel().class(name).expect(name).id;
        let next = |schedule: &Schedule, names: &[&str]| {
            let wanted: Vec<ClassId> = names.iter().map(|name| id(name)).collect();
            let next = schedule.next(|class| wanted.contains(&class));
            next.map(|(place, at)| (place, at.saturating_duration_since(Instant::now())))
        };
        assert_eq!(next(&schedule, &[]), None);
        assert_eq!(next(&schedule, &["VIF_metrics"]), Some((2, Duration::ZERO)));
        schedule.read(2, Duration::from_secs(88));
        // Whoever waits for another for the first time does not wait for that.
        assert_eq!(next(&schedule, &["VIF", "VIF_metrics"]), Some((1, Duration::ZERO)));
        schedule.read(1, Duration::from_millis(100));
        assert_eq!(next(&schedule, &["VIF", "VIF_metrics"]), Some((1, SLOW_EVERY)));
        schedule.hurry(&["VIF", "VIF_metrics"]);
        assert_eq!(next(&schedule, &["VIF"]), Some((1, Duration::from_millis(100))));
        schedule.failed(0, Duration::ZERO);
        assert_eq!(next(&schedule, &["VBD"]), Some((0, AGAIN)));
        schedule.forget();
        assert_eq!(next(&schedule, &["VBD"]), Some((0, Duration::ZERO)));
    }
}
