//! The README's command lines, run against a gateway and a simulated pool.

use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::Value;
use xengate::sim::PASSWORD;

use crate::lab::Lab;

const README: &str = include_str!("../../README.md");

/// The fenced blocks, each with the language it names.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = README.split("```").collect();
    let blocks = parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.collect()
}

/// Runs a script in a directory of its own, and answers whether it succeeded and what it said.
async fn bash(lab: &Lab, script: &str, job: &str) -> (bool, String) {
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

fn pipeline() -> &'static str {
    let found = blocks().into_iter().find(|(language, _)| *language == "bash");
    found.expect("README has a pipeline").1
}

/// The VMs of a job that are left.
async fn left(lab: &Lab, token: &str, job: &str) -> Value {
    let path = format!("/vms?filter=name_label%20%3D%20%22ci-{job}%22");
    lab.get(&path, token).await.ok()["total"].clone()
}

#[tokio::test]
async fn the_command_lines_do_what_they_say() {
    let lab = Lab::new().await;
    lab.login().await;
    let ask = |(language, block): &(&str, &str)| language.is_empty() && block.contains("curl -");
    let asking: Vec<_> = blocks().into_iter().filter(ask).map(|(_, block)| block).collect();
    assert!(asking.len() >= 5, "only {} blocks", asking.len());
    for block in &asking {
        for line in block.lines().filter(|line| line.contains("curl -")) {
            assert!(line.contains("--fail-with-body"), "{line}: a failure would pass");
        }
    }
    // A stream does not end by itself.
    let lines: String = asking.into_iter().filter(|block| !block.contains("curl -sSN")).collect();
    let own = lines.replace("http://127.0.0.1:8080", &lab.gate.url("")).replace('…', PASSWORD);
    let script = format!("set -euo pipefail\n{own}\ntest -s load.svg; echo \"of $UUID\"");
    let (done, said) = bash(&lab, &script, "lines").await;
    assert!(done, "{said}");
    for word in ["\"items\"", "\"success\"", "of ", "Running"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    lab.end().await;
}

#[tokio::test]
async fn the_pipeline_makes_a_vm_and_takes_it_away_again() {
    let lab = Lab::new().await;
    let token = lab.login().await;
    let (done, said) = bash(&lab, pipeline(), "whole").await;
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
    let nothing = pipeline().replace("Debian Bookworm*", "No Such Template*");
    let (done, said) = bash(&lab, &nothing, "nothing").await;
    assert!(!done && said.contains("there is no such template"), "{said}");
    // What goes wrong after the VM is there.
    let late = pipeline().replace("$VM/metrics", "$VM/no-such-thing");
    assert_ne!(late, pipeline());
    let (done, said) = bash(&lab, &late, "late").await;
    assert!(!done && said.contains("NOT_FOUND"), "{said}");
    assert_eq!(left(&lab, &token, "late").await, 0);
    // Each run has ended its own session.
    let mine = lab.gate.request(Method::GET, "/sessions/current").bearer_auth(&token);
    assert_eq!(lab.gate.send(mine).await.status, 200);
    lab.end().await;
}
