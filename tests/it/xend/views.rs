//! What the real xm printed, from the replies it printed it from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use xengate::config::Kind;

use super::server::{Server, matched, recorded, whole};
use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate, Lab};

pub(super) async fn print(gate: &Gate, token: &str, query: &str) -> Answer {
    let request = gate.request(Method::GET, &format!("/vms?{query}")).bearer_auth(token);
    gate.send(request.header("accept", "text/plain")).await
}

/// xm's command line as a query.
fn query(command: &str) -> String {
    let mut words = command.split(' ').skip(1);
    let mut query = match words.next() {
        Some("vcpu-list") => "view=vcpus".to_owned(),
        _ => "view=brief".to_owned(),
    };
    for word in words {
        let pair = match (word, word.split_once('=')) {
            ("--long" | "--label", _) => {
                query = format!("view={}", word.trim_start_matches('-'));
                continue;
            }
            (_, Some(("--state", state))) => format!("state={state}"),
            (name, _) => format!("name={name}"),
        };
        query = format!("{query}&{pair}");
    }
    query.trim_start_matches('&').to_owned()
}

/// What the real xm was asked and said.
pub(super) struct Recorded {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) exit: String,
    pub(super) stderr: String,
    pub(super) stdout: String,
}

/// Everything that the real xm was asked of the frozen xend in its legacy dialect.
pub(super) fn recordings() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xend/matched");
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).expect("the recordings") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".args").filter(|name| name.starts_with("xm-legacy"))
        else {
            continue;
        };
        let arguments = fs::read_to_string(&path).expect("text");
        let mut lines = arguments.lines().map(str::to_owned);
        all.push(Recorded {
            name: name.to_owned(),
            command: lines.next().expect("a command line"),
            exit: lines.next().expect("how it ended"),
            stderr: lines.map(|line| line + "\n").collect(),
            stdout: fs::read_to_string(folder.join(format!("{name}.txt")))
                .expect("what was printed"),
        });
    }
    assert!(all.len() >= 12, "{} are there", all.len());
    all
}

/// A gateway in front of the frozen xend, and a token for it.
pub(super) async fn frozen() -> (Server, Gate, String) {
    let server = Server::legacy().await;
    server.says("xend.domains_with_state", matched("domains_with_state-all-1"));
    server.says("xend.node.info", matched("node-info"));
    let gate = gate(&server.url, Kind::Legacy, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let list = gate.get("/vms", &token).await.ok();
    for vm in list["items"].as_array().expect("items") {
        let text = |field: &str| vm[field].as_str().expect(field);
        let info = matched(&format!("getVCPUInfo-{}", text("name_label")));
        // As xm asks: by the name.
        let name = format!("<string>{}</string>", text("name_label"));
        server.says_if("xend.domain.getVCPUInfo", &name, info);
    }
    gate.until("/hosts", &token, |answer| answer.json()["total"] == 1).await;
    (server, gate, token)
}

#[tokio::test]
async fn every_view_is_what_the_real_xm_printed() {
    let (_server, gate, token) = frozen().await;
    for Recorded { name, command, exit, stdout, .. } in recordings() {
        let query = query(&command);
        let answer = print(&gate, &token, &query).await;
        if exit != "exit 0" {
            let problem = answer.problem(404, "NOT_FOUND");
            assert_eq!(problem["detail"], "Domain 'nosuch' does not exist.", "{name}");
            continue;
        }
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(String::from_utf8_lossy(&answer.body), stdout, "{name}: {query}");
    }
    gate.end(&[]).await;
}

#[tokio::test]
async fn other_kinds_of_backends_print_what_they_know() {
    let server = Server::xen_api().await;
    let gate = gate(&server.url, Kind::Xend, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    let text = String::from_utf8(print(&gate, &token, "view=brief").await.body).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Name") && lines.len() == 11, "{text}");
    let names: Vec<&str> =
        lines[1..].iter().map(|line| line.split_whitespace().next().expect("a name")).collect();
    assert!(names.is_sorted(), "in the order of their bytes: {text}");
    assert!(lines.iter().any(|line| line.starts_with("halted01 ") && line.contains(" 1024 ")));
    for query in
        ["view=long", "view=label", "view=vcpus", "view=brief&state=halted", "view=long&name=web01"]
    {
        assert_eq!(print(&gate, &token, query).await.status, 200, "{query}");
    }
    print(&gate, &token, "view=wide").await.problem(400, "BAD_PARAMETER");
    print(&gate, &token, "view=brief&name=nosuch").await.problem(404, "NOT_FOUND");
    print(&gate, "nonsense", "view=brief").await.problem(401, "INVALID_TOKEN");
    gate.end(&[]).await;

    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    let answer = print(&lab.gate, &token, "view=brief").await;
    let text = String::from_utf8(answer.body).expect("UTF-8");
    assert!(text.starts_with("Name ") && text.lines().count() > 10, "{text}");
    lab.end().await;
}

#[tokio::test]
async fn virtual_cpus_need_no_host_in_the_mirror_and_no_domain_that_is_gone() {
    let server = Server::legacy().await;
    server.says("xend.domains_with_state", matched("domains_with_state-all-1"));
    // The host is not known yet when the list is asked for.
    server.says_after("xend.node.info", matched("node-info"), Duration::from_millis(300));
    let gate = gate(&server.url, Kind::Legacy, |_| {}).await;
    let token = gate.login(USER, USERS_PASSWORD).await;
    // This xend finds a domain by its name only, and transient01 is gone.
    server.says("xend.domain.getVCPUInfo", recorded("201-leg-domain-pause-unknown"));
    for recorded in recordings().iter().filter(|recorded| recorded.name == "xm-legacy-vcpu-list") {
        let names = recorded.stdout.lines().skip(1).filter_map(|line| line.split(' ').next());
        for name in names.chain(["halted01", "hvm01"]).filter(|name| *name != "transient01") {
            let text = format!("<string>{name}</string>");
            server.says_if(
                "xend.domain.getVCPUInfo",
                &text,
                matched(&format!("getVCPUInfo-{name}")),
            );
        }
        let answer = print(&gate, &token, "view=vcpus").await;
        let without: String = recorded
            .stdout
            .lines()
            .filter(|line| !line.starts_with("transient01"))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(String::from_utf8_lossy(&answer.body), without);
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Accept"));
    }
    print(&gate, &token, "view=vcpus&name=transient01").await.problem(404, "NOT_FOUND");
    gate.end(&[]).await;
}

#[tokio::test]
async fn each_form_of_a_domain_has_a_tag_of_its_own() {
    let (server, gate, token) = frozen().await;
    let vms = gate.get("/vms", &token).await.ok();
    let path = format!("/vms/{}", vms["items"][1]["uuid"].as_str().expect("a uuid"));
    let ask = async |accept: &str, tag: Option<&str>| {
        let request = gate.request(Method::GET, &path).bearer_auth(&token);
        let request = request.header("accept", accept);
        gate.send(match tag {
            Some(tag) => request.header("if-none-match", tag),
            None => request,
        })
        .await
    };
    let (json, sxp) = ("application/json", "application/sxp");
    let (one, other) = (ask(json, None).await, ask(sxp, None).await);
    let tag = |answer: &Answer| answer.header("etag").expect("a tag").to_owned();
    assert_ne!(tag(&one), tag(&other));
    for (answer, accept, another) in [(&one, json, &other), (&other, sxp, &one)] {
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Accept")));
        assert_eq!(ask(accept, Some(&tag(answer))).await.status, 304);
        assert_eq!(ask(accept, Some(&tag(another))).await.status, 200);
    }
    // What xend says anew of the domain is another body, if not another version of the VM.
    let uuid = &path[5..];
    let before = gate.get(&path, &token).await.ok()["xend_sxp"].clone();
    let reply = String::from_utf8(matched("domains_with_state-all-1")).expect("UTF-8");
    let (_, body) = reply.split_once("\r\n\r\n").expect("a head");
    let (head, mine) = body.split_once(uuid).expect("its uuid");
    let mine = mine.replacen("<string>restart</string>", "<string>preserve</string>", 1);
    server.says("xend.domains_with_state", whole(&format!("{head}{uuid}{mine}")));
    gate.until(&path, &token, |answer| answer.json()["xend_sxp"] != before).await;
    assert_eq!(ask(sxp, Some(&tag(&other))).await.status, 200);
    assert_eq!(ask(json, Some(&tag(&one))).await.status, 200);
    gate.end(&[]).await;
}
