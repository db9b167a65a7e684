//! `xengate list`: what `xm list` prints, from a running gateway.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{Failed, hash_password, on_runtime};
use xenapi_client::{AskError, BackendError, Server};
use xengate_config::BackendTls;

/// Where a token is looked for. It is no argument: those are there for everybody to read.
const TOKEN: &str = "XENGATE_TOKEN";

/// How long the gateway may take for a list: it may have to ask a slow xend for every domain.
const LIST_WITHIN: Duration = Duration::from_secs(120);
/// How long it may take for a login: a pool takes its time to refuse a password.
const LOGIN_WITHIN: Duration = Duration::from_secs(60);
/// How long the end of a session may hold up the end of the program.
const LOGOUT_WITHIN: Duration = Duration::from_secs(5);

/// The longest list, in bytes: some ten thousand domains with all their devices.
const LONGEST_LIST: usize = 128 << 20;
/// The longest answer to anything else.
const LONGEST_ANSWER: usize = 1 << 20;

/// `xengate list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only these VMs, by name, domid or uuid, in this order.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// All that is known of each, as SXP.
    #[arg(short, long)]
    long: bool,

    /// With security labels, and sorted by them.
    #[arg(long)]
    label: bool,

    /// A line for each virtual CPU: `xm vcpu-list`.
    #[arg(short = 'v', long)]
    vcpus: bool,

    /// Only VMs in this state: running, blocked, paused, shutdown, crashed, dying, halted,
    /// suspended or all.
    #[arg(long)]
    state: Option<String>,

    /// Only VMs in this pool of CPUs.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    /// Only VMs of this backend.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,

    /// Where the gateway is.
    #[arg(long, env = "XENGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,

    /// The certificate authority of the gateway's certificate, if the system does not know it.
    #[arg(long, env = "XENGATE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Who logs in, unless there is a token in XENGATE_TOKEN. The password comes from a prompt, or
    /// from the first line of standard input.
    #[arg(long, env = "XENGATE_USER", value_name = "NAME")]
    user: Option<String>,
}

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    /// Not an address.
    #[error("{url}: {why}")]
    Url { url: String, why: String },
    /// The gateway cannot be asked.
    #[error("Unable to connect to the gateway: {0}. Is it running?")]
    Unreachable(#[from] xenapi_client::Unreachable),
    /// It was asked in vain.
    #[error("the gateway: {0}")]
    NoAnswer(AskError),
    /// Whoever answers is no gateway.
    #[error("this is no answer of a gateway (HTTP status {0})")]
    Odd(http::StatusCode),
    /// In xm's words.
    #[error("{0}")]
    NoSuchDomain(String),
    /// What the gateway says.
    #[error("{0}")]
    Problem(String),
    /// Nobody to log in as.
    #[error("no token and nobody to log in as: set {TOKEN}, or give --user")]
    Nobody,
    /// A token that cannot be one.
    #[error("{TOKEN} holds no token")]
    BadToken,
    /// It could not be written.
    #[error("cannot write the list: {0}")]
    Output(io::Error),
}

impl ListError {
    /// What xm ends with.
    pub(super) fn code(&self) -> u8 {
        match self {
            ListError::NoSuchDomain(_) => 3,
            _ => 1,
        }
    }
}

impl From<AskError> for ListError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unreachable(unreachable) => ListError::Unreachable(unreachable),
            error => ListError::NoAnswer(error),
        }
    }
}

/// What lets its bearer in.
enum Credentials {
    Token(SecretString),
    Password { username: String, password: SecretString },
}

pub(super) fn run(list: List) -> Result<(), Failed> {
    // What has to be typed is typed before anything else happens, and no runtime waits for it.
    let gateway = Gateway::new(&list.url, list.ca_file.clone())?;
    let credentials = credentials(list.user.as_deref())?;
    on_runtime(async move {
        let mut text = printed(&gateway, &list, credentials).await?;
        let mut out = io::stdout().lock();
        if out.is_terminal() {
            text = harmless(&String::from_utf8_lossy(&text)).into_bytes();
        }
        match out.write_all(&text).and_then(|()| out.flush()) {
            // Whoever read it has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| ListError::Output(error).into()),
        }
    })
}

fn credentials(user: Option<&str>) -> Result<Credentials, Failed> {
    if let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) {
        let token = token.into_string().map_err(|_| ListError::BadToken)?;
        return Ok(Credentials::Token(SecretString::from(token)));
    }
    let terminal = io::stdin().is_terminal();
    let username = match user {
        Some(user) => user.to_owned(),
        None if terminal => ask_for_name()?,
        None => return Err(ListError::Nobody.into()),
    };
    let password = match terminal {
        true => hash_password::prompt("Password: ")?,
        false => hash_password::first_line(io::stdin().lock())?,
    };
    Ok(Credentials::Password { username, password })
}

fn ask_for_name() -> Result<String, Failed> {
    let _ = write!(io::stderr(), "Username: ");
    let mut name = String::new();
    io::stdin().lock().read_line(&mut name).map_err(Failed::Password)?;
    match name.trim_end_matches(['\r', '\n']) {
        "" => Err(ListError::Nobody.into()),
        name => Ok(name.to_owned()),
    }
}

/// What is to be printed. A session that was begun for it is ended, whatever came of it.
async fn printed(
    gateway: &Gateway,
    list: &List,
    credentials: Credentials,
) -> Result<Vec<u8>, ListError> {
    match credentials {
        Credentials::Token(token) => gateway.list(list, &token).await,
        Credentials::Password { username, password } => {
            let backend = list.backend.as_deref();
            let token = gateway.login(&username, &password, backend).await?;
            let printed = gateway.list(list, &token).await;
            gateway.logout(&token).await;
            printed
        }
    }
}

/// A gateway, as a client sees it.
struct Gateway {
    server: Server,
    /// What stands before its paths where another server stands in front of it.
    prefix: String,
}

impl Gateway {
    fn new(url: &str, ca_file: Option<PathBuf>) -> Result<Self, ListError> {
        // An address that somebody has put a password into is not said back.
        let shown = if url.contains('@') { "the gateway's address" } else { url };
        let wrong = |why: &str| ListError::Url { url: shown.to_owned(), why: why.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong("not an address"))?;
        if uri.query().is_some() {
            return Err(wrong("an address has no query"));
        }
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("an address starts with https:// or http://"));
        };
        let trust = ca_file.map_or(BackendTls::System, BackendTls::CaFile);
        let server = Server::new(&format!("{scheme}://{authority}"), &trust);
        let server = server.map_err(|error| match error {
            BackendError::Uri { why, .. } => wrong(why),
            error => wrong(&error.to_string()),
        })?;
        Ok(Self { server, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// `GET /vms?view=…`
    async fn list(&self, list: &List, token: &SecretString) -> Result<Vec<u8>, ListError> {
        let request = self.request(Method::GET, &format!("/vms?{}", list.query()), Some(token));
        let mut request = request?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/plain"));
        let answer = self.server.ask(request, LIST_WITHIN, LONGEST_LIST).await?;
        if answer.status() != http::StatusCode::OK || !is_of_type(&answer, "text/plain") {
            return Err(refusal(&answer));
        }
        for (header, what) in [("xen-stale", "out of date"), ("xen-partial", "left out")] {
            if let Some(names) = answer.headers().get(header).and_then(|names| names.to_str().ok())
            {
                let _ = writeln!(io::stderr(), "Warning: {what}: {names}");
            }
        }
        Ok(answer.into_body())
    }

    /// A new session's token.
    async fn login(
        &self,
        username: &str,
        password: &SecretString,
        backend: Option<&str>,
    ) -> Result<SecretString, ListError> {
        #[derive(Deserialize)]
        struct Created {
            token: SecretString,
        }
        let mut body = json!({"username": username, "password": password.expose_secret()});
        if let Some(backend) = backend {
            body["backend"] = backend.into();
        }
        let mut request = self.request(Method::POST, "/sessions", None)?;
        *request.body_mut() = Full::from(body.to_string());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.server.ask(request, LOGIN_WITHIN, LONGEST_ANSWER).await?;
        if answer.status() != http::StatusCode::CREATED {
            return Err(refusal(&answer));
        }
        let created: Result<Created, _> = serde_json::from_slice(answer.body());
        created.map(|created| created.token).map_err(|_| ListError::Odd(answer.status()))
    }

    /// Ends a session. Left open, it would end by itself.
    async fn logout(&self, token: &SecretString) {
        let request = self.request(Method::DELETE, "/sessions/current", Some(token));
        if let Ok(request) = request {
            let _ = self.server.ask(request, LOGOUT_WITHIN, LONGEST_ANSWER).await;
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretString>,
    ) -> Result<Request<Full<Bytes>>, ListError> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.prefix));
        let mut request = request.body(Full::default()).map_err(|_| ListError::Url {
            url: self.prefix.clone(),
            why: "not a path".to_owned(),
        })?;
        if let Some(token) = token {
            let bearer = format!("Bearer {}", token.expose_secret());
            let mut bearer = HeaderValue::try_from(bearer).map_err(|_| ListError::BadToken)?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

impl List {
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        // Of several, xm heeds the first of these.
        query.append_pair(
            "view",
            match (self.vcpus, self.long, self.label) {
                (true, ..) => "vcpus",
                (_, true, _) => "long",
                (.., true) => "label",
                _ => "brief",
            },
        );
        let options = [("state", &self.state), ("pool", &self.pool), ("backend", &self.backend)];
        for (name, value) in options {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        for name in &self.names {
            query.append_pair("name", name);
        }
        query.finish()
    }
}

fn is_of_type(answer: &Response<Vec<u8>>, media_type: &str) -> bool {
    let given = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.is_some_and(|given| given.split(';').next().is_some_and(|it| it.trim() == media_type))
}

/// A text without what a terminal would obey, or show in another order: names come from whoever may
/// name a VM.
fn harmless(text: &str) -> String {
    let obeyed = |c: char| (c.is_control() && c != '\n') || is_direction(c);
    text.chars().map(|c| if obeyed(c) { '?' } else { c }).collect()
}

fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a gateway says that does not do as it is asked.
fn refusal(answer: &Response<Vec<u8>>) -> ListError {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
        code: String,
        #[serde(default)]
        params: Vec<String>,
    }
    let odd = ListError::Odd(answer.status());
    if !is_of_type(answer, "application/problem+json") {
        return odd;
    }
    match serde_json::from_slice(answer.body()) {
        Ok(Problem { detail, code, params }) => match (code.as_str(), params.as_slice()) {
            // A path that is not there has no name to go with it.
            ("NOT_FOUND", [_]) => ListError::NoSuchDomain(harmless(&detail)),
            _ => ListError::Problem(harmless(&detail)),
        },
        Err(_) => odd,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        list: List,
    }

    fn typed(line: &str) -> List {
        Typed::parse_from(line.split(' ')).list
    }

    #[test]
    fn options_mean_what_they_mean_to_xm() {
        for (line, query) in [
            ("list", "view=brief"),
            ("list --long", "view=long"),
            ("list -l web01", "view=long&name=web01"),
            ("list --label --long", "view=long"),
            ("list --label", "view=label"),
            ("list --long -v", "view=vcpus"),
            ("list b&c a=1 --vcpus", "view=vcpus&name=b%26c&name=a%3D1"),
            ("list --state=running", "view=brief&state=running"),
            ("list --pool=Pool-0", "view=brief&pool=Pool-0"),
            ("list --state halted --backend old", "view=brief&state=halted&backend=old"),
        ] {
            assert_eq!(typed(line).query(), query, "{line}");
        }
    }

    #[test]
    fn addresses_are_checked_and_may_have_a_prefix() {
        for (url, prefix) in
            [("http://a", ""), ("http://a:80/", ""), ("http://[::1]:1/xen/api/", "/xen/api")]
        {
            assert_eq!(Gateway::new(url, None).expect("an address").prefix, prefix, "{url}");
        }
        for url in [
            "",
            "a",
            "a:80",
            "ftp://a",
            "http://a?b",
            "http://",
            "http://u:secret@a",
            "http://u:secret@a?b",
            "u:secret@a",
        ] {
            let wrong = Gateway::new(url, None).err().expect(url).to_string();
            assert!(!wrong.contains("secret"), "{wrong}");
        }
    }

    #[test]
    fn a_problem_is_told_in_its_own_words_and_with_xms_code() {
        let refused = |media_type: &'static str, body: &str| {
            let mut answer = Response::new(body.as_bytes().to_vec());
            *answer.status_mut() = http::StatusCode::NOT_FOUND;
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            let error = refusal(&answer);
            (error.code(), error.to_string())
        };
        let problem = "application/problem+json";
        let unknown =
            r#"{"code":"NOT_FOUND","detail":"Domain 'a' does not exist.","params":["a"]}"#;
        assert_eq!(refused(problem, unknown), (3, "Domain 'a' does not exist.".to_owned()));
        let nothing = r#"{"code":"NOT_FOUND","detail":"nothing here","params":[],"status":404}"#;
        assert_eq!(refused(problem, nothing), (1, "nothing here".to_owned()));
        for (media_type, body) in [("text/html", "<html>"), (problem, "{"), (problem, "[]")] {
            let (code, said) = refused(media_type, body);
            assert!(code == 1 && said.contains("404"), "{said}");
        }
    }
    #[test]
    fn no_name_is_obeyed_by_a_terminal() {
        let name = "a\u{1b}[2Jb\u{9b}31m\u{202e}c\u{7}\r\t\u{0}\u{7f}é\n";
        assert_eq!(harmless(name), "a?[2Jb?31m?c?????é\n");
    }
}
