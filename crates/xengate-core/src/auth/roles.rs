//! What a backend lets a session do.
//!
//! A backend tells at login which calls a session may make: everything, or the calls it lists in
//! lower case. Some keys of maps are permissions of their own. Asking the backend would show the
//! same, but only after the call has been sent.

use std::collections::HashMap;
use std::sync::OnceLock;

use xenapi_client::Access;
use xenapi_model::{Call, CallKind, Roles, datamodel};

/// Whether a session with this access may make the call; else the roles that may.
pub fn may(access: &Access, call: &Call) -> Result<(), Roles> {
    may_for_key(access, call, None)
}

/// Whether it may make the call at all, if only for some keys of a map.
pub fn may_ever(access: &Access, call: &Call) -> Result<(), Roles> {
    may(access, call).or_else(|roles| {
        let mut keys = call.map_keys_roles.iter().map(|(key, _)| key_permission(call, key));
        if keys.any(|key| access.permissions.contains(&key)) { Ok(()) } else { Err(roles) }
    })
}

/// The same for a call that works on this key of a map.
pub fn may_for_key(access: &Access, call: &Call, key: Option<&str>) -> Result<(), Roles> {
    if access.is_local_superuser {
        return Ok(());
    }
    let guarded = key.and_then(|key| guarded_key(call, key));
    let (permission, roles) = match guarded {
        Some((name, roles)) => (key_permission(call, name), *roles),
        None => (call.wire_name.to_ascii_lowercase(), call.roles),
    };
    if access.permissions.contains(&permission) { Ok(()) } else { Err(roles) }
}

/// The key or pattern of keys with roles of its own that holds `key`.
fn guarded_key<'a>(call: &'a Call, key: &str) -> Option<&'a (String, Roles)> {
    call.map_keys_roles.iter().find(|(name, _)| match name.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == name,
    })
}

/// `vm.add_to_other_config/key:folder`.
fn key_permission(call: &Call, key: &str) -> String {
    format!("{}/key:{key}", call.wire_name).to_ascii_lowercase()
}

/// Whether a session has at least this role.
///
/// A session does not say its role, only what it may call: so whether it may call something that
/// is this role's and weaker roles may not.
pub fn is_at_least(access: &Access, role: &str) -> bool {
    if access.is_local_superuser {
        return true;
    }
    let Some(index) = datamodel().roles.iter().position(|name| name == role) else { return false };
    let mut permissions = access.permissions.iter();
    permissions.any(|permission| weakest_role(permission).is_some_and(|weakest| weakest <= index))
}

/// All that a role may do; `None` for what is no role.
pub fn access_of(role: &str) -> Option<Access> {
    let index = datamodel().roles.iter().position(|name| name == role)?;
    let mut permissions = Vec::new();
    for call in datamodel().classes.iter().flat_map(|class| &class.calls) {
        if call.roles.contains(index) {
            permissions.push(call.wire_name.to_ascii_lowercase());
        }
        for (key, roles) in &call.map_keys_roles {
            if roles.contains(index) {
                permissions.push(key_permission(call, key));
            }
        }
    }
    Some(Access { is_local_superuser: false, permissions: permissions.into_iter().collect() })
}

/// The weakest role that has this permission.
fn weakest_role(permission: &str) -> Option<usize> {
    static WEAKEST: OnceLock<HashMap<String, usize>> = OnceLock::new();
    let weakest = WEAKEST.get_or_init(|| {
        let calls = datamodel().classes.iter().flat_map(|class| &class.calls);
        let weakest = |call: &Call| {
            let weakest =
                (0..datamodel().roles.len()).rev().find(|role| call.roles.contains(*role));
            Some((call.wire_name.to_ascii_lowercase(), weakest?))
        };
        calls.filter_map(weakest).collect()
    });
    weakest.get(permission).copied()
}

/// What a session may do, for whoever wants to know before trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// May do everything, local root that it is.
    pub is_local_superuser: bool,
    /// Its strongest role, as far as what it may call shows.
    pub role: Option<&'static str>,
    /// The calls it may make, by their names on the wire: `VM.start`.
    pub calls: Vec<&'static str>,
    /// Keys of maps it may write though it may not write others, or the other way round.
    pub keys: Vec<KeyPermission>,
}

/// Whether one key of a map may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPermission {
    /// `VM.add_to_other_config`.
    pub call: &'static str,
    /// The key, or what it begins with and an asterisk.
    pub key: &'static str,
    /// Whether it may be written.
    pub allowed: bool,
}

/// All that a session with this access may do.
pub fn permissions(access: &Access) -> Permissions {
    let holds =
        |permission: &str| access.is_local_superuser || access.permissions.contains(permission);
    let (mut calls, mut keys) = (Vec::new(), Vec::new());
    for call in datamodel().classes.iter().flat_map(|class| &class.calls).filter(|c| is_shown(c)) {
        let allowed = holds(&call.wire_name.to_ascii_lowercase());
        if allowed {
            calls.push(call.wire_name.as_str());
        }
        for (key, _) in &call.map_keys_roles {
            let key_allowed = holds(&key_permission(call, key));
            if key_allowed != allowed {
                keys.push(KeyPermission { call: &call.wire_name, key, allowed: key_allowed });
            }
        }
    }
    let role = datamodel().roles.iter().find(|role| is_at_least(access, role));
    Permissions {
        is_local_superuser: access.is_local_superuser,
        role: role.map(String::as_str),
        calls,
        keys,
    }
}

/// Getters go without saying: reads come from the mirror, and nearly all are open to everyone.
fn is_shown(call: &Call) -> bool {
    !call.hidden
        && !call.pool_internal
        && matches!(
            call.kind,
            CallKind::Custom
                | CallKind::FieldSet
                | CallKind::FieldAdd
                | CallKind::FieldRemove
                | CallKind::Create
                | CallKind::Destroy
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(wire_name: &str) -> &'static Call {
        datamodel().call(wire_name).expect("a call").1
    }

    fn access(role: &str) -> Access {
        access_of(role).expect("a role")
    }

    fn root() -> Access {
        Access { is_local_superuser: true, ..Access::default() }
    }

    #[test]
    fn the_datamodels_roles_decide() {
        for role in &datamodel().roles {
            let access = access(role);
            let index = datamodel().roles.iter().position(|name| name == role).expect("a role");
            for call in datamodel().classes.iter().flat_map(|class| &class.calls) {
                let want = if call.roles.contains(index) { Ok(()) } else { Err(call.roles) };
                assert_eq!(may(&access, call), want, "{role} {}", call.wire_name);
                assert_eq!(may(&root(), call), Ok(()));
            }
        }
    }

    #[test]
    fn some_keys_have_roles_of_their_own() {
        let add = call("VM.add_to_other_config");
        let operator = access("vm-operator");
        assert!(may(&operator, add).is_err());
        assert_eq!(may_ever(&operator, add), Ok(()), "for some keys");
        assert!(may_ever(&access("read-only"), add).is_err());
        assert_eq!(may_for_key(&operator, add, Some("folder")), Ok(()));
        assert_eq!(may_for_key(&operator, add, Some("XenCenter.CustomFields.a")), Ok(()));
        assert!(may_for_key(&operator, add, Some("anything")).is_err());
        let admin = access("vm-admin");
        assert_eq!(may_for_key(&admin, add, Some("anything")), Ok(()));
        let roles = may_for_key(&admin, add, Some("pci")).expect_err("is the pool admin's");
        assert_eq!(roles.names().collect::<Vec<_>>(), ["pool-admin"]);
        assert_eq!(may_for_key(&root(), add, Some("pci")), Ok(()));
    }

    #[test]
    fn a_role_shows_in_what_may_be_called() {
        let roles = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator"];
        for (place, role) in roles.iter().enumerate() {
            let access = access(role);
            for (other_place, other) in roles.iter().enumerate() {
                assert_eq!(is_at_least(&access, other), place <= other_place, "{role} {other}");
            }
            assert_eq!(permissions(&access).role, Some(*role));
        }
        assert_eq!(permissions(&access("read-only")).role, Some("read-only"));
        assert!(is_at_least(&root(), "pool-admin"));
        assert!(!is_at_least(&Access::default(), "read-only"), "nothing known, nothing assumed");
    }

    #[test]
    fn permissions_are_listed_by_their_names_on_the_wire() {
        let listed = permissions(&access("vm-operator"));
        assert!(listed.calls.contains(&"VM.start") && !listed.calls.contains(&"VM.clone"));
        assert!(!listed.calls.contains(&"VM.get_record"));
        let folder = KeyPermission { call: "VM.add_to_other_config", key: "folder", allowed: true };
        assert!(listed.keys.contains(&folder), "{:?}", listed.keys);
        let root = permissions(&root());
        assert!(root.is_local_superuser && root.keys.is_empty());
        assert!(root.calls.len() > 700, "{}", root.calls.len());
        assert_eq!(root.role, Some("pool-admin"));
    }
}
