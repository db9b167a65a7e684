//! The views over what the real xm printed, and over domains that xend would never have.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use xenapi_wire::sxp::{self, Sxp};
use xenapi_wire::{Limits, xmlrpc};

fn matched(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("tests/fixtures/xend/matched");
    fs::read(path.join(name)).expect(name)
}

/// A reply of the frozen xend, or the fault's text.
fn reply(name: &str) -> Result<Sxp, String> {
    let body = matched(&format!("legacy-{name}.response.xml"));
    let json = xmlrpc::to_json(&body, Limits::default()).expect("XML-RPC");
    let reply = sxp::read_reply(&json, Limits::default()).expect("a reply");
    reply.map_err(|mut fault| fault.params.pop().expect("a text"))
}

/// What the frozen xend knows: all domains, with or without their devices.
fn population(devices: bool) -> Vec<Domain> {
    let all = reply(&format!("domains_with_state-all-{}", u8::from(devices))).expect("domains");
    let Sxp::List(all) = all else { panic!("a list") };
    all.into_iter()
        .map(|sxp| {
            let mut domain = Domain::from_sxp(sxp);
            let info = reply(&format!("getVCPUInfo-{}", domain.name)).expect("virtual CPUs");
            domain.set_vcpus(&info);
            domain.host_cpus = host_cpus(&reply("node-info").expect("a host"));
            domain
        })
        .collect()
}

/// A command line of xm: `xm list --state=running`.
fn parsed(command: &str) -> (View, Wanted) {
    let mut words = command.split(' ').skip(1);
    let mut view = if words.next() == Some("vcpu-list") { View::Vcpus } else { View::Brief };
    let (mut names, mut state) = (Vec::new(), None);
    for word in words {
        match word {
            "--long" => view = View::Long,
            "--label" => view = View::Label,
            _ => match word.strip_prefix("--state=") {
                Some(name) => state = Some(State::parse(name).expect("a state")),
                None => names.push(word.to_owned()),
            },
        }
    }
    (view, Wanted::new(names, state).expect("one of them"))
}

#[test]
fn every_view_is_what_the_real_xm_printed() {
    let (with, without) = (population(true), population(false));
    assert_eq!(with[0].host_cpus, Some(4));
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("tests/fixtures/xend/matched");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("recordings") {
        let file = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let Some(name) = file.strip_suffix(".args") else { continue };
        let args = String::from_utf8(matched(&file)).expect("UTF-8");
        let mut args = args.lines();
        let (view, wanted) = parsed(args.next().expect("a command"));
        let domains = if view == View::Long { &with } else { &without };
        let printed = list(view, &wanted, domains);
        let wanted = String::from_utf8(matched(&format!("{name}.txt"))).expect("UTF-8");
        match (args.next(), printed) {
            (Some("exit 0"), printed) => assert_eq!(printed, Ok(wanted), "{name}"),
            (Some("exit 3"), Err(error)) => {
                assert_eq!(args.next(), Some(&format!("Error: {error}")[..]), "{name}");
                assert_eq!(wanted, "");
            }
            other => panic!("{name}: {other:?}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 14, "all recordings were compared");
}

#[test]
fn a_domain_asked_for_alone_prints_alike() {
    for name in ["web01", "db01", "hvm01", "halted01"] {
        for (devices, view) in [(0, View::Brief), (1, View::Long)] {
            let alone = reply(&format!("domain-{devices}-{name}")).expect("a domain");
            let all = population(devices == 1);
            let named = Wanted::Named(vec![name.to_owned()]);
            let alone = list(view, &named, &[Domain::from_sxp(alone)]);
            assert_eq!(alone, list(view, &named, &all));
        }
    }
    assert_eq!(reply("domain-0-nosuch"), Err("nosuch".to_owned()));
}

fn domain(json: &str) -> Domain {
    Domain::from_sxp(sxp::read(json.as_bytes(), Limits::default()).expect("SXP"))
}

fn brief(json: &str) -> String {
    let printed = list(View::Brief, &Wanted::In(State::ALL), &[domain(json)]);
    let printed = printed.expect("all exist");
    printed.strip_suffix('\n').expect("a line").split_once('\n').expect("a header").1.to_owned()
}

#[test]
fn odd_domains_print_as_python_would() {
    for (json, line) in [
        (
            r#"["domain"]"#,
            "??                                                 0     0                 0.0",
        ),
        (
            r#"["domain",["name","a"],["domid",null],["memory",4096000],["vcpus",128],["state","-----d"],["cpu_time",123456789.05]]"#,
            "a                                         None 4096000   128     -----d 123456789.0",
        ),
        // Nothing is cut, and bytes are counted.
        (
            r#"["domain",["name","0123456789012345678901234567890123456789x"],["domid",7]]"#,
            "0123456789012345678901234567890123456789x     7     0     0                 0.0",
        ),
        (
            r#"["domain",["name","café"],["memory","99999999999999999999"]]"#,
            "café                                          99999999999999999999     0                 0.0",
        ),
        // A child without a value is as good as none; ints are taken from text and cut from floats.
        (
            r#"["domain",["name"],["memory"," 12 "],["online_vcpus",2.9],["cpu_time","3.25"]]"#,
            "??                                                12     2                 3.2",
        ),
        // What Python would stop at is left at its default.
        (
            r#"["domain",["name",["a",1]],["memory",[]],["vcpus","two"],["cpu_time",null]]"#,
            "['a', 1]                                           0     0                 0.0",
        ),
        // Line ends are XML's.
        (
            r#"["domain",["name","n"],["domid",1],["state","\r--\r\n--"]]"#,
            "n                                            1     0     0     \n--\n--      0.0",
        ),
        (
            r#"["domain",["name","n"],["online_vcpus",null],["vcpus",3],["cpu_time",1e22]]"#,
            "n                                                  0     3            10000000000000000000000.0",
        ),
    ] {
        assert_eq!(brief(json), line, "{json}");
    }
}

#[test]
fn labels_sort_without_case_and_keep_the_order_of_names() {
    let labelled = |name: &str, label: &str| Domain {
        name: name.to_owned(),
        label: label.to_owned(),
        cpu_time: None,
        ..Domain::default()
    };
    let domains = [
        labelled("c", "b"),
        labelled("b", "B"),
        labelled("a", "system_u:system_r:domU_t"),
        labelled("d", ""),
    ];
    let printed = list(View::Label, &Wanted::In(State::ALL), &domains).expect("all exist");
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].ends_with("  Time(s) Label     "));
    let names: Vec<_> = lines[1..].iter().map(|line| &line[..1]).collect();
    assert_eq!(names, ["d", "b", "c", "a"]);
    assert!(lines[1].ends_with("                 -           "), "{}", lines[1]);
    assert!(lines[2].ends_with("-          B"));
    assert!(lines[4].ends_with("- system_u:system_r:domU_t"));
    let quoted = domain(r#"["domain",["security_label","'xs"]]"#);
    assert_eq!(quoted.label, "'xs", "as it is");
}

fn vcpus(json: &str, host: Option<i64>) -> String {
    let mut some = domain(r#"["domain",["name","x"],["domid",12]]"#);
    some.set_vcpus(&sxp::read(json.as_bytes(), Limits::default()).expect("SXP"));
    some.host_cpus = host;
    let printed = list(View::Vcpus, &Wanted::In(State::ALL), &[some]).expect("it exists");
    printed.split_once('\n').expect("a header").1.to_owned()
}

#[test]
fn virtual_cpus_say_where_they_run_and_may_run() {
    let one = |cpumap: &str| {
        format!(
            r#"["domain",["vcpu",["number",0],["online",1],["blocked",1],["running",1],["cpu_time",0.25],["cpu",3],["cpumap",{cpumap}]]]"#
        )
    };
    for (cpumap, host, affinity) in [
        ("[0,2]", Some(4), "0,2"),
        ("[3,1,0,3]", Some(4), "0-1,3"),
        ("[0,1,2,3,64]", Some(4), "any cpu"),
        ("[1,2,4,5,7]", Some(8), "1-2,4-5,7"),
        ("[0,1]", None, "0-1"),
        ("[9]", Some(4), "no cpus"),
        ("[]", Some(4), "no cpus"),
        (r#"["0","1"]"#, Some(2), "any cpu"),
    ] {
        let line = format!(
            "x                                   12     0     3   rb-       0.2 {affinity}\n"
        );
        assert_eq!(vcpus(&one(cpumap), host), line);
    }
    // What is too wide moves what stands behind it.
    let long = r#"["domain",["vcpu",["number",0],["online",1],["cpu_time",12345678.25],["cpu",3],["cpumap",[0]]]]"#;
    assert_eq!(
        vcpus(long, Some(4)),
        "x                                   12     0     3   ---  12345678.2 0\n"
    );
    let offline =
        r#"["domain",["vcpu",["online",0],["cpu",3],["cpumap",[0]]],["vcpu",["number",1]]]"#;
    assert_eq!(
        vcpus(offline, Some(4)),
        "x                                   12     0     -   --p       0.0 0\n\
         x                                   12     1                   0.0 no cpus\n"
    );
}

#[test]
fn domains_are_found_by_name_then_domid_then_uuid() {
    let known = |name: &str, id: &str, uuid: &str| Domain {
        name: name.to_owned(),
        id: id.to_owned(),
        uuid: uuid.to_owned(),
        ..Domain::default()
    };
    let domains = [
        known("7", "1", "u1"),
        known("b", "7", "u2"),
        known("twin", "", "u3"),
        known("twin", "9", "7"),
    ];
    let found = |name: &str| {
        let wanted = Wanted::Named(vec![name.to_owned()]);
        wanted.choose(&domains).map(|chosen| chosen[0].uuid.clone())
    };
    assert_eq!(found("7"), Ok("u1".into()));
    assert_eq!(found(" +7 "), Ok("u2".into()));
    assert_eq!(found("1"), Ok("u1".into()));
    assert_eq!(found("twin"), Ok("7".into()));
    assert_eq!(found("u3"), Ok("u3".into()));
    assert_eq!(found(""), Err(NoSuchDomain(String::new())));
    let both = Wanted::Named(vec!["b".into(), "7".into(), "b".into()]);
    let both = both.choose(&domains).expect("they exist");
    assert_eq!(both.iter().map(|domain| &domain.uuid[..]).collect::<Vec<_>>(), ["u2", "u1", "u2"]);
}

#[test]
fn what_several_hosts_have_is_printed_of_each() {
    let known = |host: usize, name: &str, cpus: i64| {
        let mut domain = domain(&format!(r#"["domain",["name","{name}"],["domid",0]]"#));
        domain.set_vcpus(
            &sxp::read(br#"["domain",["vcpu",["cpu",0],["cpumap",[0,1]]]]"#, Limits::default())
                .expect("SXP"),
        );
        Domain { host, host_cpus: Some(cpus), ..domain }
    };
    let domains = [known(0, "Domain-0", 2), known(0, "a", 2), known(1, "Domain-0", 4)];
    let named = |names: &[&str]| Wanted::Named(names.iter().map(|&name| name.into()).collect());
    let printed = list(View::Vcpus, &named(&["Domain-0"]), &domains).expect("they exist");
    let affinities: Vec<_> =
        printed.lines().skip(1).filter_map(|line| line.rsplit_once("0.0 ")).collect();
    assert_eq!(affinities.iter().map(|line| line.1).collect::<Vec<_>>(), ["any cpu", "0-1"]);
    assert!(named(&["a", "Domain-0"]).choose(&domains).is_ok_and(|all| all.len() == 3));
    assert_eq!(named(&["b"]).choose(&domains), Err(NoSuchDomain("b".into())));
    assert_eq!(named(&["a", "Domain-0"]).among(&domains[2..]).len(), 1);
}

#[test]
fn a_state_and_names_do_not_go_together() {
    let running = State::parse("RUNNING");
    assert!(running.is_some() && State::parse("bogus").is_none());
    assert_eq!(Wanted::new(vec!["a".into()], running), Err(NotBoth));
    assert!(Wanted::new(vec!["a".into()], Some(State::ALL)).is_ok());
    assert_eq!(Wanted::new(vec![], None), Ok(Wanted::In(State::ALL)));
    // Older versions of xend do not number the state.
    for (json, state) in [
        (r#"["domain"]"#, "Halted"),
        (r#"["domain",["domid",1],["state","-b----"]]"#, "Running"),
        (r#"["domain",["domid",1],["state","--p---"]]"#, "Paused"),
        (r#"["domain",["domid",1],["state","---sc-"]]"#, "Crashed"),
        (r#"["domain",["domid",1],["state","---s--"]]"#, "Halted"),
        (r#"["domain",["domid",1],["status",3]]"#, "Suspended"),
        (r#"["domain",["domid",1],["status",-3]]"#, "Unknown"),
    ] {
        assert_eq!(domain(json).power_state, state);
    }
}

/// Any JSON, often with what a domain's SXP has.
fn anything() -> impl Strategy<Value = serde_json::Value> {
    let name = prop::sample::select(vec![
        "domain", "name", "domid", "state", "status", "vcpu", "cpumap", "memory",
    ]);
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| json!(text)),
        name.prop_map(|name| json!(name)),
        any::<i64>().prop_map(|int| json!(int)),
        any::<f64>().prop_map(|float| json!(float)),
        Just(json!(null)),
        any::<bool>().prop_map(|bool| json!(bool)),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| json!(items)),
            prop::collection::hash_map(any::<String>(), inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn any_domain_prints(
        domain in prop::collection::vec(anything(), 0..10),
        vcpus in prop::collection::vec(anything(), 0..6),
        host in prop::option::of(any::<i64>()),
    ) {
        let read = |items: &[serde_json::Value]| {
            let all: Vec<_> = [&[json!("domain")], items].concat();
            sxp::read(json!(all).to_string().as_bytes(), Limits::default()).expect("SXP")
        };
        let mut one = Domain::from_sxp(read(&domain));
        let vcpus: Vec<_> = vcpus.into_iter().map(|vcpu| json!(["vcpu", ["cpumap", vcpu.clone()], vcpu])).collect();
        one.set_vcpus(&read(&vcpus));
        one.host_cpus = host;
        let domains = [one.clone(), one];
        for name in View::NAMES {
            let view = View::parse(name).expect("a view");
            let printed = list(view, &Wanted::In(State::ALL), &domains);
            prop_assert!(printed.is_ok_and(|text| text.ends_with('\n')));
        }
    }
}
