//! Calls that are not for clients. The list may only shrink.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use xenapi_model::Call;

/// Why a call is not for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It logs in or out, or is about sessions otherwise: the gateway has sessions of its own.
    Session,
    /// It waits for events or makes them: the gateway does.
    Event,
    /// It forges what became of a task.
    TaskOutcome,
    /// It is for the hosts of a pool among themselves.
    PoolInternal,
    /// It is not in the Xen-API's public documentation.
    Hidden,
    /// It is no longer in the Xen-API.
    Removed,
    /// Its result is or holds a session ref, and those never leave the gateway.
    ReturnsSession,
    /// It takes a session ref, and clients hold none.
    TakesSession,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "the gateway has sessions of its own",
            Self::Event => "the gateway follows the events itself",
            Self::TaskOutcome => "what became of a task is for the backend to say",
            Self::PoolInternal => "it is for the hosts of a pool among themselves",
            Self::Hidden => "it is not in the Xen-API's public documentation",
            Self::Removed => "it is no longer in the Xen-API",
            Self::ReturnsSession => "its result holds a session, and those never leave the gateway",
            Self::TakesSession => "it takes a session, and clients hold none",
        })
    }
}

/// The reason why a call is not for clients, if there is one.
pub(super) fn reason(call: &Call) -> Option<Reason> {
    static BY_NAME: OnceLock<HashMap<&'static str, Reason>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| super::excluded().collect());
    by_name.get(call.wire_name.as_str()).copied()
}

/// Every excluded call by its name on the wire.
#[rustfmt::skip]
pub(super) static EXCLUDED: &[(Reason, &[&str])] = &[
    (Reason::Session, &[
        "session.login_with_password", "session.logout", "session.slave_login", "session.slave_local_login",
        "session.slave_local_login_with_password", "session.create_from_db_file",
        "session.local_logout",
    ]),
    (Reason::Event, &[
        "event.register", "event.unregister", "event.next", "event.from", "event.get_current_id",
        "event.inject",
    ]),
    (Reason::TaskOutcome, &[
        "task.set_status", "task.set_progress", "task.set_result", "task.set_error_info",
        "task.set_other_config",
    ]),
    (Reason::PoolInternal, &[
        "pool.ha_schedule_plan_recomputation", "pool.audit_log_append", "VM.hard_reboot_internal",
        "VM.atomic_set_resident_on", "host.set_license_params", "host.ha_disarm_fencing",
        "host.preconfigure_ha", "host.ha_join_liveset", "host.ha_disable_failover_decisions",
        "host.ha_wait_for_shutdown_via_statefile", "host.ha_stop_daemon",
        "host.ha_release_resources", "host.local_assert_healthy", "host.request_backup",
        "host.request_config_file_sync", "host.propose_new_master", "host.commit_new_master",
        "host.abort_new_master", "host.get_uncooperative_domains", "host.signal_networking_change",
        "host.notify", "host.tickle_heartbeat", "host.enable_binary_storage",
        "host.disable_binary_storage", "host.install_ca_certificate",
        "host.uninstall_ca_certificate", "host.certificate_list", "host.crl_install",
        "host.crl_uninstall", "host.crl_list", "host.certificate_sync", "host.update_pool_secret",
        "host.update_master", "host.attach_static_vdis", "host.detach_static_vdis",
        "host.set_localdb_key", "host.sync_vlans", "host.sync_tunnels",
        "host.sync_pif_currently_attached", "host.mxgpu_vf_setup", "host.nvidia_vf_setup",
        "host.write_uefi_certificates_to_disk", "host.cert_distrib_atom",
        "host.copy_primary_host_certs", "host.update_firewalld_service_status",
        "VGPU.atomic_set_resident_on", "Cluster.cstack_sync", "Repository.apply",
        "Repository.apply_livepatch",
    ]),
    (Reason::Hidden, &[
        "pool.initial_auth", "pool.exchange_certificates_on_join",
        "pool.exchange_ca_certificates_on_join", "pool.hello", "pool.is_slave",
        "pool.enable_binary_storage", "pool.disable_binary_storage",
        "pool.exchange_trusted_certificates_on_join", "pool.exchange_crls_on_join",
        "pool_update.attach", "pool_update.detach", "pool_update.resync_host", "VM.csvm",
        "VM.set_is_default_template", "VM.pool_migrate_complete", "VM.assert_can_migrate_sender",
        "VM.s3_suspend", "VM.s3_resume", "VM.update_snapshot_metadata",
        "VM.set_NVRAM_EFI_variables", "VMPP.create_alert", "VMPP.set_is_backup_running",
        "VMPP.set_is_archive_running", "host.prepare_for_poweroff", "host.create",
        "host.ha_xapi_healthcheck", "host.get_diagnostic_timing_stats",
        "host.is_in_emergency_mode", "host.reset_networking", "host.get_sm_diagnostics",
        "host.get_thread_diagnostics", "host.sm_dp_destroy", "host.apply_guest_agent_config",
        "host.allocate_resources_for_vm", "host.notify_accept_new_pool_secret",
        "host.notify_send_new_pool_secret", "host.cleanup_pool_secret", "network.attach",
        "network.pool_introduce", "network.attach_for_vm", "network.detach_for_vm",
        "PIF.pool_introduce", "VLAN.pool_introduce", "SR.set_virtual_allocation",
        "SR.set_physical_utilisation", "SR.get_live_hosts", "VDI.pool_introduce",
        "VDI.db_introduce", "VDI.db_forget", "VDI.force_unlock", "VDI.set_managed",
        "VDI.set_missing", "VDI.set_virtual_size", "VDI.set_physical_utilisation",
        "VDI.set_is_a_snapshot", "VDI.set_snapshot_of", "VDI.set_snapshot_time",
        "VDI.set_metadata_of_pool", "VDI.generate_config", "VDI.checksum", "VDI.set_cbt_enabled",
        "VBD.unplug_force_no_safety_check", "VBD.pause", "VBD.unpause", "VTPM.get_contents",
        "VTPM.set_contents", "secret.introduce", "GPU_group.update_enabled_VGPU_types",
        "GPU_group.update_supported_VGPU_types", "Cluster_host.forget", "Observer.register",
        "Observer.unregister",
    ]),
    (Reason::Removed, &[
        "pool.enable_ssl_legacy", "VM.snapshot_with_quiesce", "VM.set_protection_policy",
        "VMPP.protect_now", "VMPP.archive_now", "VMPP.get_alerts",
        "VMPP.set_backup_retention_value", "VMPP.set_backup_frequency", "VMPP.set_backup_schedule",
        "VMPP.set_archive_frequency", "VMPP.set_archive_schedule", "VMPP.set_archive_target_type",
        "VMPP.set_archive_target_config", "VMPP.set_is_alarm_enabled", "VMPP.set_alarm_config",
        "VMPP.add_to_backup_schedule", "VMPP.add_to_archive_target_config",
        "VMPP.add_to_archive_schedule", "VMPP.add_to_alarm_config",
        "VMPP.remove_from_backup_schedule", "VMPP.remove_from_archive_target_config",
        "VMPP.remove_from_archive_schedule", "VMPP.remove_from_alarm_config",
        "VMPP.set_backup_last_run_time", "VMPP.set_archive_last_run_time", "host.license_apply",
        "host.set_cpu_features", "host.reset_cpu_features", "host.apply_recommended_guidances",
    ]),
    (Reason::ReturnsSession, &[
        "host.migrate_receive", "VDI.open_database", "VDI.get_nbd_info",
    ]),
    (Reason::TakesSession, &[
        "pool.sync_trusted_certificates_from", "VM.assert_can_be_recovered",
        "VM.get_SRs_required_for_recovery", "VM.recover", "VM_appliance.assert_can_be_recovered",
        "VM_appliance.get_SRs_required_for_recovery", "VM_appliance.recover",
    ]),
];
