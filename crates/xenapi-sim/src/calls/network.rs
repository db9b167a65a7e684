//! Networks, and what hosts are on them by.

use crate::database::{NULL, Text, Value};
use crate::edit::Edit;
use crate::protocol::Failure;
use crate::state::State;

use super::effect::Effect;
use super::object::{named, record};
use super::request::{Request, void};

/// What a call of the class `network` changes.
pub(super) fn effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create),
        "destroy" => Effect::AtOnce(destroy),
        "add_purpose" => Effect::AtOnce(|_, edit, request| change_purpose(edit, request, true)),
        "remove_purpose" => Effect::AtOnce(|_, edit, request| change_purpose(edit, request, false)),
        _ => return None,
    })
}

/// What a call of the class `PIF` changes.
pub(super) fn pif_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "plug" => Effect::AtOnce(|_, edit, request| attach(edit, request, true)),
        "unplug" => Effect::AtOnce(|_, edit, request| attach(edit, request, false)),
        "destroy" | "forget" | "db_forget" => Effect::AtOnce(forget),
        "create_VLAN" => Effect::AtOnce(create_vlan_by_device),
        "reconfigure_ip" => Effect::AtOnce(reconfigure),
        _ => return None,
    })
}

/// What a call of the class `VLAN` changes.
pub(super) fn vlan_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create_vlan),
        "destroy" => Effect::AtOnce(destroy_vlan),
        _ => return None,
    })
}

/// What a call of the class `Bond` changes.
pub(super) fn bond_effect(call: &str) -> Option<Effect> {
    Some(match call {
        "create" => Effect::AtOnce(create_bond),
        "destroy" => Effect::AtOnce(destroy_bond),
        _ => return None,
    })
}

fn create(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let mut fields = record(request);
    let wanted = request.entry(0, "bridge").and_then(Value::as_text).cloned();
    let wanted = wanted.unwrap_or_else(|| "".into());
    let bridges: Vec<_> =
        edit.all("network").iter().map(|n| edit.text("network", n, "bridge").clone()).collect();
    let bridge = if wanted.is_empty() {
        let mut names = (0..).map(|n| Text::from(format!("xapi{n}")));
        names.find(|name| !bridges.contains(name)).unwrap_or(wanted)
    } else if wanted.len() > 15 {
        return Err(Failure::new("INVALID_VALUE", ["bridge", &wanted]));
    } else if bridges.contains(&wanted) {
        return Err(Failure::new("BRIDGE_NAME_EXISTS", [&*wanted]));
    } else {
        wanted
    };
    if !matches!(request.entry(0, "MTU"), Some(Value::Int(1..))) {
        fields.push(("MTU", Value::Int(1500)));
    }
    fields.push(("bridge", Value::Text(bridge)));
    Ok(Value::Text(edit.add("network", &fields)))
}

fn destroy(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let network = request.object(edit, 0, "network")?;
    let vifs = edit.texts("network", &network, "VIFs");
    let mut connected = vifs.clone();
    connected.retain(|vif| edit.flag("VIF", vif, "currently_attached"));
    if !connected.is_empty() {
        return Err(Failure::new("NETWORK_CONTAINS_VIF", connected.iter().map(|vif| &**vif)));
    }
    let pifs = edit.texts("network", &network, "PIFs");
    if !pifs.is_empty() {
        return Err(Failure::new("NETWORK_CONTAINS_PIF", pifs.iter().map(|pif| &**pif)));
    }
    let internal =
        edit.entry("network", &network, "other_config", "is_host_internal_management_network");
    if internal.is_some_and(|value| &**value == "true") {
        return Err(Failure::new("CANNOT_DESTROY_SYSTEM_NETWORK", [&*network]));
    }
    for vif in vifs {
        edit.destroy("VIF", &vif);
    }
    edit.destroy("network", &network);
    Ok(void())
}

fn change_purpose(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let (network, purpose) = (request.object(edit, 0, "network")?, request.text(1));
    let mut purposes = edit.texts("network", &network, "purpose");
    let clash = if &**purpose == "nbd" { "insecure_nbd" } else { "nbd" };
    if on && purposes.iter().any(|known| **known == *clash) {
        return Err(Failure::new("NETWORK_INCOMPATIBLE_PURPOSES", [&**purpose, clash]));
    }
    purposes.retain(|known| known != purpose);
    if on {
        purposes.insert(0, purpose.clone());
    }
    edit.set("network", &network, "purpose", Value::texts(purposes));
    Ok(void())
}

fn attach(edit: &mut Edit<'_>, request: &Request, on: bool) -> Result<Value, Failure> {
    let pif = request.object(edit, 0, "PIF")?;
    if !on && edit.flag("PIF", &pif, "disallow_unplug") {
        return Err(Failure::new("PIF_DOES_NOT_ALLOW_UNPLUG", [&*pif]));
    }
    edit.set("PIF", &pif, "currently_attached", Value::Bool(on));
    Ok(void())
}

fn forget(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let pif = request.object(edit, 0, "PIF")?;
    if edit.flag("PIF", &pif, "management") {
        return Err(Failure::new("PIF_IS_MANAGEMENT_INTERFACE", [&*pif]));
    }
    if request.known.name == "destroy" && edit.flag("PIF", &pif, "physical") {
        return Err(Failure::new("PIF_IS_PHYSICAL", [&*pif]));
    }
    remove(edit, &pif);
    Ok(void())
}

fn remove(edit: &mut Edit<'_>, pif: &Text) {
    let metrics = edit.text("PIF", pif, "metrics").clone();
    edit.destroy("PIF_metrics", &metrics);
    edit.destroy("PIF", pif);
}

fn reconfigure(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let pif = request.object(edit, 0, "PIF")?;
    let mut fields = named(request);
    fields.push(("ip_configuration_mode", request.value(1)));
    edit.set_all("PIF", &pif, &fields);
    Ok(void())
}

/// A PIF that is not of metal, on the same host as another.
fn add_pif(edit: &mut Edit<'_>, like: &Text, network: &Text, fields: &[(&str, Value)]) -> Text {
    let up = [("carrier", Value::Bool(true)), ("last_updated", edit.now())];
    let metrics = edit.add("PIF_metrics", &up);
    let mut all = vec![
        ("network", Value::Text(network.clone())),
        ("host", Value::Text(edit.text("PIF", like, "host").clone())),
        ("MAC", Value::Text(edit.text("PIF", like, "MAC").clone())),
        ("MTU", Value::Int(edit.int("network", network, "MTU"))),
        ("metrics", Value::Text(metrics)),
        ("physical", Value::Bool(false)),
        ("ip_configuration_mode", Value::text("None")),
        ("currently_attached", Value::Bool(true)),
    ];
    all.extend(fields.iter().cloned());
    edit.add("PIF", &all)
}

fn vlan(edit: &mut Edit<'_>, tagged: &Text, tag: i64, network: &Text) -> Result<Text, Failure> {
    if !(0..=4094).contains(&tag) {
        return Err(Failure::new("VLAN_TAG_INVALID", [tag.to_string()]));
    }
    let (device, host) = (edit.text("PIF", tagged, "device"), edit.text("PIF", tagged, "host"));
    let same = |pif: &Text| {
        edit.int("PIF", pif, "VLAN") == tag
            && edit.text("PIF", pif, "device") == device
            && edit.text("PIF", pif, "host") == host
    };
    if edit.all("PIF").iter().any(same) {
        let params = [host.to_string(), device.to_string(), tag.to_string()];
        return Err(Failure::new("PIF_VLAN_EXISTS", [params[1].clone()]));
    }
    let device = Value::Text(device.clone());
    let pif = add_pif(edit, tagged, network, &[("device", device), ("VLAN", Value::Int(tag))]);
    let fields = [
        ("tagged_PIF", Value::Text(tagged.clone())),
        ("untagged_PIF", Value::Text(pif.clone())),
        ("tag", Value::Int(tag)),
    ];
    let vlan = edit.add("VLAN", &fields);
    edit.set("PIF", &pif, "VLAN_master_of", Value::Text(vlan.clone()));
    Ok(vlan)
}

fn create_vlan(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let (tagged, network) = (request.object(edit, 0, "PIF")?, request.object(edit, 2, "network")?);
    vlan(edit, &tagged, request.int(1), &network).map(Value::Text)
}

/// The same VLAN on every host, each by its own card of that name.
pub(super) fn create_vlan_everywhere(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let (pif, network) = (request.object(edit, 0, "PIF")?, request.object(edit, 1, "network")?);
    let device = edit.text("PIF", &pif, "device").clone();
    let mut cards = edit.all("PIF");
    cards.retain(|card| {
        *edit.text("PIF", card, "device") == device && edit.int("PIF", card, "VLAN") == -1
    });
    let mut made = Vec::new();
    for card in cards {
        let vlan = vlan(edit, &card, request.int(2), &network)?;
        made.push(edit.text("VLAN", &vlan, "untagged_PIF").clone());
    }
    Ok(Value::texts(made))
}

fn create_vlan_by_device(
    _: &State,
    edit: &mut Edit<'_>,
    request: &Request,
) -> Result<Value, Failure> {
    let (network, host) = (request.object(edit, 1, "network")?, request.object(edit, 2, "host")?);
    let fits = |pif: &Text| {
        edit.text("PIF", pif, "device") == request.text(0)
            && *edit.text("PIF", pif, "host") == host
            && edit.int("PIF", pif, "VLAN") == -1
    };
    let tagged = edit.all("PIF").into_iter().find(fits);
    let tagged =
        tagged.ok_or_else(|| Failure::new("INVALID_VALUE", ["device", request.text(0)]))?;
    let vlan = vlan(edit, &tagged, request.int(3), &network)?;
    Ok(Value::Text(edit.text("VLAN", &vlan, "untagged_PIF").clone()))
}

fn destroy_vlan(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let vlan = request.object(edit, 0, "VLAN")?;
    let pif = edit.text("VLAN", &vlan, "untagged_PIF").clone();
    remove(edit, &pif);
    edit.destroy("VLAN", &vlan);
    Ok(void())
}

fn create_bond(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let network = request.object(edit, 0, "network")?;
    let members = match request.args.get(1) {
        Some(Value::Set(members)) => members.iter().filter_map(Value::as_text).cloned().collect(),
        _ => Vec::new(),
    };
    let [first, _, ..] = &members[..] else {
        return Err(Failure::new::<&str>("PIF_BOND_NEEDS_MORE_MEMBERS", []));
    };
    for member in &members {
        if !edit.has("PIF", member) {
            return Err(Failure::new("HANDLE_INVALID", ["PIF", member]));
        }
        if edit.target("PIF", member, "bond_slave_of").is_some() {
            return Err(Failure::new("PIF_ALREADY_BONDED", [&**member]));
        }
        if edit.text("PIF", member, "host") != edit.text("PIF", first, "host") {
            return Err(Failure::new::<&str>("PIF_CANNOT_BOND_CROSS_HOST", []));
        }
    }
    let count = edit.count("Bond");
    let device = Value::text(format!("bond{count}"));
    let pif = add_pif(edit, first, &network, &[("device", device), ("VLAN", Value::Int(-1))]);
    let mac = request.text(2);
    if !mac.is_empty() {
        edit.set("PIF", &pif, "MAC", Value::Text(mac.clone()));
    }
    let bond = edit.add(
        "Bond",
        &[
            ("master", Value::Text(pif)),
            ("mode", request.value(3)),
            ("properties", request.value(4)),
            ("primary_slave", Value::Text(first.clone())),
            ("links_up", Value::Int(i64::try_from(members.len()).unwrap_or(0))),
        ],
    );
    for member in &members {
        edit.set("PIF", member, "bond_slave_of", Value::Text(bond.clone()));
    }
    Ok(Value::Text(bond))
}

fn destroy_bond(_: &State, edit: &mut Edit<'_>, request: &Request) -> Result<Value, Failure> {
    let bond = request.object(edit, 0, "Bond")?;
    for member in edit.texts("Bond", &bond, "slaves") {
        edit.set("PIF", &member, "bond_slave_of", Value::text(NULL));
    }
    let pif = edit.text("Bond", &bond, "master").clone();
    remove(edit, &pif);
    edit.destroy("Bond", &bond);
    Ok(void())
}
