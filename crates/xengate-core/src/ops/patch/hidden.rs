//! Maps some of whose values are hidden from those who read them.
//!
//! Whoever reads such a map, changes something and gives it back gives back what stands for the
//! hidden values, and these must stay what they are: in what is set as a whole, too, and in what is
//! put back when something fails.

use serde_json::{Map, Value};

use crate::ops::arguments::{ArgumentError, below};
use crate::ops::error::OpError;
use crate::ops::reach::Reach;
use xenapi_client::Retry;
use xenapi_model::{Class, HIDDEN, Type, is_hidden_key};
use xenapi_wire::Arg;

impl Reach {
    /// A record and a patch of it: in the maps that the patch is about, the record has what is
    /// hidden as the backend has it, and the patch nothing that stands for it.
    pub async fn revealed(
        &self,
        class: &Class,
        reference: &str,
        mut current: Map<String, Value>,
        mut body: Map<String, Value>,
    ) -> Result<(Map<String, Value>, Map<String, Value>), OpError> {
        for (name, given) in &mut body {
            let Some(field) = class.field(name) else { continue };
            let (Type::Map(..), Some(Value::Object(map))) = (&field.ty, current.get_mut(name))
            else {
                continue;
            };
            keep_hidden(&below("", name), given, map)?;
            let hidden = map.iter().any(|(key, value)| is_hidden(key, value));
            let Some(getter) = class.call(&format!("get_{name}")).filter(|_| hidden) else {
                continue;
            };
            let args = [Arg::from(reference)];
            let backend = self.mirror.backend();
            let value = backend.call(&self.session, &getter.wire_name, &args, Retry::Read).await?;
            let real: Map<String, Value> = serde_json::from_str(value.get()).unwrap_or_default();
            for (key, shown) in map.iter_mut().filter(|(key, value)| is_hidden(key, value)) {
                if let Some(Value::String(text)) = real.get(key) {
                    *shown = text.as_str().into();
                }
            }
        }
        Ok((current, body))
    }
}

fn is_hidden(key: &str, value: &Value) -> bool {
    value == HIDDEN && is_hidden_key(key)
}

/// Takes out of the patch of a map what stands for values that are there.
fn keep_hidden(
    pointer: &str,
    patch: &mut Value,
    map: &Map<String, Value>,
) -> Result<(), ArgumentError> {
    let Value::Object(patch) = patch else { return Ok(()) };
    let lost = patch.iter().find(|(key, value)| is_hidden(key, value) && !map.contains_key(*key));
    if let Some((key, _)) = lost {
        return Err(still_hidden(&below(pointer, key)));
    }
    patch.retain(|key, value| !is_hidden(key, value));
    Ok(())
}

/// What stands for a hidden value is none.
pub(in crate::ops) fn still_hidden(pointer: &str) -> ArgumentError {
    ArgumentError::new(
        pointer,
        "stands for a value that is hidden: give the value, or leave it out",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_given_back_stays_and_what_is_new_is_set() {
        let map = json!({"vncpasswd": "***", "vnc": "1"});
        let map = map.as_object().expect("a map");
        let mut patch = json!({"vncpasswd": "***", "vnc": "2"});
        keep_hidden("/other_config", &mut patch, map).expect("it is there");
        assert_eq!(patch, json!({"vnc": "2"}));
        let mut patch = json!({"vncpasswd": "new", "stars": "***", "gone_passwd": null});
        let before = patch.clone();
        keep_hidden("/other_config", &mut patch, map).expect("nothing hidden");
        assert_eq!(patch, before);
        let mut patch = json!({"password": "***"});
        let error = keep_hidden("/other_config", &mut patch, map).expect_err("nobody knows it");
        assert_eq!(error.pointer, "/other_config/password");
        keep_hidden("/other_config", &mut Value::Null, map).expect("all of it goes");
    }
}
