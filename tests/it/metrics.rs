//! Samples, histories and plots, in front of a pool that measures.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use xengate::sim::{Fault, RawReply, SimHandle, Value as SimValue};

use crate::lab::{Answer, Lab};

const UPDATES: &str = "/rrd_updates";

/// A pool of two hosts.
async fn two_hosts() -> Lab {
    Lab::with(|sim| (sim.vms, sim.hosts) = (20, Some(2)), |_, _| {}).await
}

fn text(sim: &SimHandle, class: &str, key: &str, field: &str) -> String {
    let value = sim.field(class, key, field).expect("a field");
    value.as_text().expect("text").to_string()
}

/// The uuids of the pool's VMs in this state, on a host of this name if that is given.
pub(crate) fn vms(sim: &SimHandle, state: &str, host: Option<&str>) -> Vec<String> {
    let host = host.map(|host| SimValue::Text(sim.find("host", host).expect("a host")));
    let is = |vm: &str, field: &str, value: SimValue| sim.field("VM", vm, field) == Some(value);
    let fits = |vm: &&std::sync::Arc<str>| {
        is(vm, "power_state", SimValue::text(state))
            && ["is_a_template", "is_control_domain", "is_a_snapshot"]
                .iter()
                .all(|field| is(vm, field, SimValue::Bool(false)))
            && host.as_ref().is_none_or(|host| is(vm, "resident_on", host.clone()))
    };
    let refs = sim.refs("VM");
    let found: Vec<String> =
        refs.iter().filter(fits).map(|vm| text(sim, "VM", vm, "uuid")).collect();
    assert!(!found.is_empty(), "a VM that is {state}");
    found
}

pub(crate) fn path(uuid: &str, rest: &str) -> String {
    format!("/vms/{uuid}/metrics{rest}")
}

async fn accepted(lab: &Lab, token: &str, path: &str, media: &str) -> Answer {
    let request = lab.gate.request(Method::GET, path).bearer_auth(token);
    lab.gate.send(request.header("Accept", media)).await
}

fn number(json: &Value) -> f64 {
    json.as_f64().unwrap_or_else(|| panic!("no number: {json}"))
}

fn times(history: &Value) -> Vec<i64> {
    let rows = history["rows"].as_array().expect("rows").iter();
    rows.map(|row| row["time"].as_i64().expect("a time")).collect()
}

#[tokio::test]
async fn a_running_vm_has_samples() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let metrics = lab.get(&path(uuid, ""), &token).await.ok();
    let samples = &metrics["samples"];
    assert!((0.0..=1.0).contains(&number(&samples["cpu"]["value"])), "{samples}");
    assert_eq!(samples["cpu0"]["unit"], "fraction");
    let memory = lab.sim.field("VM", uuid, "memory_dynamic_max");
    assert_eq!(samples["memory_bytes"]["value"].as_i64().map(SimValue::Int), memory);
    for (name, unit) in [
        ("memory_free_bytes", "bytes"),
        ("vif_0_rx", "bytes/s"),
        ("vif_0_tx", "bytes/s"),
        ("vbd_xvda_read", "bytes/s"),
        ("vbd_xvda_iops_write", "requests/s"),
        ("vbd_xvda_read_latency", "s"),
    ] {
        assert_eq!(samples[name]["unit"], unit, "{name}");
        assert!(number(&samples[name]["value"]) >= 0.0, "{name}");
        assert!(samples[name]["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{name}");
    }
    assert!(number(&samples["vbd_xvda_read_latency"]["value"]) < 0.01, "seconds, not microseconds");
    let sampling = &metrics["sampling"];
    assert_eq!(sampling["host"], text(&lab.sim, "host", "host-01", "uuid"));
    assert_eq!((&sampling["reason"], &sampling["step"]), (&Value::Null, &5.into()));
    assert!(sampling["clock_offset"].as_i64().is_some_and(|offset| offset.abs() < 60));
    assert!(metrics["guest"].is_object() && metrics["memory_actual"].is_u64(), "as before");
    lab.end().await;
}

#[tokio::test]
async fn however_many_ask_a_host_is_asked_once() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let uuids = vms(&lab.sim, "Running", Some("host-01"));
    let paths: Vec<String> = uuids.iter().cycle().take(30).map(|uuid| path(uuid, "")).collect();
    for answer in join_all(paths.iter().map(|path| lab.get(path, &token))).await {
        assert_eq!(answer.ok()["sampling"]["reason"], Value::Null);
    }
    assert_eq!(lab.sim.seen(UPDATES), 1, "and the other host not at all");
    // And when it has measured again, for what is new.
    let before = lab.get(&paths[0], &token).await.ok()["sampling"]["time"].clone();
    lab.until(&paths[0], &token, |answer| answer.ok()["sampling"]["time"] != before).await;
    assert!(lab.sim.seen(UPDATES) <= 3, "{} times", lab.sim.seen(UPDATES));
    lab.end().await;
}

#[tokio::test]
async fn a_halted_vm_has_no_samples_and_still_its_history() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Halted", None)[0];
    let metrics = lab.get(&path(uuid, ""), &token).await.ok();
    assert_eq!(metrics["samples"]["cpu"]["value"], Value::Null);
    assert_eq!(metrics["sampling"]["reason"]["code"], "NOT_RUNNING");
    assert_eq!(lab.sim.seen(UPDATES), 0, "nobody was asked");
    for step in [5, 60, 3600, 86_400] {
        let query = format!("/history?from=-400d&step={step}&sources=cpu0,memory_bytes");
        let history = lab.get(&path(uuid, &query), &token).await.ok();
        assert_eq!(history["step"], step);
        assert!(history["rows"].as_array().is_some_and(|rows| rows.len() >= 120), "{step}");
    }
    let sources = lab.get(&path(uuid, "/sources"), &token).await.ok();
    let items = sources["items"].as_array().expect("items");
    let named = |name: &str| items.iter().find(|item| item["name"] == name).expect("a source");
    assert_eq!(named("vif_0_rx")["type"], "DERIVE");
    assert_eq!(named("memory_free_bytes")["source"], "memory_internal_free");
    assert!(lab.sim.seen("/vm_rrd") >= 1);
    lab.end().await;
}

#[tokio::test]
async fn hosts_and_srs_are_measured_too() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let host = text(&lab.sim, "host", "host-02", "uuid");
    let metrics = lab.get(&format!("/hosts/{host}/metrics"), &token).await.ok();
    let samples = &metrics["samples"];
    assert!(metrics["memory_total"].is_i64(), "the host_metrics record: {metrics}");
    assert_eq!(samples["memory_total_bytes"]["value"], 512_i64 << 30);
    for name in ["cpu", "cpu15", "loadavg", "pif_eth0_rx", "pif_aggr_tx"] {
        assert!(samples[name]["value"].is_number(), "{name}");
    }
    assert_eq!(metrics["sampling"]["host"], *host);

    let sr = text(&lab.sim, "SR", "Shared storage 1", "uuid");
    let metrics = lab.get(&format!("/srs/{sr}/metrics"), &token).await.ok();
    let samples = &metrics["samples"];
    assert_eq!(samples["size_bytes"]["value"], 64_i64 << 40);
    assert_eq!(samples["iops_read"]["unit"], "requests/s");
    assert!(samples["io_throughput_write"]["value"].is_number(), "{metrics}");
    // What both hosts do with it, together.
    let mut sum = 0.0;
    for name in ["host-01", "host-02"] {
        let host = text(&lab.sim, "host", name, "uuid");
        let samples = lab.get(&format!("/hosts/{host}/metrics"), &token).await.ok();
        sum += number(&samples["samples"][format!("iops_read_{}", &sr[..8])]["value"]);
    }
    let iops = number(&samples["iops_read"]["value"]);
    assert!((iops - sum).abs() < 600.0, "{iops} of {sum}");
    let history = format!("/srs/{sr}/metrics/history?from=-5m&sources=iops_read,size_bytes");
    let history = lab.get(&history, &token).await.ok();
    let row = &history["rows"][0]["values"];
    assert!(row[0].is_number() && row[1].is_number(), "{history}");
    let sources = lab.get(&format!("/srs/{sr}/metrics/sources"), &token).await.ok();
    assert!(sources["total"].as_i64().is_some_and(|total| total > 8), "{sources}");
    lab.end().await;
}

#[tokio::test]
async fn a_history_is_read_in_every_form() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let query = path(uuid, "/history?from=-5m&sources=cpu*,vif_0_rx&time=unix");
    let history = lab.get(&query, &token).await.ok();
    assert_eq!((&history["step"], &history["cf"]), (&5.into(), &"AVERAGE".into()));
    let columns = history["columns"].as_array().expect("columns");
    let names: Vec<&str> =
        columns.iter().map(|column| column["name"].as_str().expect("a name")).collect();
    assert_eq!((names[0], names.last()), ("cpu0", Some(&"vif_0_rx")));
    let rows = times(&history);
    assert!((59..=61).contains(&rows.len()), "{} rows", rows.len());
    assert!(rows.windows(2).all(|pair| pair[1] - pair[0] == 5), "oldest first");
    assert_eq!(history["to"].as_i64(), rows.last().copied());

    let csv = accepted(&lab, &token, &query, "text/csv").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let csv = String::from_utf8(csv.body).expect("UTF-8");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], format!("time,{}", names.join(",")));
    assert_eq!(lines[1].split(',').count(), names.len() + 1);

    let query = path(uuid, "/history?from=-90m&sources=memory_bytes&cf=MAX");
    let ndjson = accepted(&lab, &token, &query, "application/x-ndjson").await;
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let ndjson = String::from_utf8(ndjson.body).expect("UTF-8");
    let last = ndjson.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert!(last["memory_bytes"].is_i64(), "{last}");
    assert!(last["time"].as_str().is_some_and(|time| time.ends_with(":00Z")), "a minute: {last}");
    assert_eq!(lab.sim.seen("/vm_rrd"), 0, "what a host has at hand is not fetched whole");
    lab.end().await;
}

#[tokio::test]
async fn the_finest_archive_that_covers_the_range_is_taken() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let get = async |query: &str| {
        lab.get(&path(uuid, &format!("/history?sources=cpu0&time=unix&{query}")), &token).await
    };
    for (query, step) in [
        ("from=-10m", 5),
        ("from=-11m", 60),
        ("from=-2h", 60),
        ("from=-3h", 3600),
        ("from=-7d", 3600),
        ("from=-8d", 86_400),
        ("from=-10y", 86_400),
        ("from=0", 86_400),
        ("", 60),
        ("from=-1m&step=60", 60),
    ] {
        assert_eq!(get(query).await.ok()["step"], step, "{query}");
    }
    // The same range by its times.
    let relative = get("from=-5m&to=-2m").await.ok();
    let rows = times(&relative);
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    let absolute = get(&format!("from={first}&to={last}")).await.ok();
    assert_eq!(absolute["step"], 5);
    let shared = times(&absolute).iter().filter(|time| rows.contains(time)).count();
    assert_eq!(shared, rows.len(), "what was measured stays");
    let nothing = get("from=4000000000&to=4000000100").await.ok();
    assert_eq!(nothing["rows"], serde_json::json!([]));
    lab.end().await;
}

#[tokio::test]
async fn a_query_that_is_wrong_is_told_so() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    for (query, names) in [
        ("from=yesterday", "from"),
        ("to=2h", "to"),
        ("from=-1h&to=-2h", "to"),
        ("step=0", "step"),
        ("step=x", "step"),
        ("cf=MEDIAN", "cf"),
        ("time=tai", "time"),
        ("sources=", "sources"),
    ] {
        let answer = lab.get(&path(uuid, &format!("/history?{query}")), &token).await;
        let problem = answer.problem(400, "BAD_PARAMETER");
        assert_eq!(problem["params"][0], names, "{query}");
    }
    let answer = lab.get(&path(uuid, "/history?sources=cpu*,vif_7_rx"), &token).await;
    let problem = answer.problem(400, "BAD_PARAMETER");
    let there = problem["params"].as_array().expect("what there is");
    assert!(there.iter().any(|name| name == "vif_0_rx"), "{problem}");
    let answer = lab.get(&path(uuid, "/history?step=7"), &token).await;
    let problem = answer.problem(400, "BAD_PARAMETER");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("3600")), "{problem}");
    let answer = lab.get(&path(uuid, "/history?cf=LAST"), &token).await;
    answer.problem(400, "BAD_PARAMETER");
    lab.get(&path(uuid, "/history?form=-1h"), &token).await.problem(400, "UNKNOWN_PARAMETER");
    let answer = accepted(&lab, &token, &path(uuid, "/history"), "text/html").await;
    answer.problem(406, "NOT_ACCEPTABLE");
    lab.end().await;
}

#[tokio::test]
async fn a_plot_is_safe_and_says_what_it_shows() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let name = "<script>alert(1)</script> & \"more\"\u{7}";
    lab.sim.set_field("VM", uuid, "name_label", SimValue::text(name)).expect("a VM");
    let query = path(uuid, "/history?from=-2h&sources=cpu*,vif_0_*,memory_free_bytes");
    lab.until(&format!("/vms/{uuid}"), &token, |vm| vm.ok()["name_label"] == name).await;
    let answer = accepted(&lab, &token, &query, "image/svg+xml").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("image/svg+xml"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
    let svg = String::from_utf8(answer.body).expect("UTF-8");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{}", &svg[..200]);
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "names are escaped");
    assert!(svg.contains("prefers-color-scheme:dark"));
    for shown in
        ["cpu0", "vif_0_rx", "memory_free_bytes", "bytes/s", "fraction", "1 minute", "40 %"]
    {
        assert!(svg.contains(shown), "{shown}");
    }
    assert!(svg.matches("<polyline").count() >= 4, "lines");
    // Well-formed, whatever the name.
    let mut reader = quick_xml(&svg);
    while reader.next().is_some() {}
    lab.end().await;
}

/// The elements of a document, in order; panics where it is none.
fn quick_xml(text: &str) -> impl Iterator<Item = ()> + '_ {
    let mut reader = quick_xml::Reader::from_str(text);
    std::iter::from_fn(move || match reader.read_event().expect("well-formed") {
        quick_xml::events::Event::Eof => None,
        _ => Some(()),
    })
}

#[tokio::test]
async fn a_host_that_is_gone_costs_only_its_own_vms_their_samples() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let here = &vms(&lab.sim, "Running", Some("host-01"))[0];
    let there = &vms(&lab.sim, "Running", Some("host-02"))[0];
    assert_eq!(lab.get(&path(there, ""), &token).await.ok()["sampling"]["reason"], Value::Null);
    assert!(lab.sim.seen("host-02/rrd_updates") >= 1);
    assert!(lab.sim.stop_host("host-02"));
    let gone = |answer: &Answer| {
        let metrics = answer.ok();
        let reason = &metrics["sampling"]["reason"]["code"];
        assert!(metrics["memory_actual"].is_u64(), "the record stays: {metrics}");
        if reason == "HOST_UNREACHABLE" {
            assert_eq!(metrics["samples"]["cpu"]["value"], Value::Null);
        }
        reason == "HOST_UNREACHABLE"
    };
    // First the last samples stay for a while: then nothing is known.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut glances = tokio::time::interval(Duration::from_millis(200));
    while !gone(&lab.get(&path(there, ""), &token).await) {
        assert!(tokio::time::Instant::now() < deadline, "it was never noticed");
        glances.tick().await;
    }
    assert_eq!(lab.get(&path(here, ""), &token).await.ok()["sampling"]["reason"], Value::Null);
    let history = lab.get(&path(there, "/history?from=-1m&cf=MIN"), &token).await;
    history.problem(503, "BACKEND_UNREACHABLE");
    lab.end().await;
}

#[tokio::test]
async fn a_host_that_keeps_silent_is_not_waited_for_long() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let there = &vms(&lab.sim, "Running", Some("host-02"))[0];
    lab.sim.hold("host-02/rrd_updates");
    let metrics = lab.get(&path(there, ""), &token).await.ok();
    assert_eq!(metrics["sampling"]["reason"]["code"], "HOST_SLOW");
    assert_eq!(metrics["samples"]["memory_bytes"]["value"], Value::Null);
    let here = &vms(&lab.sim, "Running", Some("host-01"))[0];
    assert_eq!(lab.get(&path(here, ""), &token).await.ok()["sampling"]["reason"], Value::Null);
    lab.sim.release("host-02/rrd_updates");
    let answers = |answer: &Answer| answer.ok()["samples"]["cpu"]["value"].is_number();
    lab.until(&path(there, ""), &token, answers).await;
    lab.end().await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_neither_shifts_nor_loses_samples() {
    for skew in [3600, -86_400] {
        let lab = Lab::new().await;
        lab.sim.measure(|measuring| _ = measuring.skew.insert("host-01".to_owned(), skew));
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        let metrics = lab.get(&path(uuid, ""), &token).await.ok();
        assert!(metrics["samples"]["cpu"]["value"].is_number(), "{metrics}");
        let offset = metrics["sampling"]["clock_offset"].as_i64().expect("an offset");
        assert!((offset - skew).abs() < 60, "{offset}");
        let history = path(uuid, "/history?from=-10m&sources=cpu0&time=unix");
        let rows = times(&lab.get(&history, &token).await.ok());
        assert!(rows.len() >= 118, "{} rows", rows.len());
        let before = metrics["sampling"]["time"].clone();
        let moved = |answer: &Answer| answer.ok()["sampling"]["time"] != before;
        lab.until(&path(uuid, ""), &token, moved).await;
        lab.end().await;
    }
}

#[tokio::test]
async fn old_hosts_are_understood() {
    for bare in [true, false] {
        let lab = Lab::new().await;
        lab.sim.measure(|measuring| (measuring.bare_json, measuring.only_xml) = (bare, !bare));
        let token = lab.login().await;
        let running = &vms(&lab.sim, "Running", None)[0];
        let metrics = lab.get(&path(running, ""), &token).await.ok();
        assert!(metrics["samples"]["cpu"]["value"].is_number(), "{metrics}");
        let halted = &vms(&lab.sim, "Halted", None)[0];
        let history = lab.get(&path(halted, "/history?from=-1h&sources=cpu0"), &token).await.ok();
        assert!(history["rows"].as_array().is_some_and(|rows| rows.len() > 50), "{history}");
        lab.end().await;
    }
}

#[tokio::test]
async fn what_a_host_answers_wrongly_is_a_reason_and_no_number() {
    let html = RawReply::http("200 OK", "text/html", "<html><body>hello</body></html>");
    let broken = RawReply::http("500 Internal Error", "text/html", "<html>oops</html>");
    let endless = RawReply::endless("{\"meta\":{\"legend\":[", "\"x\",".repeat(1000));
    for (fault, code) in [
        (Fault::Reply(html), "BAD_REPLY"),
        (Fault::Cut(2000), "BAD_REPLY"),
        (Fault::Reply(broken), "NOT_MEASURED"),
        (Fault::Reply(endless), "BAD_REPLY"),
        (Fault::Drop, "HOST_UNREACHABLE"),
    ] {
        let lab = Lab::with(
            |_| {},
            |config, _| {
                for backend in config.backends.values_mut() {
                    backend.max_reply = 1 << 20;
                }
            },
        )
        .await;
        let token = lab.login().await;
        let uuid = &vms(&lab.sim, "Running", None)[0];
        lab.sim.fault(Some(UPDATES), fault.clone(), None);
        let metrics = lab.get(&path(uuid, ""), &token).await.ok();
        assert_eq!(metrics["sampling"]["reason"]["code"], code, "{fault:?}: {metrics}");
        assert_eq!(metrics["samples"]["cpu"]["value"], Value::Null);
        lab.sim.clear_faults();
        let well = |answer: &Answer| answer.ok()["samples"]["cpu"]["value"].is_number();
        lab.until(&path(uuid, ""), &token, well).await;
        lab.end().await;
    }
}

#[tokio::test]
async fn what_is_not_measured_any_more_is_null() {
    let lab = Lab::new().await;
    lab.sim.measure(|measuring| measuring.gap_since = Some(0));
    let token = lab.login().await;
    let uuid = &vms(&lab.sim, "Running", None)[0];
    let metrics = lab.get(&path(uuid, ""), &token).await.ok();
    assert_eq!(metrics["samples"]["cpu0"]["value"], Value::Null);
    assert_eq!(metrics["sampling"]["reason"], Value::Null);
    let history = lab.get(&path(uuid, "/history?from=-1m&sources=cpu0"), &token).await.ok();
    assert_eq!(history["rows"][0]["values"], serde_json::json!([null]));
    let svg = accepted(&lab, &token, &path(uuid, "/history?from=-1m"), "image/svg+xml").await;
    assert_eq!(svg.status, 200, "a plot of nothing is a plot");
    lab.sim.measure(|measuring| measuring.missing = true);
    let metrics = lab.get(&path(uuid, "/history?from=-30d"), &token).await;
    metrics.problem(501, "NOT_SUPPORTED");
    lab.end().await;
}

#[tokio::test]
async fn a_session_that_ended_is_nobodys_loss() {
    let lab = Lab::new().await;
    let (first, second) = (lab.login().await, lab.login().await);
    let uuid = &vms(&lab.sim, "Running", None)[0];
    lab.get(&path(uuid, ""), &first).await.ok();
    let logout = lab.gate.request(Method::DELETE, "/sessions/current").bearer_auth(&first);
    assert_eq!(lab.gate.send(logout).await.status, 204);
    let before = lab.get(&path(uuid, ""), &second).await.ok()["sampling"]["time"].clone();
    let moved = |answer: &Answer| {
        let sampling = answer.ok()["sampling"].clone();
        assert_eq!(sampling["reason"], Value::Null);
        sampling["time"] != before
    };
    lab.until(&path(uuid, ""), &second, moved).await;
    lab.end().await;
}

#[tokio::test]
async fn a_redirect_is_followed_once_and_within_the_pool() {
    let lab = two_hosts().await;
    let token = lab.login().await;
    let halted = &vms(&lab.sim, "Halted", None)[0];
    let query = path(halted, "/history?from=-1h&sources=cpu0");
    let redirect = |host: &str| {
        let location = format!("https://{host}/vm_rrd?uuid={halted}&json=true&session_id=x");
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nConnection: close\r\n\r\n");
        Fault::Reply(RawReply { start: head.into_bytes(), endless: Vec::new() })
    };
    for elsewhere in ["192.0.2.66", "evil.example"] {
        lab.sim.fault(Some("/vm_rrd"), redirect(elsewhere), Some(1));
        let problem = lab.get(&query, &token).await.problem(502, "BAD_REPLY");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("not of this pool") && !detail.contains("session"), "{detail}");
    }
    lab.sim.fault(Some("/vm_rrd"), redirect("127.0.0.1"), Some(2));
    lab.get(&query, &token).await.problem(502, "BAD_REPLY");
    lab.sim.fault(Some("/vm_rrd"), redirect("127.0.0.1"), Some(1));
    let history = lab.get(&query, &token).await.ok();
    assert!(history["rows"].as_array().is_some_and(|rows| rows.len() > 50));
    // A host that refers to the coordinator, without a fault.
    let address = text(&lab.sim, "host", "host-02", "address");
    lab.sim.fault(Some("host-01/vm_rrd"), redirect(&address), Some(1));
    lab.end().await;
}

/// What XAPI's own RRD library has written, given to the gateway.
#[tokio::test]
async fn recorded_measurements_come_out_as_they_are() {
    const RECORDED: &str = "11111111-2222-4333-8444-555566667777";
    for (updates, whole) in [
        (
            include_str!("../fixtures/rrd/rrd_updates_5s_AVERAGE.json"),
            include_str!("../fixtures/rrd/vm_rrd.json"),
        ),
        (
            include_str!("../fixtures/rrd/rrd_updates_5s_AVERAGE.xml"),
            include_str!("../fixtures/rrd/vm_rrd.xml"),
        ),
    ] {
        let lab = Lab::new().await;
        let token = lab.login().await;
        let running = &vms(&lab.sim, "Running", None)[0];
        let body = updates.replace(RECORDED, running);
        lab.sim.fault(Some(UPDATES), Fault::Reply(RawReply::http("200 OK", "x/y", body)), None);
        let reply = RawReply::http("200 OK", "x/y", whole);
        lab.sim.fault(Some("/vm_rrd"), Fault::Reply(reply), None);

        let metrics = lab.get(&path(running, ""), &token).await.ok();
        let (samples, time) = (&metrics["samples"], "2026-09-21T14:46:40Z");
        assert_eq!(metrics["sampling"]["time"], time);
        let sample = |value: Value, unit: &str| serde_json::json!({"value": value, "unit": unit, "time": time});
        assert_eq!(samples["vif_0_rx"], sample(4000.into(), "bytes/s"));
        assert_eq!(samples["cpu0"], sample(0.into(), "fraction"));
        assert_eq!(samples["cpu"], samples["cpu0"]);
        let free = number(&samples["memory_free_bytes"]["value"]);
        assert!((free - 0.200_000_002_980_232 * 1024.0).abs() < 1e-9, "KiB: {free}");

        let query = "/history?from=1790001940&to=1790002000&sources=cpu0,vif_0_rx&time=unix";
        let history = lab.get(&path(running, query), &token).await.ok();
        let wanted: Vec<i64> = (0..13).map(|n| 1_790_001_940 + n * 5).collect();
        assert_eq!((times(&history), &history["step"]), (wanted, &5.into()));
        let cpu = |n: usize| &history["rows"][n]["values"][0];
        assert_eq!((cpu(0), cpu(2)), (&0.800_000_011_920_929.into(), &0.into()));

        let halted = &vms(&lab.sim, "Halted", None)[0];
        for (cf, value) in [("AVERAGE", 0.400_000_005_960_464), ("MAX", 0.899_999_976_158_142)] {
            let query = format!("/history?from=-2m&step=60&cf={cf}&sources=cpu0&time=unix");
            let history = lab.get(&path(halted, &query), &token).await.ok();
            let last = times(&history).last().copied();
            assert_eq!(last, Some(1_790_001_960), "the last whole minute");
            let rows = history["rows"].as_array().expect("rows");
            assert_eq!(number(&rows[rows.len() - 1]["values"][0]), value, "{cf}");
        }
        lab.end().await;
    }
}
