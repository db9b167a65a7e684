//! xend's loose failures as the Xen-API's own.
//!
//! Most of what goes wrong in xend is an exception whose text is all there is. The text decides
//! which failure of the Xen-API it is; what is not recognised stays an `INTERNAL_ERROR`.

use crate::backend::Failure;
use crate::wire::reply::FAULT;

/// The failure of a call made in a power state that does not permit it. The last parameter is the
/// state itself, which xend's texts do not tell.
pub(in crate::backend) const BAD_POWER_STATE: &str = "VM_BAD_POWER_STATE";

/// What xend's fault 3 means: no such domain.
const NO_DOMAIN: &str = "3";

/// The failure of `call` on the VM of this ref, as XAPI would have it.
pub(in crate::backend) fn proper(call: &str, reference: &str, failure: Failure) -> Failure {
    let text = |index: usize| failure.params.get(index).map_or("", String::as_str);
    match failure.code.as_str() {
        "INTERNAL_ERROR" | "INTERNAL ERROR" => by_text(call, reference, text(0)),
        "ETODO" => made("NOT_IMPLEMENTED", [call]),
        FAULT if text(0) == NO_DOMAIN => made("HANDLE_INVALID", ["VM", reference]),
        FAULT => by_text(call, reference, text(1)),
        _ => failure,
    }
}

fn by_text(call: &str, reference: &str, text: &str) -> Failure {
    let says = |part: &str| text.contains(part);
    let any = |parts: &[&str]| parts.iter().any(|part| says(part));
    if any(&["rivileged domain", "Domain 0 ", "Domain-0 cannot"]) {
        made("OPERATION_NOT_ALLOWED", [text])
    } else if any(&STATES) {
        made(BAD_POWER_STATE, [reference, wanted(call), ""])
    } else if any(&["does not exist", "Invalid VM handle"]) {
        made("HANDLE_INVALID", ["VM", reference])
    } else if says("HVM guest support is unavailable") {
        made("VM_HVM_REQUIRED", [reference])
    } else if any(&FORBIDDEN) {
        made("OPERATION_NOT_ALLOWED", [text])
    } else if any(&[
        "must be less than or equal to",
        "must be greater than or equal to",
        "memory_dynamic_max too small",
    ]) {
        made("MEMORY_CONSTRAINT_VIOLATION", [text])
    } else if any(&["Not enough memory", "not enough memory", "not enough free memory", "I need "])
    {
        made("HOST_NOT_ENOUGH_FREE_MEMORY", [])
    } else if any(&["Invalid", "invalid", "out of range", "greater than max vcpus", "Missing VM"])
        && !says("Invalid result")
    {
        made("INVALID_VALUE", [argument(call), text])
    } else {
        made("INTERNAL_ERROR", [text])
    }
}

/// What xend says of a domain in a state that does not permit a call.
const STATES: [&str; 11] = [
    "is not halted",
    "was not suspended by",
    "is not started",
    "is not running",
    "is not paused",
    "is not suspended",
    "is not in suspended state",
    "already running",
    "is already started",
    "is running",
    "Domain cannot be shutdown",
];

/// What xend does to no domain, or not to this one.
const FORBIDDEN: [&str; 7] = [
    "already exists",
    "not managed by Xend",
    "not a managed domain",
    "not supported",
    "not authorized to run",
    "refuses migration",
    "cannot be",
];

/// The state that a call wants.
fn wanted(call: &str) -> &'static str {
    match call {
        "VM.start" | "VM.destroy" => "Halted",
        "VM.resume" => "Suspended",
        "VM.unpause" => "Paused",
        _ => "Running",
    }
}

/// What of a call's object a text about something invalid is about, as far as the call tells.
fn argument(call: &str) -> &str {
    match call.split_once(".set_") {
        Some((_, field)) => field,
        None => call,
    }
}

fn made<const N: usize>(code: &str, params: [&str; N]) -> Failure {
    Failure { code: code.to_owned(), params: params.into_iter().map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(call: &str, code: &str, params: &[&str]) -> (String, Vec<String>) {
        let params = params.iter().map(|param| (*param).to_owned()).collect();
        let failure = proper(call, "vm", Failure { code: code.to_owned(), params });
        (failure.code, failure.params)
    }

    #[test]
    fn every_recorded_text_has_its_failure() {
        for (call, text, code) in [
            ("VM.pause", "Domain 'halted01' is not started", BAD_POWER_STATE),
            ("VM.clean_shutdown", "Domain cannot be shutdown", BAD_POWER_STATE),
            ("VM.clean_shutdown", "Domain 0 cannot be shutdown", "OPERATION_NOT_ALLOWED"),
            ("VM.pause", "Cannot pause privileged domain 0", "OPERATION_NOT_ALLOWED"),
            (
                "VM.hard_shutdown",
                "Cannot destroy privileged domain Domain-0",
                "OPERATION_NOT_ALLOWED",
            ),
            (
                "VM.set_name_label",
                "VM name 'Domain-0' already exists as domain 0",
                "OPERATION_NOT_ALLOWED",
            ),
            ("VM.set_name_label", "Invalid VM Name", "INVALID_VALUE"),
            (
                "VM.set_memory_static_max",
                "Invalid Configuration: memory_dynamic_max must be less than or equal to \
                 memory_static_max",
                "MEMORY_CONSTRAINT_VIOLATION",
            ),
            (
                "VM.suspend",
                "Domain is not managed by Xend lifecycle support.",
                "OPERATION_NOT_ALLOWED",
            ),
            ("VM.clean_shutdown", "Invalid reason: bogus", "INVALID_VALUE"),
            (
                "VM.add_to_other_config",
                "Failed to save configuration file to: /x",
                "INTERNAL_ERROR",
            ),
            // What the source of xend 4.4 says beside.
            ("VM.start", "VM already running", BAD_POWER_STATE),
            ("VM.start", "Domain is already running", BAD_POWER_STATE),
            ("VM.destroy", "Domain is not halted.", BAD_POWER_STATE),
            ("VM.resume", "VM is not suspended; it is Running", BAD_POWER_STATE),
            ("VM.resume", "Domain was not suspended by Xend", BAD_POWER_STATE),
            ("VM.resume", "Cannot resume privileged domain Domain-0", "OPERATION_NOT_ALLOWED"),
            ("VM.resume", "Cannot resume domain that is not suspended.", BAD_POWER_STATE),
            (
                "VM.set_memory_target_live",
                "memory_dynamic_max too small",
                "MEMORY_CONSTRAINT_VIOLATION",
            ),
            ("VM.set_VCPUs_number_live", "Zero or less VCPUs is invalid", "INVALID_VALUE"),
            (
                "VM.set_VCPUs_number_live",
                "Cannot set vcpus greater than max vcpus on running domain",
                "INVALID_VALUE",
            ),
            (
                "VM.start",
                "HVM guest support is unavailable: is VT/AMD-V supported by your CPU and enabled \
                 in your BIOS?",
                "VM_HVM_REQUIRED",
            ),
            (
                "VM.add_to_VCPUs_params",
                "Cpu weight out of range, valid values are within range from 1 to 65535",
                "INVALID_VALUE",
            ),
            ("VM.x", "Invalid result None handling VM.x", "INTERNAL_ERROR"),
            ("VM.x", "", "INTERNAL_ERROR"),
        ] {
            assert_eq!(of(call, "INTERNAL_ERROR", &[text]).0, code, "{text}");
            assert_eq!(of(call, "INTERNAL ERROR", &[text]).0, code, "{text}");
            assert_eq!(of(call, FAULT, &["2", text]).0, code, "{text}");
        }
    }

    #[test]
    fn the_other_forms_are_understood() {
        let todo = of("VM.set_name_description", "ETODO", &["Lazy Programmer Error"]);
        assert_eq!(todo.0, "NOT_IMPLEMENTED");
        let gone = of("VM.pause", FAULT, &["3", "nosuch"]);
        assert_eq!(gone, ("HANDLE_INVALID".to_owned(), vec!["VM".to_owned(), "vm".to_owned()]));
        let own = of("VM.start", BAD_POWER_STATE, &["vm", "Halted", "Crashed"]);
        assert_eq!(own.1[2], "Crashed");
        assert_eq!(of("VM.pause", FAULT, &[]).0, "INTERNAL_ERROR");
    }
}
