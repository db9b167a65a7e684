//! xend's loose failures as the Xen-API's own.
//!
//! Most of what goes wrong in xend is an exception whose text is all there is. The text decides
//! which failure of the Xen-API it is; what is not recognised stays an `INTERNAL_ERROR`.

use super::power::{BAD_POWER_STATE, wanted};
use xenapi_model::without_console_passwords;
use xenapi_wire::reply::FAULT;
use xenapi_wire::reply::Failure;

/// What xend's fault 3 means: no such domain.
const NO_DOMAIN: &str = "3";

/// The failure of `call` on the VM of this ref, as XAPI would have it.
pub(crate) fn proper(call: &str, reference: &str, failure: Failure) -> Failure {
    let Failure { code, params } = failure;
    let params = params.iter().map(|param| without_console_passwords(param)).collect();
    let failure = Failure { code, params };
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
    // A Python exception without a word: an assertion of xend's own.
    if text.trim().is_empty() {
        let why = "xend failed and gave no reason; its log may tell";
        return made("INTERNAL_ERROR", [why]);
    }
    if is_of_the_system(text) {
        return made("INTERNAL_ERROR", [text]);
    }
    if any(&["rivileged domain", "Domain 0 ", "Domain-0 cannot"]) {
        made("OPERATION_NOT_ALLOWED", [text])
    } else if any(&STATES) {
        made(BAD_POWER_STATE, [reference, wanted(call), ""])
    } else if is_no_domain(text) || says("Invalid VM handle") {
        made("HANDLE_INVALID", ["VM", reference])
    } else if says("does not exist") {
        // A kernel or a disk that the VM is configured with.
        made("OPERATION_NOT_ALLOWED", [text])
    } else if says("HVM guest support is unavailable") {
        made("VM_HVM_REQUIRED", [reference])
    } else if any(&["Not enough memory", "not enough memory", "not enough free memory", "I need "])
    {
        not_enough_memory(text)
    } else if any(&FORBIDDEN) {
        made("OPERATION_NOT_ALLOWED", [text])
    } else if any(&[
        "must be less than or equal to",
        "must be greater than or equal to",
        "memory_dynamic_max too small",
    ]) {
        made("MEMORY_CONSTRAINT_VIOLATION", [text])
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

/// `Domain 'web01' does not exist`, and nothing else that does not.
fn is_no_domain(text: &str) -> bool {
    let text = text.trim_start_matches("Error: ").trim_start();
    text.starts_with("Domain ") && text.contains("does not exist")
}

/// `(22, 'Invalid argument')`: what Xen or the system said to xend, and nothing of the caller's.
fn is_of_the_system(text: &str) -> bool {
    let Some(start) = text.find('(') else { return false };
    let inner = text[start + 1..].trim_start_matches('-');
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && inner[digits..].starts_with(", '") && text.trim_end().ends_with(')')
}

/// What is needed and what there is, in bytes, as far as the text tells; and the text, with what
/// else it tells.
fn not_enough_memory(text: &str) -> Failure {
    let amounts = amounts(text);
    let said = |word: &str| {
        let from = text.find(word)?;
        amounts.iter().find(|(at, _)| *at > from).map(|(_, bytes)| *bytes)
    };
    let needed = said("need ").or_else(|| said("need")).map(|bytes| bytes.to_string());
    let free = ["leave only", "only have", "have only", "have", "available"];
    let free = free.iter().find_map(|word| said(word)).map(|bytes| bytes.to_string());
    let amounts = [needed, free].map(Option::unwrap_or_default);
    let params = amounts.into_iter().chain([text.to_owned()]).collect();
    Failure { code: "HOST_NOT_ENOUGH_FREE_MEMORY".to_owned(), params }
}

/// The amounts in a text with their places, in bytes: `262144 KiB`.
fn amounts(text: &str) -> Vec<(usize, u64)> {
    const UNITS: [(&str, u64); 6] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1 << 10),
        ("MB", 1 << 20),
        ("GB", 1 << 30),
    ];
    let (mut found, mut rest) = (Vec::new(), 0);
    while let Some(start) = text[rest..].find(|char: char| char.is_ascii_digit()) {
        let start = rest + start;
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        rest = start + digits;
        let unit = text[rest..].trim_start();
        let unit = UNITS.iter().find(|(name, _)| unit.starts_with(name));
        if let (Some((_, size)), Ok(number)) = (unit, text[start..rest].parse::<u64>()) {
            found.push((start, number.saturating_mul(*size)));
        }
    }
    found
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
            // Only a domain is an object; what else is missing is a file.
            ("VM.start", "Domain 'web01' does not exist.", "HANDLE_INVALID"),
            ("VM.start", "Kernel image does not exist: /boot/no", "OPERATION_NOT_ALLOWED"),
            ("VM.start", "Disk image does not exist: /no.img", "OPERATION_NOT_ALLOWED"),
            ("VM.start", "Domain kernel /x does exist not", "INTERNAL_ERROR"),
            // What the system says is nobody's argument.
            ("VM.start", "(22, 'Invalid argument')", "INTERNAL_ERROR"),
            ("VM.set_memory_target_live", "(22, 'Invalid argument')", "INTERNAL_ERROR"),
            ("VM.start", "Creating domain failed: (-22, 'Invalid argument')", "INTERNAL_ERROR"),
        ] {
            assert_eq!(of(call, "INTERNAL_ERROR", &[text]).0, code, "{text}");
            assert_eq!(of(call, "INTERNAL ERROR", &[text]).0, code, "{text}");
            assert_eq!(of(call, FAULT, &["2", text]).0, code, "{text}");
        }
    }

    #[test]
    fn what_a_text_tells_is_kept() {
        let (_, silent) = of("VM.start", "INTERNAL_ERROR", &[""]);
        assert!(silent[0].contains("no reason"), "{silent:?}");
        for (text, needed, free) in [
            (
                "I need 262144 KiB, but dom0_min_mem is 131072 and shrinking to 131072 KiB would \
                 leave only 1024 KiB free.",
                "268435456",
                "1048576",
            ),
            (
                "Not enough free memory and enable-dom0-ballooning is False, so I cannot release \
                 any more.  I need 524288 KiB but only have 3072.",
                "536870912",
                "",
            ),
            ("not enough memory: need 512 MiB, have 3 MiB", "536870912", "3145728"),
            ("Not enough memory is available, and dom0 cannot be shrunk any further", "", ""),
        ] {
            let (code, params) = of("VM.start", "INTERNAL_ERROR", &[text]);
            assert_eq!(code, "HOST_NOT_ENOUGH_FREE_MEMORY", "{text}");
            assert_eq!(params, [needed, free, text]);
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
