//! Hosts and VMs to begin with.

use super::machine::{MIB, Machine, Power, Vbd, Vif};
use super::sxp::mac;
use super::world::{Host, World};
use crate::clock::Clock;
use crate::identifiers::Identifiers;

/// Domain-0's uuid, the same on every host.
const NOTHING_BUT_ZEROS: &str = "00000000-0000-0000-0000-000000000000";

const BRIDGES: [&str; 2] = ["xenbr0", "xenbr1"];

pub(super) fn host(identifiers: &Identifiers) -> Host {
    let uuid = || identifiers.uuid().to_string();
    Host {
        uuid: uuid(),
        metrics: uuid(),
        cpus: (0..8).map(|_| uuid()).collect(),
        cpu_pool: uuid(),
        networks: BRIDGES.map(|bridge| (uuid(), bridge.to_owned())).into(),
        storage: vec![uuid(), uuid()],
        memory: 4096 * 1024 * MIB,
    }
}

/// Domain-0, and so many VMs.
pub(super) fn populate(world: &mut World, vms: usize, clock: &Clock, identifiers: &Identifiers) {
    let uuid = || identifiers.uuid().to_string();
    let mut control = Machine::new(NOTHING_BUT_ZEROS.into(), "Domain-0".into(), uuid());
    control.kernel = String::new();
    control.vcpus_max = world.host_cpus();
    control.affinity = vec![Vec::new(); world.host.cpus.len()];
    control.memory_static_max = 16_777_215 * MIB;
    control.memory_dynamic_max = 1024 * MIB;
    control.memory_dynamic_min = 1024 * MIB;
    control.load = 0.05;
    world.machines.push(control);
    world.build(0, Power::Running, clock);
    world.machines[0].cpu_time = 1234.567;
    for number in 1..=vms {
        let index = world.machines.len();
        world.machines.push(vm(number, identifiers));
        let power = match number % 10 {
            3 | 7 => continue,
            5 => Power::Paused,
            9 if number % 20 == 9 => Power::Crashed,
            _ => Power::Running,
        };
        world.build(index, power, clock);
        world.machines[index].cpu_time = identifiers.below(1_000_000) as f64 / 1000.0;
    }
}

/// The VM of that number, halted.
pub(super) fn vm(number: usize, identifiers: &Identifiers) -> Machine {
    let uuid = || identifiers.uuid().to_string();
    let kind = *identifiers.pick(&["web", "db", "mail", "build", "cache"]);
    let mut machine = Machine::new(uuid(), format!("{kind}{number:04}"), uuid());
    machine.vcpus_max = *identifiers.pick(&[1, 1, 2, 4]);
    machine.affinity = vec![Vec::new(); usize::try_from(machine.vcpus_max).unwrap_or(1)];
    machine.memory_static_max = identifiers.pick(&[256, 512, 1024, 2048]) * MIB;
    machine.memory_dynamic_max = machine.memory_static_max;
    machine.memory_dynamic_min = machine.memory_static_max;
    machine.idle = !number.is_multiple_of(3);
    machine.load = if machine.idle { 0.02 } else { 0.1 + identifiers.below(80) as f64 / 100.0 };
    machine.hvm = number % 10 == 7;
    machine.console = Some(uuid());
    let bridge = identifiers.pick(&BRIDGES);
    machine.vifs.push(Vif { uuid: uuid(), mac: mac(identifiers), bridge: (*bridge).to_owned() });
    machine.vbds.push(Vbd {
        uuid: uuid(),
        dev: if machine.hvm { "hda" } else { "xvda1" }.into(),
        uname: format!("phy:/dev/vg/{}", machine.name),
        writable: true,
        bootable: true,
        cdrom: false,
    });
    match number % 20 {
        // xend gives such bytes away as they are, and its XML is none.
        2 => machine.args = b"root=/dev/xvda1 ro motd=caf\xe9".to_vec(),
        4 => machine.other_config.push(("note".into(), b"a\x01b\x08".to_vec())),
        // Not in xend's care: gone when it ends.
        6 => machine.managed = false,
        8 => machine.affinity[0] = vec![0, 2],
        _ => {}
    }
    machine
}
