//! The program as an operator runs it: arguments, first lines, exit codes, signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

fn xengate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xengate"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// How long a program that should end by itself may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> Output {
    let mut command = xengate(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (id, (ended, end)) = (child.id(), mpsc::channel());
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(PATIENCE) else {
        signal(id, "KILL");
        panic!("{arguments:?} does not end");
    };
    output.expect("its output")
}

fn signal(id: u32, name: &str) {
    let kill = format!("kill -{name} {id}");
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A program that serves, until it is dropped.
struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
    first_line: String,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut command = xengate(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut first_line = String::new();
        out.read_line(&mut first_line).expect("a line");
        Self { child, out, first_line: first_line.trim_end().to_owned() }
    }

    fn url(&self) -> &str {
        self.first_line.rsplit_once(" on ").expect("where it listens").1
    }

    /// Sends a signal, and waits for the end: the exit code, the rest of stdout, and stderr.
    fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        self::signal(self.child.id(), signal);
        let (mut rest, mut log) = (String::new(), String::new());
        self.out.read_to_string(&mut rest).expect("UTF-8");
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut log).expect("UTF-8");
        (self.child.wait().expect("an end").code(), rest, log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Gone already, if all is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_configuration_is_checked() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/xengate.example.toml");
    let good = run(&["check-config", example]);
    assert_eq!((good.status.code(), text(&good.stdout)), (Some(0), "ok\n"));

    let cases = [
        ("[backends.a]\nuri = \"http://a\"\nurl = \"b\"\n", ":3:1: backends.a.url: unknown field"),
        (
            "[backends.a]\nuri = \"https://a\"\ntls.ca_file = \"/nowhere/ca.pem\"\n",
            ":1:11: backends.a: ca_file",
        ),
        (
            "[backends.a]\nuri = \"https://a\"\nservice_username = \"u\"\n\
             service_password_file = \"/nowhere/pw\"\n",
            ":4:1: backends.a.service_password_file: secret file /nowhere/pw",
        ),
        (
            "[backends.a]\nuri = \"https://a\"\n[tls]\ncert_file = \"/nowhere/c\"\nkey_file = \"k\"",
            ":3:2: tls: /nowhere/c",
        ),
        (
            "[backends.a]\nuri = \"https://a\"\n[auth]\nkey_file = \"/nowhere/token.key\"\n",
            ":4:1: auth.key_file: key file /nowhere/token.key is not there and could not be made",
        ),
        (
            "[backends.a]\nuri = \"https://a\"\nservice_username = \"u\\n\"\n\
             service_password_env = \"PASSWORD\"\n",
            ":3:1: backends.a.service_username: must not be empty and holds no control characters",
        ),
    ];
    for (content, said) in cases {
        let file = config_file(content);
        let bad = run(&["check-config", path(file.path())]);
        let expected = format!("xengate: {}{said}", path(file.path()));
        assert!(text(&bad.stderr).starts_with(&expected), "{}", text(&bad.stderr));
        assert_eq!((bad.status.code(), text(&bad.stdout)), (Some(1), ""));
        let served = run(&["serve", "--config", path(file.path())]);
        assert_eq!((served.status.code(), text(&served.stdout)), (Some(1), ""));
    }
}

/// The same with something on standard input.
fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut command = xengate(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

#[test]
fn all_mistakes_are_told_at_once_and_warnings_as_serve_gives_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, mode: u32, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("pair");
    write("cert.pem", 0o644, &pair.cert.pem());
    write("key.pem", 0o644, &pair.signing_key.serialize_pem());
    write("scrape.token", 0o644, "0123456789abcdef");
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let common = "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n[metrics]\n\
                  scrape_token_file = \"scrape.token\"\nxen_token_file = \"fifo\"\n\
                  [backends.a]\nuri = \"HTTP://pool.example.com\"\n";
    write("good.toml", 0o600, common);
    let good = run(&["check-config", path(&directory.path().join("good.toml"))]);
    assert_eq!((good.status.code(), text(&good.stdout)), (Some(0), "ok\n"));
    let said = text(&good.stderr);
    for part in ["key.pem", "scrape.token", "in the clear", "fifo: it is no regular file"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let bad = format!(
        "listen = \"0.0.0.0\"\n{common}service_username = \"u\"\nservice_password_file = \"fifo\"\n\
         [auth]\nkey_file = \"fifo\"\n[[users]]\nname = \"a\"\npassword_hash = \"x\"\nrole = \"r\"\n"
    );
    write("bad.toml", 0o600, &bad);
    let bad = run(&["check-config", path(&directory.path().join("bad.toml"))]);
    assert_eq!((bad.status.code(), text(&bad.stdout)), (Some(1), ""));
    let said = text(&bad.stderr);
    for part in [
        "bad.toml:1:",
        ": listen: ",
        "bad.toml:11:1: backends.a.service_password_file: ",
        "bad.toml:13:1: auth.key_file: ",
        "bad.toml:16:1: users[0].password_hash: ",
        "in the clear",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let served = run(&["serve", "--config", path(&fifo)]);
    assert_eq!(served.status.code(), Some(1), "{}", text(&served.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_looked_at() {
    use std::sync::Arc;
    use tokio_rustls::rustls::{ServerConfig, crypto};
    use xengate::sim::{PASSWORD, Sim, SimConfig};

    let names = ["pool.example.com".to_owned(), "127.0.0.1".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).expect("a pair");
    let key = rustls_pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der());
    let tls = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key.expect("a key"))
        .expect("a configuration");
    let sim = SimConfig { tls: Some(Arc::new(tls)), ..crate::lab::pool() };
    let sim = Sim::start(sim).expect("the pool starts");
    let url = sim.url();
    let look = async |arguments: Vec<String>, input: &'static str| {
        let looked = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run_with(&arguments, input)
        });
        let looked = looked.await.expect("no panic");
        let texts = (text(&looked.stdout).to_owned(), text(&looked.stderr).to_owned());
        (looked.status.code(), texts.0, texts.1)
    };
    let arguments = |more: &[&str]| {
        let all = ["check-backend", &url].into_iter().chain(more.iter().copied());
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let (code, out, err) = look(arguments(&[]), "").await;
    assert_eq!(code, Some(0), "{out}{err}");
    for part in [
        "reachable:   yes",
        "TLSv1_3",
        "pool.example.com, 127.0.0.1",
        "trusted:     no: ",
        "kind:        xapi",
        "dialect:     JSON-RPC",
        "a made-up login was refused",
    ] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
    let pin = out.split_once("fingerprints_sha256 = [\"").expect("a pin").1;
    let pin = pin.split_once('"').expect("its end").0.to_owned();

    let before = sim.seen("session.login_with_password");
    let (code, _, err) = look(arguments(&["--username", "root"]), PASSWORD).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("no password is sent there"), "{err}");
    assert_eq!(sim.seen("session.login_with_password"), before + 1, "the made-up one");

    let (code, out, err) =
        look(arguments(&["--pin", &pin, "--username", "vm-operator"]), PASSWORD).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("trusted:     yes") && out.contains("role:        vm-operator"), "{out}");
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD));
    let (code, _, err) = look(arguments(&["--pin", &pin, "--username", "root"]), "wrong").await;
    assert!(code == Some(1) && err.contains("SESSION_AUTHENTICATION_FAILED"), "{err}");
    assert_eq!(sim.sessions_open(), 0, "it logs out");
    sim.stop().await;
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, code, part) in [
        (&["serve"][..], 2, "--config"),
        (&["serve", "--backend", "ftp://pool"], 1, "--backend ftp://pool: an address begins"),
        (
            &["serve", "--backend", "http://pool", "--listen", "192.0.2.1:80"],
            1,
            "--listen 192.0.2.1:80: 192.0.2.1 is not a loopback address",
        ),
        (&["demo", "--vms", "many"], 2, "--vms"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_document_is_printed() {
    let output = run(&["openapi"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
}

#[tokio::test]
async fn a_gateway_whose_pool_is_down_starts_says_so_and_stops() {
    // A port that nobody listens on any more.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let pool = format!("lab=http://{}", free.local_addr().expect("an address"));
    drop(free);
    let arguments =
        ["serve", "--backend", &pool, "--listen", "127.0.0.1:0", "--log-format", "json"];
    let serving = Serving::start(&arguments);
    let first = serving.first_line.clone();
    assert!(first.starts_with("xengate listening on http://127.0.0.1:"), "{first}");
    assert!(!first.ends_with(":0"), "the real port");
    let live = reqwest::get(format!("{}/livez", serving.url())).await.expect("an answer");
    assert_eq!(live.status(), 200);
    let (code, rest, log) = serving.end("TERM");
    assert_eq!((code, rest.as_str()), (Some(0), ""));
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert!(log.contains("shutting down"), "{log}");
}

#[tokio::test]
async fn the_demo_says_what_to_type_and_it_works() {
    let mut serving =
        Serving::start(&["demo", "--listen", "127.0.0.1:0", "--vms", "5", "--log-format", "human"]);
    let url = serving.url().to_owned();
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.contains("curl ")).count() < 3 {
        let mut line = String::new();
        assert_ne!(serving.out.read_line(&mut line).expect("a line"), 0, "{lines:?}");
        lines.push(line);
    }
    let curls: Vec<&String> = lines.iter().filter(|line| line.contains("curl ")).collect();
    let quoted = |line: &str, after: &str| {
        let (_, rest) = line.split_once(after).expect("there is one");
        let (quoted, _) = rest.split_once('\'').expect("it ends");
        quoted.to_owned()
    };
    let url_in = |line: &str| {
        let mut words = line.split([' ', ';', '\'']);
        words.rfind(|word| word.starts_with(&url)).expect("an address").to_owned()
    };

    let client = reqwest::Client::new();
    let login = client
        .post(url_in(curls[0]))
        .header(CONTENT_TYPE, "application/json")
        .body(quoted(curls[0], "-d '"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(login.status(), 201);
    let answer = login.text().await.expect("text");
    // What the line's sed does.
    let (_, rest) = answer.split_once("\"token\":\"").expect("sed finds it");
    let token = rest.split_once('"').expect("it ends").0;
    for curl in &curls[1..] {
        let request = client.get(url_in(curl)).header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{curl}");
        let body: Value = answer.json().await.expect("JSON");
        assert!(body["items"][0]["name_label"].is_string() || body["guest"].is_object(), "{body}");
    }

    let port = url.rsplit_once(':').expect("a port").1;
    let second = run(&["demo", "--listen", &format!("127.0.0.1:{port}")]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("--listen"), "{}", text(&second.stderr));

    let (code, _, log) = serving.end("INT");
    assert_eq!(code, Some(0));
    assert!(!log.contains(token));
}

#[tokio::test]
async fn not_even_a_trace_of_the_log_has_what_a_websocket_carries() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut command = xengate(&["demo", "--listen", "127.0.0.1:0", "--vms", "3"]);
    let stderr = log.reopen().expect("the file");
    let mut child = command
        .env("RUST_LOG", "trace,tungstenite=trace")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut first_line = String::new();
    out.read_line(&mut first_line).expect("a line");
    let mut serving = Serving { child, out, first_line: first_line.trim_end().to_owned() };
    let url = serving.url().to_owned();
    let login = serde_json::json!({"username": "root", "password": "simulated"});
    let answer = reqwest::Client::new().post(format!("{url}/sessions")).json(&login).send();
    let answer: Value = answer.await.expect("an answer").json().await.expect("JSON");
    let token = answer["token"].as_str().expect("a token");
    let address = url.strip_prefix("http://").expect("plain");
    let mut socket = std::net::TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let request = format!(
        "GET /events?classes=VM&snapshot=true HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer \
         {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let (mut taken, mut piece) = (Vec::new(), [0; 4096]);
    let came = |taken: &[u8], text: &str| taken.windows(text.len()).any(|at| at == text.as_bytes());
    while !came(&taken, "\"ready\"") {
        let count = socket.read(&mut piece).expect("more of the stream");
        assert!(count > 0, "{}", String::from_utf8_lossy(&taken));
        taken.extend_from_slice(&piece[..count]);
    }
    assert!(came(&taken, "Control domain"));
    signal(serving.child.id(), "TERM");
    assert_eq!(serving.child.wait().expect("an end").code(), Some(0));
    let logged = std::fs::read(log.path()).expect("the log");
    // Requests are told of, and what is answered is not.
    assert!(came(&logged, "/events") && !came(&logged, token));
    assert!(!came(&logged, "Control domain") && !came(&logged, "snapshot=true"));
    assert!(
        !came(&logged, "opcode"),
        "{}",
        String::from_utf8_lossy(&logged[..logged.len().min(4000)])
    );
}

#[test]
fn the_simulated_pool_runs_alone() {
    let serving = Serving::start(&["sim", "--listen", "127.0.0.1:0", "--vms", "1"]);
    assert!(serving.url().starts_with("http://127.0.0.1:"), "{}", serving.first_line);
    assert_eq!(serving.end("TERM").0, Some(0));
}

#[test]
fn a_simulated_xend_says_where_both_its_interfaces_are() {
    let serving = Serving::start(&["sim", "--xend", "--listen", "127.0.0.1:0", "--vms", "1"]);
    let api = serving.url().to_owned();
    assert!(api.starts_with("http://127.0.0.1:"), "{}", serving.first_line);
    let (code, rest, _) = serving.end("TERM");
    let legacy = rest.lines().next().and_then(|line| line.rsplit_once(" on ")).expect("a second");
    assert!(legacy.1.starts_with("http://127.0.0.1:") && legacy.1 != api, "{rest}");
    assert_eq!(code, Some(0));
}

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut command = xengate(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

#[test]
fn a_password_is_hashed_and_the_hash_makes_a_user() {
    let output = run_with_input(&["hash-password"], "correct horse\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let hash = text(&output.stdout).trim_end();
    assert!(hash.starts_with("$argon2id$") && !hash.contains('\n'), "{hash}");
    assert!(!text(&output.stderr).contains("correct"), "{}", text(&output.stderr));
    assert_eq!(run_with_input(&["hash-password"], "\n").status.code(), Some(1), "no password");
    // What no login takes is no password.
    for wrong in ["a".repeat(1025), "a".repeat(9999), "bell\x07".to_owned()] {
        let output = run_with_input(&["hash-password"], &format!("{wrong}\n"));
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    }
    let longest = "a".repeat(1024);
    assert_eq!(run_with_input(&["hash-password"], &longest).status.code(), Some(0));

    let directory = tempfile::tempdir().expect("dir");
    let file = directory.path().join("xengate.toml");
    for (role, hash, place) in [
        ("vm-operator", hash, None),
        ("root", hash, Some(":6:1: users[0].role: ")),
        ("vm-operator", "$argon2id$v=19$nonsense", Some(":5:1: users[0].password_hash: ")),
    ] {
        let config = format!(
            "[backends.pool]\nuri = \"http://127.0.0.1\"\n[[users]]\nname = \"ann\"\n\
             password_hash = \"{hash}\"\nrole = \"{role}\"\n"
        );
        std::fs::write(&file, config).expect("write");
        let checked = run(&["check-config", &file.display().to_string()]);
        match place {
            None => assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr)),
            Some(place) => {
                let said = text(&checked.stderr);
                assert!(checked.status.code() == Some(1) && said.contains(place), "{said}");
            }
        }
    }
}

#[test]
fn a_healthcheck_tells_whether_the_gateway_is_well() {
    let demo = Serving::start(&["demo", "--listen", "127.0.0.1:0", "--vms", "1"]);
    let address = demo.url().strip_prefix("http://").expect("no TLS").to_owned();
    let well = run(&["healthcheck", "--listen", &address, "--ready"]);
    assert!(well.status.success(), "{}", text(&well.stderr));
    drop(demo);
    let gone = run(&["healthcheck", "--listen", &address]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("is not well"), "{}", text(&gone.stderr));
}

#[test]
fn a_healthcheck_asks_where_the_configuration_says_and_over_tls() {
    let made = rcgen::generate_simple_self_signed(["gateway.example.com".to_owned()]);
    let made = made.expect("a certificate");
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("written");
        path(&file).to_owned()
    };
    write("cert.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    let config = |listen: &str| {
        let text = format!(
            "listen = {listen:?}\ntls = {{ cert_file = \"cert.pem\", key_file = \"key.pem\" }}\n\
             [backends.gone]\nuri = \"http://127.0.0.1:1\"\n"
        );
        write("xengate.toml", &text)
    };
    let serving = Serving::start(&["serve", "--config", &config("127.0.0.1:0")]);
    let address = serving.url().strip_prefix("https://").expect("TLS").to_owned();
    // It listens on all addresses, and is asked on its own.
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    let config = config(&everywhere);
    let lives = run(&["healthcheck", "--config", &config]);
    assert!(lives.status.success(), "{}", text(&lives.stderr));
    // Its one backend is gone, so nobody can log in.
    let unready = run(&["healthcheck", "--config", &config, "--ready"]);
    assert_eq!(unready.status.code(), Some(1));
    assert!(text(&unready.stderr).contains("/readyz answers 503"), "{}", text(&unready.stderr));
}

#[test]
fn a_hangup_ends_nothing() {
    for arguments in [
        &["demo", "--listen", "127.0.0.1:0"][..],
        &["sim", "--listen", "127.0.0.1:0", "--vms", "1"],
    ] {
        let serving = Serving::start(arguments);
        signal(serving.child.id(), "HUP");
        signal(serving.child.id(), "HUP");
        let address = serving.url().trim_start_matches("http://").to_owned();
        std::net::TcpStream::connect(address).expect("it listens still");
        let (code, _, log) = serving.end("TERM");
        assert_eq!(code, Some(0), "{arguments:?}: {log}");
    }
}
