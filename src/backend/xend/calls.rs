//! Which calls xend has, and how it wants them.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::memory;
use crate::wire::Arg;

/// The calls of the datamodel that a xend 4.4 has, as it lists them itself, without those that it
/// only pretends to have, that make objects in ways of its own, or that are about sessions and
/// events.
const CALLS: &str = include_str!("calls.txt");

/// Whether xend has this call, and the gateway makes it.
pub(super) fn has(call: &str) -> bool {
    static HELD: OnceLock<HashSet<&'static str>> = OnceLock::new();
    HELD.get_or_init(|| CALLS.lines().collect()).contains(call) || memory::is_of_memory(call)
}

/// Calls that may take as long as a guest's memory takes to be written or read.
pub(super) fn takes_long(call: &str) -> bool {
    matches!(
        call,
        "VM.start"
            | "VM.resume"
            | "VM.suspend"
            | "VM.clean_shutdown"
            | "VM.clean_reboot"
            | "VM.hard_shutdown"
            | "VM.hard_reboot"
            | "VM.clone"
            | "VM.destroy"
    )
}

/// An argument as xend takes it: ints as strings, null refs empty, refs as it knows them.
pub(super) fn plain(arg: &Arg) -> Arg {
    match arg {
        Arg::Int(int) => Arg::String(int.to_string()),
        Arg::String(text) if text == "OpaqueRef:NULL" => Arg::String(String::new()),
        Arg::String(text) => Arg::from(super::records::bare(text)),
        Arg::Array(items) => Arg::Array(items.iter().map(plain).collect()),
        Arg::Struct(members) => {
            Arg::Struct(members.iter().map(|(name, arg)| (name.clone(), plain(arg))).collect())
        }
        other => other.clone(),
    }
}

/// The arguments that xend's form of a call has.
pub(super) fn shaped(call: &str, mut args: Vec<Arg>) -> Vec<Arg> {
    if matches!(call, "VM.start" | "VM.resume") {
        // There is no `force`: xend checks nothing that could be forced.
        args.truncate(2);
    }
    args
}

/// The ref of the object that a call is about.
pub(super) fn reference(args: &[Arg]) -> Option<&str> {
    match args.first()? {
        Arg::String(reference) => Some(reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datamodel::{CallKind, datamodel};

    #[test]
    fn only_calls_of_the_datamodel_are_there() {
        for call in CALLS.lines() {
            let (class, known) = datamodel().call(call).expect(call);
            assert!(!matches!(class.name.as_str(), "event" | "session"), "{call}");
            assert_ne!(known.kind, CallKind::Create, "{call}");
        }
        for call in [
            "xend.domain.destroy",
            "event.register",
            "event.from",
            "session.login_with_password",
            "Async.VM.start",
            "VM.create",
            "VM.snapshot",
            "system.listMethods",
            "debug.wait",
            "",
        ] {
            assert!(!has(call), "{call}");
        }
        assert!(has("VM.start") && has("VM.set_memory_limits") && has("host.get_all_records"));
    }

    #[test]
    fn arguments_are_put_as_xend_takes_them() {
        let args = [Arg::from("vm"), Arg::Bool(true), Arg::Bool(true)];
        assert_eq!(shaped("VM.start", args.to_vec()).len(), 2);
        assert_eq!(shaped("VM.clone", args.to_vec()).len(), 3);
        let text = |arg: &Arg| match plain(arg) {
            Arg::String(text) => text,
            _ => panic!("no text"),
        };
        assert_eq!(text(&Arg::Int(-7)), "-7");
        assert_eq!(text(&Arg::from("OpaqueRef:NULL")), "");
        assert_eq!(text(&Arg::from("VIF_metrics/u")), "u");
    }
}
