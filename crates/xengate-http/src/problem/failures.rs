//! What a client sees of a Xen-API failure: its title, its detail, its parameters.

use xenapi_model::datamodel;

/// Longer parameters are cut: some carry a whole program's output.
const LONGEST_PARAM: usize = 2048;

/// More parameters than any failure has.
const MOST_PARAMS: usize = 32;

const REF: &str = "OpaqueRef:";

/// The parameters as clients may see them: uuids for refs, null for a ref of nothing known, and
/// nothing at all of a failure about a session, whose parameter is the session.
pub(super) fn shown(
    code: &str,
    params: &[String],
    uuid_of: impl Fn(&str) -> Option<String>,
) -> Vec<Option<String>> {
    if matches!(code, "SESSION_INVALID" | "SESSION_NOT_REGISTERED") {
        return Vec::new();
    }
    let session = |index: usize| {
        // HANDLE_INVALID says the class before the ref.
        code == "HANDLE_INVALID" && index > 0 && params[0].eq_ignore_ascii_case("session")
    };
    params
        .iter()
        .take(MOST_PARAMS)
        .enumerate()
        .map(|(index, param)| match param {
            _ if session(index) => None,
            param if is_ref(param) => uuid_of(param).filter(|uuid| !uuid.contains(REF)),
            param => Some(without_refs(param)),
        })
        .collect()
}

fn is_ref(param: &str) -> bool {
    param.strip_prefix(REF).is_some_and(|rest| rest.bytes().all(is_ref_byte))
}

fn is_ref_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Free text, cut to length, with the refs in it blotted out.
pub(super) fn without_refs(text: &str) -> String {
    let mut rest = match text.char_indices().nth(LONGEST_PARAM) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    let cut = rest.len() < text.len();
    let mut shown = String::with_capacity(rest.len());
    while let Some(start) = rest.find(REF) {
        shown.push_str(&rest[..start]);
        shown.push_str("(ref)");
        rest = rest[start + REF.len()..]
            .trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_ref_byte));
    }
    shown.push_str(rest);
    if cut {
        // A ref may have been cut in its prefix; what is left of it names nothing.
        shown.push('…');
    }
    shown
}

/// `VM_BAD_POWER_STATE` → `VM bad power state`.
pub(super) fn title(code: &str) -> String {
    let mut title = String::with_capacity(code.len());
    for (place, word) in code.split('_').enumerate() {
        if place > 0 {
            title.push(' ');
        }
        if ACRONYMS.contains(&word) {
            title.push_str(word);
        } else if place == 0 {
            title.push_str(word.get(..1).unwrap_or(word));
            title.push_str(&word.get(1..).unwrap_or_default().to_ascii_lowercase());
        } else {
            title.push_str(&word.to_ascii_lowercase());
        }
    }
    title
}

const ACRONYMS: &[&str] = &[
    "API", "CBT", "CD", "CPU", "CRL", "DB", "GPU", "HA", "HVM", "IOMMU", "IP", "MAC", "NTP", "OEM",
    "PBD", "PCI", "PGPU", "PIF", "PIFS", "PUSB", "PV", "PVS", "RBAC", "SM", "SR", "SRIOV", "SSH",
    "SSL", "TLS", "USB", "UUID", "VBD", "VCPUS", "VDI", "VGPU", "VIF", "VLAN", "VM", "VMS", "VSS",
    "VTPM", "VUSB", "WLB", "XML",
];

/// The code and its parameters in one line, with the names the datamodel has for them.
pub(super) fn detail(code: &str, params: &[Option<String>]) -> String {
    let mut detail = format!("the backend answered {code}");
    let names = datamodel().failure(code).map_or(&[][..], |failure| &failure.params);
    for (index, param) in params.iter().enumerate() {
        detail.push_str(if index == 0 { ": " } else { ", " });
        if let Some(name) = names.get(index) {
            detail.push_str(name.trim());
            detail.push(' ');
        }
        match param {
            Some(param) => detail.extend(['"'].into_iter().chain(param.chars()).chain(['"'])),
            None => detail.push_str("(unknown)"),
        }
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn refs_become_uuids_or_nothing() {
        let params =
            ["OpaqueRef:a1-b2".to_owned(), "Halted".to_owned(), "OpaqueRef:unknown".to_owned()];
        let known = |reference: &str| (reference == "OpaqueRef:a1-b2").then(|| "uuid".to_owned());
        assert_eq!(
            shown("VM_BAD_POWER_STATE", &params, known),
            [Some("uuid".to_owned()), Some("Halted".to_owned()), None]
        );
        let text = ["Db_exn (OpaqueRef:a1-b2) and OpaqueRef:c3; é".to_owned()];
        assert_eq!(
            shown("INTERNAL_ERROR", &text, known),
            [Some("Db_exn ((ref)) and (ref); é".to_owned())]
        );
    }

    #[test]
    fn a_session_is_never_shown() {
        let bare = ["0a1b2c3d-0000-1111-2222-333344445555".to_owned()];
        assert!(shown("SESSION_INVALID", &bare, |_| Some("x".to_owned())).is_empty());
        let handle = ["session".to_owned(), bare[0].clone()];
        assert_eq!(shown("HANDLE_INVALID", &handle, unknown), [Some("session".to_owned()), None]);
    }

    #[test]
    fn a_long_parameter_is_cut() {
        let params = ["é".repeat(LONGEST_PARAM + 1)];
        let shown = shown("SR_BACKEND_FAILURE", &params, unknown);
        let text = shown[0].as_deref().expect("text");
        assert_eq!(text.chars().count(), LONGEST_PARAM + 1);
        assert!(text.ends_with("é…"));
    }

    #[test]
    fn a_failure_reads_like_a_sentence() {
        assert_eq!(title("VM_BAD_POWER_STATE"), "VM bad power state");
        assert_eq!(title("HANDLE_INVALID"), "Handle invalid");
        assert_eq!(title(""), "");
        let params = [None, Some("halted".to_owned()), Some("running".to_owned())];
        assert_eq!(
            detail("VM_BAD_POWER_STATE", &params),
            "the backend answered VM_BAD_POWER_STATE: vm (unknown), expected \"halted\", \
             actual \"running\""
        );
    }
}
