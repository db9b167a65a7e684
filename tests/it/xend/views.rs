//! What the real xm printed, from the replies it printed it from.

use std::fs;
use std::path::Path;

use reqwest::Method;
use xengate::config::Kind;

use super::server::{Server, matched};
use super::{USER, USERS_PASSWORD, gate};
use crate::lab::{Answer, Gate, Lab};

async fn print(gate: &Gate, token: &str, query: &str) -> Answer {
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
        server.says_if("xend.domain.getVCPUInfo", text("uuid"), info);
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
