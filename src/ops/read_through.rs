//! Records of classes that no mirror keeps, read in the caller's own session.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::arguments::Arguments;
use super::error::OpError;
use super::reach::Reach;
use crate::datamodel::{Call, Class, Type};
use crate::wire::Arg;

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
        Ok(Some(self.shown(class, value.get())))
    }

    /// The records of all objects of this class, by uuid.
    pub async fn records(&self, class: &'static Class) -> Result<Vec<(Uuid, Value)>, OpError> {
        let call = public(class, "get_all_records")?;
        self.check(call, &Arguments::default())?;
        let value = self.send(call, &call.wire_name, &Arguments::default()).await?;
        let records: BTreeMap<String, &RawValue> =
            serde_json::from_str(value.get()).unwrap_or_default();
        let shown = |record: &&RawValue| {
            let record = self.shown(class, record.get());
            let uuid = record.get("uuid").and_then(Value::as_str);
            Some((uuid.and_then(|uuid| Uuid::try_parse(uuid).ok())?, record))
        };
        let mut records: Vec<(Uuid, Value)> = records.values().filter_map(shown).collect();
        records.sort_by_key(|(uuid, _)| *uuid);
        Ok(records)
    }

    fn shown(&self, class: &Class, json: &str) -> Value {
        let json = self.mirror.represent(&Type::Record(class.id), json);
        let mut record: Map<String, Value> = serde_json::from_slice(&json).unwrap_or_default();
        record.insert("backend".to_owned(), self.mirror.name().into());
        Value::Object(record)
    }
}

fn public(class: &'static Class, name: &str) -> Result<&'static Call, OpError> {
    class.call(name).ok_or(OpError::NotSupported {
        what: format!("{}.{name}", class.name),
        why: "the Xen-API has no such call".to_owned(),
        pointer: None,
    })
}
