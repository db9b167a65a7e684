//! The names of operations: what generated clients call their methods.
//!
//! A name is a promise: it follows from the call's and the collection's by the rules here, and the
//! few that no rule makes readable stand in a table.

use crate::api::catalog::collections::Collection;
use crate::api::catalog::relations::Relation;
use xenapi_model::Call;

/// Words that stand before what they are done to: `set_memory` of a VM is `setVmMemory`. After any
/// other the class comes last: `clean_shutdown` is `cleanShutdownVm`.
#[rustfmt::skip]
const VERBS: &[&str] = &[
    "add", "apply", "assert", "call", "check", "compute", "configure", "copy", "create", "declare",
    "deconfigure", "designate", "detect", "disable", "enable", "forget", "get", "has", "initialize",
    "install", "introduce", "join", "list", "maximise", "query", "read", "reconfigure", "record",
    "recover", "refresh", "remove", "rescan", "reset", "resize", "restart", "resume", "retrieve",
    "rotate", "send", "set", "shutdown", "snapshot", "start", "sync", "test", "uninstall", "update",
    "wait",
];

/// Calls whose own name reads badly either way.
#[rustfmt::skip]
const IRREGULAR: &[(&str, &str)] = &[
    ("Diagnostics.db_stats", "getToolstackDatabaseStats"),
    ("Diagnostics.gc_compact", "compactToolstackMemory"),
    ("Diagnostics.gc_stats", "getToolstackMemoryStats"),
    ("Diagnostics.network_stats", "getToolstackNetworkStats"),
    ("host.backup_rrds", "backupHostRrds"),
    ("host.bugreport_upload", "uploadHostBugreport"),
    ("host.dmesg", "getHostDmesg"),
    ("host.dmesg_clear", "clearHostDmesg"),
    ("host.emergency_clear_mandatory_guidance", "emergencyClearHostMandatoryGuidance"),
    ("host.emergency_disable_tls_verification", "emergencyDisableHostTlsVerification"),
    ("host.emergency_ha_disable", "emergencyDisableHostHa"),
    ("host.emergency_reenable_tls_verification", "emergencyReenableHostTlsVerification"),
    ("host.emergency_reset_server_certificate", "emergencyResetHostServerCertificate"),
    ("host.external_auth_set_ldaps", "setHostExternalAuthLdaps"),
    ("host.license_add", "addHostLicense"),
    ("host.license_remove", "removeHostLicense"),
    ("host.local_management_reconfigure", "reconfigureHostLocalManagement"),
    ("host.management_disable", "disableHostManagement"),
    ("host.management_reconfigure", "reconfigureHostManagement"),
    ("host.syslog_reconfigure", "reconfigureHostSyslog"),
    ("message.destroy_all", "destroyAllMessages"),
    ("message.destroy_many", "destroyMessages"),
    ("message.get", "findMessages"),
    ("message.get_all", "getAllMessages"),
    ("message.get_all_records", "getAllMessageRecords"),
    ("message.get_all_records_where", "getAllMessageRecordsWhere"),
    ("message.get_since", "getMessagesSince"),
    ("PIF.scan", "scanPifs"),
    ("pool.certificate_install", "installPoolCertificate"),
    ("pool.certificate_list", "listPoolCertificates"),
    ("pool.certificate_sync", "syncPoolCertificates"),
    ("pool.certificate_uninstall", "uninstallPoolCertificate"),
    ("pool.crl_install", "installPoolCrl"),
    ("pool.crl_list", "listPoolCrls"),
    ("pool.crl_uninstall", "uninstallPoolCrl"),
    ("pool.eject", "ejectFromPool"),
    ("pool.emergency_reset_master", "emergencyResetPoolMaster"),
    ("pool.emergency_transition_to_master", "emergencyMakePoolMaster"),
    ("pool.external_auth_set_ldaps", "setPoolExternalAuthLdaps"),
    (
        "pool.ha_compute_hypothetical_max_host_failures_to_tolerate",
        "computePoolHaHypotheticalMaxHostFailuresToTolerate",
    ),
    ("pool.ha_compute_max_host_failures_to_tolerate", "computePoolHaMaxHostFailuresToTolerate"),
    ("pool.ha_compute_vm_failover_plan", "computePoolHaVmFailoverPlan"),
    ("pool.ha_failover_plan_exists", "checkPoolHaFailoverPlanExists"),
    ("pool.ha_prevent_restarts_for", "preventPoolHaRestartsFor"),
    ("pool.management_reconfigure", "reconfigurePoolManagement"),
    ("PUSB.scan", "scanPusbs"),
    ("role.get_by_permission", "getRolesByPermission"),
    ("role.get_by_permission_name_label", "getRolesByPermissionNameLabel"),
    ("session.change_password", "changeBackendPassword"),
    ("session.get_all_subject_identifiers", "listLoggedInSubjectIdentifiers"),
    ("session.logout_subject_identifier", "logOutSubjectIdentifier"),
    ("SR.probe_ext", "probeSrExt"),
    ("VM.import", "importVms"),
    ("VM.import_convert", "importForeignVms"),
];

/// `listVms`.
pub(crate) fn list(collection: &Collection) -> String {
    format!("list{}", collection.many)
}

/// `listVbdsOfVm`.
pub(crate) fn related(relation: &Relation) -> String {
    let words: Vec<&str> = relation.path.split('-').collect();
    format!("list{}Of{}", pascal(&words), relation.parent.one)
}

/// `getVm`, `createVm`, `patchVm`, `destroyVm`.
pub(crate) fn of_one(verb: &str, collection: &Collection) -> String {
    format!("{verb}{}", collection.one)
}

/// `startVm`, unless that is `taken` by an operation of another kind: then `callCreateSr`.
pub(crate) fn action(collection: &Collection, call: &Call, taken: impl Fn(&str) -> bool) -> String {
    let name = plain(collection, call);
    if taken(&name) { format!("call{}", capital(&name)) } else { name }
}

fn plain(collection: &Collection, call: &Call) -> String {
    if let Some((_, name)) = IRREGULAR.iter().find(|(wire_name, _)| *wire_name == call.wire_name) {
        return (*name).to_owned();
    }
    let words: Vec<&str> = call.name.split('_').filter(|word| !word.is_empty()).collect();
    let (front, rest) = match words.as_slice() {
        [verb @ ("add" | "remove"), "to" | "from", ..] => {
            let preposition = if *verb == "add" { "To" } else { "From" };
            (format!("{verb}{preposition}"), &words[2..])
        }
        [verb, ..] if VERBS.contains(verb) => ((*verb).to_owned(), &words[1..]),
        _ => return uncapital(&pascal(&words)) + collection.one,
    };
    front + collection.one + &pascal(rest)
}

/// `set`, `VCPUs`, `max` → `SetVcpusMax`.
fn pascal(words: &[&str]) -> String {
    words.iter().map(|word| capital(&word.to_ascii_lowercase())).collect()
}

/// The name of what belongs to an operation: `startVm` → `StartVm`.
pub(crate) fn capital(word: &str) -> String {
    match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    }
}

fn uncapital(word: &str) -> String {
    match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_lowercase() + rest,
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalog::collections::collection_of;
    use xenapi_model::datamodel;

    fn of(wire_name: &str) -> String {
        let (class, call) = datamodel().call(wire_name).expect("a call");
        plain(collection_of(&class.name).expect("a collection"), call)
    }

    #[test]
    fn names_read_as_methods() {
        for (call, name) in [
            ("VM.start", "startVm"),
            ("VM.start_on", "startVmOn"),
            ("VM.clean_shutdown", "cleanShutdownVm"),
            ("VM.set_VCPUs_number_live", "setVmVcpusNumberLive"),
            ("VM.add_to_blocked_operations", "addToVmBlockedOperations"),
            ("VM.remove_from_NVRAM", "removeFromVmNvram"),
            ("VM.assert_can_migrate", "assertVmCanMigrate"),
            ("pool.join", "joinPool"),
            ("pool.designate_new_master", "designatePoolNewMaster"),
            ("pool.create_VLAN_from_PIF", "createPoolVlanFromPif"),
            ("host.call_plugin", "callHostPlugin"),
            ("VDI.pool_migrate", "poolMigrateVdi"),
            ("VBD.unplug_force", "unplugForceVbd"),
            ("GPU_group.get_remaining_capacity", "getGpuGroupRemainingCapacity"),
        ] {
            assert_eq!(of(call), name);
        }
    }

    #[test]
    fn the_table_names_calls_that_clients_can_make() {
        for (wire_name, name) in IRREGULAR {
            let (class, call) = datamodel().call(wire_name).expect("a call of the datamodel");
            assert!(xengate_core::ops::actions::action(class, &call.name).is_ok(), "{wire_name}");
            let front = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
            assert!(front.len() < name.len() && !front.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_taken_says_that_it_is_a_call() {
        let (class, call) = datamodel().call("SR.create").expect("a call");
        let collection = collection_of(&class.name).expect("a collection");
        assert_eq!(action(collection, call, |name| name == "createSr"), "callCreateSr");
        assert_eq!(action(collection, call, |_| false), "createSr");
    }
}
