//! One table: what each failure of the Xen-API is in HTTP.
//!
//! A code stands in [`CODES`], or else the first rule of [`RULES`] that fits decides; a code of a
//! server newer than the datamodel comes out somewhere sensible that way. `failures.txt` lists
//! the outcome for every code of the datamodel, for reading.

use std::time::Duration;

use http::StatusCode;

/// What a failure says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Nobody is logged in, or the login was refused.
    Unauthenticated,
    /// Somebody is, who may not do this; or the licence does not allow it.
    Forbidden,
    /// The object is not there.
    Missing,
    /// The object, or another, is in a state that does not permit this.
    Conflict,
    /// The same, and it will pass by itself.
    Passing,
    /// An argument is wrong, whatever the state.
    BadArgument,
    /// Too many of these.
    TooMany,
    /// The server does not know how.
    Unsupported,
    /// The server, or one it needs, tried and failed.
    Broken,
    /// The server cannot do anything at the moment.
    Unavailable,
    /// Something the server waited for did not happen in time.
    Late,
}

impl Family {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Conflict | Self::Passing => StatusCode::CONFLICT,
            Self::BadArgument => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether the same request may succeed later, with nobody doing anything.
    pub(super) fn retryable(self) -> bool {
        matches!(self, Self::Passing | Self::TooMany | Self::Unavailable)
    }

    pub(super) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::TooMany | Self::Unavailable => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// The status of a failure code, known or not.
pub fn status_of_failure(code: &str) -> StatusCode {
    family(code).status()
}

/// The family of a failure. XAPI calls every exception that it does not expect an internal error,
/// and some of those are the caller's doing.
pub(super) fn family_of(code: &str, params: &[String]) -> Family {
    let says = |text: &str| params.iter().any(|param| param.contains(text));
    if code == "INTERNAL_ERROR" && EXCEPTIONS.iter().any(|text| says(text)) {
        return Family::BadArgument;
    }
    family(code)
}

pub(super) fn family(code: &str) -> Family {
    let listed = CODES.iter().chain(UNLISTED).find(|(_, codes)| codes.contains(&code));
    if let Some((family, _)) = listed {
        return *family;
    }
    let ruled = RULES.iter().find(|(rule, _)| rule.fits(code));
    // A failure nobody has heard of is still the server's word, and no bug of the gateway.
    ruled.map_or(Family::Broken, |(_, family)| *family)
}

/// A pattern of codes.
enum Rule {
    Begins(&'static str),
    Ends(&'static str),
}

impl Rule {
    fn fits(&self, code: &str) -> bool {
        match self {
            Self::Begins(start) => code.starts_with(start),
            Self::Ends(end) => code.ends_with(end),
        }
    }
}

const CODES: &[(Family, &[&str])] = &[
    (
        Family::Unauthenticated,
        &["SESSION_AUTHENTICATION_FAILED", "SESSION_INVALID", "SESSION_NOT_REGISTERED"],
    ),
    (
        Family::Forbidden,
        &[
            "FEATURE_RESTRICTED",
            "LICENCE_RESTRICTION",
            "NOT_ALLOWED_ON_OEM_EDITION",
            "ONLY_ALLOWED_ON_OEM_EDITION",
            "PERMISSION_DENIED",
            "RBAC_PERMISSION_DENIED",
            "SESSION_AUTHORIZATION_FAILED",
            "USER_IS_NOT_LOCAL_SUPERUSER",
        ],
    ),
    (Family::Missing, &["HANDLE_INVALID", "OBJECT_NOLONGER_EXISTS", "UUID_INVALID"]),
    (
        Family::Passing,
        &[
            "CANNOT_RESET_CONTROL_DOMAIN",
            "OTHER_OPERATION_IN_PROGRESS",
            "SR_VDI_LOCKING_FAILED",
            "VDI_NOT_AVAILABLE",
            "VMS_FAILED_TO_COOPERATE",
        ],
    ),
    (
        Family::Conflict,
        &[
            "ACTIVATION_WHILE_NOT_FREE",
            "ADDRESS_VIOLATES_LOCKING_CONSTRAINT",
            "AUTH_ALREADY_ENABLED",
            "AUTH_IS_DISABLED",
            "BOOT_DEVICE_PASSTHROUGH_DISALLOWED",
            "BRIDGE_NOT_AVAILABLE",
            "BUNDLE_REPO_NOT_ENABLED",
            "CERTIFICATE_LIBRARY_CORRUPT",
            "CPU_FEATURE_MASKING_NOT_SUPPORTED",
            "DB_UNIQUENESS_CONSTRAINT_VIOLATION",
            "DEFAULT_SR_NOT_FOUND",
            "DEVICE_DETACH_REJECTED",
            "DISK_VBD_MUST_BE_READWRITE_FOR_HVM",
            "DUPLICATE_MAC_SEED",
            "DUPLICATE_VM",
            "FEATURE_REQUIRES_HVM",
            "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED",
            "IS_TUNNEL_ACCESS_PIF",
            "LOCATION_NOT_UNIQUE",
            "MAC_STILL_EXISTS",
            "MAP_DUPLICATE_KEY",
            "MISSING_CONNECTION_DETAILS",
            "MULTIPLE_UPDATE_REPOSITORIES_ENABLED",
            "OPENVSWITCH_NOT_ACTIVE",
            "OPERATION_BLOCKED",
            "OPERATION_NOT_ALLOWED",
            "OUT_OF_SPACE",
            "PATCH_APPLY_FAILED_BACKUP_FILES_EXIST",
            "PROVISION_FAILED_OUT_OF_SPACE",
            "PROVISION_ONLY_ALLOWED_ON_TEMPLATE",
            "PUSB_VDI_CONFLICT",
            "REDO_LOG_IS_ENABLED",
            "REPO_SHOULD_BE_SINGLE_ONE_ENABLED",
            "REQUIRED_PIF_IS_UNPLUGGED",
            "SLAVE_REQUIRES_MANAGEMENT_INTERFACE",
            "SUSPEND_IMAGE_NOT_ACCESSIBLE",
            "SYSTEM_STATUS_MUST_USE_TAR_ON_OEM",
            "TASK_CANCELLED",
            "TOO_MANY_GROUPS",
            "TOO_MANY_VUSBS",
            "TRANSPORT_PIF_NOT_CONFIGURED",
            "TRUSTED_CERTIFICATE_ALREADY_EXISTS",
            "UPDATEINFO_HASH_MISMATCH",
            "WLB_DISABLED",
            "WLB_NOT_INITIALIZED",
            "XEN_INCOMPATIBLE",
        ],
    ),
    (
        Family::BadArgument,
        &[
            "AUTH_DISABLE_FAILED_WRONG_CREDENTIALS",
            "AUTH_ENABLE_FAILED_DOMAIN_LOOKUP_FAILED",
            "AUTH_ENABLE_FAILED_WRONG_CREDENTIALS",
            "AUTH_INVALID_TRUSTED_CERTS",
            "AUTH_NO_TRUSTED_CERTS",
            "AUTH_UNKNOWN_TYPE",
            "BLOCKED_REPO_URL",
            "CERTIFICATE_CORRUPT",
            "CERTIFICATE_DOES_NOT_EXIST",
            "CERTIFICATE_LACKS_PURPOSE",
            "CHANGE_PASSWORD_REJECTED",
            "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS",
            "CRL_CORRUPT",
            "CRL_DOES_NOT_EXIST",
            "EVENT_FROM_TOKEN_PARSE_FAILURE",
            "EVENT_SUBSCRIPTION_PARSE_FAILURE",
            "FIELD_TYPE_ERROR",
            "HOST_NAME_INVALID",
            "ILLEGAL_VBD_DEVICE",
            "MAC_DOES_NOT_EXIST",
            "MAC_INVALID",
            "MEMORY_CONSTRAINT_VIOLATION",
            "MEMORY_CONSTRAINT_VIOLATION_MAXPIN",
            "MEMORY_CONSTRAINT_VIOLATION_ORDER",
            "MESSAGE_PARAMETER_COUNT_MISMATCH",
            "NOT_TRUSTED_CERTIFICATE",
            "PATCH_PRECHECK_FAILED_WRONG_SERVER_BUILD",
            "PATCH_PRECHECK_FAILED_WRONG_SERVER_VERSION",
            "POOL_AUTH_DISABLE_FAILED_WRONG_CREDENTIALS",
            "POOL_AUTH_ENABLE_FAILED_DOMAIN_LOOKUP_FAILED",
            "POOL_AUTH_ENABLE_FAILED_WRONG_CREDENTIALS",
            "RESTORE_INCOMPATIBLE_VERSION",
            "RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP",
            "RESTORE_TARGET_MISSING_DEVICE",
            "ROLE_NOT_FOUND",
            "SR_UNKNOWN_DRIVER",
            "SUBJECT_CANNOT_BE_RESOLVED",
            "TELEMETRY_NEXT_COLLECTION_TOO_LATE",
            "UNKNOWN_BOOTLOADER",
            "VALUE_NOT_SUPPORTED",
            "VBD_CDS_MUST_BE_READONLY",
            "VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE",
            "VDI_TOO_LARGE",
            "VDI_TOO_SMALL",
            "VLAN_TAG_INVALID",
            "VMPP_ARCHIVE_MORE_FREQUENT_THAN_BACKUP",
            "WLB_MALFORMED_REQUEST",
            "WLB_UNKNOWN_HOST",
            "WLB_URL_INVALID",
            "XENAPI_MISSING_PLUGIN",
            "XMLRPC_UNMARSHAL_FAILURE",
        ],
    ),
    (
        Family::TooMany,
        &["TOO_MANY_PENDING_TASKS", "TOO_MANY_STORAGE_MIGRATES", "VM_CALL_PLUGIN_RATE_LIMIT"],
    ),
    (
        Family::Unsupported,
        &[
            "MESSAGE_DEPRECATED",
            "MESSAGE_METHOD_UNKNOWN",
            "MESSAGE_REMOVED",
            "NOT_IMPLEMENTED",
            "SR_OPERATION_NOT_SUPPORTED",
            "UNIMPLEMENTED_IN_SM_BACKEND",
        ],
    ),
    (
        Family::Broken,
        &[
            "CANNOT_FETCH_PATCH",
            "CAN_NOT_PERIODIC_SYNC_UPDATES",
            "CAN_NOT_SYNC_UPDATES",
            "COULD_NOT_IMPORT_DATABASE",
            "COULD_NOT_UPDATE_IGMP_SNOOPING_EVERYWHERE",
            "EVENTS_LOST",
            "FAILED_TO_START_EMULATOR",
            "HA_FAILED_TO_FORM_LIVESET",
            "HA_HOST_CANNOT_ACCESS_STATEFILE",
            "HA_HOST_CANNOT_SEE_PEERS",
            "HA_LOST_STATEFILE",
            "HOST_BROKEN",
            "HOST_CANNOT_READ_METRICS",
            "HOST_MASTER_CANNOT_TALK_BACK",
            "INTERNAL_ERROR",
            "INVALID_REPOMD_XML",
            "INVALID_UPDATEINFO_XML",
            "SR_UNHEALTHY",
            "SYSPREP",
            "VM_CRASHED",
            "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT",
            "VM_FAILED_SUSPEND_ACKNOWLEDGMENT",
            "VM_HALTED",
            "VM_REBOOTED",
            "VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND",
        ],
    ),
    (
        Family::Unavailable,
        &[
            "CANNOT_CONTACT_HOST",
            "HOST_IN_EMERGENCY_MODE",
            "HOST_IS_SLAVE",
            "HOST_STILL_BOOTING",
            "NO_CLUSTER_HOSTS_REACHABLE",
            "NOT_SUPPORTED_DURING_UPGRADE",
            "TOO_BUSY",
        ],
    ),
    (Family::Late, &["BALLOONING_TIMEOUT_BEFORE_MIGRATION"]),
];

/// Codes that XAPI answers although its datamodel lacks them, where no rule does them justice.
const UNLISTED: &[(Family, &[&str])] = &[
    (
        Family::Conflict,
        &[
            "REVERT_ONLY_ALLOWED_ON_SNAPSHOT",
            // In use, both; no space left; not available.
            "SR_BACKEND_FAILURE_16",
            "SR_BACKEND_FAILURE_24",
            "SR_BACKEND_FAILURE_44",
            "SR_BACKEND_FAILURE_46",
        ],
    ),
    // A size that a disk cannot have.
    (Family::BadArgument, &["SR_BACKEND_FAILURE_79"]),
];

/// Exceptions behind an internal error that say that an argument is wrong: a map's key must not be
/// empty, there is no such data source, no such value of an enumeration.
const EXCEPTIONS: &[&str] = &[
    "Db_exn.Empty_key_in_map",
    "Db_exn.Invalid_value",
    "Invalid_data_source",
    "No data source of this name",
    "Unknown tag/contents",
];

/// What the rest of a code gives away; the first that fits decides.
static RULES: &[(Rule, Family)] = &[
    (Rule::Ends("_IN_PROGRESS"), Family::Passing),
    // With a number behind it, one for each way in which storage can fail.
    (Rule::Begins("SR_BACKEND_FAILURE"), Family::Broken),
    (Rule::Begins("LICENSE_"), Family::Forbidden),
    (Rule::Begins("INVALID_"), Family::BadArgument),
    (Rule::Begins("IMPORT_"), Family::BadArgument),
    (Rule::Begins("SERVER_CERTIFICATE_"), Family::BadArgument),
    (Rule::Begins("TRUSTED_CERTIFICATE_"), Family::BadArgument),
    (Rule::Ends("_NAME_INVALID"), Family::BadArgument),
    (Rule::Begins("AUTH_ENABLE_FAILED_INVALID_"), Family::BadArgument),
    (Rule::Begins("POOL_AUTH_ENABLE_FAILED_INVALID_"), Family::BadArgument),
    (Rule::Ends("_NO_TRUSTED_CERTS"), Family::BadArgument),
    (Rule::Ends("_TIMEOUT"), Family::Late),
    (Rule::Ends("_UNKNOWN_ERROR"), Family::Broken),
    (Rule::Begins("PATCH_PRECHECK_FAILED_"), Family::Conflict),
    (Rule::Begins("UPDATE_PRECHECK_FAILED_"), Family::Conflict),
    (Rule::Ends("_FAILED"), Family::Broken),
    (Rule::Ends("_FAILURE"), Family::Broken),
    (Rule::Ends("_ERROR"), Family::Broken),
    (Rule::Begins("AUTH_"), Family::Broken),
    (Rule::Begins("POOL_AUTH_ALREADY_"), Family::Conflict),
    (Rule::Begins("POOL_AUTH_"), Family::Broken),
    (Rule::Begins("WLB_"), Family::Broken),
    (Rule::Begins("XEN_VSS_REQ_ERROR_"), Family::Broken),
    // What is left speaks of what something is, has or lacks: its state.
    (Rule::Begins("CANNOT_"), Family::Conflict),
    (Rule::Begins("NO_"), Family::Conflict),
    (Rule::Begins("NOT_"), Family::Conflict),
    (Rule::Begins("JOINING_HOST_"), Family::Conflict),
    (Rule::Begins("POOL_"), Family::Conflict),
    (Rule::Begins("INCOMPATIBLE_"), Family::Conflict),
    (Rule::Begins("CLUSTER"), Family::Conflict),
    (Rule::Begins("DEVICE_"), Family::Conflict),
    (Rule::Begins("GPU_GROUP_"), Family::Conflict),
    (Rule::Begins("HA_"), Family::Conflict),
    (Rule::Begins("HOST"), Family::Conflict),
    (Rule::Begins("INTERFACE_"), Family::Conflict),
    (Rule::Begins("NETWORK_"), Family::Conflict),
    (Rule::Begins("NVIDIA_"), Family::Conflict),
    (Rule::Begins("PATCH_"), Family::Conflict),
    (Rule::Begins("PGPU_"), Family::Conflict),
    (Rule::Begins("PIF_"), Family::Conflict),
    (Rule::Begins("PVS_"), Family::Conflict),
    (Rule::Begins("SR_"), Family::Conflict),
    (Rule::Begins("TLS_"), Family::Conflict),
    (Rule::Begins("UPDATE_"), Family::Conflict),
    (Rule::Begins("USB_"), Family::Conflict),
    (Rule::Begins("VBD_"), Family::Conflict),
    (Rule::Begins("VDI_"), Family::Conflict),
    (Rule::Begins("VGPU_"), Family::Conflict),
    (Rule::Begins("VIF_"), Family::Conflict),
    (Rule::Begins("VM"), Family::Conflict),
    (Rule::Begins("VTPM_"), Family::Conflict),
    (Rule::Ends("_EXISTS"), Family::Conflict),
    (Rule::Ends("_IN_USE"), Family::Conflict),
    (Rule::Ends("_PIF_DEVICE_NAME"), Family::Conflict),
];

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn every_failure_of_the_datamodel_is_decided_and_none_is_a_500() {
        for failure in &datamodel().failures {
            let listed = CODES.iter().any(|(_, codes)| codes.contains(&&*failure.code));
            let ruled = RULES.iter().any(|(rule, _)| rule.fits(&failure.code));
            assert!(listed || ruled, "{} falls through the table", failure.code);
            let status = status_of_failure(&failure.code);
            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{}", failure.code);
            assert!(status.is_client_error() || status.is_server_error(), "{}", failure.code);
        }
    }

    #[test]
    fn the_table_names_each_code_once_and_no_code_the_datamodel_lacks() {
        let mut seen = std::collections::HashSet::new();
        for code in CODES.iter().flat_map(|(_, codes)| *codes) {
            assert!(datamodel().failure(code).is_some(), "{code} is no failure of the Xen-API");
            assert!(seen.insert(code), "{code} stands twice");
        }
    }

    #[test]
    fn codes_that_the_datamodel_lacks_are_decided_by_their_family() {
        for code in UNLISTED.iter().flat_map(|(_, codes)| *codes) {
            assert!(datamodel().failure(code).is_none(), "{code} is in the datamodel");
        }
        for (code, status) in [
            ("SR_BACKEND_FAILURE_460", 502),
            ("SR_BACKEND_FAILURE_46", 409),
            ("SR_BACKEND_FAILURE_79", 422),
            ("VM_IS_SNAPSHOT", 409),
            ("VDI_IS_SHARABLE", 409),
            ("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", 409),
            ("HOST_MOON_IN_ECLIPSE", 409),
            ("FROBNICATION_IN_PROGRESS", 409),
            ("FROBNICATION_FAILED", 502),
            ("Fault", 502),
            ("", 502),
            ("Stack_overflow", 502),
        ] {
            assert_eq!(status_of_failure(code).as_u16(), status, "{code}");
        }
    }

    #[test]
    fn an_internal_error_may_be_the_callers_doing() {
        let of = |text: &str| family_of("INTERNAL_ERROR", &[text.to_owned()]).status().as_u16();
        assert_eq!(of("Xapi_database.Db_exn.Empty_key_in_map"), 422);
        assert_eq!(of("Db_exn.Invalid_value"), 422);
        assert_eq!(of("Rrd.Invalid_data_source(\"x\")"), 422);
        assert_eq!(of("Stack_overflow"), 502);
        let params = ["Db_exn.Empty_key_in_map".to_owned()];
        assert_eq!(family_of("VM_BAD_POWER_STATE", &params).status(), StatusCode::CONFLICT);
    }

    #[test]
    fn every_rule_decides_something() {
        for (rule, family) in RULES {
            let pattern = match rule {
                Rule::Begins(start) => format!("{start}…"),
                Rule::Ends(end) => format!("…{end}"),
            };
            let decides = datamodel().failures.iter().any(|failure| {
                let first = RULES.iter().find(|(rule, _)| rule.fits(&failure.code));
                !CODES.iter().any(|(_, codes)| codes.contains(&&*failure.code))
                    && first.is_some_and(|(first, _)| std::ptr::eq(first, rule))
            });
            assert!(decides, "{pattern} → {family:?} decides nothing");
        }
    }

    #[test]
    fn the_list_for_readers_is_current() {
        let lines: Vec<String> = datamodel()
            .failures
            .iter()
            .map(|failure| {
                let family = family(&failure.code);
                format!("{} {} {family:?}\n", family.status().as_u16(), failure.code)
            })
            .collect();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/problem/failures.txt");
        if std::env::var_os("XENGATE_BLESS").is_some() {
            std::fs::write(file, lines.concat()).expect("write");
        }
        let checked_in = std::fs::read_to_string(file).expect("failures.txt");
        assert!(
            checked_in == lines.concat(),
            "failures.txt is out of date: set XENGATE_BLESS and read the difference"
        );
    }
}
