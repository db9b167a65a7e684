//! Which fields make the columns of a table when the client does not say.

use xenapi_model::{Class, is_secret_field};

/// What eyes look for first, class by class. `name_label` and `uuid` go before these.
const FOR_EYES: &[(&str, &[&str])] = &[
    ("VM", &["power_state", "memory_static_max", "VCPUs_max", "is_control_domain"]),
    ("VM_metrics", &["memory_actual", "VCPUs_number", "start_time"]),
    ("VM_guest_metrics", &["os_version", "networks", "live"]),
    ("host", &["hostname", "address", "enabled"]),
    ("host_metrics", &["memory_total", "memory_free", "live"]),
    ("pool", &["master", "default_SR", "ha_enabled"]),
    ("SR", &["type", "physical_size", "physical_utilisation", "shared"]),
    ("VDI", &["type", "virtual_size", "physical_utilisation", "SR"]),
    ("VBD", &["VM", "VDI", "userdevice", "type", "currently_attached"]),
    ("PBD", &["host", "SR", "currently_attached"]),
    ("network", &["bridge", "MTU"]),
    ("VIF", &["VM", "network", "device", "MAC", "currently_attached"]),
    ("PIF", &["host", "network", "device", "MAC", "IP"]),
    ("console", &["protocol", "VM"]),
    ("task", &["status", "progress", "created"]),
    ("message", &["name", "priority", "cls", "timestamp"]),
    ("host_cpu", &["host", "number", "modelname", "utilisation"]),
    ("PCI", &["host", "class_name", "vendor_name", "device_name"]),
    ("subject", &["subject_identifier", "other_config"]),
];

/// The columns that eyes want.
pub(super) fn for_eyes(class: &Class) -> Vec<&str> {
    let own = FOR_EYES.iter().find(|(name, _)| *name == class.name);
    let more = own.map_or(&["type", "status", "name_description"][..], |(_, fields)| fields);
    let wanted = ["name_label", "uuid"].iter().chain(more);
    wanted.copied().filter(|name| class.field(name).is_some()).collect()
}

/// Every column: the fields that records of the class may have.
pub(super) fn all(class: &Class) -> impl Iterator<Item = &str> {
    let fields = class.fields.iter();
    let names = fields
        .map(|field| field.name.as_str())
        .filter(|name| *name != "uuid" && !is_secret_field(&class.name, name));
    ["uuid", "backend"].into_iter().chain(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::datamodel;

    #[test]
    fn every_column_is_a_field() {
        for (name, fields) in FOR_EYES {
            let class = datamodel().class(name).expect("a class");
            for field in *fields {
                assert!(class.field(field).is_some(), "{name}.{field}");
            }
        }
        for class in &datamodel().classes {
            assert!(class.field("uuid").is_none() || for_eyes(class).contains(&"uuid"));
            assert!(
                all(class)
                    .all(|name| name == "backend" || name == "uuid" || class.field(name).is_some())
            );
        }
    }
}
