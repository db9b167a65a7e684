//! What a client wants of a new VM.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{DISK, ORDER, xml};
use crate::ops::arguments::{ArgumentError, argument, below};
use crate::ops::create::default_sr;
use crate::ops::error::OpError;
use crate::ops::lookup::Lookup;
use crate::ops::patch::{self, Plan};
use xenapi_mirror::inventory::{Object, Snapshot};
use xenapi_model::{Class, Type, datamodel};

/// Where the disks stand that provisioning makes.
pub(super) const DISKS_KEY: &str = "disks";

/// More disks or NICs than any VM can have.
const MOST_DEVICES: usize = 255;

/// What a client wants of a new VM, each uuid known to name something.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) template: Template,
    pub(super) name_label: String,
    /// Where all disks are copied to.
    pub(super) sr: Option<Uuid>,
    /// Where disks are made for which neither the client nor the template names an SR.
    pub(super) otherwise: Option<Uuid>,
    pub(super) networks: Vec<Uuid>,
    pub(super) disks: Vec<NewDisk>,
    pub(super) start: bool,
    /// The VM's fields.
    pub(super) fields: Map<String, Value>,
    /// Which of them follow from another.
    follows: BTreeMap<&'static str, &'static str>,
}

/// What a VM is made from.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) uuid: Uuid,
    pub(super) reference: Arc<str>,
    pub(super) record: Map<String, Value>,
    /// The disks that are its own, and stay.
    pub(super) vdis: HashSet<Uuid>,
}

impl Template {
    /// The disks that provisioning makes, in XML, if there are any.
    fn disks(&self) -> Option<&str> {
        disks_ordered(&self.record)
    }
}

/// The disks that provisioning a VM would make, in XML, by its record.
pub(super) fn disks_ordered(record: &Map<String, Value>) -> Option<&str> {
    record.get("other_config")?.get(DISKS_KEY)?.as_str()
}

/// A disk for the VM.
#[derive(Debug)]
pub(super) struct NewDisk {
    pub(super) sr: Uuid,
    pub(super) virtual_size: i64,
    pub(super) name_label: Option<String>,
    pub(super) name_description: String,
    pub(super) bootable: Option<bool>,
}

impl Order {
    pub(super) fn read(snapshot: &Snapshot, body: &Map<String, Value>) -> Result<Self, OpError> {
        let reader = Reader { snapshot };
        let template = match body.get("template") {
            Some(json) => reader.template(json)?,
            None => return Err(missing("/template")),
        };
        let name_label = match body.get("name_label") {
            Some(json) => reader.text(json, "/name_label")?,
            None => return Err(missing("/name_label")),
        };
        let sr = match body.get("sr") {
            None | Some(Value::Null) => None,
            Some(json) => Some(reader.uuid("SR", json, "/sr")?),
        };
        let otherwise = match sr {
            Some(_) => None,
            None => reader.otherwise(&template)?,
        };
        let network = |(json, pointer): (&Value, String)| reader.uuid("network", json, &pointer);
        let disk = |(json, pointer): (&Value, String)| reader.disk(json, &pointer, sr);
        let start = match body.get("start") {
            None => false,
            Some(Value::Bool(start)) => *start,
            Some(_) => return Err(wrong("/start", "must be true or false")),
        };
        let mut fields = body.clone();
        // Its name a VM gets with the copy.
        fields.retain(|name, _| name != "name_label" && !ORDER.contains(&name.as_str()));
        let follows = spread(&mut fields, &template.record);
        Ok(Self {
            networks: items(body, "networks")?.map(network).collect::<Result<_, _>>()?,
            disks: items(body, "disks")?.map(disk).collect::<Result<_, _>>()?,
            template,
            name_label,
            sr,
            otherwise,
            start,
            fields,
            follows,
        })
    }

    /// How the fields of a VM, as it is now, become those that were ordered.
    pub(super) fn plan(
        &self,
        (reference, record): (&Arc<str>, &Map<String, Value>),
        refs: &dyn Lookup,
    ) -> Result<Plan, OpError> {
        patch::plan(class("VM"), record, reference, &self.fields, refs)
            .map_err(|error| self.as_given(error))
    }

    /// The same error, pointing to what the client gave rather than to what follows from that.
    pub(super) fn as_given(&self, error: OpError) -> OpError {
        error.pointing(|pointer| {
            let mut given = pointer.to_owned();
            while let Some(from) = given.strip_prefix('/').and_then(|n| self.follows.get(n)) {
                given = format!("/{from}");
            }
            given
        })
    }

    /// The calls it takes, patch aside, those included that would take it back.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        let mut calls = vec![if self.sr.is_some() { "VM.copy" } else { "VM.clone" }];
        calls.extend(["VM.provision", "VM.destroy"]);
        if !self.disks.is_empty() {
            calls.extend(["VDI.create", "VBD.create", "VDI.destroy"]);
        }
        if !self.networks.is_empty() {
            calls.push("VIF.create");
        }
        if self.start {
            calls.push("VM.start");
        }
        calls
    }
}

/// One amount of memory means just that, and a new maximum of VCPUs as many of them: a template's
/// other limits, which nobody named, give way.
///
/// Says which fields were added, and which they follow.
pub(super) fn spread(
    fields: &mut Map<String, Value>,
    template: &Map<String, Value>,
) -> BTreeMap<&'static str, &'static str> {
    let mut follows = BTreeMap::new();
    let number = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_i64);
    let mut follow = |name: &'static str, from: &'static str, adjust: fn(i64, i64) -> i64| {
        if !fields.contains_key(name)
            && let Some(value) = number(fields, from)
        {
            let value = number(template, name).map_or(value, |old| adjust(old, value));
            fields.insert(name.to_owned(), value.into());
            follows.insert(name, from);
        }
    };
    let same: fn(i64, i64) -> i64 = |_, new| new;
    follow("memory_dynamic_max", "memory_static_max", same);
    follow("memory_static_max", "memory_dynamic_max", i64::max);
    follow("memory_dynamic_min", "memory_dynamic_max", same);
    follow("memory_static_min", "memory_dynamic_min", i64::min);
    follow("VCPUs_at_startup", "VCPUs_max", same);
    follow("VCPUs_max", "VCPUs_at_startup", i64::max);
    follows
}

pub(super) fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("flows name classes of the datamodel")
}

fn missing(pointer: &str) -> OpError {
    wrong(pointer, "is missing and has no default")
}

fn wrong(pointer: &str, what: &str) -> OpError {
    ArgumentError::new(pointer, what).into()
}

/// The items of a list, each with its pointer.
fn items<'a>(
    body: &'a Map<String, Value>,
    name: &'static str,
) -> Result<impl Iterator<Item = (&'a Value, String)>, OpError> {
    let pointer = below("", name);
    let items = match body.get(name) {
        None => &[][..],
        Some(Value::Array(items)) if items.len() <= MOST_DEVICES => items,
        Some(Value::Array(_)) => return Err(wrong(&pointer, "are more than any VM can have")),
        Some(_) => return Err(wrong(&pointer, "must be an array")),
    };
    Ok(items.iter().enumerate().map(move |(index, item)| (item, format!("{pointer}/{index}"))))
}

struct Reader<'a> {
    snapshot: &'a Snapshot,
}

impl Reader<'_> {
    fn object(&self, name: &str, json: &Value, pointer: &str) -> Result<&Arc<Object>, OpError> {
        let class = class(name);
        // Says what is wrong with it, if anything is.
        argument(&Type::Ref(class.id), json, pointer, self.snapshot)?;
        let uuid = json.as_str().and_then(|text| Uuid::try_parse(text).ok());
        let object = uuid.and_then(|uuid| self.snapshot.object(class.id, &uuid));
        object.ok_or_else(|| wrong(pointer, "must not be null"))
    }

    fn uuid(&self, class: &str, json: &Value, pointer: &str) -> Result<Uuid, OpError> {
        self.object(class, json, pointer).map(|object| object.uuid())
    }

    fn text(&self, json: &Value, pointer: &str) -> Result<String, OpError> {
        let text = json.as_str().map(str::to_owned);
        text.ok_or_else(|| wrong(pointer, "must be a string"))
    }

    fn template(&self, json: &Value) -> Result<Template, OpError> {
        let object = self.object("VM", json, "/template")?;
        if !object.record().is_true(class("VM"), "is_a_template") {
            return Err(wrong("/template", "is neither a template nor a snapshot"));
        }
        let record: Map<String, Value> =
            serde_json::from_slice(object.record().json()).unwrap_or_default();
        let vbds = record.get("VBDs").and_then(Value::as_array).into_iter().flatten();
        let vdi = |vbd: &Value| {
            let vbd = Uuid::try_parse(vbd.as_str()?).ok()?;
            self.snapshot.object(class("VBD").id, &vbd)?.record().uuid(class("VBD"), "VDI")
        };
        let vdis = vbds.filter_map(vdi).collect();
        let (uuid, reference) = (object.uuid(), object.reference().clone());
        Ok(Template { uuid, reference, vdis, record })
    }

    /// Where disks of the template are made that name no SR, if there are any.
    fn otherwise(&self, template: &Template) -> Result<Option<Uuid>, OpError> {
        let mut unplaced = false;
        for sr in template.disks().map(xml::srs).unwrap_or_default() {
            let Some(sr) = sr else {
                unplaced = true;
                continue;
            };
            let sr = Uuid::try_parse(&sr).ok();
            if sr.is_none_or(|sr| self.snapshot.object(class("SR").id, &sr).is_none()) {
                let what = "orders a disk on an SR that is not there; say another one as sr";
                return Err(wrong("/template", what));
            }
        }
        match default_sr(self.snapshot) {
            Some(sr) => Ok(unplaced.then_some(sr)),
            None if unplaced => Err(wrong(
                "/sr",
                "is missing: the template names no SR for its disks, and the pool has no default SR",
            )),
            None => Ok(None),
        }
    }

    fn disk(&self, json: &Value, pointer: &str, sr: Option<Uuid>) -> Result<NewDisk, OpError> {
        let Value::Object(disk) = json else { return Err(wrong(pointer, "must be an object")) };
        if let Some(name) = disk.keys().find(|name| !DISK.contains(&name.as_str())) {
            let what = format!("no member of a disk; those are {}", DISK.join(", "));
            return Err(wrong(&below(pointer, name), &what));
        }
        let at = |name: &str| below(pointer, name);
        let virtual_size = match disk.get("virtual_size").map(Value::as_i64) {
            Some(Some(size)) if size > 0 => size,
            Some(_) => return Err(wrong(&at("virtual_size"), "must be a positive integer")),
            None => return Err(missing(&at("virtual_size"))),
        };
        let sr = match disk.get("sr") {
            Some(json) => self.uuid("SR", json, &at("sr"))?,
            None => match sr.or_else(|| default_sr(self.snapshot)) {
                Some(sr) => sr,
                None => return Err(wrong(&at("sr"), "is missing, and the pool has no default SR")),
            },
        };
        let text = |name: &str| disk.get(name).map(|json| self.text(json, &at(name))).transpose();
        let bootable = match disk.get("bootable") {
            None => None,
            Some(Value::Bool(bootable)) => Some(*bootable),
            Some(_) => return Err(wrong(&at("bootable"), "must be true or false")),
        };
        Ok(NewDisk {
            sr,
            virtual_size,
            name_label: text("name_label")?,
            name_description: text("name_description")?.unwrap_or_default(),
            bootable,
        })
    }
}
