use std::path::Path;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::backends::{RawBackend, RawTls};
use super::load::Raw;
use super::*;

const EXAMPLE: &str = include_str!("../../../xengate.example.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/xengate/xengate.toml"))
}

/// What is said of a text, after the file's name.
fn wrong(text: &str) -> String {
    let error = parse(text).expect_err(text).to_string();
    let (file, rest) = error.split_once(".toml:").expect("the file");
    assert_eq!(file, "/etc/xengate/xengate");
    rest.to_owned()
}

const POOL: &str = "[backends.pool]\nuri = \"https://pool\"\n";

#[test]
fn kinds_are_configured_by_their_names() {
    for kind in Kind::ALL {
        let name: StrDeserializer<'_, Error> = kind.name().into_deserializer();
        assert_eq!(Kind::deserialize(name), Ok(kind));
    }
}

#[test]
fn little_is_needed() {
    let config = parse(POOL).expect("config");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    let pool = &config.backends["pool"];
    assert_eq!(pool.uris, ["https://pool"]);
    assert_eq!((pool.kind, &pool.tls), (Kind::Auto, &BackendTls::System));
    assert_eq!(pool.call_timeout, Duration::from_secs(60));
    assert_eq!(config.auth.token_ttl, Duration::from_secs(12 * 3600));
}

#[test]
fn much_is_understood() {
    let text = r#"
        listen = "[::]:443"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
        tls = { cert_file = "cert.pem", key_file = "/keys/key.pem" }
        cors.origins = ["https://ui.example.com:8443", "http://localhost:3000"]
        limits = { max_body = 4096, shutdown_grace = "0s", request_timeout = "1m 30s" }
        [backends.a-1]
        uris = ["https://h1", "http://[2001:db8::1]:8080", "unix:///var/lib/xcp/xapi"]
        service_username = "sync"
        service_password_env = "PASSWORD"
        max_reply = "1 GB"
        tls.fingerprints_sha256 = ["00:01:02:03:04:05:06:07:08:09:0a:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"]
        [backends.B_2]
        uri = "https://b"
        service_username = "sync"
        service_password_file = "b.password"
        tls.ca_file = "ca.pem"
        [auth]
        key_file = "token.key"
        default_backends = ["B_2"]
        [metrics]
        scrape_token_file = "scrape.token"
        xen_token_file = "/run/xen.token"
    "#;
    let config = parse(text).expect("config");
    let tls = config.tls.expect("tls");
    assert_eq!(tls.cert_file, Path::new("/etc/xengate/cert.pem"));
    assert_eq!(tls.key_file, Path::new("/keys/key.pem"));
    assert_eq!(config.trusted_proxies[1].to_string(), "192.0.2.1/32");
    assert_eq!(config.limits.max_body, 4096);
    assert_eq!(config.limits.shutdown_grace, Duration::ZERO);
    let (a, b) = (&config.backends["a-1"], &config.backends["B_2"]);
    assert_eq!(a.service_password, Some(SecretSource::Env("PASSWORD".to_owned())));
    assert_eq!(a.max_reply, 1_000_000_000);
    let BackendTls::Fingerprints(fingerprints) = &a.tls else { panic!("fingerprints") };
    assert!(fingerprints[0].iter().copied().eq(0..32));
    assert_eq!(b.tls, BackendTls::CaFile("/etc/xengate/ca.pem".into()));
    let file = SecretSource::File("/etc/xengate/b.password".into());
    assert_eq!(b.service_password, Some(file));
    assert_eq!(config.auth.key_file.as_deref(), Some(Path::new("/etc/xengate/token.key")));
    let metrics = config.metrics;
    assert_eq!(metrics.scrape_token_file.as_deref(), Some(Path::new("/etc/xengate/scrape.token")));
    assert_eq!(metrics.xen_token_file.as_deref(), Some(Path::new("/run/xen.token")));
}

#[test]
fn what_is_wrong_is_said_with_line_column_and_key() {
    // Where it is, the key, and a part of what is said.
    let cases: &[(&str, &str, &str)] = &[
        ("listen = ", "1:10: ", "string"),
        ("listen = \"127.0.0.1:0\"\nlisten = \"x\"", "2:1: ", "duplicate"),
        ("\n  lissen = \"x\"", "2:3: lissen: ", "unknown field `lissen`, expected one of"),
        ("listen = 8080", "1:10: listen: ", "expected a string"),
        ("listen = \"localhost\"", "1:10: listen: ", "\"localhost:8080\""),
        ("trusted_proxies = [\n \"10.0.0.0/8\",\n \"ten\"]", "1:19: trusted_proxies: ", "ten"),
        ("[tls]\ncert_file = \"a\"", "1:1: tls: ", "missing field `key_file`"),
        ("[limits]\nmax_body = \"1 parsec\"", "2:12: limits.max_body: ", "a size such as"),
        ("[limits]\nmax_body = 0", "2:12: limits.max_body: ", "zero"),
        ("[limits]\nmax_connections = -1", "2:19: limits.max_connections: ", "whole number"),
        ("[limits]\nrequest_timeout = 5", "2:19: limits.request_timeout: ", "a duration such as"),
        ("[limits]\nrequest_timeout = \"5 moons\"", "2:19: limits.request_timeout: ", "5 moons"),
        ("[limits]\nheader_timeout = \"0s\"", "2:18: limits.header_timeout: ", "zero"),
        ("[auth]\ntoken_ttl = \"400 days\"", "2:13: auth.token_ttl: ", "one year"),
        ("[auth]\n\nkeyfile = \"x\"", "3:1: auth.keyfile: ", "unknown field"),
    ];
    for (text, place, part) in cases {
        let said = wrong(text);
        assert!(said.starts_with(place) && said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn what_contradicts_itself_is_said_with_line_column_and_key() {
    let cases: &[(&str, &str, &str)] = &[
        ("", "1:1: ", "there is no backend"),
        ("[backends.a]\nkind = \"xapi\"", "1:11: backends.a: ", "`uri` (or `uris`"),
        ("[backends.a]\nuri = \"https://a\"\nuris = []", "3:1: backends.a.uris: ", "not both"),
        ("[backends.a]\nuris = []", "2:1: backends.a.uris: ", "at least one"),
        (
            "[backends.a]\nuris = [\"https://a\",\n\"ftp://a\"]",
            "3:1: backends.a.uris[1]: ",
            "https",
        ),
        ("[backends.a]\nuri = \"https://u:pw@a\"", "2:1: backends.a.uri: ", "no password"),
        ("[backends.a]\nuri = \"https://a:99999\"", "2:1: backends.a.uri: ", "the port"),
        ("[backends.a]\nuri = \"https://a/?x=1\"", "2:1: backends.a.uri: ", "no query"),
        ("[backends.a]\nuri = \"unix://a\"", "2:1: backends.a.uri: ", "absolute path"),
        (
            "[backends.a]\nuris = [\"http://a\", \"http://b\"]\nkind = \"xend\"",
            "2:1: backends.a.uris: ",
            "one host",
        ),
        (
            "[backends.a]\nuri = \"http://a\"\nkind = \"xapi\"\nauth = \"users\"",
            "4:1: backends.a.auth: ",
            "need a service account",
        ),
        (
            "[backends.a]\nuri = \"http://a\"\nkind = \"legacy\"\nauth = \"backend\"",
            "4:1: backends.a.auth: ",
            "checks no passwords",
        ),
        (
            "[backends.a]\nxm_config = \"xm.xml\"\nuri = \"http://a\"",
            "2:1: backends.a.xm_config: ",
            "`uri`",
        ),
        (
            "[backends.a]\nxm_config = \"/nowhere/xm.xml\"",
            "2:1: backends.a.xm_config: ",
            "/nowhere/xm.xml: ",
        ),
        ("[backends.a]\nuri = \"http://a\"\nkind = \"xl\"", "3:8: backends.a.kind: ", "legacy"),
        ("[backends.\"a b\"]\nuri = \"http://a\"", "1:11: backends.a b: ", "letters, digits"),
    ];
    for (text, place, part) in cases {
        let said = wrong(text);
        assert!(said.starts_with(place) && said.contains(part), "{text}\n{said}");
    }
    let cases: &[(&str, &str, &str)] = &[
        ("service_username = \"u\"", "3:1: backends.pool.service_username: ", "to go with it"),
        ("service_password_file = \"f\"", "3:1: backends.pool.service_password_file: ", "username"),
        ("service_password_env = \"E\"", "3:1: backends.pool.service_password_env: ", "username"),
        (
            "service_username = \"u\"\nservice_password_env = \"E\"\nservice_password_file = \"f\"",
            "4:1: backends.pool.service_password_env: ",
            "not both",
        ),
        ("service_password = \"x\"", "3:1: backends.pool.service_password: ", "never stands in"),
        ("tls = { insecure = true, ca_file = \"c\" }", "3:1: backends.pool.tls: ", "not several"),
        (
            "tls.fingerprints_sha256 = [\"ab\"]",
            "3:28: backends.pool.tls.fingerprints_sha256[0]: ",
            "64 hex digits",
        ),
        (
            "tls.fingerprints_sha256 = []",
            "3:5: backends.pool.tls.fingerprints_sha256: ",
            "at least one",
        ),
        ("max_connections = 0", "3:19: backends.pool.max_connections: ", "whole number"),
        ("[auth]\ndefault_backends = [\"lab\"]", "4:21: auth.default_backends[0]: ", "\"lab\""),
        (
            "[[users]]\nname = \"\"\npassword_hash = \"\"\nrole = \"\"",
            "4:1: users[0].name: ",
            "1 to 256",
        ),
        (
            "[[users]]\nname = \"a\"\npassword_hash = \"hunter2\"\nrole = \"read-only\"",
            "5:1: users[0].password_hash: ",
            "hash-password",
        ),
        ("[[users]]\nname = \"a\"", "3:1: users[0]: ", "missing field"),
        ("[cors]\norigins = [\"*\"]", "4:12: cors.origins[0]: ", "an origin is"),
        ("[cors]\norigins = [\"https://A.b/\"]", "4:12: cors.origins[0]: ", "an origin is"),
    ];
    for (text, place, part) in cases {
        let said = wrong(&format!("{POOL}{text}"));
        assert!(said.starts_with(place) && said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn plaintext_leaves_the_machine_only_on_demand() {
    let listen = |more: &str| parse(&format!("listen = \"0.0.0.0:80\"\n{more}\n{POOL}"));
    let said = listen("").expect_err("plaintext").to_string();
    assert!(said.contains(".toml:1:1: listen: 0.0.0.0 is not a loopback address"), "{said}");
    assert!(listen("allow_plaintext = true").is_ok());
    assert!(listen("tls = { cert_file = \"c\", key_file = \"k\" }").is_ok());
    let listen = |text: &str| parse(&format!("listen = \"{text}\"\n{POOL}"));
    assert!(listen("localhost:80").is_ok_and(|config| config.listen.ip().is_loopback()));
    let said = listen(":80").expect_err("plaintext").to_string();
    assert!(said.contains("is not a loopback address"), "{said}");

    let mut config = parse(POOL).expect("config");
    assert!(config.listen_on("[::1]:80".parse().expect("address")).is_ok());
    let said = config.listen_on("192.0.2.1:80".parse().expect("address")).expect_err("plaintext");
    assert!(said.to_string().starts_with("--listen 192.0.2.1:80: "), "{said}");
}

#[test]
fn browsers_can_be_held_to_tls_for_long() {
    let tls = |hsts: &str| {
        let files = "cert_file = \"c\", key_file = \"k\"";
        let config = parse(&format!("tls = {{ {files}{hsts} }}\n{POOL}"))?;
        Ok::<_, ConfigError>(config.tls.expect("as it is set").hsts)
    };
    let days = |days: u64| Some(Duration::from_secs(days * 86400));
    assert_eq!(tls("").expect("good"), None);
    assert_eq!(tls(", hsts = \"180d\"").expect("good"), days(180));
    assert_eq!(tls(", hsts = \"730d\"").expect("good"), days(730));
    assert_eq!(tls(", hsts = \"0s\"").expect("good"), days(0));
    let said = tls(", hsts = \"400 months\"").expect_err("too long").to_string();
    assert!(said.contains("tls.hsts: ") && said.contains("ten years"), "{said}");
}

#[test]
fn a_password_in_the_file_is_not_repeated() {
    for text in ["service_password = \"hunter2\"", "uri = \"https://root:hunter2@pool\""] {
        let said = wrong(&format!("[backends.pool]\n{text}"));
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = Config::with_backends(&["https://root:hunter2@pool".to_owned()]);
    assert!(!said.expect_err("a password").to_string().contains("hunter2"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = Config::load(Path::new("/nowhere/xengate.toml")).expect_err("no file");
    assert!(said.to_string().starts_with("/nowhere/xengate.toml: "), "{said}");
}

#[test]
fn backends_on_the_command_line() {
    let config = |arguments: &[&str]| {
        Config::with_backends(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let both = config(&["https://a", "lab=http://[::1]:80"]).expect("config");
    assert_eq!(both.backends["default"].uris, ["https://a"]);
    assert_eq!(both.backends["lab"].uris, ["http://[::1]:80"]);
    for (arguments, part) in [
        (["https://a", "https://b"], "is taken"),
        (["https://a", "a b=https://b"], "letters, digits"),
        (["https://a", "b"], "begins with https://"),
        (["https://a", "b=https://u@b"], "no user name"),
        (["https://a", "https://b/?x=y"], "no query"),
    ] {
        let said = config(&arguments).expect_err(part).to_string();
        assert!(said.starts_with("--backend ") && said.contains(part), "{said}");
    }
}

#[test]
fn what_is_found_out_later_has_a_line_too() {
    let about = |keys: &[&str]| {
        let path = Path::new("/etc/xengate/xengate.toml");
        let mut examined = Config::examine_text(format!("# pools\n{POOL}"), path);
        examined.wrong(keys, "no".to_owned());
        let said = examined.into_result().expect_err("wrong").to_string();
        said.strip_prefix("/etc/xengate/xengate.toml").expect("the file").to_owned()
    };
    assert_eq!(about(&["backends", "pool", "uri"]), ":3:1: backends.pool.uri: no");
    assert_eq!(about(&["backends", "pool", "tls"]), ":2:11: backends.pool.tls: no");
    assert_eq!(about(&["backends", "lab"]), ":2:2: backends.lab: no");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"listen = "nowhere"
typo = 1

[limits]
max_body = "much"
max_header = "more"

[auth]
default_backends = ["gone", "b"]

[backends.a]
uri = 5
tls = { insecure = true, ca_file = "x" }

[backends.b]
uris = ["https://fd00::1", "ftp://b"]
service_username = "u"
call_timeout = "soon"

[backends."c d"]
uri = "https://c"

[[users]]
name = "ann"
role = "read-only"

[[users]]
name = ""
password_hash = "hunter2"
role = "read-only"
"#;
    let said = wrong(text);
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        (1, "listen"),
        (2, "typo"),
        (5, "limits.max_body"),
        (6, "limits.max_header"),
        (9, "auth.default_backends[0]"),
        (12, "backends.a.uri"),
        (13, "backends.a.tls"),
        (16, "backends.b.uris[0]"),
        (16, "backends.b.uris[1]"),
        (17, "backends.b.service_username"),
        (18, "backends.b.call_timeout"),
        (20, "backends.c d"),
        (23, "users[0]"),
        (28, "users["),
        (29, "users["),
    ];
    for (line, (number, key)) in lines.iter().zip(expected) {
        let place = line.strip_prefix("/etc/xengate/xengate.toml:").unwrap_or(line);
        let is_it = place.starts_with(&format!("{number}:")) && place.contains(&format!(": {key}"));
        assert!(is_it, "{number} {key} is not in {line:?}:\n{said}");
    }
    assert_eq!(lines.len(), expected.len(), "{said}");
    assert!(!said.contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn a_fifo_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let said = Config::load(&fifo).expect_err("a FIFO").to_string();
    assert!(said.contains("no regular file"), "{said}");
    let said = SecretSource::File(fifo).read().expect_err("a FIFO").to_string();
    assert!(said.contains("no regular file"), "{said}");
}

/// An xm's configuration that is there whether or not this machine has Xen.
const XM_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/xm-config.xml");

/// The example with every key switched on.
fn whole_example() -> String {
    let is_key = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    EXAMPLE
        .lines()
        .map(|line| if is_key(&line) { &line[1..] } else { line }.to_owned() + "\n")
        .collect::<String>()
        .replace("/etc/xen/xm-config.xml", XM_CONFIG)
}

#[test]
fn the_example_is_good_as_it_is_and_with_every_key() {
    let config = parse(EXAMPLE).expect("the example");
    assert_eq!(config.backends.len(), 1);
    let config = parse(&whole_example()).expect("the whole example");
    assert_eq!(config.backends.len(), 6);
}

#[test]
fn the_example_shows_the_defaults() {
    let whole: toml::Table = whole_example().parse().expect("TOML");
    let show = |config: &Config| {
        let pool = BackendConfig {
            service_username: None,
            service_password: None,
            ..config.backends["pool"].clone()
        };
        // By default it follows from others.
        let limits = config.limits.clone();
        let limits = Limits { max_connections_per_address: None, memory: None, ..limits };
        (format!("{limits:?}"), format!("{pool:?}"), config.listen, config.allow_plaintext)
    };
    let defaults = parse("[backends.pool]\nuri = \"https://pool.example.com\"").expect("config");
    let shown = parse(&whole_example()).expect("config");
    assert_eq!(show(&shown), show(&defaults));
    let auth = AuthConfig { key_file: None, default_backends: Vec::new(), ..shown.auth };
    assert_eq!(format!("{auth:?}"), format!("{:?}", defaults.auth));
    assert_eq!(whole["limits"].as_table().map(toml::Table::len), Some(fields::<Limits>().len()));
}

#[test]
fn the_example_has_every_key() {
    let whole: toml::Table = whole_example().parse().expect("TOML");
    let all = |tables: Vec<&toml::Value>, fields: &[&str]| {
        for field in fields {
            let known = tables.iter().any(|table| table.get(field).is_some());
            assert!(known, "xengate.example.toml does not show {field}");
        }
    };
    let table = toml::Value::Table(whole.clone());
    all(vec![&table], fields::<Raw>());
    all(vec![&whole["tls"]], fields::<ServerTls>());
    all(vec![&whole["cors"]], fields::<Cors>());
    all(vec![&whole["log"]], fields::<LogConfig>());
    all(vec![&whole["limits"]], fields::<Limits>());
    all(vec![&whole["auth"]], fields::<AuthConfig>());
    all(vec![&whole["metrics"]], fields::<MetricsConfig>());
    all(vec![&whole["users"][0]], fields::<User>());
    let backends = whole["backends"].as_table().expect("backends");
    all(backends.values().collect(), fields::<RawBackend>());
    all(backends.values().filter_map(|backend| backend.get("tls")).collect(), fields::<RawTls>());
}

/// The keys a struct is read from, as its derived code names them to a deserializer.
fn fields<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Spy<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Spy<'_> {
        type Error = Error;
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(serde::de::Error::custom("seen"))
        }
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("no struct"))
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Spy(&mut fields)).is_err());
    assert!(!fields.is_empty());
    fields
}

#[test]
fn xms_file_names_the_backend() {
    let directory = tempfile::tempdir().expect("dir");
    let file = directory.path().join("xm-config.xml");
    let write = |text: &str| std::fs::write(&file, text).expect("write");
    write("<xm><server type='Xen-API' uri='http://h:9363/' username='me' password='pw'/></xm>");
    let text = "[backends.old]\nxm_config = \"xm-config.xml\"\nauth = \"users\"";
    let config = Config::parse(text, &directory.path().join("xengate.toml")).expect("config");
    let old = &config.backends["old"];
    assert_eq!((old.kind, &*old.uris), (Kind::Xend, &["http://h:9363/".to_owned()][..]));
    assert_eq!(old.auth, Some(PasswordCheck::Users));
    assert_eq!(old.service_username.as_deref(), Some("me"));
    let password = old.service_password.as_ref().expect("a password").read().expect("readable");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&password), "pw");

    let config = Config::with_xm_config(&file).expect("config");
    assert_eq!(config.backends["xend"].auth, Some(PasswordCheck::Backend));
    write("<xm>\n<server type='LegacyXMLRPC' uri='httpu:///run/xend/xmlrpc.sock'/></xm>");
    let config = Config::with_xm_config(&file).expect("config");
    assert_eq!((config.backends["xend"].kind, config.backends["xend"].auth), (Kind::Legacy, None));
    write("<xm>\n<server type='?' uri='x'/></xm>");
    let said = Config::with_xm_config(&file).expect_err("no type").to_string();
    assert!(said.starts_with("--xm-config ") && said.contains("xm-config.xml:2: "), "{said}");
    write("<xm><server type='Xen-API' uri='http://me:pw@h/'/></xm>");
    assert!(Config::with_xm_config(&file).expect_err("a password").to_string().contains("its uri"));
}

#[test]
fn unix_sockets_are_written_in_several_ways() {
    for uri in ["unix:/run/x", "unix:///run/x", "httpu:///run/x", "httpu:/run/x", "UNIX:/run/x"] {
        assert!(parse(&format!("[backends.a]\nuri = \"{uri}\"")).is_ok(), "{uri}");
    }
    for uri in ["unix:", "unix:/", "unix:run/x", "httpu://run/x"] {
        assert!(parse(&format!("[backends.a]\nuri = \"{uri}\"")).is_err(), "{uri}");
    }
}
