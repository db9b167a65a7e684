//! Which calls xend has, and how it wants them.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::memory;
use xenapi_model::{Type, datamodel};
use xenapi_wire::Arg;

/// The calls of the datamodel that a xend 4.4 has, as it lists them itself, without those that it
/// only pretends to have, that make objects in ways of its own, or that are about sessions and
/// events.
const CALLS: &str = include_str!("calls.txt");

/// The part of [`CALLS`] that is not made: xend keeps what they set as text, and a VM whose weight,
/// cap or pinning is text never starts again.
const HARMFUL: [&str; 4] = [
    "VM.set_VCPUs_params",
    "VM.add_to_VCPUs_params",
    "VM.add_to_VCPUs_params_live",
    "VM.remove_from_VCPUs_params",
];

/// Whether xend has this call, and the gateway makes it.
pub(super) fn has(call: &str) -> bool {
    static HELD: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let held = HELD.get_or_init(|| CALLS.lines().filter(|call| !HARMFUL.contains(call)).collect());
    held.contains(call) || memory::is_of_memory(call)
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

/// The arguments of a call as xend takes them: ints as strings, null refs empty, refs as it knows
/// them. What is the user's own text stays as it is.
pub(super) fn plain(call: &str, args: &[Arg]) -> Vec<Arg> {
    let params = datamodel().call(call).map(|(_, call)| &call.params[..]).unwrap_or_default();
    let types = params.iter().map(|param| Some(&param.ty)).chain(std::iter::repeat(None));
    args.iter().zip(types).map(|(arg, ty)| plainly(arg, ty)).collect()
}

fn plainly(arg: &Arg, ty: Option<&Type>) -> Arg {
    match (arg, ty) {
        (_, Some(Type::Option(ty))) => plainly(arg, Some(ty)),
        (Arg::Int(int), _) => Arg::String(int.to_string()),
        (Arg::String(text), Some(Type::Ref(_))) if text == "OpaqueRef:NULL" => {
            Arg::String(String::new())
        }
        (Arg::String(text), Some(Type::Ref(_))) => Arg::from(super::records::bare(text)),
        (Arg::Array(items), ty) => {
            let ty = match ty {
                Some(Type::Set(ty)) => Some(&**ty),
                _ => None,
            };
            Arg::Array(items.iter().map(|item| plainly(item, ty)).collect())
        }
        (Arg::Struct(members), ty) => {
            let ty = match ty {
                Some(Type::Map(_, ty)) => Some(&**ty),
                _ => None,
            };
            let member = |(name, arg): &(String, Arg)| (name.clone(), plainly(arg, ty));
            Arg::Struct(members.iter().map(member).collect())
        }
        (other, _) => other.clone(),
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
    use xenapi_model::CallKind;

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
            "VM.set_VCPUs_params",
            "VM.add_to_VCPUs_params_live",
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
        let text = |call: &str, args: &[Arg]| match plain(call, args).pop() {
            Some(Arg::String(text)) => text,
            other => panic!("{:?}", other.is_some()),
        };
        let vm = || Arg::from("vm");
        assert_eq!(text("VM.set_VCPUs_number_live", &[vm(), Arg::Int(-7)]), "-7");
        assert_eq!(text("VM.get_record", &[Arg::from("OpaqueRef:NULL")]), "");
        assert_eq!(text("VIF_metrics.get_record", &[Arg::from("VIF_metrics/u")]), "u");
        // A name is nobody's ref.
        for name in ["VBD_metrics/foo", "OpaqueRef:NULL", "7"] {
            assert_eq!(text("VM.set_name_label", &[vm(), Arg::from(name)]), name);
            let map = Arg::Struct(vec![(name.to_owned(), Arg::from(name))]);
            let sent = plain("VM.set_other_config", &[vm(), map]).pop();
            let Some(Arg::Struct(members)) = sent else { panic!("a map") };
            assert_eq!(members[0].0, name);
            assert!(matches!(&members[0].1, Arg::String(text) if text == name));
        }
    }
}
