//! Records of classes that no mirror keeps, read in the caller's own session.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::arguments::Arguments;
use super::error::OpError;
use super::reach::Reach;
use super::typed;
use xenapi_model::{Call, Class, Type};
use xenapi_wire::Arg;

impl Reach {
    /// The record of the object of this class and uuid, if there is one.
    pub async fn record(
        &self,
        class: &'static Class,
        uuid: Uuid,
    ) -> Result<Option<Value>, OpError> {
        let call = public(class, "get_record")?;
        self.check(call, &Arguments::default())?;
        let Some(reference) = self.find(class, uuid).await? else { return Ok(None) };
        let arguments = vec![Arg::from(&*reference)].into();
        let value = self.send(call, &call.wire_name, &arguments).await?;
        let uuids = match names(class) {
            // XAPI's roles never change, and are called by their uuids.
            Some(others) if others.id == class.id && by_uuid(&reference) == Some(uuid) => None,
            Some(others) => Some(typed::uuids_of(self, others).await?),
            None => None,
        };
        let find = |name: &str| match &uuids {
            Some(uuids) => uuids.get(name).copied(),
            None => by_uuid(name).filter(|_| names(class).is_some()),
        };
        Ok(Some(self.shown(class, value.get(), &find)))
    }

    /// The records of all objects of this class, by uuid.
    pub async fn records(&self, class: &'static Class) -> Result<Vec<(Uuid, Value)>, OpError> {
        let call = public(class, "get_all_records")?;
        self.check(call, &Arguments::default())?;
        let value = self.send(call, &call.wire_name, &Arguments::default()).await?;
        let records: BTreeMap<String, &RawValue> =
            serde_json::from_str(value.get()).unwrap_or_default();
        // What they name of their own class stands here as well.
        let is_own = names(class).is_some_and(|others| others.id == class.id);
        let uuids: HashMap<&str, Uuid> = match is_own {
            true => {
                records.iter().filter_map(|(name, json)| Some((&**name, uuid_in(json)?))).collect()
            }
            false => HashMap::new(),
        };
        let find = |name: &str| uuids.get(name).copied();
        let shown = |record: &&RawValue| {
            let record = self.shown(class, record.get(), &find);
            let uuid = record.get("uuid").and_then(Value::as_str);
            Some((uuid.and_then(|uuid| Uuid::try_parse(uuid).ok())?, record))
        };
        let mut records: Vec<(Uuid, Value)> = records.values().filter_map(shown).collect();
        records.sort_by_key(|(uuid, _)| *uuid);
        Ok(records)
    }

    fn shown(&self, class: &Class, json: &str, find: &dyn Fn(&str) -> Option<Uuid>) -> Value {
        let json = self.mirror.represent_with(&Type::Record(class.id), json, find);
        let mut record: Map<String, Value> = serde_json::from_slice(&json).unwrap_or_default();
        record.insert("backend".to_owned(), self.mirror.name().into());
        Value::Object(record)
    }
}

/// The class that is not mirrored either and that objects of this one name.
fn names(class: &Class) -> Option<&'static Class> {
    class.fields.iter().find_map(|field| typed::unmirrored(&field.ty))
}

/// The uuid in a ref that is made of one.
fn by_uuid(reference: &str) -> Option<Uuid> {
    reference.strip_prefix("OpaqueRef:").and_then(|uuid| Uuid::try_parse(uuid).ok())
}

fn uuid_in(record: &RawValue) -> Option<Uuid> {
    #[derive(serde::Deserialize)]
    struct WithUuid {
        uuid: Uuid,
    }
    serde_json::from_str::<WithUuid>(record.get()).ok().map(|record| record.uuid)
}

fn public(class: &'static Class, name: &str) -> Result<&'static Call, OpError> {
    class.call(name).ok_or(OpError::NotSupported {
        what: format!("{}.{name}", class.name),
        why: "the Xen-API has no such call".to_owned(),
        pointer: None,
    })
}
