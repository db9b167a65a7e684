//! Filters and fields on a few objects.

use uuid::Uuid;

use super::testing::{class, snapshot};
use super::{Fields, Filter, QueryError};
use crate::inventory::{Object, Snapshot};

const WEB: &str = r#""name_label":"web-1","power_state":"Running","memory_static_max":"4294967296",
    "is_a_template":false,"tags":["prod","a\"b"],"other_config":{"owner":"ann","a.b c":"1","é\n":"x"},
    "VCPUs_params":{},"start_time":"20260301T10:00:00Z","metrics":"OpaqueRef:VM_metrics/11",
    "VBDs":["OpaqueRef:VBD/21","OpaqueRef:VBD/22"],"resident_on":"OpaqueRef:host/31",
    "snapshot_time":"20260131T23:59:59Z","user_version":"-1","domid":"5""#;
const DB: &str = r#""name_label":"db \"é\"","power_state":"Halted","memory_static_max":"1073741824",
    "is_a_template":true,"tags":[],"other_config":{},"metrics":"OpaqueRef:NULL","VBDs":[],
    "resident_on":"OpaqueRef:NULL","snapshot_time":"19700101T00:00:00Z","user_version":"1""#;

fn pool() -> Snapshot {
    snapshot(&[
        ("VM", 1, WEB),
        ("VM", 2, DB),
        (
            "VM_metrics",
            11,
            r#""start_time":"20260301T10:00:00Z","memory_actual":"7","VCPUs_utilisation":{"0":0.5}"#,
        ),
        ("VBD", 21, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:VDI/41","mode":"RW""#),
        ("VBD", 22, r#""VM":"OpaqueRef:VM/1","VDI":"OpaqueRef:NULL","mode":"RO""#),
        ("VDI", 41, r#""name_label":"root","virtual_size":"100","SR":"OpaqueRef:SR/51""#),
        ("SR", 51, r#""name_label":"Local""#),
        ("host", 31, r#""name_label":"h1","resident_VMs":["OpaqueRef:VM/1"]"#),
    ])
}

/// The numbers of the VMs that a filter lets through.
#[track_caller]
fn filtered(pool: &Snapshot, text: &str) -> Vec<u128> {
    let filter =
        Filter::parse(text, &[class("VM")]).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = Filter::parse(&filter.to_string(), &[class("VM")]).expect("its own text");
    let matching = |filter: &Filter| {
        let vms = pool.class(class("VM").id).iter();
        vms.filter(|vm| filter.matches(pool, vm)).map(|vm| vm.uuid().as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(matching(&filter), matching(&again), "{text}");
    matching(&filter)
}

#[test]
fn fields_are_compared_by_their_types() {
    let pool = pool();
    let web: &[u128] = &[1];
    let db: &[u128] = &[2];
    for (text, want) in [
        ("power_state = Running", web),
        ("power_state != Running", db),
        ("power_state in (Halted, \"Never heard of\")", db),
        ("power_state ~ R*", web),
        ("name_label ~ \"web-*\"", web),
        ("name_label !~ web-?", db),
        ("name_label = \"db \\\"é\\\"\"", db),
        ("name_label > m", web),
        ("memory_static_max >= 4GiB", web),
        ("memory_static_max<4GiB", db),
        ("memory_static_max in (1GiB, 2GiB)", db),
        ("user_version < 0", web),
        ("is_a_template", db),
        ("not is_a_template", web),
        ("is_a_template = false", web),
        ("is_a_template != false", db),
        ("uuid = \"00000000-0000-0000-0000-000000000001\"", web),
        ("backend = lab and uuid ~ *2", db),
        ("snapshot_time = 2026-01-31", web),
        ("snapshot_time > 2026-01-30", web),
        ("snapshot_time > 2026-01-31", &[]),
        ("snapshot_time >= 2026-01-31", web),
        ("snapshot_time <= 2026-01-31", &[1, 2]),
        ("snapshot_time = 2026-02-01T00:59:59+01:00", web),
        ("snapshot_time < \"2026-01-31T23:59:59.5Z\"", &[1, 2]),
        ("snapshot_time >= 2026-01-31T23:59:59.000Z", web),
        ("resident_on = 00000000-0000-0000-0000-00000000001f", web),
        ("resident_on = null", db),
        ("resident_on != null", web),
        ("resident_on in (null)", db),
        ("domid = 5", web),
        ("domid = null", db),
    ] {
        assert_eq!(filtered(&pool, text), want, "{text}");
    }
}

#[test]
fn sets_maps_and_refs_are_looked_into() {
    let pool = pool();
    let web: &[u128] = &[1];
    let db: &[u128] = &[2];
    for (text, want) in [
        ("tags has prod", web),
        ("tags has \"a\\\"b\"", web),
        ("not tags has prod", db),
        ("tags ~ pr*", web),
        ("tags = empty", db),
        ("tags != empty", web),
        ("other_config = empty", db),
        ("other_config has owner", web),
        ("other_config.owner = ann", web),
        ("other_config.owner != ann", db),
        ("other_config.owner != ops", &[1, 2]),
        ("other_config.\"a.b c\" = 1", web),
        ("other_config.\"é\\n\" = x", web),
        ("other_config.owner = null", db),
        ("metrics.start_time > 2026-01-01", web),
        ("metrics.memory_actual = 7", web),
        ("metrics.VCPUs_utilisation.0 >= 0.5", web),
        ("metrics.start_time = null", db),
        ("VBDs has 00000000-0000-0000-0000-000000000015", web),
        ("VBDs.mode = RO", web),
        ("VBDs.VDI.virtual_size > 99", web),
        ("VBDs.VDI.SR.name_label = Local", web),
        ("VBDs.VDI = null", web),
        ("VBDs.mode != RO", db),
        ("resident_on.name_label = h1", web),
    ] {
        assert_eq!(filtered(&pool, text), want, "{text}");
    }
    let filter =
        Filter::parse("VBDs.VDI.SR.name_label = x or VBDs.VDI.name_label = y", &[class("VM")]);
    let mut classes = [class("VBD").id, class("VDI").id, class("SR").id];
    classes.sort_unstable();
    assert_eq!(filter.expect("good").classes(), classes);
}

#[test]
fn and_binds_before_or() {
    let pool = pool();
    assert_eq!(filtered(&pool, "is_a_template or power_state = Running and tags = empty"), [2]);
    assert_eq!(filtered(&pool, "(is_a_template or power_state = Running) and tags != empty"), [1]);
    assert_eq!(filtered(&pool, "not (is_a_template or power_state = Running)"), []);
    assert_eq!(filtered(&pool, "not not is_a_template"), [2]);
    assert_eq!(filtered(&pool, "power_state not in (Running)"), [2]);
    let long = ["is_a_template"; 200].join(" or ");
    assert_eq!(filtered(&pool, &long), [2]);
    let deep = format!("{}is_a_template{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(filtered(&pool, &deep), [2]);
}

#[track_caller]
fn refused(text: &str) -> QueryError {
    Filter::parse(text, &[class("VM")]).expect_err(text)
}

#[test]
fn what_is_wrong_is_told_with_its_column() {
    for (text, column, what, expected) in [
        ("", 1, "the end", "a condition"),
        ("  ", 3, "the end", "a condition"),
        ("power_state = Runing", 15, "Runing", "Running"),
        ("power_stat = Running", 1, "power_stat", "did you mean \"power_state\"?"),
        ("power_state", 1, "alone", "="),
        ("power_state == Running", 14, "=", "a value"),
        ("power_state < Running", 13, "<", "~"),
        ("power_state =", 14, "the end", "a value"),
        ("power_state = Running foo", 23, "foo", "`and`, `or`"),
        ("power_state & Running", 13, "&", "an operator"),
        ("power_state = Running and", 26, "the end", "a condition"),
        ("(power_state = Running", 23, "the end", "`)`"),
        ("power_state = Running)", 22, ")", "the end"),
        ("\u{e9} = 1", 1, "é", "a condition"),
        ("name_label = \"é\" and memory_static_max = x", 42, "x", "a whole number"),
        ("memory_static_max = 1.5", 21, "1.5", "4GiB"),
        ("memory_static_max ~ 1", 19, "~", "<="),
        ("memory_static_max > null", 21, "null", "="),
        ("is_a_template = maybe", 17, "maybe", "true or false"),
        ("metrics.start_time > 2026-02-30", 22, "2026-02-30", "RFC 3339"),
        ("metrics.strt_time > 2026-01-01", 9, "strt_time", "start_time"),
        ("name_label.x = 1", 12, "string", "a dot only"),
        ("resident_on = here", 15, "here", "uuid"),
        ("tags = prod", 8, "prod", "has"),
        ("tags.x = 1", 6, "set", "a dot only"),
        ("name_label has x", 12, "has", "~"),
        ("power_state in Running", 16, "Running", "`(`"),
        ("power_state in (Running", 24, "the end", "`)`"),
        ("power_state in ()", 17, ")", "a value"),
        ("name_label = \"x", 14, "does not end", "closing"),
        ("name_label = \"\\x\"", 14, "escape", "JSON"),
        ("name_label = and", 14, "and", "quotes"),
        ("and = 1", 1, "and", "a condition"),
        ("other_config. = 1", 14, "a blank", "a key"),
        ("VBDs.VM.VBDs.mode = RW", 14, "set of refs", "start"),
        ("metrics.x.y", 9, "x", "a field"),
        ("affinity.patches has x", 22, "x", "uuid"),
        ("VBDs.VM.resident_on.control_domain.affinity.name_label = x", 45, "too many", "4"),
    ] {
        let error = refused(text);
        assert_eq!(error.column, column, "{text}: {error}");
        let shown = error.to_string();
        assert!(error.what.contains(what), "{text}: {shown}");
        assert!(error.expected.as_deref().is_some_and(|e| e.contains(expected)), "{text}: {shown}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let error = refused(&format!("name_label = \"{}\"", "x".repeat(10_000)));
    assert!(error.to_string().contains("4096 bytes at most"), "{error}");
    let error = refused(&format!("{}is_a_template", "(".repeat(1000)));
    assert_eq!((error.column, error.expected.as_deref()), (65, Some("64 levels at most")));
    let error = refused(&format!("{} is_a_template", "not ".repeat(1000)));
    assert!(error.to_string().contains("64 levels at most"), "{error}");
    let error = refused(&["x"; 257].join(" or "));
    assert_eq!(error.column, 256 * "x or ".len() + 1, "{error}");
    let error = refused(&format!("domid in ({})", vec!["1"; 257].join(",")));
    assert!(error.to_string().contains("256 terms"), "{error}");
    let error = refused(&format!("name_label ~ \"*{}*\"", "?".repeat(100)));
    assert!(error.what.contains("too long"), "{error}");
}

#[test]
fn several_classes_share_a_filter() {
    let pool = pool();
    let classes = [class("VM"), class("VDI"), class("host")];
    let of = |text: &str| {
        let filter = Filter::parse(text, &classes).expect(text);
        let all = classes.iter().flat_map(|class| pool.class(class.id).iter());
        all.filter(|object| filter.matches(&pool, object))
            .map(|o| o.uuid().as_u128())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("name_label ~ *o*"), [41]);
    assert_eq!(of("power_state != Halted"), [1, 41, 31]);
    assert_eq!(of("virtual_size = null"), [1, 2, 31]);
    assert_eq!(of("virtual_size > 5 or power_state = Halted"), [2, 41]);
    let error = Filter::parse("mode = RW", &classes).expect_err("no class has it");
    assert!(error.what.contains("VM has no field"), "{error}");
    let other = Filter::parse("name_label ~ *", &[class("host")]).expect("good");
    let vm = pool.class(class("VM").id).iter().next().expect("a VM");
    assert!(!other.matches(&pool, vm), "it is not for VMs");
}

fn vm(pool: &Snapshot, number: u128) -> &Object {
    pool.object(class("VM").id, &Uuid::from_u128(number)).expect("a VM")
}

#[test]
fn fields_come_in_the_order_they_are_asked_for() {
    let pool = pool();
    for (text, want) in [
        ("power_state,name_label", r#","power_state":"Running","name_label":"web-1"}"#),
        ("uuid", "}"),
        (" domid , backend", r#","domid":5}"#),
        ("affinity,is_a_template", r#","is_a_template":false}"#),
    ] {
        let fields = Fields::parse(text, class("VM")).expect(text);
        let mut out = Vec::new();
        fields.write(vm(&pool, 1), &mut out);
        let head = r#"{"uuid":"00000000-0000-0000-0000-000000000001","backend":"lab""#;
        assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("{head}{want}"), "{text}");
    }
}

#[test]
fn fields_that_are_none_are_named() {
    for (text, column, part) in [
        ("", 1, "no field"),
        ("name_label,", 12, "no field"),
        ("name_label, name_lable", 13, "did you mean \"name_label\"?"),
        ("uuid,uuid", 6, "comes twice"),
    ] {
        let error = Fields::parse(text, class("VM")).expect_err(text);
        assert_eq!(error.column, column, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(Fields::parse("cluster_token", class("Cluster")).is_err(), "a secret");
    assert!(Filter::parse("cluster_token = x", &[class("Cluster")]).is_err(), "a secret");
    assert!(Fields::parse(&"x,".repeat(3000), class("VM")).is_err());
    let both = [class("VM"), class("VDI")];
    assert!(Fields::of_classes("virtual_size,power_state", &both, &[]).is_ok());
    assert!(Fields::of_classes("error", &both, &[]).is_err());
    assert!(Fields::of_classes("error", &both, &["error"]).is_ok());
}
