//! Records of the Xen-API dialect. A ref is the uuid.

use super::machine::{Machine, Power};
use super::tasks;
use super::value::Value;
use super::world::World;
use crate::clock::Clock;

/// Every object of a class: its uuid and its record, ints not yet strings. Classes without objects
/// here are those that xend could have some of, but seldom has.
pub(super) fn all(world: &World, clock: &Clock, class: &str) -> Vec<(String, Value)> {
    let host = &world.host;
    let now = date(clock);
    match class {
        "VM" => world.machines.iter().map(|vm| (vm.uuid.clone(), machine(world, vm))).collect(),
        "VM_metrics" => {
            let record = |vm: &Machine| (vm.metrics.clone(), metrics(world, vm, clock));
            world.machines.iter().map(record).collect()
        }
        "VIF" => vifs(world),
        "VBD" => vbds(world),
        "VIF_metrics" => keyed(vifs(world), |_| {
            let zero = ["io_total_read_kbs", "io_read_kbs", "io_total_write_kbs", "io_write_kbs"];
            map(zero
                .map(|name| (name, 0.0.into()))
                .into_iter()
                .chain([("last_updated", now.clone())]))
        }),
        "VBD_metrics" => keyed(vbds(world), |_| {
            map([
                ("io_read_kbs", 0.0.into()),
                ("last_updated", now.clone()),
                ("io_write_kbs", 0.0.into()),
            ])
        }),
        "console" => world.machines.iter().filter_map(console).collect(),
        "host" => vec![(host.uuid.clone(), self::host(world))],
        "host_metrics" => {
            let used: i64 = running(world).map(|vm| vm.memory_dynamic_max).sum();
            let record = map([
                ("last_updated", now),
                ("uuid", host.metrics.as_str().into()),
                ("memory_total", host.memory.into()),
                ("memory_free", (host.memory - used).max(0).into()),
            ]);
            vec![(host.metrics.clone(), record)]
        }
        "host_cpu" => {
            let cpus = host.cpus.iter().enumerate();
            cpus.map(|(number, uuid)| (uuid.clone(), cpu(world, number, uuid))).collect()
        }
        "cpu_pool" => vec![(host.cpu_pool.clone(), cpu_pool(world))],
        "network" => {
            let record =
                |(uuid, bridge): &(String, String)| (uuid.clone(), network(world, uuid, bridge));
            host.networks.iter().map(record).collect()
        }
        "SR" => {
            let kinds = [
                ("Local", "Traditional Local Storage Repo", "local", i64::MAX),
                ("QCoW", "Xend QCoW Storage Repository", "qcow_file", 270_553_174_016),
            ];
            host.storage
                .iter()
                .zip(kinds)
                .map(|(uuid, kind)| (uuid.clone(), storage(uuid, kind)))
                .collect()
        }
        "task" => world.tasks.iter().map(|task| (task.uuid.clone(), tasks::record(task))).collect(),
        _ => Vec::new(),
    }
}

/// One object's record.
pub(super) fn one(world: &World, clock: &Clock, class: &str, uuid: &str) -> Option<Value> {
    match class {
        // The one class that is large.
        "VM" => world.by_uuid(uuid).map(|index| machine(world, &world.machines[index])),
        _ => all(world, clock, class)
            .into_iter()
            .find(|(key, _)| key == uuid)
            .map(|(_, record)| record),
    }
}

fn map<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn keyed(of: Vec<(String, Value)>, record: impl Fn(&Value) -> Value) -> Vec<(String, Value)> {
    of.into_iter()
        .map(|(uuid, of)| {
            let record = record(&of);
            (uuid, record)
        })
        .collect()
}

/// UTC, and no Z to say so.
pub(super) fn date(clock: &Clock) -> Value {
    Value::Date(clock.date_time(0).trim_end_matches('Z').to_owned())
}

fn running(world: &World) -> impl Iterator<Item = &Machine> {
    world.machines.iter().filter(|machine| machine.domid.is_some())
}

fn empty() -> Value {
    Value::List(Vec::new())
}

fn machine(world: &World, vm: &Machine) -> Value {
    let host = &world.host;
    let text = |text: &str| Value::from(text);
    let nothing = || Value::Map(Vec::new());
    // A domain that is shut down but kept shows none.
    let has_domain = vm.domid.filter(|_| vm.power != Power::Halted);
    let mut platform = vec![("tsc_mode", Value::Int(0))];
    if vm.hvm {
        platform.extend([("acpi", 1.into()), ("vnc", 1.into()), ("boot", text("cd"))]);
        if let Some(password) = &vm.vncpasswd {
            platform.push(("vncpasswd", text(password)));
        }
    } else if !vm.is_domain_0() {
        platform.push(("pci", empty()));
    }
    platform.push(("nomigrate", 0.into()));
    let boot = if vm.hvm { map([("order", text("cd"))]) } else { nothing() };
    let mut vcpus = Vec::new();
    for (number, cpus) in vm.affinity.iter().enumerate().filter(|(_, cpus)| !cpus.is_empty()) {
        vcpus.push((format!("cpumap{number}"), joined(cpus).into()));
    }
    vcpus.push(("cap".into(), vm.cap.into()));
    vcpus.push(("weight".into(), vm.weight.into()));
    let other = vm.other_config.iter().map(|(key, value)| (key.clone(), value.as_slice().into()));
    map([
        ("PV_args", if vm.hvm || vm.is_domain_0() { text("") } else { vm.args.as_slice().into() }),
        ("VIFs", Value::list(vm.vifs.iter().map(|vif| vif.uuid.as_str()))),
        ("DSCSIs", empty()),
        ("PV_bootloader", text("")),
        ("DPCIs", empty()),
        ("actions_after_reboot", text(&vm.on_reboot)),
        ("name_description", text(&vm.name)),
        ("VCPUs_at_startup", vm.vcpus_max.into()),
        ("PCI_bus", text("")),
        ("actions_after_crash", text(&vm.on_crash)),
        ("uuid", text(&vm.uuid)),
        ("PV_ramdisk", text("")),
        ("is_control_domain", vm.is_domain_0().into()),
        ("name_label", text(&vm.name)),
        ("security_label", text("")),
        ("HVM_boot_params", boot),
        ("platform", map(platform)),
        ("PV_kernel", if vm.hvm { text("") } else { text(&vm.kernel) }),
        ("power_state", text(vm.power.name())),
        ("DSCSI_HBAs", empty()),
        ("VCPUs_params", Value::Map(vcpus)),
        ("pool_name", text("Pool-0")),
        ("memory_static_min", vm.memory_static_min.into()),
        ("HVM_boot_policy", text(if vm.hvm { "BIOS order" } else { "" })),
        ("VCPUs_max", vm.vcpus_max.into()),
        ("memory_static_max", vm.memory_static_max.into()),
        ("tools_version", nothing()),
        ("actions_after_shutdown", text(&vm.on_poweroff)),
        ("metrics", text(&vm.metrics)),
        ("consoles", Value::list(vm.console.iter().map(String::as_str))),
        ("user_version", 1.into()),
        ("actions_after_suspend", text("restart")),
        ("is_a_template", false.into()),
        ("crash_dumps", empty()),
        ("cpu_pool", Value::list(has_domain.map(|_| host.cpu_pool.as_str()))),
        ("memory_dynamic_min", vm.memory_dynamic_min.into()),
        ("PV_bootloader_args", text("")),
        ("other_config", Value::Map(other.collect())),
        ("auto_power_on", vm.auto_power_on.into()),
        ("memory_dynamic_max", vm.memory_dynamic_max.into()),
        ("domid", vm.domid.unwrap_or(-1).into()),
        ("resident_on", text(&host.uuid)),
        ("VBDs", Value::list(vm.vbds.iter().map(|vbd| vbd.uuid.as_str()))),
    ])
}

fn joined(cpus: &[i64]) -> String {
    cpus.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

fn metrics(world: &World, vm: &Machine, clock: &Clock) -> Value {
    let host_cpus = world.host_cpus();
    let live = vm.domid.is_some();
    let numbers = || (0..vm.vcpus_max).filter(|_| live);
    let per_cpu = |value: &dyn Fn(i64) -> Value| {
        Value::Map(numbers().map(|number| (number.to_string(), value(number))).collect())
    };
    let flags = per_cpu(&|number| {
        let online = number < vm.vcpus_online;
        let active =
            (vm.power == Power::Running).then_some(if vm.idle { "blocked" } else { "running" });
        let mut flags: Vec<&str> = active.filter(|_| online).into_iter().collect();
        flags.extend(online.then_some("online"));
        flags.sort_unstable();
        Value::list(flags)
    });
    let mut params = Vec::new();
    for number in numbers() {
        let pinned = usize::try_from(number).ok().and_then(|index| vm.affinity.get(index));
        let cpus = match pinned.filter(|cpus| !cpus.is_empty()) {
            Some(cpus) => joined(cpus),
            None => joined(&(0..host_cpus).collect::<Vec<_>>()),
        };
        params.push((format!("cpumap{number}"), cpus.into()));
    }
    if live {
        params.extend([("cap".into(), vm.cap.into()), ("weight".into(), vm.weight.into())]);
    }
    let load = if vm.power == Power::Running { vm.load } else { 0.0 };
    let age = vm.started.filter(|_| live).map(|started| clock.seconds() - started);
    let started = match age {
        Some(age) => Value::Date(clock.date_time(-(age as i64)).trim_end_matches('Z').to_owned()),
        None => Value::Date("19700101T00:00:00".into()),
    };
    map([
        ("VCPUs_params", Value::Map(params)),
        ("last_updated", date(clock)),
        ("uuid", vm.metrics.as_str().into()),
        ("VCPUs_flags", flags),
        ("start_time", started),
        ("memory_actual", if live { vm.memory_dynamic_max } else { 0 }.into()),
        ("state", Value::list(live.then(|| vm.state()).flatten())),
        ("VCPUs_utilisation", per_cpu(&|_| load.into())),
        ("VCPUs_number", if live { vm.vcpus_online } else { 0 }.into()),
        ("VCPUs_CPU", per_cpu(&|number| vm.cpu_of(number, host_cpus).into())),
    ])
}

fn vifs(world: &World) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for vm in &world.machines {
        for (number, vif) in vm.vifs.iter().enumerate() {
            let network = world.host.networks.iter().find(|(_, bridge)| *bridge == vif.bridge);
            let device = if vm.domid.is_some() { format!("eth{number}") } else { String::new() };
            let record = map([
                ("network", network.map_or("", |(uuid, _)| uuid).into()),
                ("VM", vm.uuid.as_str().into()),
                ("security_label", "".into()),
                ("metrics", vif.uuid.as_str().into()),
                ("MAC", vif.mac.as_str().into()),
                ("device", device.into()),
                ("MTU", 1500.into()),
                ("uuid", vif.uuid.as_str().into()),
            ]);
            all.push((vif.uuid.clone(), record));
        }
    }
    all
}

fn vbds(world: &World) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for vm in &world.machines {
        for vbd in &vm.vbds {
            let mut members = vec![
                ("uuid", vbd.uuid.as_str().into()),
                ("bootable", i64::from(vbd.bootable).into()),
                ("runtime_properties", Value::Map(Vec::new())),
                ("VM", vm.uuid.as_str().into()),
                ("metrics", vbd.uuid.as_str().into()),
                ("VDI", "".into()),
                ("mode", if vbd.writable { "RW" } else { "RO" }.into()),
                ("device", vbd.dev.as_str().into()),
            ];
            // A disk's is left out.
            members.extend(vbd.cdrom.then(|| ("type", "CD".into())));
            all.push((vbd.uuid.clone(), map(members)));
        }
    }
    all
}

fn console(vm: &Machine) -> Option<(String, Value)> {
    let uuid = vm.console.as_ref()?;
    let mut members = vec![("uuid", uuid.as_str().into()), ("VM", vm.uuid.as_str().into())];
    if vm.hvm {
        let mut config = vec![("vnc", Value::from(1))];
        if let Some(password) = &vm.vncpasswd {
            config.push(("vncpasswd", password.as_str().into()));
        }
        members.push(("other_config", map(config)));
    } else {
        members.push(("other_config", Value::Map(Vec::new())));
        members.extend([("protocol", "vt100".into()), ("location", 1.into())]);
    }
    Some((uuid.clone(), map(members)))
}

fn host(world: &World) -> Value {
    let host = &world.host;
    let cpus = world.host_cpus();
    let nothing = || Value::Map(Vec::new());
    let version = [
        ("Xen", "4.4"),
        ("xen_major", "4"),
        ("xen_minor", "4"),
        ("xen_extra", ".4"),
        ("system", "Linux"),
        ("machine", "x86_64"),
        ("host", "xend-host"),
        ("release", "3.18.0"),
        ("xend_config_format", "4"),
    ];
    let capabilities = [
        "xen-3.0-x86_64",
        "xen-3.0-x86_32p",
        "hvm-3.0-x86_32",
        "hvm-3.0-x86_32p",
        "hvm-3.0-x86_64",
        "",
    ];
    map([
        ("PBDs", empty()),
        ("supported_bootloaders", Value::list(["pygrub"])),
        ("PSCSI_HBAs", empty()),
        ("host_CPUs", Value::list(host.cpus.iter().map(String::as_str))),
        ("API_version_minor", 0.into()),
        ("API_version_vendor_implementation", nothing()),
        ("name_description", "".into()),
        ("PSCSIs", empty()),
        ("API_version_vendor", "xenbits".into()),
        ("uuid", host.uuid.as_str().into()),
        ("name_label", "xend-host".into()),
        ("capabilities", Value::list(capabilities)),
        ("PIFs", empty()),
        (
            "cpu_configuration",
            map([
                ("cores_per_socket", cpus.into()),
                ("nr_cpus", cpus.into()),
                ("nr_nodes", 1.into()),
                ("threads_per_core", 1.into()),
            ]),
        ),
        ("software_version", map(version.map(|(name, value)| (name, value.into())))),
        ("resident_cpu_pools", Value::list([host.cpu_pool.as_str()])),
        ("metrics", host.metrics.as_str().into()),
        ("PPCIs", empty()),
        ("logging", nothing()),
        ("sched_policy", "credit".into()),
        ("other_config", map([("xen_pagesize", 4096.into())])),
        ("enabled", true.into()),
        ("API_version_major", 1.into()),
        ("resident_VMs", Value::list(running(world).map(|vm| vm.uuid.as_str()))),
    ])
}

fn cpu(world: &World, number: usize, uuid: &str) -> Value {
    let busy: f64 = running(world).filter(|vm| vm.power == Power::Running).map(|vm| vm.load).sum();
    map([
        ("modelname", "Intel(R) Xeon(R) Processor".into()),
        ("vendor", "GenuineIntel".into()),
        (
            "features",
            "178bfbff:ebd3fbff:00000000:00000010:00002001:00000000:0000001f:00000000".into(),
        ),
        ("number", i64::try_from(number).unwrap_or(0).into()),
        ("cpu_pool", Value::list([world.host.cpu_pool.as_str()])),
        ("utilisation", (busy / world.host_cpus().max(1) as f64).min(1.0).into()),
        ("host", world.host.uuid.as_str().into()),
        ("flags", "fpu vme de pse tsc msr pae mce cx8 apic".into()),
        ("stepping", 2.into()),
        ("speed", 2400.into()),
        ("uuid", uuid.into()),
    ])
}

fn cpu_pool(world: &World) -> Value {
    let host = &world.host;
    map([
        ("name_label", "Pool-0".into()),
        ("uuid", host.cpu_pool.as_str().into()),
        ("sched_policy", "credit".into()),
        ("host_CPUs", Value::list(host.cpus.iter().map(String::as_str))),
        ("other_config", Value::Map(Vec::new())),
        ("activated", true.into()),
        ("ncpu", 1.into()),
        ("resident_on", host.uuid.as_str().into()),
        ("proposed_CPUs", empty()),
        ("auto_power_on", false.into()),
        ("name_description", "Pool-0".into()),
        ("started_VMs", Value::list(running(world).map(|vm| vm.uuid.as_str()))),
    ])
}

fn network(world: &World, uuid: &str, bridge: &str) -> Value {
    let vifs = world.machines.iter().flat_map(|vm| &vm.vifs).filter(|vif| vif.bridge == bridge);
    map([
        ("VIFs", Value::list(vifs.map(|vif| vif.uuid.as_str()))),
        ("managed", false.into()),
        ("uuid", uuid.into()),
        ("default_gateway", "".into()),
        ("default_netmask", "".into()),
        ("other_config", Value::Map(Vec::new())),
        ("name_label", bridge.into()),
        ("PIFs", empty()),
        ("name_description", "".into()),
    ])
}

fn storage(uuid: &str, (name, description, kind, size): (&str, &str, &str, i64)) -> Value {
    let mut members = vec![
        ("uuid", uuid.into()),
        ("VDIs", empty()),
        ("physical_size", size.into()),
        ("virtual_allocation", 0.into()),
        ("name_label", name.into()),
        ("physical_utilisation", 0.into()),
        ("content_type", "".into()),
        ("name_description", description.into()),
        ("type", kind.into()),
    ];
    members.extend((kind == "qcow_file").then(|| ("PBDs", empty())));
    map(members)
}
