//! Misbehaviour on demand.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::protocol::Failure;

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The reply is late. The call is carried out first.
    Delay(Duration),
    /// The reply breaks off after so many bytes, head included.
    Cut(usize),
    /// The connection is dropped without a reply; the call is carried out.
    Drop,
    /// The connection is dropped before the call is carried out.
    Refuse,
    /// Nothing is answered, and the connection stays open.
    Hang,
    /// The call fails with this, and is not carried out. Armed for `VM.start`, it is also how the
    /// task of an `Async.VM.start` ends.
    Fail(Failure),
    /// The caller's session ends before the call is looked at.
    ExpireSession,
    /// These bytes are answered instead, and the call is not carried out.
    Reply(RawReply),
    /// The call is carried out, and these bytes are answered instead.
    Garble(RawReply),
    /// The call is carried out only after so long, and answered then, whether its caller is still
    /// there or not.
    Late(Duration),
}

impl Fault {
    /// This host is no coordinator; the coordinator's address is another.
    pub fn host_is_slave(coordinator: &str) -> Self {
        Self::Fail(Failure::new("HOST_IS_SLAVE", [coordinator]))
    }
}

/// An answer that XAPI would not give.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// Sent once, head and all.
    pub start: Vec<u8>,
    /// Then sent again and again until the client hangs up, unless empty.
    pub endless: Vec<u8>,
}

impl RawReply {
    /// A whole HTTP reply, after which the connection closes.
    pub fn http(status: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\ncontent-type: \
             {content_type}\r\n\r\n",
            body.len()
        );
        Self { start: [head.into_bytes(), body].concat(), endless: Vec::new() }
    }

    /// A body that starts well and never ends.
    pub fn endless(start: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Self {
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/xml\r\n\r\n";
        Self { start: [head.to_vec(), start.into()].concat(), endless: again.into() }
    }
}

#[derive(Debug)]
struct Armed {
    call: Option<String>,
    fault: Fault,
    /// So many calls are spared first.
    spared: usize,
    left: Option<usize>,
}

/// The faults of one pool.
#[derive(Debug)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
    held: watch::Sender<BTreeSet<String>>,
    held_tasks: watch::Sender<BTreeSet<String>>,
    /// Bytes a second that replies are sent with; 0 is no limit.
    pace: Mutex<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            armed: Mutex::default(),
            held: watch::Sender::new(BTreeSet::new()),
            held_tasks: watch::Sender::new(BTreeSet::new()),
            pace: Mutex::new(0),
        }
    }
}

impl Faults {
    /// Arms a fault for one call, or for all, so many times or until cleared.
    pub(crate) fn arm(&self, call: Option<&str>, fault: Fault, times: Option<usize>) {
        let call = call.map(Into::into);
        self.armed.lock().push(Armed { call, fault, spared: 0, left: times });
    }

    /// Arms a fault for one call after so many of its name, once.
    pub(crate) fn arm_after(&self, call: &str, spared: usize, fault: Fault) {
        let call = Some(call.to_owned());
        self.armed.lock().push(Armed { call, fault, spared, left: Some(1) });
    }

    pub(crate) fn clear(&self) {
        self.armed.lock().clear();
        self.held.send_modify(BTreeSet::clear);
        self.held_tasks.send_modify(BTreeSet::clear);
        *self.pace.lock() = 0;
    }

    /// The faults that strike this call, in the order they were armed.
    pub(crate) fn strike(&self, call: &str) -> Vec<Fault> {
        self.strike_any(&[call])
    }

    /// The same for something that has several names.
    pub(crate) fn strike_any(&self, names: &[&str]) -> Vec<Fault> {
        let mut struck = Vec::new();
        self.armed.lock().retain_mut(|armed| {
            let is_meant = armed.call.as_ref().is_none_or(|name| names.contains(&name.as_str()));
            if is_meant && armed.spared > 0 {
                armed.spared -= 1;
            } else if is_meant {
                struck.push(armed.fault.clone());
                if let Some(left) = &mut armed.left {
                    *left = left.saturating_sub(1);
                }
            }
            armed.left != Some(0)
        });
        struck
    }

    pub(crate) fn hold(&self, call: &str) {
        self.held.send_modify(|held| _ = held.insert(call.to_owned()));
    }

    pub(crate) fn release(&self, call: &str) {
        self.held.send_modify(|held| _ = held.remove(call));
    }

    /// Waits while replies to this call are held.
    pub(crate) async fn released(&self, call: &str) {
        // The sender lives as long as the faults do.
        _ = self.held.subscribe().wait_for(|held| !held.contains(call)).await;
    }

    /// The failure that strikes what this call began, in the end. Other kinds of faults are for
    /// connections.
    pub(crate) fn strike_task(&self, call: &str) -> Option<Failure> {
        let mut armed = self.armed.lock();
        let strikes = |armed: &Armed| armed.call.as_deref() == Some(call) && armed.spared == 0;
        let index = armed.iter().position(|a| strikes(a) && matches!(a.fault, Fault::Fail(_)))?;
        let Fault::Fail(failure) = armed[index].fault.clone() else { return None };
        match &mut armed[index].left {
            Some(left) if *left <= 1 => _ = armed.remove(index),
            Some(left) => *left -= 1,
            None => {}
        }
        Some(failure)
    }

    pub(crate) fn hold_tasks(&self, call: &str) {
        self.held_tasks.send_modify(|held| _ = held.insert(call.to_owned()));
    }

    pub(crate) fn release_tasks(&self, call: &str) {
        self.held_tasks.send_modify(|held| _ = held.remove(call));
    }

    /// Whether what this call begins is kept from its end.
    pub(crate) fn holds_tasks(&self, call: &str) -> bool {
        self.held_tasks.borrow().contains(call)
    }

    /// Waits while what this call begins is kept from its end.
    pub(crate) async fn tasks_released(&self, call: &str) {
        // The sender lives as long as the faults do.
        _ = self.held_tasks.subscribe().wait_for(|held| !held.contains(call)).await;
    }

    pub(crate) fn set_pace(&self, bytes_per_second: u64) {
        *self.pace.lock() = bytes_per_second;
    }

    /// How long sending so many bytes takes at the pace set.
    pub(crate) fn time_to_send(&self, bytes: usize) -> Duration {
        match *self.pace.lock() {
            0 => Duration::ZERO,
            pace => Duration::from_secs_f64(bytes as f64 / pace as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_as_often_as_told() {
        let faults = Faults::default();
        faults.arm(Some("VM.start"), Fault::Drop, Some(2));
        faults.arm(None, Fault::Delay(Duration::from_secs(1)), Some(1));
        assert_eq!(faults.strike("VM.start").len(), 2);
        assert_eq!(faults.strike("VM.get_all").len(), 0);
        assert!(matches!(faults.strike("VM.start")[..], [Fault::Drop]));
        assert!(faults.strike("VM.start").is_empty());
        faults.arm(Some("VM.start"), Fault::Hang, None);
        for _ in 0..3 {
            assert_eq!(faults.strike("VM.start").len(), 1);
        }
        faults.clear();
        assert!(faults.strike("VM.start").is_empty());
        faults.arm_after("VM.start", 1, Fault::Hang);
        let struck = [(); 3].map(|()| faults.strike("VM.start").len());
        assert_eq!(struck, [0, 1, 0]);
    }
}
