//! What a client sees of what the pool measures.

use std::time::Duration;

use serde_json::Value as Json;
use xengate::sim::{Fault, RawReply, Sim, SimConfig, SimHandle, Time, Value};

use super::client::{Client, failure, talk, vm_that_is};

/// A pool of two hosts, its clock held, and a session of it.
async fn pool() -> (SimHandle, String) {
    let config = SimConfig { vms: 20, hosts: Some(2), time: Time::Held, ..SimConfig::default() };
    let sim = Sim::start(config).expect("a free port");
    let session = Client::logged_in(&sim, "root").await.session.expect("a session");
    (sim, session)
}

async fn get(sim: &SimHandle, session: &str, path: &str) -> (String, String) {
    get_at(sim, sim.addr().ip().to_string().as_str(), session, path).await
}

async fn get_at(sim: &SimHandle, ip: &str, session: &str, path: &str) -> (String, String) {
    let addr = format!("{ip}:{}", sim.addr().port()).parse().expect("an address");
    let request =
        format!("GET {path}&session_id={session} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let reply = talk(addr, request.as_bytes()).await;
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn json(body: &str) -> Json {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn text(json: &Json) -> &str {
    json.as_str().expect("text")
}

fn field(sim: &SimHandle, class: &str, key: &str, name: &str) -> String {
    let value = sim.field(class, key, name).expect("a field");
    value.as_text().expect("text").to_string()
}

/// The VM that runs on this host, and its uuid.
fn vm_on(sim: &SimHandle, host: &str) -> String {
    let host = sim.find("host", host).expect("a host");
    let on = |vm: &&std::sync::Arc<str>| {
        sim.field("VM", vm, "resident_on") == Some(Value::Text(host.clone()))
            && sim.field("VM", vm, "is_control_domain") == Some(Value::Bool(false))
    };
    let vm = sim.refs("VM").iter().find(on).expect("a VM").to_string();
    field(sim, "VM", &vm, "uuid")
}

#[tokio::test]
async fn a_bad_session_is_refused_as_recorded() {
    let sim = super::client::start(0);
    let request = b"GET /rrd_updates?start=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let wanted = include_str!("../fixtures/sim/http_rrd_updates_noauth.resp");
    assert_eq!(talk(sim.addr(), request).await, wanted);
    let (head, _) = get(&sim, "OpaqueRef:nobody", "/vm_rrd?uuid=x").await;
    assert!(head.contains("401 Unauthorised") && head.contains("realm=\"vm_rrd\""), "{head}");
}

#[tokio::test]
async fn a_host_without_its_daemon_answers_as_recorded() {
    let (sim, session) = pool().await;
    sim.measure(|measuring| measuring.missing = true);
    let request = format!("GET /rrd_updates?start=0&session_id={session} HTTP/1.1\r\n\r\n");
    let wanted = include_str!("../fixtures/sim/http_rrd_updates.resp");
    assert_eq!(talk(sim.addr(), request.as_bytes()).await, wanted);
}

#[tokio::test]
async fn updates_hold_what_was_asked_for_newest_first() {
    let (sim, session) = pool().await;
    let (head, body) = get(&sim, &session, "/rrd_updates?start=-60&host=true&json=true").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let body = json(&body);
    let meta = &body["meta"];
    assert_eq!(text(&meta["step"]), "5");
    let end: i64 = text(&meta["end"]).parse().expect("a time");
    let legend = meta["legend"].as_array().expect("a legend");
    assert_eq!(text(&meta["columns"]), legend.len().to_string());
    let rows = body["data"].as_array().expect("rows");
    assert_eq!(rows.len(), 13);
    for (place, row) in rows.iter().enumerate() {
        let time: i64 = text(&row["t"]).parse().expect("a time");
        assert_eq!(time, end - 5 * i64::try_from(place).expect("few"));
        assert_eq!(row["values"].as_array().expect("values").len(), legend.len());
    }
    let has = |part: &str| legend.iter().any(|entry| text(entry).contains(part));
    assert!(has("AVERAGE:host:") && has(":cpu_avg") && has("MAX:vm:") && has(":vif_0_rx"));
    assert!(!has(":sr:"), "SRs are to be asked for");
    let here = vm_on(&sim, "host-01");
    assert!(has(&here) && !has(&vm_on(&sim, "host-02")), "a host tells of its own VMs");

    let narrow = "/rrd_updates?start=-60&cf=MAX&host=false&sr_uuid=all&vm_uuid=";
    let (_, body) = get(&sim, &session, &format!("{narrow}{here}&json=true")).await;
    let body = json(&body);
    let legend = body["meta"]["legend"].as_array().expect("a legend");
    let vm = format!("MAX:vm:{here}:");
    assert!(
        legend
            .iter()
            .all(|entry| { text(entry).starts_with(&vm) || text(entry).starts_with("MAX:sr:") })
    );
    let (_, xml) = get(&sim, &session, "/rrd_updates?start=-5&host=true").await;
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xport><meta>"), "{xml}");
}

#[tokio::test]
async fn the_archive_fits_the_range_and_the_interval() {
    let (sim, session) = pool().await;
    let steps = async |query: &str| {
        let (_, body) = get(&sim, &session, &format!("/rrd_updates?json=true&{query}")).await;
        text(&json(&body)["meta"]["step"]).to_owned()
    };
    assert_eq!(steps("start=-590").await, "5");
    assert_eq!(steps("start=-601").await, "60");
    assert_eq!(steps("start=-7300").await, "3600");
    assert_eq!(steps("start=0").await, "86400");
    assert_eq!(steps("start=-10&interval=60").await, "60");
    let (head, _) = get(&sim, &session, "/rrd_updates?json=true").await;
    assert!(head.starts_with("HTTP/1.0 400 "), "{head}");
    let (head, _) = get(&sim, &session, "/rrd_updates?start=-10&cf=LAST").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
}

#[tokio::test]
async fn load_moves_with_the_clock_and_the_past_stays() {
    let (sim, session) = pool().await;
    let row = async |start: i64| {
        let path = format!("/rrd_updates?start={start}&cf=AVERAGE&host=true&json=true");
        json(&get(&sim, &session, &path).await.1)
    };
    let before = row(-1).await;
    let end: i64 = text(&before["meta"]["end"]).parse().expect("a time");
    sim.advance(Duration::from_secs(5));
    let after = row(end).await;
    let rows = after["data"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1], before["data"][0], "what has been measured does not change");
    assert_ne!(rows[0]["values"], rows[1]["values"], "and what is measured moves");
    assert!(row(end + 6).await["data"].as_array().expect("rows").is_empty());
}

#[tokio::test]
async fn a_whole_rrd_is_where_its_vm_runs() {
    let (sim, session) = pool().await;
    let there = vm_on(&sim, "host-02");
    let path = format!("/vm_rrd?uuid={there}&json=true");
    let (head, _) = get(&sim, &session, &path).await;
    let address = field(&sim, "host", "host-02", "address");
    assert!(head.starts_with("HTTP/1.1 302 Found"), "{head}");
    assert!(head.contains(&format!("Location: https://{address}/vm_rrd?uuid={there}")), "{head}");
    let (head, body) = get_at(&sim, &address, &session, &path).await;
    assert!(head.starts_with("HTTP/1.0 200 OK") && !head.contains("ength"), "{head}");
    let rrd = json(&body);
    let sources = rrd["ds"].as_array().expect("sources").len();
    let archives = rrd["rra"].as_array().expect("archives");
    assert_eq!(archives.len(), 12);
    for archive in archives {
        let rows = archive["database"].as_array().expect("rows");
        assert!(rows.iter().all(|row| row.as_array().is_some_and(|row| row.len() == sources)));
    }
    // A halted VM's is at the coordinator, and ends when the VM did.
    let halted = field(&sim, "VM", &vm_that_is(&sim, "Halted"), "uuid");
    let path = format!("/vm_rrd?uuid={halted}&json=true");
    let (head, _) = get_at(&sim, &address, &session, &path).await;
    assert!(head.contains("302 Found"), "{head}");
    let (_, body) = get(&sim, &session, &path).await;
    assert!(text(&json(&body)["lastupdate"]).parse::<i64>().expect("a time") < 1_795_332_354);
}

#[tokio::test]
async fn hosts_and_srs_have_rrds_too() {
    let (sim, session) = pool().await;
    let (_, body) = get(&sim, &session, "/host_rrd?json=true").await;
    assert!(body.contains("\"memory_free_kib\"") && body.contains("\"pif_eth0_rx\""));
    let shared = field(&sim, "SR", "Shared storage 1", "uuid");
    let path = format!("/sr_rrd?uuid={shared}");
    let (_, body) = get(&sim, &session, &path).await;
    assert!(body.contains("<name>physical_utilisation</name>"), "{body}");
    let address = field(&sim, "host", "host-02", "address");
    let (head, _) = get_at(&sim, &address, &session, &path).await;
    assert!(head.contains("302 Found"), "a shared SR is the coordinator's: {head}");
}

#[tokio::test]
async fn supporters_name_the_coordinator() {
    let (sim, _) = pool().await;
    let address = field(&sim, "host", "host-02", "address");
    let mut client = Client::new(&sim);
    client.url = format!("http://{address}:{}/jsonrpc", sim.addr().port());
    let args = serde_json::json!(["root", "x", "1.0", "tests"]);
    let login = client.raw("session.login_with_password", args).await;
    assert_eq!(login.as_ref().expect_err("a failure")[1], "127.0.0.1");
    assert_eq!(failure(login), "HOST_IS_SLAVE");
    assert!(sim.stop_host("host-02") && !sim.stop_host("host-02"));
}

#[tokio::test]
async fn it_can_measure_badly() {
    let (sim, session) = pool().await;
    let path = "/rrd_updates?start=-20&host=true&json=true&cf=AVERAGE";
    sim.measure(|measuring| {
        measuring.bare_json = true;
        measuring.gap_since = Some(1_795_332_345);
    });
    let (_, body) = get(&sim, &session, path).await;
    assert!(body.starts_with("{meta:{start:") && body.contains("[NaN,NaN,"), "{body}");
    sim.measure(|measuring| {
        measuring.skew.insert("host-01".to_owned(), 3600);
        measuring.only_xml = true;
    });
    let (_, body) = get(&sim, &session, path).await;
    assert!(body.contains("<end>1795335950</end>"), "{body}");
    let whole = get(&sim, &session, path).await.1.len();
    sim.fault(Some("host-01/rrd_updates"), Fault::Cut(300), Some(1));
    assert!(get(&sim, &session, path).await.1.len() < whole);
    let reply = RawReply::http("200 OK", "text/html", "<html>");
    sim.fault(Some("/rrd_updates"), Fault::Reply(reply), Some(1));
    assert_eq!(get(&sim, &session, path).await.1, "<html>");
    assert_eq!((sim.seen("/rrd_updates"), sim.seen("host-02/rrd_updates")), (5, 0));
}
