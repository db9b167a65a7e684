//! A domain as SXP, as the legacy dialect gives it, and a VM from such.

use std::time::Duration;

use super::life::{Life, Trouble};
use super::machine::{MIB, Machine, Power, Vbd, Vif};
use super::value::{Value, pair};
use super::world::World;
use crate::identifiers::Identifiers;
use crate::protocol::Arg;

/// What `xend.domain` says; `devices` is what its argument `full` adds.
pub(super) fn domain(machine: &Machine, world: &World, now: Duration, devices: bool) -> Value {
    let host_cpus = world.host_cpus();
    let mut items: Vec<Value> = vec!["domain".into()];
    if let Some(domid) = machine.domid {
        items.push(pair("domid", domid));
    }
    items.extend([
        pair("cpu_weight", machine.weight),
        pair("cpu_cap", machine.cap),
        pair("pool_name", "Pool-0"),
        pair("bootloader", ""),
        pair("vcpus", machine.vcpus_max),
    ]);
    let cpus = machine.affinity.iter().map(|cpus| {
        // Domain-0's are written out.
        let all = machine.is_domain_0() && cpus.is_empty();
        if all { Value::list(0..host_cpus) } else { Value::list(cpus.iter().copied()) }
    });
    items.push(pair("cpus", Value::List(cpus.collect())));
    items.push(pair("on_poweroff", machine.on_poweroff.as_str()));
    if !machine.is_domain_0() {
        items.push(pair("description", ""));
    }
    items.extend([
        // In this dialect's own spelling.
        pair("on_crash", machine.on_crash.replace("_and_", "-").replace('_', "-")),
        pair("uuid", machine.uuid.as_str()),
        pair("bootloader_args", ""),
        pair("name", machine.name.as_str()),
        pair("on_reboot", machine.on_reboot.as_str()),
        pair("maxmem", machine.memory_static_max / MIB),
        pair("memory", machine.memory_dynamic_max / MIB),
        pair("shadow_memory", 0),
        pair("features", ""),
        pair("on_xend_start", "ignore"),
        pair("on_xend_stop", "ignore"),
    ]);
    if let Some(started) = machine.started {
        if !machine.is_domain_0() {
            items.push(pair("start_time", started));
        }
        items.push(pair("cpu_time", machine.cpu_time(now)));
        items.push(pair("online_vcpus", machine.vcpus_online));
    }
    items.push(pair("image", image(machine)));
    items.push(pair("status", machine.power as i64));
    if machine.domid.is_some() {
        items.push(pair("state", machine.flags()));
    }
    if let Some(domid) = machine.last_domid.filter(|domid| *domid > 0) {
        items.push(pair("store_mfn", 120_000 + domid));
        items.push(pair("console_mfn", 220_000 + domid));
    }
    if devices {
        items.extend(devices_of(machine).into_iter().map(|device| pair("device", device)));
    }
    Value::List(items)
}

fn image(machine: &Machine) -> Value {
    let mut items: Vec<Value> = vec![if machine.hvm { "hvm" } else { "linux" }.into()];
    if machine.hvm {
        items.extend([
            pair("kernel", ""),
            pair("superpages", 0),
            pair("hpet", 0),
            pair("loader", "/usr/lib/xen/boot/hvmloader"),
            pair("xen_platform_pci", 1),
            pair("rtc_timeoffset", 0),
            pair("timer_mode", 1),
            pair("apic", 1),
            pair("vpt_align", 1),
            pair("boot", "cd"),
            pair("pae", 1),
            pair("viridian", 0),
            pair("acpi", 1),
            pair("vnc", 1),
            pair("nomigrate", 0),
            pair("tsc_mode", 0),
            pair("device_model", "/usr/lib/xen/bin/qemu-dm"),
        ]);
        if let Some(password) = &machine.vncpasswd {
            items.push(pair("vncpasswd", password.as_str()));
        }
        return Value::List(items);
    }
    items.push(pair("kernel", machine.kernel.as_str()));
    if !machine.is_domain_0() {
        items.push(pair("args", machine.args.as_slice()));
    }
    items.push(pair("superpages", 0));
    // What building its domain found out stays, once it has had one.
    let was_built = machine.last_domid.is_some_and(|domid| domid > 0);
    if was_built {
        items.push(pair("pci", Value::List(Vec::new())));
    }
    items.extend([pair("nomigrate", 0), pair("tsc_mode", 0)]);
    if was_built {
        items.push(Value::List(vec![
            "notes".into(),
            pair("GUEST_VERSION", "2.6"),
            pair("XEN_VERSION", "xen-3.0"),
            pair("GUEST_OS", "linux"),
            pair("LOADER", "generic"),
        ]));
    }
    Value::List(items)
}

fn devices_of(machine: &Machine) -> Vec<Value> {
    let runs = machine.domid.is_some();
    let mut devices = Vec::new();
    for vif in &machine.vifs {
        let mut items =
            vec!["vif".into(), pair("bridge", vif.bridge.as_str()), pair("mac", vif.mac.as_str())];
        if runs {
            items.push(pair("script", "/etc/xen/scripts/vif-bridge"));
        }
        items.push(pair("uuid", vif.uuid.as_str()));
        if runs {
            items.push(pair("backend", 0));
        }
        devices.push(Value::List(items));
    }
    for vbd in &machine.vbds {
        let dev = if vbd.cdrom { format!("{}:cdrom", vbd.dev) } else { vbd.dev.clone() };
        devices.push(Value::List(vec![
            "vbd".into(),
            pair("uuid", vbd.uuid.as_str()),
            pair("bootable", i64::from(vbd.bootable)),
            pair("driver", "paravirtualised"),
            pair("dev", dev),
            pair("uname", vbd.uname.as_str()),
            pair("mode", if vbd.writable { "w" } else { "r" }),
        ]));
    }
    if let Some(console) = &machine.console {
        let uuid = pair("uuid", console.as_str());
        if machine.hvm {
            let mut vfb = vec!["vfb".into(), pair("vnc", "1"), uuid];
            if let Some(password) = &machine.vncpasswd {
                vfb.push(pair("vncpasswd", password.as_str()));
            }
            devices.push(Value::List(vfb));
        } else if runs {
            let console =
                vec!["console".into(), pair("protocol", "vt100"), pair("location", "1"), uuid];
            devices.push(Value::List(console));
        }
    }
    devices
}

/// What `xend.domain.getVCPUInfo` says.
pub(super) fn vcpus(machine: &Machine, world: &World, now: Duration) -> Value {
    let host_cpus = world.host_cpus();
    let mut items: Vec<Value> = vec![
        "domain".into(),
        pair("domid", machine.domid.map_or(Value::Nil, Value::Int)),
        pair("name", machine.name.as_str()),
        pair("vcpu_count", machine.vcpus_max),
    ];
    for number in 0..machine.vcpus_max {
        let index = usize::try_from(number).unwrap_or(0);
        let pinned = machine.affinity.get(index).filter(|cpus| !cpus.is_empty());
        let runs = machine.domid.is_some();
        let online = runs && number < machine.vcpus_online;
        let running = online && machine.power == Power::Running;
        let share = machine.cpu_time(now) / machine.vcpus_online.max(1) as f64;
        // A domain that does not run may run on any CPU there could ever be.
        let all = if runs { host_cpus } else { 64 };
        let cpumap = pinned.cloned().unwrap_or_else(|| (0..all).collect());
        items.push(Value::List(vec![
            "vcpu".into(),
            pair("number", number),
            pair("online", i64::from(online)),
            pair("blocked", i64::from(running && machine.idle)),
            pair("running", i64::from(running && !machine.idle)),
            pair("cpu_time", if online { share } else { 0.0 }),
            pair("cpu", if runs { machine.cpu_of(number, host_cpus) } else { -1 }),
            pair("cpumap", Value::list(cpumap)),
        ]));
    }
    Value::List(items)
}

/// Makes a VM of what `xm create` and `xm new` send: `[vm, [name, …], [memory, …], …]`.
pub(super) fn configured(life: &Life<'_>, config: &Arg) -> Result<Machine, Trouble> {
    let broken = || Trouble::text("Invalid Configuration: not an SXP");
    let Arg::Array(items) = config else { return Err(broken()) };
    let name = text(items, "name").unwrap_or_default();
    life.check_name(&name, None)?;
    let uuid = || life.identifiers.uuid().to_string();
    let mut machine = Machine::new(text(items, "uuid").unwrap_or_else(uuid), name, uuid());
    if let Some(memory) = int(items, "memory") {
        machine.memory_dynamic_max = memory.saturating_mul(MIB);
        machine.memory_dynamic_min = machine.memory_dynamic_max;
        machine.memory_static_max = int(items, "maxmem").unwrap_or(memory).saturating_mul(MIB);
    }
    machine.vcpus_max = int(items, "vcpus").unwrap_or(1).clamp(1, 128);
    machine.affinity.resize(usize::try_from(machine.vcpus_max).unwrap_or(1), Vec::new());
    for (member, name) in [
        (&mut machine.on_poweroff, "on_poweroff"),
        (&mut machine.on_reboot, "on_reboot"),
        (&mut machine.on_crash, "on_crash"),
    ] {
        if let Some(mode) = text(items, name) {
            *member = mode;
        }
    }
    if let Some(Arg::Array(image)) = child(items, "image") {
        machine.hvm = matches!(image.first(), Some(Arg::String(kind)) if kind == "hvm");
        machine.kernel = text(image, "kernel").unwrap_or_default();
        machine.args = text(image, "args").unwrap_or_default().into_bytes();
    }
    for device in items.iter().filter_map(|item| element(item, "device")) {
        if let Some(Arg::Array(device)) = device.first() {
            attach(&mut machine, device, life.identifiers);
        }
    }
    if !machine.hvm || machine.console.is_some() {
        machine.console.get_or_insert_with(uuid);
    }
    Ok(machine)
}

fn attach(machine: &mut Machine, device: &[Arg], identifiers: &Identifiers) {
    let uuid = text(device, "uuid").unwrap_or_else(|| identifiers.uuid().to_string());
    match device.first() {
        Some(Arg::String(kind)) if kind == "vif" => machine.vifs.push(Vif {
            uuid,
            mac: text(device, "mac").unwrap_or_else(|| mac(identifiers)),
            bridge: text(device, "bridge").unwrap_or_else(|| "xenbr0".into()),
        }),
        Some(Arg::String(kind)) if kind == "vbd" || kind == "tap" => {
            let dev = text(device, "dev").unwrap_or_default();
            machine.vbds.push(Vbd {
                uuid,
                cdrom: dev.ends_with(":cdrom"),
                dev: dev.split(':').next().unwrap_or_default().to_owned(),
                uname: text(device, "uname").unwrap_or_default(),
                writable: text(device, "mode").is_some_and(|mode| mode.starts_with('w')),
                bootable: machine.vbds.is_empty(),
            });
        }
        Some(Arg::String(kind)) if kind == "vfb" => machine.console = Some(uuid),
        _ => {}
    }
}

/// A MAC address of Xen's own range.
pub(super) fn mac(identifiers: &Identifiers) -> String {
    let part = || identifiers.below(256);
    format!("00:16:3e:{:02x}:{:02x}:{:02x}", part(), part(), part())
}

/// What stands behind the name of an element, if it has that name.
fn element<'a>(item: &'a Arg, name: &str) -> Option<&'a [Arg]> {
    match item {
        Arg::Array(items) => match items.split_first()? {
            (Arg::String(first), rest) if first == name => Some(rest),
            _ => None,
        },
        _ => None,
    }
}

fn child<'a>(items: &'a [Arg], name: &str) -> Option<&'a Arg> {
    items.iter().find_map(|item| element(item, name))?.first()
}

fn text(items: &[Arg], name: &str) -> Option<String> {
    match child(items, name)? {
        Arg::String(text) => Some(text.clone()),
        Arg::Int(int) => Some(int.to_string()),
        _ => None,
    }
}

fn int(items: &[Arg], name: &str) -> Option<i64> {
    match child(items, name)? {
        Arg::Int(int) => Some(*int),
        Arg::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
