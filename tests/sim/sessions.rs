//! Users, sessions and roles.

use std::time::Duration;

use serde_json::json;
use xengate::sim::{Fault, PASSWORD, User, Value};

use super::client::{Client, failure, start};

#[tokio::test]
async fn logins_take_two_to_four_arguments() {
    let sim = start(0);
    let client = Client::new(&sim);
    let login = "session.login_with_password";
    for args in [json!(["root", PASSWORD]), json!(["root", PASSWORD, "1.0"])] {
        assert!(client.raw(login, args).await.is_ok());
    }
    assert!(client.raw(login, json!(["root", PASSWORD, "1.0", "me"])).await.is_ok());
    assert_eq!(sim.originators(), ["", "", "me"]);
    let refused = client.raw(login, json!(["root", "wrong", "1.0"])).await;
    let wanted = json!(["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]);
    assert_eq!(refused, Err(wanted));
    let count = failure(client.raw(login, json!(["root"])).await);
    assert_eq!(count, "MESSAGE_PARAMETER_COUNT_MISMATCH");
    assert_eq!(sim.seen(login), 5);
    assert_eq!(sim.sessions_open(), 3);
}

#[tokio::test]
async fn a_session_says_who_it_is() {
    let sim = start(0);
    let root = Client::logged_in(&sim, "root").await;
    let record = root.call("session.get_record", json!([root.session])).await.expect("a record");
    assert_eq!(record["is_local_superuser"], json!(true));
    assert_eq!(record["rbac_permissions"], json!([]));
    assert_eq!(record["auth_user_name"], json!("root"));
    let reader = Client::logged_in(&sim, "read-only").await;
    let of = |getter: &'static str| {
        let reader = &reader;
        async move { reader.call(getter, json!([reader.session])).await.expect("a field") }
    };
    assert_eq!(of("session.get_is_local_superuser").await, json!(false));
    assert_eq!(of("session.get_originator").await, json!("tests"));
    let permissions = of("session.get_rbac_permissions").await;
    let permissions = permissions.as_array().expect("permissions");
    assert!(permissions.contains(&json!("vm.get_record")));
    assert!(!permissions.contains(&json!("vm.set_name_label")));
    let subject = of("session.get_subject").await;
    let roles = reader.call("subject.get_roles", json!([subject])).await.expect("roles");
    let label = reader.call("role.get_name_label", json!([roles[0]])).await;
    assert_eq!(label, Ok(json!("read-only")));
}

#[tokio::test]
async fn roles_are_enforced_for_every_call() {
    let sim = start(1);
    let vm = sim.find("VM", "web-0001").expect("a VM").to_string();
    let (root, reader, operator) = (
        Client::logged_in(&sim, "root").await,
        Client::logged_in(&sim, "read-only").await,
        Client::logged_in(&sim, "vm-operator").await,
    );
    let rename = json!([vm, "renamed"]);
    let denied = reader.call("VM.set_name_label", rename.clone()).await.expect_err("a failure");
    assert_eq!(denied[0], "RBAC_PERMISSION_DENIED");
    assert_eq!(denied[1], "vm.set_name_label");
    assert_eq!(
        denied[2],
        "No permission in user session. (Roles with this permission: pool-admin, pool-operator, \
         vm-power-admin, vm-admin)"
    );
    assert_eq!(failure(reader.call("VM.start", json!([vm, false, false])).await), denied[0]);
    assert_eq!(root.call("VM.set_name_label", rename).await, Ok(json!("")));
    assert_eq!(sim.field("VM", &vm, "name_label"), Some(Value::text("renamed")));
    // Some keys of a map have roles of their own.
    let add = |key: &str| operator.call("VM.add_to_other_config", json!([vm, key, "x"]));
    assert!(add("folder").await.is_ok());
    let denied = add("anything").await.expect_err("a failure");
    assert_eq!(denied[1], "vm.add_to_other_config");
    let denied = add("pci").await.expect_err("a failure");
    assert_eq!(denied[1], "vm.add_to_other_config/key:pci");
}

#[tokio::test]
async fn sessions_end_and_leave_no_way_back() {
    let sim = start(0);
    sim.mark_sessions(Some("dead5e55"));
    let client = Client::logged_in(&sim, "root").await;
    let session = client.session.clone().expect("a session");
    assert!(session.starts_with("OpaqueRef:dead5e55-"));
    assert_eq!(sim.session_refs(), [session.as_str()]);
    let invalid = json!(["SESSION_INVALID", session]);
    assert_eq!(client.call("session.logout", json!([])).await, Ok(json!("")));
    assert_eq!(client.call("pool.get_all", json!([])).await, Err(invalid));
    let client = Client::logged_in(&sim, "root").await;
    sim.fault(Some("pool.get_all"), Fault::ExpireSession, Some(1));
    assert_eq!(failure(client.call("pool.get_all", json!([])).await), "SESSION_INVALID");
    assert_eq!(sim.sessions_open(), 0);
    let client = Client::logged_in(&sim, "root").await;
    sim.advance(Duration::from_secs(25 * 60 * 60));
    assert_eq!(failure(client.call("pool.get_all", json!([])).await), "SESSION_INVALID");
    assert_eq!(sim.sessions_open(), 0);
    sim.put_user(User::with_role("late", PASSWORD, "vm-admin"));
    let late = Client::logged_in(&sim, "late").await;
    assert!(late.call("VM.get_all", json!([])).await.is_ok());
    sim.remove_user("late");
    let again = late.raw("session.login_with_password", json!(["late", PASSWORD])).await;
    assert_eq!(failure(again), "SESSION_AUTHENTICATION_FAILED");
    assert!(late.call("VM.get_all", json!([])).await.is_ok());
    assert_eq!(sim.end_sessions(None), 1);
}
