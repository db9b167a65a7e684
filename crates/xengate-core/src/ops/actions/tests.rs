use std::collections::HashMap;

use super::*;
use xenapi_model::datamodel;

/// Calls whose result holds a session though its type does not say so: where to migrate to and
/// the names of NBD exports, both as URLs with a session in them.
const HOLD_A_SESSION: &[&str] = &["host.migrate_receive", "VDI.get_nbd_info"];

/// Calls about a pool's sessions and passwords that its administrators make.
const OF_POOLS: &[&str] =
    &["change_password", "get_all_subject_identifiers", "logout_subject_identifier"];

/// Why a call must be excluded, from what the datamodel says of it.
fn rule(class: &Class, call: &Call) -> Option<Reason> {
    let is_session = |ty: &Type| {
        let session = datamodel().class("session").expect("a class").id;
        *ty == Type::Ref(session)
    };
    let returns = call.result.as_ref().is_some_and(is_session)
        || HOLD_A_SESSION.contains(&call.wire_name.as_str());
    [
        (class.name == "session" && !OF_POOLS.contains(&&*call.name), Reason::Session),
        (class.name == "event", Reason::Event),
        (class.name == "task" && call.name.starts_with("set_"), Reason::TaskOutcome),
        (call.pool_internal, Reason::PoolInternal),
        // Read by operators of pools, and harmful to nobody.
        (call.hidden && class.name != "Diagnostics", Reason::Hidden),
        (call.lifecycle.state == xenapi_model::State::Removed, Reason::Removed),
        (returns, Reason::ReturnsSession),
        (call.params.iter().any(|param| is_session(&param.ty)), Reason::TakesSession),
    ]
    .into_iter()
    .find_map(|(holds, reason)| holds.then_some(reason))
}

#[test]
fn every_custom_call_is_an_action_or_excluded_for_a_reason() {
    let mut counts = HashMap::new();
    for class in &datamodel().classes {
        for call in class.calls.iter().filter(|call| call.kind == CallKind::Custom) {
            let found = action(class, &call.name);
            let want = rule(class, call);
            assert_eq!(found.err(), want.map(NoAction::Excluded), "{}", call.wire_name);
            let kind = found.map_or("excluded", |action| match action.on {
                On::Object => "object",
                On::Collection => "collection",
            });
            *counts.entry(kind).or_insert(0) += 1;
            assert!(kind == "excluded" || call.session, "{}", call.wire_name);
        }
    }
    // The excluded may only become fewer.
    assert!(counts["excluded"] <= 178, "{counts:?}");
    assert_eq!((counts["object"], counts["collection"]), (390, 110), "{counts:?}");
}

#[test]
fn the_table_names_only_what_there_is() {
    let mut seen = std::collections::HashSet::new();
    for (name, _) in excluded() {
        assert!(seen.insert(name), "{name} stands there twice");
        let (_, call) = datamodel().call(name).unwrap_or_else(|| panic!("{name} is no call"));
        assert_eq!(call.kind, CallKind::Custom, "{name}");
    }
}

#[test]
fn actions_are_found_by_name() {
    let vm = datamodel().class("VM").expect("VM");
    assert_eq!(action(vm, "start").map(|action| action.on), Ok(On::Object));
    assert_eq!(action(vm, "import").map(|action| action.on), Ok(On::Collection));
    for derived in ["get_record", "set_name_label", "create", "destroy", "nonsense"] {
        assert_eq!(action(vm, derived).map(|_| ()), Err(NoAction::Unknown), "{derived}");
    }
    let recover = action(vm, "recover").map(|_| ());
    assert_eq!(recover, Err(NoAction::Excluded(Reason::TakesSession)));
    assert!(actions(vm).any(|action| action.call.name == "pool_migrate"));
}
