//! The pool as a whole.

use crate::database::{NULL, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::network;
use super::request::{Request, void};

/// What a call of this class changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "designate_new_master" => Effect::AtOnce(designate_new_master),
        "enable_ha" => Effect::AtOnce(enable_ha),
        "disable_ha" => Effect::AtOnce(|_, edit, _| {
            write(edit, &[("ha_enabled", Value::Bool(false))]);
            Ok(void())
        }),
        "enable_redo_log" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "SR")?;
            write(edit, &[("redo_log_enabled", Value::Bool(true))]);
            Ok(void())
        }),
        "disable_redo_log" => Effect::AtOnce(|_, edit, _| {
            write(edit, &[("redo_log_enabled", Value::Bool(false))]);
            Ok(void())
        }),
        "configure_update_sync" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "pool")?;
            let fields = [
                ("update_sync_frequency", request.value(1)),
                ("update_sync_day", request.value(2)),
            ];
            write(edit, &fields);
            Ok(void())
        }),
        "configure_repository_proxy" => Effect::AtOnce(configure_proxy),
        "disable_repository_proxy" => Effect::AtOnce(|_, edit, request| {
            request.object(edit, 0, "pool")?;
            write_proxy(edit, "", "", NULL);
            Ok(void())
        }),
        "enable_tls_verification" => Effect::AtOnce(|_, edit, _| {
            write(edit, &[("tls_verification_enabled", Value::Bool(true))]);
            Ok(void())
        }),
        "is_slave" => Effect::AtOnce(|_, edit, request| {
            let host = request.object(edit, 0, "host")?;
            let pool = edit.first("pool").unwrap_or_else(|| NULL.into());
            Ok(Value::Bool(*edit.text("pool", &pool, "master") != host))
        }),
        "add_repository" => {
            Effect::AtOnce(|_, edit, request| change_repositories(edit, request, true))
        }
        "remove_repository" => {
            Effect::AtOnce(|_, edit, request| change_repositories(edit, request, false))
        }
        // They reach the server and not its database.
        "set_local_auth_max_threads" | "set_ext_auth_max_threads" => {
            Effect::AtOnce(|_, edit, request| {
                request.object(edit, 0, "pool")?;
                Ok(void())
            })
        }
        "test_archive_target" => {
            Effect::AtOnce(|_, _, _| Err(Failure::new::<&str>("MESSAGE_REMOVED", [])))
        }
        "create_VLAN_from_PIF" => Effect::AtOnce(network::create_vlan_everywhere),
        "set_vswitch_controller" => Effect::AtOnce(|_, edit, request| {
            write(edit, &[("vswitch_controller", request.value(0))]);
            Ok(void())
        }),
        _ => return None,
    })
}

fn write(edit: &mut Edit<'_>, fields: &[(&str, Value)]) {
    if let Some(pool) = edit.first("pool") {
        edit.set_all("pool", &pool, fields);
    }
}

fn change_repositories(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let pool = request.object(edit, 0, "pool")?;
    let repository = request.object(edit, 1, "Repository")?;
    let mut enabled = edit.texts("pool", &pool, "repositories");
    match (enabled.contains(&repository), on) {
        (false, true) => enabled.insert(0, repository),
        (true, false) => enabled.retain(|known| *known != repository),
        (true, true) | (false, false) => {}
    }
    edit.set("pool", &pool, "repositories", Value::texts(enabled));
    Ok(void())
}

fn designate_new_master(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let host = request.object(edit, 0, "host")?;
    if !edit.flag("host", &host, "enabled") {
        return Err(Failure::new("HOST_DISABLED", [&*host]));
    }
    write(edit, &[("master", Value::Text(host))]);
    Ok(void())
}

fn enable_ha(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let Some(Value::Set(srs)) = request.args.first() else { return Ok(void()) };
    for sr in srs.iter().filter_map(Value::as_text) {
        if !edit.has("SR", sr) {
            return Err(Failure::new("HANDLE_INVALID", ["SR", sr]));
        }
    }
    let pool = edit.first("pool").unwrap_or_else(|| NULL.into());
    if edit.flag("pool", &pool, "ha_enabled") {
        return Err(Failure::new::<&str>("HA_IS_ENABLED", []));
    }
    write(edit, &[("ha_enabled", Value::Bool(true)), ("ha_configuration", request.value(1))]);
    Ok(void())
}

fn configure_proxy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    request.object(edit, 0, "pool")?;
    let password = request.text(3);
    let secret = match password.is_empty() {
        true => NULL.into(),
        false => edit.add("secret", &[("value", Value::Text(password.clone()))]),
    };
    write_proxy(edit, request.text(1), request.text(2), &secret);
    Ok(void())
}

fn write_proxy(edit: &mut Edit<'_>, url: &str, user: &str, secret: &str) {
    let pool = edit.first("pool").unwrap_or_else(|| NULL.into());
    if let Some(old) = edit.target("pool", &pool, "repository_proxy_password") {
        edit.destroy("secret", &old);
    }
    let fields = [
        ("repository_proxy_url", Value::text(url)),
        ("repository_proxy_username", Value::text(user)),
        ("repository_proxy_password", Value::text(secret)),
    ];
    write(edit, &fields);
}
