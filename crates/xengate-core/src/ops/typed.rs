//! Results of calls, as clients see them: typed, with uuids for refs.

use std::collections::HashMap;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::arguments::NULL_REF;
use super::error::OpError;
use super::reach::{Reach, Settled, Touched};
use xenapi_client::{BadReply, CallError, Fault, Retry, Value};
use xenapi_mirror::inventory::{Mirror, is_mirrored};
use xenapi_model::{Call, Class, Type, datamodel};
use xenapi_wire::{Limits, xmlrpc};

const REF: &str = "OpaqueRef:";

/// The result of a call of this type.
///
/// A call may return something that it has just made: the mirror is given a moment to learn of it.
pub(super) async fn shown(
    reach: &Reach,
    call: &Call,
    ty: &Type,
    value: &Value,
) -> Result<Vec<u8>, OpError> {
    let json = reach.session.taken_out_of(value.get());
    if call.returns_local_time() {
        return Ok(reach.mirror.represent_local(ty, &json));
    }
    if let Type::Ref(id) = ty
        && let class = datamodel().get(*id)
        && !is_mirrored(class)
    {
        let reference = reference(value)?;
        let uuid = reach.uuid_of(class, &reference).await?;
        return Ok(reach.mirror.represent_with(ty, &json, &|_| Some(uuid)));
    }
    if let Some(class) = unmirrored(ty) {
        let uuids = uuids_of(reach, class).await?;
        let find = |name: &str| uuids.get(name).copied();
        return Ok(reach.mirror.represent_with(ty, &json, &find));
    }
    if let Type::Ref(id) = ty {
        return of_new(reach, (ty, datamodel().get(*id)), value, &json).await;
    }
    if ty.holds_refs()
        && refs_in(&json).any(|name| reach.mirror.resolve(name).is_none())
        && reach.settle(Touched::Elsewhere).await == Settled::Pending
    {
        tracing::debug!(backend = reach.mirror.name(), "a result names what is not mirrored yet");
    }
    Ok(reach.mirror.represent(ty, &json))
}

/// A result that is the ref of an object that may have just been made.
async fn of_new(
    reach: &Reach,
    (ty, class): (&Type, &Class),
    value: &Value,
    json: &str,
) -> Result<Vec<u8>, OpError> {
    let reference = reference(value)?;
    let is_known = || !names_something(&reference) || reach.mirror.resolve(&reference).is_some();
    if is_known() || reach.settle(Touched::Elsewhere).await == Settled::Seen && is_known() {
        return Ok(reach.mirror.represent(ty, json));
    }
    // The mirror lags behind, so the backend is asked.
    let uuid = reach.uuid_of(class, &reference).await?;
    Ok(reach.mirror.represent_with(ty, json, &|_| Some(uuid)))
}

/// The result of a task that made this call. `text` is XAPI's `<value>…</value>`, in which the
/// mirror has put uuids for refs. Of a call that is not known it is shown as what it looks like.
pub(super) fn of_task(mirror: &Mirror, call: Option<&Call>, text: &str) -> serde_json::Value {
    let shown = || {
        // The transcoder reads whole replies, so the value is made one.
        let reply =
            format!("<methodResponse><params><param>{text}</param></params></methodResponse>");
        let json = xmlrpc::to_json(reply.as_bytes(), Limits::default()).ok()?;
        let Some(call) = call else { return serde_json::from_slice(&json).ok() };
        let json = String::from_utf8(json).ok()?;
        let find = |name: &str| Uuid::try_parse(name).ok();
        let shown = mirror.represent_with(call.result.as_ref()?, &json, &find);
        serde_json::from_slice(&shown).ok()
    };
    match shown() {
        Some(shown) => shown,
        None if call.is_none() && !text.is_empty() => text.into(),
        None => serde_json::Value::Null,
    }
}

/// Whether a ref is not the null ref.
pub(super) fn names_something(reference: &str) -> bool {
    !reference.is_empty() && reference != NULL_REF
}

/// Whether a text is a ref and nothing else.
pub(super) fn is_ref(text: &str) -> bool {
    text.strip_prefix(REF)
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

/// A result that is a ref.
pub(super) fn reference(value: &Value) -> Result<String, OpError> {
    let reference = serde_json::from_str::<String>(value.get()).ok();
    reference.filter(|text| !text.is_empty()).ok_or_else(|| unfit("a ref was expected", value))
}

/// A result that is a uuid.
pub(super) fn uuid(value: &Value) -> Result<Uuid, OpError> {
    let text = serde_json::from_str::<String>(value.get()).ok();
    text.and_then(|text| Uuid::try_parse(&text).ok())
        .ok_or_else(|| unfit("a uuid was expected", value))
}

/// A result that is something serde reads.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(value: &'a Value) -> Result<T, OpError> {
    serde_json::from_str(value.get()).map_err(|_| unfit("the result is of another type", value))
}

fn unfit(what: &'static str, value: &Value) -> OpError {
    let read = value.get().len() as u64;
    CallError::from(BadReply { status: Some(200), fault: Fault::Unfit(what), read }).into()
}

/// The refs in a JSON text, null refs aside.
fn refs_in(json: &str) -> impl Iterator<Item = &str> {
    json.match_indices(REF)
        .map(|(at, _)| {
            let rest = &json[at..];
            let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
            &rest[..rest.find(|c| !inner(c)).unwrap_or(rest.len())]
        })
        .filter(|name| names_something(name))
}

/// A class of the database that a value's refs name and that is not mirrored.
pub(super) fn unmirrored(ty: &Type) -> Option<&'static Class> {
    match ty {
        Type::Ref(id) => Some(datamodel().get(*id)).filter(|class| !is_mirrored(class)),
        Type::Set(inner) | Type::Option(inner) => unmirrored(inner),
        Type::Map(key, value) => unmirrored(key).or_else(|| unmirrored(value)),
        _ => None,
    }
}

/// The uuids of all objects of a class that is not mirrored, by ref.
pub(super) async fn uuids_of(
    reach: &Reach,
    class: &Class,
) -> Result<HashMap<String, Uuid>, OpError> {
    #[derive(serde::Deserialize)]
    struct WithUuid {
        uuid: Uuid,
    }
    let Some(call) = class.call("get_all_records") else { return Ok(HashMap::new()) };
    let backend = reach.mirror.backend();
    let value = backend.call(&reach.session, &call.wire_name, &[], Retry::Read).await?;
    let records: HashMap<String, &RawValue> = read(&value)?;
    // One record that cannot be read costs the others nothing.
    let uuid = |record: &RawValue| serde_json::from_str::<WithUuid>(record.get()).ok();
    let read = records.into_iter().filter_map(|(name, record)| Some((name, uuid(record)?.uuid)));
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_found_wherever_they_stand() {
        let json = r#"["OpaqueRef:a-1",{"OpaqueRef:b":"OpaqueRef:NULL"},"x OpaqueRef:c"]"#;
        assert_eq!(
            refs_in(json).collect::<Vec<_>>(),
            ["OpaqueRef:a-1", "OpaqueRef:b", "OpaqueRef:c"]
        );
        assert_eq!(refs_in("[]").count(), 0);
    }

    #[test]
    fn roles_are_what_calls_name_and_the_mirror_lacks() {
        let mut classes: Vec<&str> = Vec::new();
        for call in datamodel().classes.iter().flat_map(|class| &class.calls) {
            let visible = !call.hidden && call.kind == xenapi_model::CallKind::Custom;
            let class = call.result.as_ref().filter(|_| visible).and_then(unmirrored);
            classes.extend(class.map(|class| class.name.as_str()));
        }
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes, ["role", "session"], "sessions are never a result: see actions");
    }
}
