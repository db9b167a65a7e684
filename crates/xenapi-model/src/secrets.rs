//! Fields whose values are secrets.
//!
//! A mirror is read by everyone who may log in, whatever their role, so a value that opens something
//! must not get into it. The datamodel does not mark such fields: they were picked by reading all of
//! them, and [`SHOWN`] has those that look like secrets and are none, each with the reason.

/// Secrets: no answer, no event and no document has them.
const SECRET: &[(&str, &str)] = &[
    // Whoever has it can join the cluster; XAPI needs it to add hosts, clients never do.
    ("Cluster", "cluster_token"),
];

/// Fields that sound like secrets.
#[cfg(test)]
const SHOWN: &[(&[&str], &str, &str)] = &[
    (
        &["secret"],
        "value",
        "the one purpose of its class, which is never mirrored: it is read in the caller's own \
         session, so that XAPI's roles decide",
    ),
    (
        &["PBD"],
        "device_config",
        "XAPI keeps what ends in `password` as a `secret` and puts the secret's uuid here; the rest \
         says how the storage is reached",
    ),
    (
        &["host"],
        "power_on_config",
        "as with PBD.device_config: `power_on_password_secret` is a uuid",
    ),
    (
        &["host"],
        "external_auth_configuration",
        "domain, user and workgroup; the password of a join is not kept",
    ),
    (&["host"], "external_auth_type", "which kind of directory"),
    (&["host"], "external_auth_service_name", "the directory's name"),
    (&["pool"], "health_check_config", "tokens and passwords are uuids of `secret`s"),
    (&["VMPP"], "archive_target_config", "the password is the uuid of a `secret`"),
    (&["pool"], "repository_proxy_password", "a ref of a `secret`, which is shown as null"),
    (&["pool"], "telemetry_uuid", "a ref of a `secret`, which is shown as null"),
    (&["pool"], "repository_proxy_username", "a name"),
    (&["pool"], "wlb_username", "a name"),
    (&["session"], "auth_user_sid", "sessions are no collection"),
    (&["session"], "auth_user_name", "sessions are no collection"),
    (&["user"], "short_name", "a name"),
    (&["pool", "host"], "uefi_certificates", "public keys"),
    (&["pool"], "custom_uefi_certificates", "public keys"),
    (&["pool"], "client_certificate_auth_enabled", "a switch"),
    (&["pool"], "client_certificate_auth_name", "the name that certificates must carry"),
    (&["pool", "host"], "tls_verification_enabled", "a switch"),
    (&["pool"], "wlb_verify_cert", "a switch"),
    (&["Repository"], "certificate", "public keys"),
    (&["Repository"], "gpgkey_path", "the name of a public key's file"),
    (&["pool_update"], "key", "the name of a public key"),
    (&["vdi_nbd_server_info"], "cert", "public keys"),
    (&["VM"], "NVRAM", "the guest's own; XAPI shows it to whoever may see the VM"),
];

/// Whether the values of this field are secrets, which no client is shown.
pub fn is_secret_field(class: &str, field: &str) -> bool {
    SECRET.contains(&(class, field))
}

/// What stands for a value that is hidden. A client that reads a map and writes it back gives it
/// back, and the value stays what it is.
pub const HIDDEN: &str = "***";

/// How keys of maps end whose values are hidden, whatever the map: `vncpasswd` of a console,
/// `cifspassword` and `password_secret` of a device's configuration.
const HIDDEN_KEYS: [&str; 3] = ["password", "passwd", "secret"];

/// Whether the value under a key of this name is hidden.
pub fn is_hidden_key(name: &str) -> bool {
    let ends_so = |end: &str| {
        let start = name.len().checked_sub(end.len());
        start.and_then(|at| name.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    HIDDEN_KEYS.iter().any(|end| ends_so(end))
}

/// Whether there may be such a key in a JSON text: a quick look.
pub fn may_name_hidden(json: &str) -> bool {
    let bytes = json.as_bytes();
    memchr::memchr(b'\\', bytes).is_some()
        || memchr::memchr_iter(b'"', bytes).any(|at| {
            HIDDEN_KEYS.iter().any(|end| {
                let tail = at.checked_sub(end.len()).and_then(|start| bytes.get(start..at));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
            })
        })
}

/// A text that xend wrote, without the passwords of consoles in it: `(vncpasswd x)`,
/// `['vncpasswd', 'x']`.
pub fn without_console_passwords(text: &str) -> String {
    const NAME: &str = "vncpasswd";
    let lower = text.to_ascii_lowercase();
    let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in lower.match_indices(NAME) {
        if at < done {
            continue;
        }
        let behind = at + NAME.len();
        let is_between = |char: char| matches!(char, '\'' | '"' | ' ' | ',' | '=' | ':' | '\\');
        let value = behind + text[behind..].chars().take_while(|char| is_between(*char)).count();
        let is_end =
            |char: char| matches!(char, '\'' | '"' | ' ' | ',' | ')' | ']' | '}' | '\n' | '\\');
        let length = text[value..].find(is_end).unwrap_or(text.len() - value);
        shown.push_str(&text[done..value]);
        if length > 0 && value > behind {
            shown.push_str(HIDDEN);
            done = value + length;
        } else {
            done = value;
        }
    }
    shown.push_str(&text[done..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallKind, Class, Field, Type, datamodel, describe};

    /// What names or descriptions of secrets have in them.
    const SMELLS: &[&str] = &[
        "secret",
        "passw",
        "token",
        "credential",
        "key",
        "auth",
        "cert",
        "private",
        "encrypt",
        "username",
        "psk",
    ];

    fn fields() -> impl Iterator<Item = (&'static Class, &'static Field)> {
        let classes = datamodel().classes.iter();
        classes.flat_map(|class| class.fields.iter().map(move |field| (class, field)))
    }

    fn is_looked_at(class: &str, field: &str) -> bool {
        is_secret_field(class, field)
            || SHOWN.iter().any(|(classes, name, _)| *name == field && classes.contains(&class))
    }

    #[test]
    fn the_lists_name_fields_and_none_twice() {
        let shown =
            SHOWN.iter().flat_map(|(classes, field, _)| classes.iter().map(|c| (*c, *field)));
        let mut all: Vec<_> = SECRET.iter().copied().chain(shown).collect();
        for (class, field) in &all {
            let class = datamodel().class(class).unwrap_or_else(|| panic!("no class {class}"));
            assert!(class.field(field).is_some(), "{}.{field}", class.name);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn keys_that_name_passwords_are_known_by_how_they_end() {
        for name in ["vncpasswd", "VNCPasswd", "cifspassword", "PASSWORD_SECRET", "password"] {
            assert!(
                is_hidden_key(name) && may_name_hidden(&format!(r#"{{"{name}":"x"}}"#)),
                "{name}"
            );
        }
        for name in ["password_file", "passwords", "secrets", "username", "", "é"] {
            assert!(
                !is_hidden_key(name) && !may_name_hidden(&format!(r#"{{"{name}":"x"}}"#)),
                "{name}"
            );
        }
    }

    #[test]
    fn texts_keep_no_console_password() {
        for (text, want) in [
            ("(vfb (vncpasswd s3cret) (vnc 1))", "(vfb (vncpasswd ***) (vnc 1))"),
            ("['vncpasswd', 's3cret'] failed", "['vncpasswd', '***'] failed"),
            ("VNCPASSWD=s3cret", "VNCPASSWD=***"),
            (r#"{\"vncpasswd\": \"s3cret\"}"#, r#"{\"vncpasswd\": \"***\"}"#),
            ("no vncpasswd", "no vncpasswd"),
            ("the password is wrong", "the password is wrong"),
        ] {
            assert_eq!(without_console_passwords(text), want);
        }
    }

    #[test]
    fn whatever_smells_of_a_secret_has_been_looked_at() {
        for (class, field) in fields() {
            // Numbers, switches and dates keep no secrets; refs lead to objects with fields of
            // their own.
            let holds_text = match &field.ty {
                Type::String | Type::Secret => true,
                Type::Map(key, value) => {
                    [key, value].iter().any(|ty| matches!(***ty, Type::String | Type::Secret))
                }
                Type::Set(item) | Type::Option(item) => {
                    matches!(**item, Type::String | Type::Secret)
                }
                _ => false,
            };
            let text = describe(&class.name).and_then(|words| words.fields.get(&field.name));
            let text = text.map_or("", String::as_str).to_lowercase();
            let name = field.name.to_lowercase();
            let smells = SMELLS.iter().any(|smell| name.contains(smell))
                || ["secret", "passw", "credential"].iter().any(|smell| text.contains(smell));
            let looked_at = is_looked_at(&class.name, &field.name);
            assert!(!smells || !holds_text || looked_at, "{}.{}: {text}", class.name, field.name);
        }
    }

    #[test]
    fn what_the_datamodel_calls_secret_is_never_shown() {
        for (class, field) in fields() {
            let is_secret = is_secret_field(&class.name, &field.name);
            assert!(field.ty != Type::Secret || is_secret, "{}.{}", class.name, field.name);
        }
    }

    #[test]
    fn what_is_mirrored_may_be_read_by_every_role() {
        let everyone = datamodel().roles.iter().position(|role| role == "read-only");
        let everyone = everyone.expect("the weakest role");
        for class in datamodel().classes.iter().filter(|class| class.gen_events) {
            for call in class.calls.iter().filter(|call| call.kind == CallKind::FieldGet) {
                let field = call.name.strip_prefix("get_").expect("a getter");
                let open = call.roles.contains(everyone);
                assert!(open || is_secret_field(&class.name, field), "{}.{field}", class.name);
            }
        }
    }
}
