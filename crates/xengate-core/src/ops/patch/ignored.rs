//! What a backend takes and ignores.
//!
//! XAPI accepts some changes and does something else, or nothing (`VM.ha_always_run`,
//! `pool.local_auth_max_threads`). Which those are shows when the object is compared with what was
//! asked for.

use serde_json::{Map, Value};

use xenapi_mirror::inventory::Moment;
use xenapi_model::{Class, Type};

/// The fields of `body` that the object does not show as they were asked for. What is never shown
/// says nothing.
pub fn ignored(
    class: &'static Class,
    body: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Vec<&'static str> {
    let asked = class.fields.iter().filter_map(|field| Some((field, body.get(&field.name)?)));
    let shown = asked.filter_map(|(field, want)| Some((field, want, now.get(&field.name)?)));
    shown
        .filter(|(field, want, now)| !is_as_asked(&field.ty, want, now))
        .map(|(field, ..)| field.name.as_str())
        .collect()
}

fn is_as_asked(ty: &Type, want: &Value, now: &Value) -> bool {
    match (ty, want, now) {
        (Type::Map(_, value), Value::Object(patch), Value::Object(now)) => {
            patch.iter().all(|(key, want)| match (want, now.get(key)) {
                (Value::Null, now) => now.is_none(),
                (want, Some(now)) => is_same(value, want, now),
                (_, None) => false,
            })
        }
        (Type::Map(..), Value::Null, Value::Object(now)) => now.is_empty(),
        (Type::Set(_), Value::Null, Value::Array(now)) => now.is_empty(),
        (Type::Set(item), Value::Array(want), Value::Array(now)) => {
            let among = |one: &Value, all: &[Value]| all.iter().any(|it| is_same(item, one, it));
            want.iter().all(|one| among(one, now)) && now.iter().all(|one| among(one, want))
        }
        _ => is_same(ty, want, now),
    }
}

fn is_same(ty: &Type, want: &Value, now: &Value) -> bool {
    match (ty, want, now) {
        (Type::DateTime, Value::String(want), Value::String(now)) => {
            // XAPI knows whole seconds.
            let seconds = |text| Some(Moment::of_rfc3339(text)?.to_seconds());
            seconds(want) == seconds(now)
        }
        (Type::Ref(_), Value::String(want), Value::String(now)) => want.eq_ignore_ascii_case(now),
        (Type::Int | Type::Float, Value::Number(want), Value::Number(now)) => {
            match (want.as_i64(), now.as_i64()) {
                (Some(want), Some(now)) => want == now,
                _ => {
                    let (Some(want), Some(now)) = (want.as_f64(), now.as_f64()) else {
                        return false;
                    };
                    (want - now).abs() <= want.abs() * 1e-6
                }
            }
        }
        (Type::Option(inner), want, now) => want == now || is_same(inner, want, now),
        _ => want == now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use xenapi_model::datamodel;

    fn of(body: &Value, now: &Value) -> Vec<&'static str> {
        let class = datamodel().class("VM").expect("VM");
        let object = |value: &Value| value.as_object().cloned().expect("an object");
        ignored(class, &object(body), &object(now))
    }

    #[test]
    fn what_is_not_as_asked_is_named() {
        let now = json!({"ha_always_run": false, "name_label": "a", "tags": ["x", "y"],
            "other_config": {"kept": "1", "other": "2"}, "start_delay": 3_000_000_000_i64,
            "HVM_shadow_multiplier": 1.0, "affinity": null, "snapshot_time": "2026-11-22T07:25:54Z"});
        let as_asked = json!({"name_label": "a", "tags": ["y", "x", "y"], "affinity": null,
            "other_config": {"kept": "1", "gone": null}, "start_delay": 3e9,
            "HVM_shadow_multiplier": 1, "snapshot_time": "2026-11-22T08:25:54+01:00"});
        assert_eq!(of(&as_asked, &now), [""; 0]);
        let otherwise = json!({"ha_always_run": true, "name_label": "b", "tags": ["x"],
            "other_config": {"kept": null}, "start_delay": 4,
            "affinity": "0d3f0000-0000-4000-8000-000000000000", "user_version": 7});
        let mut named = of(&otherwise, &now);
        named.sort_unstable();
        let fields =
            ["affinity", "ha_always_run", "name_label", "other_config", "start_delay", "tags"];
        assert_eq!(named, fields);
        assert_eq!(
            of(&json!({"tags": null, "other_config": null}), &now),
            ["other_config", "tags"]
        );
    }
}
