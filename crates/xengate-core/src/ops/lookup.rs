//! Which ref a uuid stands for.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::OpError;
use super::reach::Reach;
use super::typed;
use xenapi_client::Retry;
use xenapi_mirror::inventory::{Snapshot, is_mirrored};
use xenapi_model::{Call, CallKind, Class, ClassId, Type, datamodel};
use xenapi_wire::Arg;

/// How many objects of classes that are not mirrored a body may name.
const MOST_ASKED: usize = 64;

/// Finds the refs of objects of one backend.
pub trait Lookup {
    /// The ref of the object of this class and uuid, if there is one.
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>>;

    /// Whether VMs there have one number of VCPUs, which is both the most there may be and how many
    /// there are at startup.
    fn has_one_count_of_vcpus(&self) -> bool {
        false
    }
}

impl Lookup for Snapshot {
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>> {
        Some(self.object(class, &uuid)?.reference().clone())
    }
}

/// What is mirrored of a backend, and what it was asked for beside.
#[derive(Debug, Clone)]
pub struct Known {
    snapshot: Arc<Snapshot>,
    asked: HashMap<(ClassId, Uuid), Arc<str>>,
    /// A ref is the uuid there, whether or not it is known what it names.
    is_polled: bool,
}

impl Lookup for Known {
    fn reference(&self, class: ClassId, uuid: Uuid) -> Option<Arc<str>> {
        match self.asked.get(&(class, uuid)) {
            Some(reference) => Some(reference.clone()),
            None => {
                let known = self.snapshot.reference(class, uuid);
                let is_read = !self.is_polled || datamodel().get(class).name == "VM";
                known.or_else(|| (!is_read).then(|| uuid.to_string().into()))
            }
        }
    }

    fn has_one_count_of_vcpus(&self) -> bool {
        self.is_polled
    }
}

impl Known {
    /// Knows what is mirrored, and nothing else.
    pub(super) fn mirrored(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, asked: HashMap::new(), is_polled: false }
    }

    /// The objects of the backend.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

impl Reach {
    /// Knows what is mirrored of the backend.
    pub fn lookup(&self) -> Result<Known, OpError> {
        let is_polled = self.mirror.is_polled();
        Ok(Known { is_polled, ..Known::mirrored(self.snapshot()?) })
    }

    /// Knows the refs of all that a body may name as the parameters of `call`, which the caller may
    /// make. What is not mirrored (roles, say) is asked for.
    pub async fn known(
        &self,
        call: &Call,
        body: Option<&Map<String, Value>>,
    ) -> Result<Known, OpError> {
        self.admits(call)?;
        let mut known = self.lookup()?;
        for (class, uuid) in body.map(|body| named(call, body)).unwrap_or_default() {
            if let Some(reference) = read_through(self, datamodel().get(class), uuid).await? {
                known.asked.insert((class, uuid), reference);
            }
        }
        Ok(known)
    }
}

/// The ref of an object of a class that is not mirrored.
pub(super) async fn read_through(
    reach: &Reach,
    class: &Class,
    uuid: Uuid,
) -> Result<Option<Arc<str>>, OpError> {
    let Some(call) = class.call("get_by_uuid") else { return Ok(None) };
    let args = [Arg::from(uuid.to_string())];
    let backend = reach.mirror.backend();
    match backend.call(&reach.session, &call.wire_name, &args, Retry::Read).await {
        Ok(value) => Ok(Some(typed::reference(&value)?.into())),
        Err(error) => match OpError::from(error) {
            error if error.code() == Some("UUID_INVALID") => Ok(None),
            error => Err(error),
        },
    }
}

/// The objects of classes that are not mirrored which a body names.
fn named(call: &Call, body: &Map<String, Value>) -> Vec<(ClassId, Uuid)> {
    let mut found = Vec::new();
    match (call.kind, call.params.first().map(|param| &param.ty)) {
        (CallKind::Create, Some(Type::Record(class))) => {
            let class = datamodel().get(*class);
            for (name, json) in body {
                if let Some(field) = class.field(name) {
                    collect(&field.ty, json, &mut found);
                }
            }
        }
        _ => {
            for param in &call.params {
                if let Some(json) = body.get(&param.name) {
                    collect(&param.ty, json, &mut found);
                }
            }
        }
    }
    found
}

fn collect(ty: &Type, json: &Value, found: &mut Vec<(ClassId, Uuid)>) {
    let mut add = |class: ClassId, text: &str| {
        let uuid = Uuid::try_parse(text).ok().filter(|_| !is_mirrored(datamodel().get(class)));
        if let Some(uuid) = uuid
            && found.len() < MOST_ASKED
            && !found.contains(&(class, uuid))
        {
            found.push((class, uuid));
        }
    };
    match (ty, json) {
        (Type::Ref(class), Value::String(text)) => add(*class, text),
        (Type::Set(inner), Value::Array(items)) => {
            items.iter().for_each(|item| collect(inner, item, found));
        }
        (Type::Map(key, value), Value::Object(members)) => {
            for (name, member) in members {
                if let Type::Ref(class) = **key
                    && let Ok(uuid) = Uuid::try_parse(name)
                    && !is_mirrored(datamodel().get(class))
                    && found.len() < MOST_ASKED
                {
                    found.push((class, uuid));
                }
                collect(value, member, found);
            }
        }
        (Type::Option(inner), json) => collect(inner, json, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_not_mirrored_is_asked_for() {
        let uuid = Uuid::from_u128(7);
        let body = json!({"role": uuid, "host": uuid});
        let of = |wire_name: &str| {
            named(datamodel().call(wire_name).expect("a call").1, body.as_object().expect("one"))
        };
        let role = datamodel().class("role").expect("a class").id;
        assert_eq!(of("subject.add_to_roles"), [(role, uuid)]);
        assert!(of("VM.pool_migrate").is_empty(), "hosts are mirrored");
        let many: Vec<_> = (0..100).map(Uuid::from_u128).collect();
        let mut found = Vec::new();
        collect(&Type::Set(Box::new(Type::Ref(role))), &json!(many), &mut found);
        assert_eq!(found.len(), MOST_ASKED);
    }
}
