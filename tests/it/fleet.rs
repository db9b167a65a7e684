//! `/metrics/xen`: who may read it, what it costs the pool, and that its values are the pool's.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use tempfile::TempDir;
use xengate::config::{Config, SecretSource};
use xengate::sim::{PASSWORD, SimHandle, Value as SimValue};

use crate::exposition::{self, Scrape};
use crate::lab::{Answer, BACKEND, Gate, Lab, around, logged};

const TOKEN: &str = "for the fleet's eyes only";

/// A service account and a token, in files of this directory.
pub(crate) fn set_up(config: &mut Config, directory: &TempDir) {
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("written");
        file
    };
    config.metrics.xen_token_file = Some(write("token", TOKEN));
    let backend = config.backends.get_mut(BACKEND).expect("the one");
    backend.service_username = Some("root".to_owned());
    backend.service_password = Some(SecretSource::File(write("password", PASSWORD)));
}

async fn ask(gate: &Gate, token: Option<&str>) -> Answer {
    let request = gate.request(Method::GET, "/metrics/xen");
    gate.send(match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    })
    .await
}

/// Scrapes, once the mirror is there.
pub(crate) async fn scrape(gate: &Gate) -> Scrape {
    gate.until("/readyz", "", |answer| answer.json()["backends"][0]["state"] == "live").await;
    let answer = ask(gate, Some(TOKEN)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    exposition::classic(&answer.text())
}

fn number(sim: &SimHandle, class: &str, key: &str, field: &str) -> f64 {
    match sim.field(class, key, field) {
        Some(SimValue::Int(number)) => number as f64,
        other => panic!("{class} {field}: {other:?}"),
    }
}

fn text(sim: &SimHandle, class: &str, key: &str, field: &str) -> String {
    let value = sim.field(class, key, field).expect("a field");
    value.as_text().expect("a text").to_string()
}

#[tokio::test]
async fn values_are_the_pools_and_a_scrape_costs_one_question_to_each_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Lab::with(
        |sim| (sim.vms, sim.hosts) = (20, Some(2)),
        |config, _| set_up(config, &directory),
    )
    .await;
    let sim = &lab.sim;
    let found = scrape(&lab.gate).await;
    assert_eq!(sim.seen("session.login_with_password"), 1, "the mirror's own, and no other");
    assert_eq!(sim.seen("/rrd_updates"), 2, "each host once");
    assert_eq!(sim.seen("host-02/rrd_updates"), 1);

    assert_eq!(found.value("xen_backend_up", &[("backend", BACKEND)]), 1.0);
    assert_eq!(found.value("xen_pool_hosts", &[]), 2.0);
    let mut running = 0.0;
    for vm in sim.refs("VM") {
        let uuid = text(sim, "VM", &vm, "uuid");
        let of_vm = [("uuid", uuid.as_str())];
        let flag = |field| sim.field("VM", &vm, field) == Some(SimValue::Bool(true));
        if flag("is_a_template") || flag("is_a_snapshot") {
            assert!(found.all("xen_vm_up", &of_vm).is_empty(), "no VM");
            continue;
        }
        let state = text(sim, "VM", &vm, "power_state");
        let series = found.all("xen_vm_up", &of_vm)[0];
        assert_eq!(series.value, f64::from(u8::from(state == "Running")));
        assert_eq!(series.labels["name"], text(sim, "VM", &vm, "name_label"));
        assert_eq!(series.labels["power_state"], state);
        assert_eq!(series.labels["backend"], BACKEND);
        for (name, field) in [
            ("xen_vm_vcpus_max", "VCPUs_max"),
            ("xen_vm_memory_static_max_bytes", "memory_static_max"),
        ] {
            assert_eq!(found.value(name, &of_vm), number(sim, "VM", &vm, field), "{name}");
        }
        if state == "Running" {
            running += f64::from(u8::from(!flag("is_control_domain")));
            let host = text(sim, "VM", &vm, "resident_on");
            assert_eq!(series.labels["host"], text(sim, "host", &host, "name_label"));
            let busy = found.value("xen_vm_cpu_usage_ratio", &of_vm);
            assert!((0.0..=1.0).contains(&busy), "{busy}");
            let metrics = text(sim, "VM", &vm, "metrics");
            let memory = number(sim, "VM_metrics", &metrics, "memory_actual");
            assert_eq!(found.value("xen_vm_memory_bytes", &of_vm), memory);
        } else {
            assert!(found.all("xen_vm_cpu_usage_ratio", &of_vm).is_empty(), "nothing is measured");
        }
    }
    assert_eq!(found.value("xen_pool_vms", &[("power_state", "Running")]), running);
    for host in sim.refs("host") {
        let uuid = text(sim, "host", &host, "uuid");
        let of_host = [("uuid", uuid.as_str())];
        let metrics = text(sim, "host", &host, "metrics");
        let total = number(sim, "host_metrics", &metrics, "memory_total");
        assert_eq!(found.value("xen_host_memory_total_bytes", &of_host), total);
        assert_eq!(found.value("xen_host_samples_up", &of_host), 1.0);
        assert!(found.value("xen_host_cpu_usage_ratio", &of_host) >= 0.0);
        let nics = found.all("xen_host_network_receive_bytes_per_second", &of_host);
        assert!(!nics.is_empty() && nics.iter().all(|one| one.labels["device"] != "aggr"));
    }
    for sr in sim.refs("SR") {
        let uuid = text(sim, "SR", &sr, "uuid");
        let size = number(sim, "SR", &sr, "physical_size");
        let found = found.all("xen_sr_physical_size_bytes", &[("uuid", uuid.as_str())]);
        assert_eq!(found.iter().map(|one| one.value).sum::<f64>(), size.max(0.0));
    }
    lab.end().await;
}

#[tokio::test]
async fn names_are_escaped_in_both_formats() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Lab::with(|_| {}, |config, _| set_up(config, &directory)).await;
    let sim = &lab.sim;
    let names = ["back\\slash \"quoted\"\nnew line", "# EOF", "{a=\"b\"} 1", "naïve 名前 🖥", "\\"];
    let vms: Vec<_> = sim.refs("VM");
    let is = |vm: &str, field| sim.field("VM", vm, field) == Some(SimValue::Bool(true));
    let vms = vms.iter().filter(|vm| !is(vm, "is_a_template") && !is(vm, "is_a_snapshot"));
    for (vm, name) in vms.zip(names) {
        sim.set_field("VM", vm, "name_label", SimValue::text(name)).expect("set");
    }
    sim.set_field(
        "SR",
        &sim.refs("SR")[0],
        "tags",
        SimValue::Set(vec![
            SimValue::text("b,\"x\""),
            SimValue::text("a"),
            SimValue::text("a"),
            SimValue::text(" "),
        ]),
    )
    .expect("set");
    scrape(&lab.gate).await;
    for (accept, read) in [
        ("text/plain", exposition::classic as fn(&str) -> Scrape),
        ("application/openmetrics-text", exposition::open),
    ] {
        let request = lab.gate.request(Method::GET, "/metrics/xen").bearer_auth(TOKEN);
        let answer = lab.gate.send(request.header("Accept", accept)).await;
        let found = read(&answer.text());
        let seen: BTreeSet<_> =
            found.all("xen_vm_up", &[]).iter().map(|one| one.labels["name"].clone()).collect();
        for name in names {
            assert!(seen.contains(name), "{name:?} is not among {seen:?}");
        }
        assert_eq!(found.all("xen_sr_vdis", &[("tags", "a,b,\"x\"")]).len(), 1);
    }
    lab.end().await;
}

#[tokio::test]
async fn it_needs_a_token_of_its_own_and_a_service_account() {
    let directory = tempfile::tempdir().expect("a directory");
    let neither = Lab::new().await;
    let session = neither.login().await;
    ask(&neither.gate, None).await.problem(401, "TOKEN_REQUIRED");
    ask(&neither.gate, Some(&session)).await.problem(501, "NOT_CONFIGURED");
    neither.end().await;

    let no_account = |config: &mut Config, _: &SimHandle| {
        set_up(config, &directory);
        let backend = config.backends.get_mut(BACKEND).expect("the one");
        (backend.service_username, backend.service_password) = (None, None);
    };
    let lab = Lab::with(|_| {}, no_account).await;
    let session = lab.login().await;
    ask(&lab.gate, None).await.problem(401, "TOKEN_REQUIRED");
    ask(&lab.gate, Some(&session)).await.problem(401, "INVALID_TOKEN");
    let problem = ask(&lab.gate, Some(TOKEN)).await.problem(501, "NOT_CONFIGURED");
    assert_eq!(problem["params"], serde_json::json!([BACKEND]));
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("service_username")));
    lab.end().await;

    // One backend with an account and one without: the one is shown, the other named.
    let both = |config: &mut Config, _: &SimHandle| {
        set_up(config, &directory);
        let mut other = config.backends[BACKEND].clone();
        (other.service_username, other.service_password) = (None, None);
        config.backends.insert("other".to_owned(), other);
    };
    let lab = Lab::with(|_| {}, both).await;
    let found = scrape(&lab.gate).await;
    assert_eq!(found.value("xen_backend_up", &[("backend", "other")]), 0.0);
    assert_eq!(found.value("xen_backend_up", &[("backend", BACKEND)]), 1.0);
    assert!(found.all("xen_vm_up", &[("backend", "other")]).is_empty());
    assert_eq!(around(&logged(), TOKEN), None, "a token was logged");
    let state = |state| found.value("xen_backend_state", &[("backend", BACKEND), ("state", state)]);
    assert_eq!((state("live"), state("stale")), (1.0, 0.0));
    let told = [("backend", "other"), ("service_account", "false")];
    assert_eq!(found.all("xen_backend_info", &told).len(), 1);
    lab.end().await;
}

#[tokio::test]
async fn a_pool_that_is_lost_is_down_and_its_last_state_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Lab::with(|_| {}, |config, _| set_up(config, &directory)).await;
    let before = scrape(&lab.gate).await;
    lab.sim.stop_listening();
    lab.sim.drop_connections();
    lab.gate.until("/readyz", "", |answer| answer.json()["backends"][0]["state"] == "stale").await;
    let answer = ask(&lab.gate, Some(TOKEN)).await;
    assert_eq!(answer.status, 200);
    let after = exposition::classic(&answer.text());
    assert_eq!(after.value("xen_backend_up", &[]), 0.0);
    assert_eq!(after.all("xen_vm_up", &[]).len(), before.all("xen_vm_up", &[]).len());
    lab.end().await;
}

/// What dashboards and alert rules ask for is there.
#[tokio::test]
async fn dashboards_and_alerts_name_metrics_that_there_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Lab::with(|_| {}, |config, _| set_up(config, &directory)).await;
    let fleet = scrape(&lab.gate).await;
    let own = lab.gate.send(lab.gate.request(Method::GET, "/metrics")).await;
    let own = exposition::classic(&own.text());
    let there: BTreeSet<&str> =
        fleet.types.keys().chain(own.types.keys()).map(|name| &**name).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let mut named = 0;
    for file in ["grafana/dashboards/xen.json", "grafana/dashboards/xengate.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).expect("a file");
        if file.ends_with("json") {
            let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let is_metric = |word: &&str| {
            ["xen_", "xengate_", "process_"].iter().any(|start| word.starts_with(start))
        };
        for word in words.filter(is_metric) {
            let family = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(there.contains(family), "{file} asks for {word}, which is not there");
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
    lab.end().await;
}
