//! What a domain's s-expression says, where its words are not the Xen-API's.

use serde_json::Value;

use xenapi_model::{HIDDEN, is_hidden_key, may_name_hidden};
use xenapi_wire::Limits;
use xenapi_wire::sxp::{self, Sxp};

/// The domain in a JSON text, if it is one.
pub(super) fn domain(json: &str) -> Option<Sxp> {
    sxp::read(json.as_bytes(), Limits::default()).ok().filter(|sxp| sxp.is("domain"))
}

/// The Xen-API's word for a domain's state.
pub(super) fn power_state(domain: &Sxp) -> &'static str {
    domain.power_state()
}

/// The same without the values of what is named as a password is.
pub(super) fn without_passwords(json: &str) -> String {
    if !may_name_hidden(json) {
        return json.to_owned();
    }
    match serde_json::from_str::<Value>(json) {
        Ok(mut value) => match blank(&mut value) {
            true => value.to_string(),
            false => json.to_owned(),
        },
        Err(_) => json.to_owned(),
    }
}

/// Blanks what stands behind such a name. Whether there was anything.
fn blank(value: &mut Value) -> bool {
    let mut found = false;
    match value {
        Value::Array(items) => {
            let is_named = items.first().and_then(Value::as_str).is_some_and(is_hidden_key);
            for (place, item) in items.iter_mut().enumerate() {
                match item {
                    Value::Array(_) | Value::Object(_) => found |= blank(item),
                    Value::Null => {}
                    Value::String(text) if text.is_empty() => {}
                    other if is_named && place > 0 => {
                        *other = HIDDEN.into();
                        found = true;
                    }
                    _ => {}
                }
            }
        }
        Value::Object(members) => {
            for (name, item) in members {
                let is_text = item.as_str().is_some_and(|text| !text.is_empty());
                if is_hidden_key(name) && (is_text || item.is_number()) {
                    *item = HIDDEN.into();
                    found = true;
                } else {
                    found |= blank(item);
                }
            }
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_blanked_and_nothing_else() {
        for (json, want) in [
            (
                r#"["domain",["device",["vfb",["vncpasswd","s3cret"],["vnc",1]]]]"#,
                r#"["domain",["device",["vfb",["vncpasswd","***"],["vnc",1]]]]"#,
            ),
            (
                r#"["domain",["image",["hvm",["VNCPasswd",12],["vncpasswd",""]]]]"#,
                r#"["domain",["image",["hvm",["VNCPasswd","***"],["vncpasswd",""]]]]"#,
            ),
            (
                r#"["a",{"Password":"x","b":"password"}]"#,
                r#"["a",{"Password":"***","b":"password"}]"#,
            ),
            (r#"["domain",["name","password"]]"#, r#"["domain",["name","password"]]"#),
            (r#"["domain",["cpu_time",1.50]]"#, r#"["domain",["cpu_time",1.50]]"#),
        ] {
            assert_eq!(without_passwords(json), want);
        }
    }

    #[test]
    fn a_domain_has_a_state() {
        for (json, want) in [
            (r#"["domain",["status",0]]"#, "Halted"),
            (r#"["domain",["status","2"]]"#, "Running"),
            (r#"["domain",["status",5]]"#, "Crashed"),
            (r#"["domain",["status",6]]"#, "Unknown"),
            (r#"["domain"]"#, "Halted"),
            (r#"["domain",["domid",3],["state","-b----"]]"#, "Running"),
        ] {
            assert_eq!(power_state(&domain(json).expect(json)), want);
        }
        for other in ["[]", "\"domain\"", "[\"host\"]", "{}", "[[\"domain\"]]", "nonsense"] {
            assert!(domain(other).is_none(), "{other}");
        }
    }
}
