//! What a host says of the software it runs.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use xenapi_wire::integer;

/// What a record of a host says of its software; nothing where it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSoftware {
    /// `XenServer`, `XCP-ng`, …
    pub product: Option<String>,
    /// The product's version, or else its platform's or XAPI's.
    pub version: Option<String>,
    /// The version of its Xen-API: 2 and 21.
    pub api_version: Option<(u64, u64)>,
    /// XAPI's own version: `25.6.1-3`.
    pub xapi: Option<String>,
}

impl HostSoftware {
    /// Reads a record, as the Xen-API answers it or as it is mirrored. One part that cannot be read
    /// costs none of the others.
    pub fn of_record(json: &[u8]) -> Self {
        let record: HashMap<String, &RawValue> = serde_json::from_slice(json).unwrap_or_default();
        let software: HashMap<String, &RawValue> = record
            .get("software_version")
            .and_then(|json| serde_json::from_str(json.get()).ok())
            .unwrap_or_default();
        let said = |name: &str| {
            let text = String::deserialize(*software.get(name)?).ok()?;
            (!text.is_empty()).then_some(text)
        };
        let first = |names: &[&str]| names.iter().find_map(|name| said(name));
        // XML-RPC's ints have no type and come as strings.
        let int = |name: &str| integer(record.get(name)?.get().trim_matches('"'));
        let api = int("API_version_major").zip(int("API_version_minor"));
        Self {
            product: first(&["product_brand", "platform_name"]),
            version: first(&["product_version", "platform_version", "xapi"]),
            api_version: api.and_then(|(major, minor)| {
                Some((u64::try_from(major).ok()?, u64::try_from(minor).ok()?))
            }),
            xapi: first(&["xapi_build", "xapi"]),
        }
    }

    /// The version of its Xen-API as text: `2.21`.
    pub fn api_version(&self) -> Option<String> {
        self.api_version.map(|(major, minor)| format!("{major}.{minor}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_says_as_much_as_it_knows() {
        let of = |record: serde_json::Value| HostSoftware::of_record(record.to_string().as_bytes());
        let whole = json!({"product_brand": "XCP-ng", "platform_name": "XCP",
            "product_version": "8.3.0", "platform_version": "3.4.0",
            "xapi": "25.6", "xapi_build": "25.6.1-3"});
        let want = HostSoftware {
            product: Some("XCP-ng".to_owned()),
            version: Some("8.3.0".to_owned()),
            api_version: Some((2, 21)),
            xapi: Some("25.6.1-3".to_owned()),
        };
        assert_eq!(want.api_version().as_deref(), Some("2.21"));
        for (major, minor) in [(json!(2), json!(21)), (json!("2"), json!("21"))] {
            let record = json!({"API_version_major": major, "API_version_minor": minor,
                "software_version": whole});
            assert_eq!(of(record), want);
        }
        let bare = of(json!({"API_version_major": null, "API_version_minor": 1,
            "software_version": {"product_brand": "", "product_version": 8,
                "platform_name": "XCP", "xapi": "1.9"}}));
        assert_eq!((bare.product.as_deref(), bare.version.as_deref()), (Some("XCP"), Some("1.9")));
        assert_eq!((bare.api_version, bare.xapi.as_deref()), (None, Some("1.9")));
        assert_eq!(of(json!({"software_version": []})), HostSoftware::default());
        assert_eq!(HostSoftware::of_record(b"no JSON"), HostSoftware::default());
    }
}
