//! What is known of VMs on xend, which measures nothing by itself.

use reqwest::Method;
use serde_json::Value;
use xengate::config::{Config, Kind};
use xengate::sim::xend::{Power, Xend, XendConfig, XendHandle};

use super::{USER, USERS_PASSWORD, gate, gate_with};
use crate::lab::Answer;

fn xend() -> XendHandle {
    Xend::start(XendConfig { vms: 20, ..XendConfig::default() }).expect("a xend")
}

fn vm(xend: &XendHandle, power: Power) -> String {
    xend.vm_that_is(power).expect("a VM").uuid
}

fn value<'a>(metrics: &'a Value, sample: &str) -> &'a Value {
    &metrics["samples"][sample]["value"]
}

fn path(uuid: &str) -> String {
    format!("/vms/{uuid}/metrics")
}

#[tokio::test]
async fn cpu_time_tells_from_the_second_poll_on_how_busy_a_vm_is() {
    let xend = xend();
    let gate = gate(&xend.legacy_url(), Kind::Legacy, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let (running, paused) = (vm(&xend, Power::Running), vm(&xend, Power::Paused));
    let metrics = gate.get(&path(&running), &token).await.ok();
    assert_eq!(value(&metrics, "cpu"), &Value::Null, "{metrics}");
    assert_eq!(metrics["sampling"]["reason"]["code"], "NOT_YET");
    assert_eq!(metrics["sampling"]["clock_offset"], Value::Null);
    let before = value(&metrics, "cpu_time").as_f64().expect("seconds");
    assert_eq!(metrics["samples"]["cpu_time"]["unit"], "s");
    assert!(value(&metrics, "memory_bytes").as_i64().is_some_and(|bytes| bytes > 0), "{metrics}");

    let known = |answer: &Answer| value(&answer.ok(), "cpu").is_number();
    let metrics = gate.until(&path(&running), &token, known).await.ok();
    let cpu = value(&metrics, "cpu").as_f64().expect("a number");
    assert!(cpu > 0.0 && cpu <= 1.0, "{metrics}");
    assert!(value(&metrics, "cpu_time").as_f64().is_some_and(|after| after > before));
    assert_eq!(metrics["sampling"]["reason"], Value::Null);
    assert!(metrics["sampling"]["step"].as_i64().is_some_and(|step| step >= 1), "{metrics}");
    let metrics = gate.until(&path(&paused), &token, known).await.ok();
    assert_eq!(value(&metrics, "cpu"), 0, "it does not run: {metrics}");

    let halted = gate.get(&path(&vm(&xend, Power::Halted)), &token).await.ok();
    assert_eq!(halted["sampling"]["reason"]["code"], "NOT_RUNNING");
    assert_eq!(value(&halted, "cpu"), &Value::Null);
    gate.end(&[]).await;
    xend.stop().await;
}

#[tokio::test]
async fn utilisation_is_what_the_xen_api_says() {
    let xend = xend();
    let gate = gate(&xend.api_url(), Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let running = vm(&xend, Power::Running);
    let metrics = gate.get(&path(&running), &token).await.ok();
    let utilisation = metrics["VCPUs_utilisation"].as_object().expect("a map");
    assert!(!utilisation.is_empty(), "{metrics}");
    for (cpu, used) in utilisation {
        assert_eq!(value(&metrics, &format!("cpu{cpu}")).as_f64(), used.as_f64(), "{metrics}");
    }
    assert!(value(&metrics, "cpu").as_f64().is_some_and(|cpu| cpu > 0.0 && cpu <= 1.0));
    assert_eq!(value(&metrics, "memory_bytes"), &metrics["memory_actual"]);
    assert!(metrics["sampling"]["time"].as_str().is_some_and(|time| time.ends_with('Z')));

    let there = |answer: &Answer| answer.ok()["total"] == 1;
    let host = gate.until("/hosts", &token, there).await.ok()["items"][0]["uuid"].clone();
    let host = format!("/hosts/{}", host.as_str().expect("a uuid"));
    let metrics = gate.get(&format!("{host}/metrics"), &token).await.ok();
    assert_eq!(value(&metrics, "memory_total_bytes"), &metrics["memory_total"], "{metrics}");
    assert_eq!(value(&metrics, "memory_free_bytes"), &metrics["memory_free"]);

    let sources = gate.get(&format!("{}/sources", path(&running)), &token).await.ok();
    let names: Vec<&str> = sources["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|source| source["name"].as_str())
        .collect();
    assert!(names.contains(&"cpu0") && names.contains(&"memory_bytes"), "{names:?}");
    gate.end(&xend.session_refs()).await;
    xend.stop().await;
}

#[tokio::test]
async fn there_is_no_history_where_nobody_keeps_one() {
    let xend = xend();
    for (url, kind) in [(xend.api_url(), Kind::Xend), (xend.legacy_url(), Kind::Legacy)] {
        let gate = gate(&url, kind, |_| {}).await;
        let token = gate.login(USER, USERS_PASSWORD).await;
        for power in [Power::Running, Power::Halted] {
            let history = format!("{}/history", path(&vm(&xend, power)));
            gate.get(&history, &token).await.problem(501, "NOT_SUPPORTED");
            let request = gate.request(Method::GET, &history).bearer_auth(&token);
            let plot = gate.send(request.header("accept", "image/svg+xml")).await;
            plot.problem(501, "NOT_SUPPORTED");
        }
        gate.end(&[]).await;
    }
    xend.stop().await;
}

#[tokio::test]
async fn samples_of_polls_are_told_to_who_listens() {
    let xend = xend();
    let gate = gate(&xend.legacy_url(), Kind::Legacy, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let path = "/events?classes=VM_metrics&samples=true";
    let request = gate.request(Method::GET, path).bearer_auth(&token);
    let mut response = request.send().await.expect("a stream");
    let mut text = String::new();
    let known = |text: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.any(|data| {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            data["of"]["class"] == "VM" && data["samples"]["cpu"]["value"].is_number()
        })
    };
    while !known(&text) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), response.chunk());
        let chunk = chunk.await.expect("in time").expect("whole").expect("more");
        text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    drop(response);
    gate.end(&[]).await;
    xend.stop().await;
}

#[tokio::test]
async fn a_xend_that_asks_for_no_password_is_scraped_without_an_account() {
    const TOKEN: &str = "a token for monitoring";
    let xend = xend();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).expect("written");
    let set = |config: &mut Config| config.metrics.xen_token_file = Some(file.clone());
    let gate = gate_with(&xend.legacy_url(), Kind::Legacy, |_| {}, set).await;
    let running = vm(&xend, Power::Running);
    let of_vm = [("uuid", running.as_str())];
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let request = gate.request(Method::GET, "/metrics/xen").bearer_auth(TOKEN);
        let answer = gate.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = crate::exposition::classic(&answer.text());
        assert_eq!(found.value("xen_backend_up", &[]), 1.0);
        assert_eq!(found.value("xen_vm_up", &of_vm), 1.0);
        assert!(found.all("xen_host_samples_up", &[]).is_empty(), "no host is asked");
        if let [busy] = found.all("xen_vm_cpu_usage_ratio", &of_vm).as_slice() {
            assert!(busy.value > 0.0 && busy.value <= 1.0, "{}", busy.value);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "two polls tell");
    }
    gate.end(&[]).await;
    xend.stop().await;
}
