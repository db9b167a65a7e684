//! The README's command lines, run against a gateway and a simulated pool.

use xengate::sim::PASSWORD;

use crate::examples::bash;
use crate::lab::Lab;

const README: &str = include_str!("../../README.md");

/// The fenced blocks, each with the language it names.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = README.split("```").collect();
    let blocks = parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.collect()
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
