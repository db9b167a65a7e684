//! The simulated xend against what a real one said: the recorded requests are made again, of VMs
//! with the same names in the same states.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xengate::sim::xend::{Power, XendHandle};

use super::{Client, legacy, read, start};

/// The state a VM has before an exchange.
type Before = Option<(&'static str, Power)>;

const CRASHED: Before = Some(("Crash01", Power::Crashed));
const HALTED: Before = Some(("halted01", Power::Halted));
const HALTED_IS_PAUSED: Before = Some(("halted01", Power::Paused));
const PAUSED: Before = Some(("paused01", Power::Paused));
const WEB_RUNS: Before = Some(("web01", Power::Running));
const WEB_IS_PAUSED: Before = Some(("web01", Power::Paused));
const DB_IS_HALTED: Before = Some(("db01", Power::Halted));

/// Exchanges whose reply is the same to the byte, uuids and dates aside.
const SAME: &[(&str, Before)] = &[
    ("003-api-pam-xend-domain-NO-SESSION", WEB_RUNS),
    ("004-api-pam-xend-domain-unpause-NO-SESSION", WEB_RUNS),
    ("006-api-login-noargs", None),
    ("020-api-VM_metrics-get_record-bad", None),
    ("021-api-VM-get_by_uuid-good", None),
    ("022-api-VM-get_by_uuid-bad", None),
    ("023-api-VM-get_record-bad", None),
    ("024-api-VM-get_record-OpaqueRefNULL", None),
    ("027-api-VM-get_by_name_label", None),
    ("028-api-VM-get_by_name_label-none", None),
    ("029-api-VM-get_power_state", WEB_RUNS),
    ("031-api-VM-get_VCPUs_max-TODO", None),
    ("032-api-VM-get_tools_version", None),
    ("033-api-VM-get_allowed_operations", None),
    ("035-api-VM-many-args", None),
    ("036-api-VM-start-missing-arg", None),
    ("037-api-VM-start-3-xapi-args", None),
    ("038-api-unknown-method", None),
    ("040-api-dead-session", None),
    ("041-api-no-session", None),
    ("042-api-empty-session", None),
    ("051-api-host-get_logging-TODO", None),
    ("054-api-VDI-get_all_records", None),
    ("060-api-task-get_all_records", None),
    ("063-api-ACMPolicy-get_all_records", None),
    ("064-api-PBD-get_all_records", None),
    ("067-api-PIF_metrics-get_all_records", None),
    ("069-api-DSCSI-get_all_records", None),
    ("070-api-PSCSI-get_all_records", None),
    ("071-api-VTPM-get_all_records", None),
    ("072-api-pool-get_all_records", None),
    ("073-api-Host-get_all_records", None),
    ("074-api-VM-pause", WEB_RUNS),
    ("075-api-VM-get_power_state-paused", WEB_IS_PAUSED),
    ("076-api-VM-pause-again", WEB_IS_PAUSED),
    ("077-api-VM-unpause", WEB_IS_PAUSED),
    ("079-api-VM-pause-halted", HALTED),
    ("088-api-VM-clean_shutdown-halted", HALTED),
    ("089-api-VM-clean_shutdown-dom0", None),
    ("090-api-VM-pause-dom0", None),
    ("091-api-VM-hard_shutdown-halted", HALTED),
    ("094-api-VM-start-paused-state", HALTED_IS_PAUSED),
    ("095-api-VM-hard_shutdown", HALTED_IS_PAUSED),
    ("098-api-VM-hard_reboot-halted", HALTED),
    ("106-api-VM-destroy-running", DB_IS_HALTED),
    ("114-api-VM-set_VCPUs_number_live-toomany", None),
    ("108-api-VM-set_name_label-dup", PAUSED),
    ("109-api-VM-set_name_label-bad", PAUSED),
    ("110-api-VM-set_name_label-back", PAUSED),
    ("111-api-VM-set_name_description-TODO", PAUSED),
    ("112-api-VM-set_memory_dynamic_max_live", PAUSED),
    ("115-api-VM-set_memory_static_max-bad", HALTED),
    ("116-api-VM-add_to_other_config", PAUSED),
    ("119-api-VM-remove_from_other_config", PAUSED),
    ("139-api-task-get_by_name_label", None),
    ("146-api-Async-argcount", None),
    ("147-api-Async-dead-session", None),
    ("150-api-event-next-unregistered", None),
    ("163-api-system-multicall", None),
    ("196-leg-domains_with_state-int2", None),
    ("184-leg-domains-False", None),
    ("189-leg-domains_with_state-suspended", None),
    ("192-leg-domains_with_state-unknown", None),
    ("193-leg-domains_with_state-bogus", None),
    ("197-leg-domain-pause", WEB_RUNS),
    ("198-leg-domain-pause-state", WEB_IS_PAUSED),
    ("201-leg-domain-pause-unknown", None),
    ("202-leg-domain-pause-dom0", None),
    ("206-leg-domain-shutdown-badreason", WEB_RUNS),
    ("207-leg-domain-shutdown-halted", HALTED),
    ("209-leg-domain-destroy-unknown", None),
    ("210-leg-domain-destroy-dom0", None),
    ("211-leg-domain-start-paused", HALTED),
    ("215-leg-domain-setMemoryTarget", WEB_RUNS),
    ("216-leg-domain-setMemoryTarget-too-big", WEB_RUNS),
    ("217-leg-domain-setVCpuCount", WEB_RUNS),
    ("221-leg-domain-setName", None),
    ("222-leg-domain-setName-back", None),
    ("229-leg-security-get_domain_label", None),
    ("233-leg-unknown-toplevel", None),
    ("234-leg-xenapi-on-legacy", None),
    ("235-leg-Async-on-legacy", None),
    ("320-http-bare-value", None),
    ("512-VM-suspend-transient", None),
    ("517-VM-pause-crashed", CRASHED),
    ("518-VM-pause-crashed-state", CRASHED),
    ("521-VM-start-crashed", CRASHED),
    ("522-VM-hard_shutdown-crashed", CRASHED),
    ("165-api-logout", None),
    ("166-api-logout-again", None),
];

/// Exchanges whose reply has the same form: members, types, kinds of elements.
const ALIKE: &[(&str, Before)] = &[
    ("007-api-login", None),
    ("008-api-session-get_this_host", None),
    ("009-api-session-get_record", None),
    ("011-api-VM-get_all", None),
    ("012-api-VM-get_record-web01", WEB_RUNS),
    ("014-api-VM-get_record-Crash01", CRASHED),
    ("016-api-VM-get_record-paused01", PAUSED),
    ("017-api-VM_metrics-get_all_records", None),
    ("030-api-VM-get_domid", WEB_RUNS),
    ("043-api-host-get_all", None),
    ("047-api-host_metrics-get_all_records", None),
    ("048-api-host_cpu-get_all_records", None),
    ("050-api-host-list_methods", None),
    ("052-api-VIF-get_all_records", None),
    ("055-api-SR-get_all_records", None),
    ("056-api-network-get_all_records", None),
    ("058-api-console-get_all_records", None),
    ("065-api-VIF_metrics-get_all_records", None),
    ("066-api-VBD_metrics-get_all_records", None),
    ("097-api-VM-get_record-after-hard_shutdown", HALTED),
    ("125-api-Async-VM-pause", WEB_RUNS),
    ("127-api-Async-VM-unpause", WEB_IS_PAUSED),
    ("128-api-Async-VM-start-running", WEB_RUNS),
    ("142-api-Async-VM-get_record", None),
    ("143-api-Async-VM-get_all", None),
    ("149-api-task-get_all_records", None),
    ("171-leg-domain-name-0", WEB_RUNS),
    ("173-leg-domain-name-True", WEB_RUNS),
    ("176-leg-domain-id-str", None),
    ("180-leg-domain-crashed", CRASHED),
    ("182-leg-domains-True", None),
    ("183-leg-domains-True-True", None),
    ("185-leg-domains_with_state-all", None),
    ("187-leg-domains_with_state-halted", HALTED),
    ("188-leg-domains_with_state-paused", PAUSED),
    ("190-leg-domains_with_state-crashed", CRASHED),
    ("194-leg-domains_with_state-RUNNING", None),
    ("213-leg-domain-getVCPUInfo", WEB_RUNS),
    ("214-leg-domain-getVCPUInfo-halted", HALTED),
    ("219-leg-domain-getDeviceSxprs", WEB_RUNS),
    ("225-leg-node-dmesg-info", None),
    ("240-leg-tcp-domain", WEB_RUNS),
    ("318-http-nil-param", None),
    ("505-VM-suspended-record", Some(("web01", Power::Suspended))),
];

/// Members that are maps of no fixed keys.
const OPEN: &[&str] = &[
    "other_config",
    "platform",
    "VCPUs_params",
    "VCPUs_flags",
    "VCPUs_utilisation",
    "VCPUs_CPU",
    "HVM_boot_params",
    "software_version",
    "result",
    "type",
];

fn recording(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xend/recorded");
    fs::read(path.join(name)).expect(name)
}

/// A recorded reply without the line that says how it ended.
fn recorded_reply(name: &str) -> Vec<u8> {
    let reply = recording(&format!("{name}.resp"));
    let end = memchr::memmem::find(&reply, b"\n[[").unwrap_or(reply.len());
    reply[..end].to_vec()
}

fn body(reply: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(reply, b"\r\n\r\n").expect("a head");
    &reply[end + 4..]
}

/// What uuids of the recordings are called here.
struct Names {
    pairs: Vec<(String, String)>,
}

impl Names {
    async fn new(xend: &XendHandle) -> Self {
        let records = read(&recorded_reply("502-st-recs"));
        let mut pairs = BTreeMap::new();
        for (uuid, record) in records["Value"].as_object().expect("records") {
            let name = record["name_label"].as_str().expect("a name");
            if let Some(vm) = xend.vm(name) {
                pairs.insert(uuid.clone(), vm.uuid);
            }
        }
        // It had not yet ended for good when these were recorded.
        let db = xend.vm("db01").expect("a VM");
        pairs.insert("391444e4-90ec-7546-c9d3-03ab171de20a".into(), db.uuid);
        let client = Client::login(xend).await;
        let host = client.call("host.get_all", &[]).await.expect("refs")[0].clone();
        pairs.insert(
            "22d8c341-7e73-a6c9-1807-d56ec30072b8".into(),
            host.as_str().expect("a ref").into(),
        );
        for session in [
            "e82f69ba-0c19-8b44-1b42-a1861412d9a4",
            "c62c992e-c68e-cc10-ed3a-d971e31a0d77",
            "6432a013-c90e-bf61-ae97-2189123d6149",
        ] {
            pairs.insert(session.into(), Client::login(xend).await.session);
        }
        Self { pairs: pairs.into_iter().collect() }
    }

    fn here(&self, text: &[u8]) -> Vec<u8> {
        self.pairs.iter().fold(text.to_vec(), |text, (there, here)| replace(&text, there, here))
    }

    fn there(&self, text: &[u8]) -> Vec<u8> {
        self.pairs.iter().fold(text.to_vec(), |text, (there, here)| replace(&text, here, there))
    }
}

/// Uuids are all of one length, so that a message keeps its own.
fn replace(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = text.to_vec();
    for at in memchr::memmem::find_iter(text, from).collect::<Vec<_>>() {
        out[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    out
}

/// A host with the VMs of the recordings.
async fn lab() -> XendHandle {
    let xend = start(0);
    for (name, power) in [
        ("web01", Power::Running),
        ("db01", Power::Halted),
        ("paused01", Power::Paused),
        ("Crash01", Power::Crashed),
        ("transient01", Power::Running),
        ("stuck01", Power::Running),
        ("hvm01", Power::Halted),
        ("shut01", Power::Running),
        ("halted01", Power::Halted),
    ] {
        xend.add_vm(name);
        xend.set_args(name, b"root=/dev/xvda1 ro");
        if name != "hvm01" {
            // Even those that are halted have run before, as the recorded ones had.
            xend.set_power(name, Power::Running);
            xend.set_power(name, power);
        }
    }
    // Shut down, and kept.
    xend.set_on_poweroff("shut01", "preserve");
    let shut = legacy(&xend, "xend.domain.shutdown", &["shut01".into(), "poweroff".into()]).await;
    assert!(shut.is_ok());
    xend.set_managed("transient01", false);
    xend
}

/// Makes a recorded request and reads the reply.
async fn again(xend: &XendHandle, names: &Names, name: &str) -> Vec<u8> {
    let request = names.here(&recording(&format!("{name}.req")));
    let is_legacy = name.contains("-leg-");
    let addr = if is_legacy { xend.legacy_addr() } else { xend.api_addr() };
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(&request).await.expect("a request sent");
    let mut reply = Vec::new();
    loop {
        let head = memchr::memmem::find(&reply, b"\r\n\r\n");
        let length = head.and_then(|end| {
            let head = String::from_utf8_lossy(&reply[..end]).into_owned();
            let length = head.split("Content-Length: ").nth(1)?.lines().next()?.parse::<usize>();
            Some(end + 4 + length.ok()?)
        });
        if length.is_some_and(|length| reply.len() >= length) {
            return names.there(&reply);
        }
        let read = tokio::time::timeout(super::PATIENCE, stream.read_buf(&mut reply)).await;
        if read.expect("an end in time").expect("a reply") == 0 {
            return names.there(&reply);
        }
    }
}

/// Whether two values have the same form.
fn alike(recorded: &Json, simulated: &Json, at: &str) {
    if OPEN.iter().any(|open| at.ends_with(&format!(".{open}"))) {
        return;
    }
    match (recorded, simulated) {
        (Json::Object(one), Json::Object(other)) if one.keys().all(|key| is_uuid(key)) => {
            assert_eq!(one.is_empty(), other.is_empty(), "{at}");
            if let Some((one, other)) = counterparts(one, other) {
                alike(one, other, &format!("{at}.*"));
            }
        }
        (Json::Object(one), Json::Object(other)) => {
            let keys =
                |map: &serde_json::Map<String, Json>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(one), keys(other), "{at}");
            for (key, value) in one {
                alike(value, &other[key], &format!("{at}.{key}"));
            }
        }
        (Json::Array(one), Json::Array(other)) if is_element(recorded) => {
            assert_eq!(children(one), children(other), "{at}");
            for item in one[1..].iter().filter(|item| item[0] != "cpumap" && item[0] != "cpus") {
                // Devices are told apart by their kind.
                let kind = |of: &Json| (of[0] == "device").then(|| of[1][0].clone());
                let is_same = |found: &&Json| found[0] == item[0] && kind(found) == kind(item);
                if let Some(same) = other[1..].iter().find(is_same) {
                    alike(item, same, &format!("{at}.{}", item[0]));
                }
            }
        }
        (Json::Array(one), Json::Array(other)) => {
            for (index, item) in one.iter().enumerate() {
                let same = match domain_name(item) {
                    Some(name) => other.iter().find(|found| domain_name(found) == Some(name)),
                    None => other.get(index),
                };
                if let Some(same) = same {
                    alike(item, same, &format!("{at}[]"));
                }
            }
        }
        (Json::String(_), Json::String(_))
        | (Json::Number(_), Json::Number(_))
        | (Json::Bool(_), Json::Bool(_))
        | (Json::Null, Json::Null) => {}
        _ => panic!("{at}: {recorded} was recorded, {simulated} simulated"),
    }
}

type Records = serde_json::Map<String, Json>;

/// Two records to compare: of the same uuid, or of the same name, or any.
fn counterparts<'a>(one: &'a Records, other: &'a Records) -> Option<(&'a Json, &'a Json)> {
    let by_uuid = one.iter().find_map(|(key, one)| Some((one, other.get(key)?)));
    let by_name = || {
        one.values().find_map(|one| {
            let name = one.get("name_label")?;
            Some((one, other.values().find(|other| other.get("name_label") == Some(name))?))
        })
    };
    by_uuid.or_else(by_name).or_else(|| Some((one.values().next()?, other.values().next()?)))
}

/// Whether this is an element of SXP with elements in it.
fn is_element(value: &Json) -> bool {
    value[0].is_string() && value[1].is_array()
}

/// Names of the elements in an element, in order; devices aside, for each VM here has a disk.
fn children(items: &[Json]) -> Vec<&str> {
    let mut names: Vec<&str> = items.iter().filter_map(|item| item[0].as_str()).collect();
    names.retain(|name| *name != "device");
    names.dedup();
    names
}

/// The name of a domain, given its SXP.
fn domain_name(domain: &Json) -> Option<&str> {
    let items =
        domain.as_array().filter(|items| items.first().is_some_and(|name| name == "domain"))?;
    items.iter().find(|item| item[0] == "name")?[1].as_str()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4
}

#[tokio::test]
async fn it_answers_as_the_real_one_did() {
    let xend = lab().await;
    let names = Names::new(&xend).await;
    for (name, before) in SAME {
        if let Some((vm, power)) = before {
            assert!(xend.set_power(vm, *power), "{name}");
        }
        let wanted = recorded_reply(name);
        let answer = again(&xend, &names, name).await;
        let text = |reply: &[u8]| String::from_utf8_lossy(body(reply)).into_owned();
        assert_eq!(text(&answer), text(&wanted), "{name}");
    }
}

#[tokio::test]
async fn what_it_answers_has_the_form_of_the_real_ones() {
    let xend = lab().await;
    let names = Names::new(&xend).await;
    assert!(xend.set_power("db01", Power::Running));
    for (name, before) in ALIKE {
        if let Some((vm, power)) = before {
            assert!(xend.set_power(vm, *power), "{name}");
        }
        let wanted = read(&recorded_reply(name));
        let answer = read(&again(&xend, &names, name).await);
        alike(&wanted, &answer, name);
        if *name == "050-api-host-list_methods" {
            let methods = |reply: &Json| {
                let methods = reply["Value"].as_array().expect("a list").iter();
                let mut methods: Vec<_> = methods.map(Json::to_string).collect();
                methods.sort();
                methods
            };
            assert_eq!(methods(&wanted), methods(&answer));
        }
    }
}

#[tokio::test]
async fn its_bytes_are_as_sloppy() {
    let xend = lab().await;
    let names = Names::new(&xend).await;
    for (name, args) in [
        ("603-enc-api-PV_args-latin1-bytes", &b"caf\xe9"[..]),
        ("605-enc-api-PV_args-utf8-bytes", "café".as_bytes()),
        ("609-enc-api-PV_args-control", b"a\x01b\x08"),
    ] {
        assert!(xend.set_args("web01", args));
        let answer = again(&xend, &names, name).await;
        assert_eq!(body(&answer), body(&recorded_reply(name)), "{name}");
    }
    for (name, args) in [
        ("604-enc-leg-domain-latin1-bytes", &b"caf\xe9"[..]),
        ("610-enc-leg-domain-control", b"a\x01b\x08"),
    ] {
        assert!(xend.set_args("web01", args));
        let answer = again(&xend, &names, name).await;
        let element = [&b"<value><string>"[..], args, b"</string></value>"].concat();
        assert!(memchr::memmem::find(&answer, &element).is_some(), "{name}");
        assert!(memchr::memmem::find(&recorded_reply(name), &element).is_some(), "{name}");
    }
}

#[tokio::test]
async fn its_manners_are_the_real_ones() {
    let xend = lab().await;
    let names = Names::new(&xend).await;
    let head = |reply: &[u8]| -> Vec<String> {
        let end = memchr::memmem::find(reply, b"\r\n\r\n").unwrap_or(0);
        let head = String::from_utf8_lossy(&reply[..end]).into_owned();
        head.lines().filter(|line| !line.starts_with("Date: ")).map(ToOwned::to_owned).collect()
    };
    for name in [
        "301-http-1.1-keepalive-default",
        "303-http-1.1-no-host",
        "304-http-1.0",
        "305-http-1.0-keepalive",
        "306-http-any-path",
        "310-http-get",
        "311-http-put",
        "315-http-gzip-accept",
        "317-http-http2-preface",
    ] {
        let (wanted, answer) = (recorded_reply(name), again(&xend, &names, name).await);
        assert_eq!(head(&answer), head(&wanted), "{name}");
        let page = |reply: &[u8]| {
            let page =
                memchr::memmem::find(reply, b"<head>").map(|at| reply[at..].trim_ascii().to_vec());
            page.map(|page| String::from_utf8_lossy(&page).into_owned())
        };
        assert_eq!(page(&answer), page(&wanted), "{name}");
    }
    for name in ["307-http-no-content-length", "312-http-bad-xml", "313-http-empty-body"] {
        assert_eq!(recorded_reply(name), b"", "{name}");
        assert_eq!(again(&xend, &names, name).await, b"", "{name}");
    }
}
