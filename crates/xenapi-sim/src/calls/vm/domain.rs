//! The domain that a running VM is: what the hypervisor would make, and unmake.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::population::consoles;
use crate::protocol::Failure;

/// The host for a VM: the one it likes best, or the one with the fewest VMs.
pub(super) fn suitable_host(edit: &Edit<'_>, vm: &Text) -> Result<Text, Failure> {
    let mut hosts = edit.all("host");
    let liked = edit.target("VM", vm, "affinity");
    hosts.sort_by_cached_key(|host| {
        (liked.as_ref() != Some(host), edit.texts("host", host, "resident_VMs").len())
    });
    let mut refusals = Vec::new();
    for host in hosts {
        match check_host(edit, vm, &host) {
            Ok(()) => return Ok(host),
            Err(failure) => refusals.push(failure),
        }
    }
    // With one host its reason is the reason.
    let only = refusals.pop().filter(|_| refusals.is_empty());
    Err(only.unwrap_or_else(|| Failure::new::<&str>("NO_HOSTS_AVAILABLE", [])))
}

/// The hosts that a VM could run on.
pub(super) fn possible_hosts(edit: &Edit<'_>, vm: &Text) -> Vec<Text> {
    let mut hosts = edit.all("host");
    hosts.retain(|host| check_host(edit, vm, host).is_ok());
    hosts
}

/// Whether a VM can run on a host.
pub(super) fn check_host(edit: &Edit<'_>, vm: &Text, host: &Text) -> Result<(), Failure> {
    if !edit.flag("host_metrics", edit.text("host", host, "metrics"), "live") {
        return Err(Failure::new("HOST_NOT_LIVE", [] as [&str; 0]));
    }
    if !edit.flag("host", host, "enabled") {
        return Err(Failure::new("HOST_DISABLED", [&**host]));
    }
    check_storage(edit, vm, host)?;
    let needed = edit.int("VM", vm, "memory_dynamic_min") + edit.int("VM", vm, "memory_overhead");
    let free = free_memory(edit, host, vm);
    if needed > free {
        let params = [needed.to_string(), free.to_string()];
        return Err(Failure::new("HOST_NOT_ENOUGH_FREE_MEMORY", params));
    }
    Ok(())
}

/// Whether a host has all SRs and networks that a VM needs.
fn check_storage(edit: &Edit<'_>, vm: &Text, host: &Text) -> Result<(), Failure> {
    for vbd in edit.texts("VM", vm, "VBDs") {
        let Some(vdi) = edit.target("VBD", &vbd, "VDI") else { continue };
        let Some(sr) = edit.target("VDI", &vdi, "SR") else { continue };
        let plugged = edit.texts("SR", &sr, "PBDs").into_iter().any(|pbd| {
            edit.flag("PBD", &pbd, "currently_attached") && edit.text("PBD", &pbd, "host") == host
        });
        if !plugged {
            return Err(Failure::new("VM_REQUIRES_SR", [vm, &sr].map(|text| &**text)));
        }
    }
    for vif in edit.texts("VM", vm, "VIFs") {
        let Some(network) = edit.target("VIF", &vif, "network") else { continue };
        let pifs = edit.texts("network", &network, "PIFs");
        // Without a PIF at all it is a network inside hosts.
        let reached =
            pifs.is_empty() || pifs.iter().any(|pif| edit.text("PIF", pif, "host") == host);
        if !reached {
            return Err(Failure::new("VM_REQUIRES_NETWORK", [vm, &network].map(|text| &**text)));
        }
    }
    Ok(())
}

/// What a host has left when `but` is not counted.
pub(super) fn free_memory(edit: &Edit<'_>, host: &str, but: &str) -> i64 {
    let total = edit.int("host_metrics", edit.text("host", host, "metrics"), "memory_total");
    let residents = edit.texts("host", host, "resident_VMs");
    let taken = residents
        .iter()
        .filter(|vm| ***vm != *but)
        .map(|vm| edit.int("VM", vm, "memory_target") + edit.int("VM", vm, "memory_overhead"));
    total - edit.int("host", host, "memory_overhead") - taken.sum::<i64>()
}

fn account(edit: &mut Edit<'_>, host: &Text) {
    let metrics = edit.text("host", host, "metrics").clone();
    let free = free_memory(edit, host, "").max(0);
    edit.set("host_metrics", &metrics, "memory_free", Value::Int(free));
}

/// Makes a domain for a VM on a host; nothing runs in it yet.
pub(super) fn build(edit: &mut Edit<'_>, vm: &Text, host: &Text) {
    let memory = edit.int("VM", vm, "memory_dynamic_max");
    let vcpus = edit.int("VM", vm, "VCPUs_at_startup");
    let kind = match &**edit.text("VM", vm, "domain_type") {
        "unspecified" => Value::text("hvm"),
        kind => Value::text(kind),
    };
    let domid = next_domid(edit);
    forget_guest(edit, vm);
    let fields = [
        ("resident_on", Value::Text(host.clone())),
        ("scheduled_to_be_resident_on", Value::text(NULL)),
        ("memory_target", Value::Int(memory)),
        ("domid", Value::Int(domid)),
        ("domarch", Value::text("x64")),
        ("domain_type", kind.clone()),
        ("requires_reboot", Value::Bool(false)),
    ];
    edit.set_all("VM", vm, &fields);
    let metrics = metrics_of(edit, vm);
    let idle = (0..vcpus).map(|n| (Value::Int(n), Value::Float(0.0)));
    let now = edit.now();
    let fields = [
        ("memory_actual", Value::Int(memory)),
        ("VCPUs_number", Value::Int(vcpus)),
        ("VCPUs_utilisation", Value::Map(idle.collect())),
        ("start_time", now.clone()),
        ("last_updated", now),
        ("hvm", Value::Bool(kind == Value::text("hvm"))),
        ("current_domain_type", kind),
    ];
    edit.set_all("VM_metrics", &metrics, &fields);
    plug(edit, vm);
    let address = edit.text("host", host, "address").to_string();
    consoles(edit, vm, &address);
    account(edit, host);
}

/// Lets what is in a domain run: before long its guest tells about itself.
pub(super) fn boot(edit: &mut Edit<'_>, vm: &Text) {
    if edit
        .target("VM", vm, "guest_metrics")
        .is_some_and(|guest| edit.has("VM_guest_metrics", &guest))
    {
        return;
    }
    let template = edit.entry("VM", vm, "other_config", "base_template_name").cloned();
    let template = template.unwrap_or_else(|| "Other install media".into());
    let address = guest_address(edit, vm);
    let guest = crate::population::guest(edit, &template, &address);
    edit.set("VM", vm, "guest_metrics", Value::Text(guest));
}

/// Leaves nothing of a VM on its host.
pub(super) fn take_down(edit: &mut Edit<'_>, vm: &Text) {
    let host = edit.target("VM", vm, "resident_on");
    let suspended_or_halted = [
        ("resident_on", Value::text(NULL)),
        ("scheduled_to_be_resident_on", Value::text(NULL)),
        ("memory_target", Value::Int(0)),
        ("domid", Value::Int(-1)),
    ];
    edit.set_all("VM", vm, &suspended_or_halted);
    for console in edit.texts("VM", vm, "consoles") {
        edit.destroy("console", &console);
    }
    let metrics = metrics_of(edit, vm);
    let fields = [
        ("memory_actual", Value::Int(0)),
        ("VCPUs_number", Value::Int(0)),
        ("VCPUs_utilisation", Value::Map(Vec::new())),
        ("last_updated", edit.now()),
    ];
    edit.set_all("VM_metrics", &metrics, &fields);
    if let Some(host) = host {
        account(edit, &host);
    }
}

/// Moves a domain to another host.
pub(super) fn relocate(edit: &mut Edit<'_>, vm: &Text, host: &Text) {
    let from = edit.target("VM", vm, "resident_on");
    let domid = Value::Int(next_domid(edit));
    edit.set_all("VM", vm, &[("resident_on", Value::Text(host.clone())), ("domid", domid)]);
    for console in edit.texts("VM", vm, "consoles") {
        edit.destroy("console", &console);
    }
    let address = edit.text("host", host, "address").to_string();
    consoles(edit, vm, &address);
    for host in from.iter().chain([host]) {
        account(edit, host);
    }
}

/// Writes a VM's memory into a new disk.
pub(super) fn save(edit: &mut Edit<'_>, vm: &Text) -> Result<Text, Failure> {
    let pool = edit.first("pool").unwrap_or_else(|| NULL.into());
    let sr = edit
        .target("VM", vm, "suspend_SR")
        .or_else(|| edit.target("pool", &pool, "suspend_image_SR"))
        .filter(|sr| edit.has("SR", sr))
        .ok_or_else(|| Failure::new("VM_NO_SUSPEND_SR", [&**vm]))?;
    let size = edit.int("VM", vm, "memory_static_max") + edit.int("VM", vm, "memory_overhead");
    let location = edit.identifiers.uuid();
    let reference = edit.identifiers.reference();
    let fields = [
        ("name_label", Value::text("Suspend image")),
        ("name_description", Value::text("Suspend image")),
        ("SR", Value::Text(sr)),
        ("virtual_size", Value::Int(size)),
        ("physical_utilisation", Value::Int(size)),
        ("type", Value::text("suspend")),
        ("location", Value::Text(location.clone())),
        ("managed", Value::Bool(true)),
        ("parent", Value::text(NULL)),
    ];
    Ok(edit.add_known("VDI", reference, location, &fields))
}

/// Takes devices out, and forgets what the guest told.
pub(super) fn unplug(edit: &mut Edit<'_>, vm: &Text) {
    for (class, field) in [("VBD", "VBDs"), ("VIF", "VIFs"), ("VUSB", "VUSBs"), ("VGPU", "VGPUs")] {
        for device in edit.texts("VM", vm, field) {
            edit.set(class, &device, "currently_attached", Value::Bool(false));
        }
    }
    forget_guest(edit, vm);
    let metrics = metrics_of(edit, vm);
    edit.set("VM_metrics", &metrics, "current_domain_type", Value::text("unspecified"));
    edit.set("VM", vm, "requires_reboot", Value::Bool(false));
}

fn plug(edit: &mut Edit<'_>, vm: &Text) {
    for (index, vbd) in edit.texts("VM", vm, "VBDs").into_iter().rev().enumerate() {
        let attached =
            !edit.flag("VBD", &vbd, "empty") || &**edit.text("VBD", &vbd, "type") == "CD";
        edit.set("VBD", &vbd, "currently_attached", Value::Bool(attached));
        if edit.text("VBD", &vbd, "device").is_empty() {
            let place = edit.text("VBD", &vbd, "userdevice").parse().unwrap_or(index);
            edit.set("VBD", &vbd, "device", Value::text(device_name(place)));
        }
    }
    for vif in edit.texts("VM", vm, "VIFs") {
        edit.set("VIF", &vif, "currently_attached", Value::Bool(true));
    }
}

/// `xvda`, `xvdb`, …
pub(in crate::calls) fn device_name(place: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap_or(0));
    match place {
        0..26 => format!("xvd{}", letter(place)),
        _ => format!("xvd{}{}", letter(place / 26 - 1), letter(place)),
    }
}

fn forget_guest(edit: &mut Edit<'_>, vm: &Text) {
    if let Some(guest) = edit.target("VM", vm, "guest_metrics") {
        edit.set("VM", vm, "guest_metrics", Value::text(NULL));
        edit.destroy("VM_guest_metrics", &guest);
    }
}

/// A VM's metrics, which it may not have had yet.
fn metrics_of(edit: &mut Edit<'_>, vm: &Text) -> Text {
    let known = edit.target("VM", vm, "metrics").filter(|known| edit.has("VM_metrics", known));
    known.unwrap_or_else(|| {
        let metrics = edit.add("VM_metrics", &[]);
        edit.set("VM", vm, "metrics", Value::Text(metrics.clone()));
        metrics
    })
}

fn next_domid(edit: &Edit<'_>) -> i64 {
    let domids = edit.all("VM").into_iter().map(|vm| edit.int("VM", &vm, "domid"));
    edit.identifiers.domain(domids.max().unwrap_or(0).max(0))
}

/// An address that stays with the VM.
fn guest_address(edit: &Edit<'_>, vm: &str) -> String {
    let uuid = edit.text("VM", vm, "uuid");
    let byte = |at: usize| u8::from_str_radix(uuid.get(at..at + 2).unwrap_or("1"), 16).unwrap_or(1);
    format!("198.51.{}.{}", 100 + byte(0) % 100, byte(2).clamp(1, 254))
}
