//! `examples/`, each run against a gateway and a simulated pool.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xengate::sim::PASSWORD;

use crate::browser::Browser;
use crate::lab::Lab;

const PIPELINE: &str = include_str!("../../examples/pipeline.sh");
const PAGE: &str = include_str!("../../examples/live-vms.html");

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// Runs a script in a directory of its own, and answers whether it succeeded and what it said.
pub(crate) async fn bash(lab: &Lab, script: &str, job: &str) -> (bool, String) {
    let folder = std::env::temp_dir().join(format!("xengate-readme-{}-{job}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .current_dir(&folder)
        .env("XENGATE_URL", lab.gate.url(""))
        .env("XENGATE_USER", "root")
        .env("XENGATE_PASSWORD", PASSWORD)
        .env("JOB", job)
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic").expect("bash runs");
    let _ = std::fs::remove_dir_all(&folder);
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs a client, which starts a VM; `None` where its language is not installed and need not be.
async fn client(lab: &Lab, program: &str, args: &[&str]) -> Option<(bool, String)> {
    if Command::new(program).arg("--help").output().is_err() {
        assert!(std::env::var_os("MUST_RUN").is_none(), "there is no {program}");
        println!("skipped: there is no {program}");
        return None;
    }
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    Some(bash(lab, &format!("exec {program} {}", quoted.join(" ")), program).await)
}

/// The VMs of a job that are left.
async fn left(lab: &Lab, token: &str, job: &str) -> Value {
    let path = format!("/vms?filter=name_label%20%3D%20%22ci-{job}%22");
    lab.get(&path, token).await.ok()["total"].clone()
}

/// The name of a VM that is halted, and how many are.
async fn halted(lab: &Lab, token: &str) -> (String, Value) {
    let path = "/vms?filter=power_state%20%3D%20Halted&sort=name_label&limit=1";
    let list = lab.get(path, token).await.ok();
    let name = list["items"][0]["name_label"].as_str().expect("one is halted");
    (name.to_owned(), list["total"].clone())
}

#[tokio::test]
async fn the_python_client_starts_a_vm() {
    starts_a_vm("python3", &[&example("client.py").display().to_string()]).await;
}

#[tokio::test]
async fn the_go_client_starts_a_vm() {
    starts_a_vm("go", &["run", &example("client.go").display().to_string()]).await;
}

async fn starts_a_vm(program: &str, args: &[&str]) {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let (name, before) = halted(&lab, &token).await;
    if let Some((done, said)) = client(&lab, program, args).await {
        assert!(done, "{said}");
        assert!(said.contains(&format!("{name} is Running")), "{said}");
        assert!(said.contains("again: VM_BAD_POWER_STATE"), "{said}");
        assert_ne!(halted(&lab, &token).await.1, before);
        // What is asked for by its name may not be there.
        let nothing = [args, &["no such VM"]].concat();
        let (done, said) = client(&lab, program, &nothing).await.expect("it is there");
        assert!(!done && said.contains("no such VM is halted"), "{said}");
    }
    lab.end().await;
}

/// Answers the page to every request.
async fn web_server() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{PAGE}", PAGE.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (origin, serving)
}

#[tokio::test]
async fn the_page_shows_vms_as_they_change() {
    let Some(mut browser) = Browser::start().await else { return };
    let (origin, serving) = web_server().await;
    let own = origin.clone();
    let lab = Lab::with(|_| {}, |config, _| config.cors.origins = vec![own]).await;
    let token = lab.login().await;
    let (name, _) = halted(&lab, &token).await;
    let page = browser.open(&origin).await;
    browser.until(&page, "!!document.querySelector('#login')").await;
    let login = format!(
        "(() => {{ const form = document.querySelector('#login').elements; form.url.value = {}; \
         form.username.value = 'root'; form.password.value = {}; \
         document.querySelector('#login button').click(); }})()",
        json!(lab.gate.url("")),
        json!(PASSWORD)
    );
    browser.until(&page, "document.readyState === 'complete'").await;
    browser.eval(&page, &login).await;
    let row = format!(
        "[...document.querySelectorAll('#vms tbody tr')].find(row => \
         row.cells[0].textContent === {})",
        json!(name)
    );
    browser.until(&page, &format!("{row}?.cells[1].textContent === 'Halted'")).await;
    browser.eval(&page, &format!("{row}.querySelector('button').click()")).await;
    browser.until(&page, &format!("{row}?.cells[1].textContent === 'Running'")).await;
    let icon = |complaint: &String| !complaint.contains("favicon");
    let complaints: Vec<_> = browser.complaints.iter().filter(|one| icon(one)).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.end();
    serving.abort();
    lab.end().await;
}

#[tokio::test]
async fn the_pipeline_makes_a_vm_and_takes_it_away_again() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let (done, said) = bash(&lab, PIPELINE, "whole").await;
    assert!(done, "{said}");
    assert!(said.contains("the VM is "), "{said}");
    assert_eq!(left(&lab, &token, "whole").await, 0);
    assert!(lab.sim.seen("VM.destroy") + lab.sim.seen("Async.VM.destroy") > 0, "{said}");
    lab.end().await;
}

#[tokio::test]
async fn a_pipeline_that_fails_says_so_and_leaves_nothing() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let nothing = PIPELINE.replace("Debian Bookworm*", "No Such Template*");
    let (done, said) = bash(&lab, &nothing, "nothing").await;
    assert!(!done && said.contains("there is no such template"), "{said}");
    // What goes wrong after the VM is there.
    let late = PIPELINE.replace("$VM/metrics", "$VM/no-such-thing");
    assert_ne!(late, PIPELINE);
    let (done, said) = bash(&lab, &late, "late").await;
    assert!(!done && said.contains("NOT_FOUND"), "{said}");
    assert_eq!(left(&lab, &token, "late").await, 0);
    // Each run has ended its own session.
    let mine = lab.gate.request(Method::GET, "/sessions/current").bearer_auth(&token);
    assert_eq!(lab.gate.send(mine).await.status, 200);
    lab.end().await;
}
