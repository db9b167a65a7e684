//! Fields of mirrored objects, as numbers and texts.

use std::collections::BTreeMap;

use crate::harmless;
use xenapi_mirror::inventory::{Moment, Object};

fn json<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    std::str::from_utf8(object.record().field_named(object.class(), field)?).ok()
}

/// A number; nothing where there is none.
pub(super) fn number(object: &Object, field: &str) -> Option<f64> {
    json(object, field)?.parse().ok()
}

/// A size or a count that the Xen-API has as -1 where it does not know it.
pub(super) fn known(object: &Object, field: &str) -> Option<f64> {
    number(object, field).filter(|number| *number >= 0.0)
}

/// A bool as 0 or 1.
pub(super) fn flag(object: &Object, field: &str) -> Option<f64> {
    match json(object, field)? {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => None,
    }
}

/// A text that is not empty.
pub(super) fn text(object: &Object, field: &str) -> Option<String> {
    let text: String = serde_json::from_str(json(object, field)?).ok()?;
    (!text.is_empty()).then(|| harmless::cleaned(&text).into_owned())
}

/// The value under a key of a map, if it is not empty.
pub(super) fn entry(object: &Object, field: &str, key: &str) -> Option<String> {
    let mut map: BTreeMap<String, String> = serde_json::from_str(json(object, field)?).ok()?;
    let text = map.remove(key).filter(|text| !text.is_empty())?;
    Some(harmless::cleaned(&text).into_owned())
}

/// How many members a set has.
pub(super) fn size(object: &Object, field: &str) -> Option<f64> {
    let members: Vec<serde::de::IgnoredAny> = serde_json::from_str(json(object, field)?).ok()?;
    Some(members.len() as f64)
}

/// The tags in an order that does not change, with commas between them.
pub(super) fn tags(object: &Object) -> Option<String> {
    let mut tags: Vec<String> = serde_json::from_str(json(object, "tags")?).ok()?;
    tags.retain(|tag| !tag.trim().is_empty());
    tags.sort_unstable();
    tags.dedup();
    Some(tags.join(",")).filter(|tags| !tags.is_empty())
}

/// A date in seconds since 1970; nothing for the beginning of that, which stands for never.
pub(super) fn date(object: &Object, field: &str) -> Option<f64> {
    let moment = Moment::of_rfc3339(object.record().text(object.class(), field)?)?;
    Some(moment.since_1970().as_secs_f64()).filter(|since| *since > 0.0)
}
