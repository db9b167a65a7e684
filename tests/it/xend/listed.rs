//! `xengate list` beside xm: the same arguments, the same output, the same codes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::Method;
use xengate::config::ServerTls;
use xengate::sim::PASSWORD;

use super::views::{Recorded, frozen, recordings};
use super::{USER, USERS_PASSWORD};
use crate::lab::{Gate, Lab};

/// What is in the program's environment beside where the gateway is.
enum As<'a> {
    Token(&'a str),
    /// A user whose password comes on standard input.
    User(&'a str, &'a str),
    Nobody,
}

/// Runs the program; the gateway goes on meanwhile.
async fn list(url: &str, who: As<'_>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xengate"));
    command.arg("list").args(arguments).env("XENGATE_URL", url);
    for name in ["RUST_LOG", "XENGATE_TOKEN", "XENGATE_USER", "XENGATE_CA_FILE"] {
        command.env_remove(name);
    }
    let input = match who {
        As::Token(token) => {
            command.env("XENGATE_TOKEN", token);
            String::new()
        }
        As::User(name, password) => {
            command.env("XENGATE_USER", name);
            format!("{password}\n")
        }
        As::Nobody => String::new(),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ends = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("it starts");
        // It may have ended already, having read nothing.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("its output")
    });
    ends.await.expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// xm's arguments as the program takes them.
fn arguments(command: &str) -> Vec<&str> {
    let mut words = command.split(' ').skip(1);
    let first = match words.next() {
        Some("vcpu-list") => Some("--vcpus"),
        _ => None,
    };
    first.into_iter().chain(words).collect()
}

#[tokio::test]
async fn every_command_ends_as_xm_ended() {
    let (_server, gate, token) = frozen().await;
    for Recorded { name, command, exit, stderr, stdout } in recordings() {
        let ended = list(&gate.url(""), As::Token(&token), &arguments(&command)).await;
        assert_eq!(text(&ended.stdout), stdout, "{name}");
        assert_eq!(text(&ended.stderr), stderr, "{name}");
        let code = ended.status.code().map(|code| format!("exit {code}"));
        assert_eq!(code.as_deref(), Some(exit.as_str()), "{name}");
    }
    // Everything that HTTP has as well, to the last byte.
    for (arguments, query) in [
        (&["-l"][..], "view=long"),
        (&["hvm01", "--label", "web01"], "view=label&name=hvm01&name=web01"),
        (&["-v", "db01", "--backend", "lab"], "view=vcpus&name=db01"),
    ] {
        let request = gate.request(Method::GET, &format!("/vms?{query}")).bearer_auth(&token);
        let answer = gate.send(request.header("accept", "text/plain")).await;
        let ended = list(&gate.url("/"), As::Token(&token), arguments).await;
        assert_eq!((answer.status.as_u16(), ended.status.code()), (200, Some(0)));
        assert_eq!(text(&ended.stdout), text(&answer.body));
    }
    gate.end(&[]).await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_is_a_1() {
    let (_server, gate, token) = frozen().await;
    let url = gate.url("");
    let token = || As::Token(&token);
    let nobody_listens = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", free.local_addr().expect("an address"))
    };
    let elsewhere = gate.url("/nothing/here");
    let both = "Error: You may specify either a state or a particular VM, but not both\n";
    for (url, who, arguments, said) in [
        (&url, token(), &["--state=running", "web01"][..], both),
        (&url, token(), &["--state", "odd"], "Error: state is one of all, running"),
        (&url, token(), &["--backend", "other"], "Error: no backend of that name"),
        (&url, token(), &["--wide"], "error: unexpected argument '--wide'"),
        (&url, As::Token("nonsense"), &[], "Error: "),
        (&url, As::Token("non\nsense"), &[], "Error: XENGATE_TOKEN holds no token"),
        (&url, As::Nobody, &[], "Error: no token and nobody to log in as"),
        (&url, As::User(USER, "wrong"), &[], "Error: "),
        (&nobody_listens, token(), &[], "Error: Unable to connect to the gateway: "),
        (&elsewhere, token(), &[], "Error: there is nothing at this path"),
        (&"ftp://x".to_owned(), token(), &[], "Error: "),
    ] {
        let ended = list(url, who, arguments).await;
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {}", text(&ended.stderr));
        assert!(text(&ended.stderr).starts_with(said), "{said}: {}", text(&ended.stderr));
        assert!(ended.stdout.is_empty(), "{}", text(&ended.stdout));
    }
    let help = list(&url, As::Nobody, &["--help"]).await;
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("XENGATE_URL"), "{}", text(&help.stdout));
    gate.end(&[]).await;
}

#[tokio::test]
async fn who_has_no_token_logs_in_and_out_again() {
    let (_server, gate, _) = frozen().await;
    let ended = list(&gate.url(""), As::User(USER, USERS_PASSWORD), &["web01"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).lines().nth(1).is_some_and(|line| line.starts_with("web01 ")));
    gate.end(&[USERS_PASSWORD.to_owned()]).await;

    let lab = Lab::new().await;
    let token = lab.login().await;
    lab.get("/vms", &token).await.ok();
    let before = lab.sim.session_refs().len();
    let who = As::User("root", PASSWORD);
    let ended = list(&lab.gate.url(""), who, &["--backend", "lab", "--long"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).starts_with("(domain\n"), "{}", text(&ended.stdout));
    assert!(lab.sim.session_refs().len() > before, "a session was begun");
    // That of this test, and the mirror's.
    assert_eq!(lab.sim.sessions_open(), before, "and ended: {:?}", lab.sim.originators());
    lab.end().await;
}

#[tokio::test]
async fn a_gateway_behind_tls_is_trusted_by_its_authority_only() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let certificate = file("certificate.pem", made.cert.pem());
    let key = file("key.pem", made.signing_key.serialize_pem());
    let tls = ServerTls { cert_file: certificate.clone(), key_file: key, hsts: None };
    let gate = Gate::start("http://127.0.0.1:1", |config| config.tls = Some(tls)).await;
    let url = format!("https://localhost:{}", gate.address().port());
    let path = |path: &Path| path.display().to_string();
    let trusting = ["--ca-file", &path(&certificate)];
    let ended = list(&url, As::Token("nonsense"), &trusting).await;
    assert!(!text(&ended.stderr).contains("TLS"), "it was let in: {}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("token"), "{}", text(&ended.stderr));
    let ended = list(&url, As::Token("nonsense"), &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("TLS") || text(&ended.stderr).contains("certificate"));
    gate.stop().await;
}
