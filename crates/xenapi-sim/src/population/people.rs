//! Roles, and the subjects that users log in as.

use std::collections::HashMap;

use super::{Edit, text};
use crate::database::{Text, Value};
use crate::identifiers::Identifiers;
use crate::sessions::{User, permissions};
use xenapi_model::datamodel;

/// The pool-admin role has the same uuid everywhere: it is a subject's default in the datamodel.
const POOL_ADMIN: &str = "0165f154-ba3e-034e-6b27-5d271af109ba";

/// Makes the roles, a subject for each user that is no local superuser, and the user that XAPI
/// keeps for old times' sake.
pub(super) fn people(edit: &mut Edit<'_>, users: &[User]) {
    // Roles are the same in every pool, whatever its seed.
    let fixed = Identifiers::new(0);
    let mut roles = Vec::new();
    let mut parts = HashMap::new();
    for (index, name) in datamodel().roles.iter().enumerate() {
        let uuid: Text = if name == "pool-admin" { POOL_ADMIN.into() } else { fixed.uuid() };
        let reference: Text = format!("OpaqueRef:{uuid}").into();
        let parts = subroles(edit, &fixed, &mut parts, index);
        edit.add_known(
            "role",
            reference.clone(),
            uuid,
            &[
                ("name_label", text(name.as_str())),
                ("name_description", text(about(name))),
                ("is_internal", Value::Bool(name == "client-cert")),
                ("subroles", parts),
            ],
        );
        roles.push((name, reference));
    }
    for (number, user) in users.iter().enumerate() {
        let Some(wanted) = &user.role else { continue };
        let role = roles.iter().find(|(name, _)| *name == wanted).map(|(_, role)| role.clone());
        let config = [("subject-name", user.name.as_str()), ("subject-is-group", "false")];
        edit.add(
            "subject",
            &[
                ("subject_identifier", text(format!("S-1-5-21-1000-2000-3000-{}", 1100 + number))),
                ("other_config", Value::pairs(config)),
                ("roles", Value::texts(role)),
            ],
        );
    }
    edit.add("user", &[("short_name", text("root")), ("fullname", text("superuser"))]);
}

/// The permissions of a role. XAPI has a role for each, which has no parts of its own.
fn subroles(
    edit: &mut Edit<'_>,
    fixed: &Identifiers,
    known: &mut HashMap<String, Text>,
    role: usize,
) -> Value {
    let refs = permissions(role).into_iter().map(|permission| {
        let add = |permission: &String| {
            let uuid = fixed.uuid();
            let reference: Text = format!("OpaqueRef:{uuid}").into();
            edit.add_known(
                "role",
                reference,
                uuid,
                &[
                    ("name_label", text(permission.as_str())),
                    ("name_description", text("A basic permission")),
                    ("is_internal", Value::Bool(true)),
                ],
            )
        };
        known.entry(permission).or_insert_with_key(add).clone()
    });
    Value::texts(refs.collect::<Vec<_>>())
}

fn about(role: &str) -> &'static str {
    match role {
        "pool-admin" => "May do everything",
        "pool-operator" => "Runs the pool, but gives no rights to others",
        "vm-power-admin" => "Makes and changes VMs, with access to all their settings",
        "vm-admin" => "Makes and changes VMs",
        "vm-operator" => "Starts and stops VMs and uses their consoles",
        "read-only" => "Looks, and changes nothing",
        _ => "",
    }
}
