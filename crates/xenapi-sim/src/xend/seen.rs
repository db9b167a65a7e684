//! What tests can ask of the calls that came.

use std::collections::BTreeMap;

use parking_lot::Mutex;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    seen: u64,
    now: u64,
    most: u64,
}

/// How often each call was made, and how many at once.
#[derive(Debug, Default)]
pub(super) struct Seen {
    calls: Mutex<BTreeMap<String, Count>>,
}

/// A call under way. The key of all calls together is no call's name.
pub(super) struct UnderWay<'a> {
    seen: &'a Seen,
    call: String,
}

const ALL: &str = "";

impl Seen {
    pub(super) fn begin(&self, call: &str) -> UnderWay<'_> {
        let mut calls = self.calls.lock();
        for key in [call, ALL] {
            let count = calls.entry(key.to_owned()).or_default();
            count.seen += 1;
            count.now += 1;
            count.most = count.most.max(count.now);
        }
        UnderWay { seen: self, call: call.to_owned() }
    }

    /// How often a call was made; all together with `None`.
    pub(super) fn count(&self, call: Option<&str>) -> u64 {
        self.get(call).seen
    }

    /// The most calls at once.
    pub(super) fn most(&self, call: Option<&str>) -> u64 {
        self.get(call).most
    }

    /// How often calls were made whose names begin so.
    pub(super) fn count_of(&self, prefix: &str) -> u64 {
        let calls = self.calls.lock();
        let all = calls.iter().filter(|(call, _)| *call != ALL && call.starts_with(prefix));
        all.map(|(_, count)| count.seen).sum()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.calls.lock().keys().filter(|call| *call != ALL).cloned().collect()
    }

    fn get(&self, call: Option<&str>) -> Count {
        self.calls.lock().get(call.unwrap_or(ALL)).copied().unwrap_or_default()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut calls = self.seen.calls.lock();
        for key in [self.call.as_str(), ALL] {
            if let Some(count) = calls.get_mut(key) {
                count.now -= 1;
            }
        }
    }
}
