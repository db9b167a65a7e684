//! SRs and what plugs them into hosts.

use super::hosts::Host;
use super::{Edit, no_pairs, reference, text};
use crate::database::{Text, Value};

const TIB: i64 = 1 << 40;

/// The SRs that VMs' disks live in.
pub(super) struct Storage {
    pub(super) default: Text,
    pub(super) disks: Vec<Text>,
}

struct NewSr<'a> {
    label: &'a str,
    description: &'a str,
    kind: &'a str,
    content: &'a str,
    size: i64,
    shared: bool,
    is_tools: bool,
}

/// Plug-ins, SRs and their connections to the hosts.
pub(super) fn storage(edit: &mut Edit<'_>, hosts: &[Host], vms: usize) -> Storage {
    for (kind, label) in [
        ("nfs", "NFS VHD"),
        ("lvm", "Local VHD on LVM"),
        ("ext", "Local EXT3 VHD"),
        ("iso", "ISO"),
        ("udev", "udev"),
    ] {
        plug_in(edit, kind, label);
    }
    let shared = (0..=vms / 1000).map(|n| {
        let label = format!("Shared storage {}", n + 1);
        let sr = NewSr {
            label: &label,
            description: "NFS SR [192.0.2.250:/export]",
            kind: "nfs",
            content: "user",
            size: 64 * TIB,
            shared: true,
            is_tools: false,
        };
        connect(edit, &sr, hosts)
    });
    let disks: Vec<_> = shared.collect();
    for host in hosts {
        let sr = NewSr {
            label: "Local storage",
            description: "",
            kind: "lvm",
            content: "user",
            size: TIB,
            shared: false,
            is_tools: false,
        };
        connect(edit, &sr, std::slice::from_ref(host));
    }
    let tools = NewSr {
        label: "XenServer Tools",
        description: "XenServer Tools ISOs",
        kind: "iso",
        content: "iso",
        size: -1,
        shared: true,
        is_tools: true,
    };
    let tools = connect(edit, &tools, hosts);
    edit.add(
        "VDI",
        &[
            ("name_label", text("guest-tools.iso")),
            ("name_description", text("XenServer Tools")),
            ("SR", reference(&tools)),
            ("virtual_size", Value::Int(140 << 20)),
            ("physical_utilisation", Value::Int(140 << 20)),
            ("type", text("user")),
            ("read_only", Value::Bool(true)),
            ("sharable", Value::Bool(true)),
            ("location", text("guest-tools.iso")),
            ("managed", Value::Bool(true)),
            ("is_tools_iso", Value::Bool(true)),
            ("parent", text(crate::database::NULL)),
        ],
    );
    // There is at least one shared SR.
    let default = disks.first().unwrap_or(&tools).clone();
    Storage { default, disks }
}

fn plug_in(edit: &mut Edit<'_>, kind: &str, label: &str) {
    let features: &[&str] = match kind {
        "iso" => &["SR_PROBE", "SR_UPDATE"],
        "udev" => &["SR_PROBE", "SR_UPDATE", "VDI_INTRODUCE"],
        _ => &[
            "SR_PROBE",
            "SR_UPDATE",
            "VDI_CREATE",
            "VDI_DELETE",
            "VDI_INTRODUCE",
            "VDI_UPDATE",
            "VDI_SNAPSHOT",
            "VDI_CLONE",
            "VDI_RESIZE",
            "VDI_MIRROR",
            "VDI_GENERATE_CONFIG",
            "VDI_CONFIG_CBT",
            "VDI_RESET_ON_BOOT",
        ],
    };
    let numbered = features.iter().map(|feature| (Value::text(*feature), Value::Int(1)));
    edit.add(
        "SM",
        &[
            ("name_label", text(label)),
            ("type", text(kind)),
            ("vendor", text("Simulated")),
            ("version", text("1.0")),
            ("required_api_version", text("1.0")),
            ("capabilities", Value::texts(features.iter().copied())),
            ("features", Value::Map(numbered.collect())),
            ("driver_filename", text(format!("/opt/xensource/sm/{kind}SR"))),
        ],
    );
}

fn connect(edit: &mut Edit<'_>, sr: &NewSr<'_>, hosts: &[Host]) -> Text {
    let this = edit.add(
        "SR",
        &[
            ("name_label", text(sr.label)),
            ("name_description", text(sr.description)),
            ("virtual_allocation", Value::Int(0)),
            ("physical_utilisation", Value::Int(sr.size / 8)),
            ("physical_size", Value::Int(sr.size)),
            ("type", text(sr.kind)),
            ("content_type", text(sr.content)),
            ("shared", Value::Bool(sr.shared)),
            ("is_tools_sr", Value::Bool(sr.is_tools)),
        ],
    );
    let config = match sr.kind {
        "nfs" => Value::pairs([("server", "192.0.2.250"), ("serverpath", "/export")]),
        "lvm" => Value::pairs([("device", "/dev/sda3")]),
        _ => no_pairs(),
    };
    for host in hosts {
        edit.add(
            "PBD",
            &[
                ("host", reference(&host.reference)),
                ("SR", reference(&this)),
                ("device_config", config.clone()),
                ("currently_attached", Value::Bool(true)),
            ],
        );
    }
    this
}
