//! Operations that read what is measured.

use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Ref, Type};

use super::vm;
use crate::api::catalog::collections::{Collection, View};
use crate::api::objects::read::class_of;
use crate::api::objects::read_doc::mirrored;
use crate::api::objects::records_doc;
use crate::api::objects::records_doc::component_name;
use crate::api::samples::media::Media;
use crate::openapi::answers;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Endpoint, With};
use crate::openapi::examples;
use crate::openapi::failures;
use crate::openapi::failures::Failure;
use crate::openapi::parameters;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::{
    Shape, array, described, formatted, integer, map, named, nullable_float, nullable_ref,
    nullable_string, object, or_null_shape, string, uuid,
};
use xenapi_model::{Class, datamodel};

/// A time as examples have it.
const TIME: &str = "2026-11-22T07:25:50Z";

/// Failures of what a host is asked, beside those of the mirror.
const OF_HOST: [Failure; 3] = [failures::NOT_FOUND, failures::AMBIGUOUS, failures::NOT_SUPPORTED];

/// Samples, sources and history, where the collection's objects are measured.
pub(crate) fn endpoints(collection: &'static Collection) -> Vec<Endpoint> {
    let class = class_of(collection);
    let measured = matches!(
        (collection.class, collection.view),
        ("VM", View::Machines) | ("host" | "SR", View::All)
    );
    if !measured {
        return Vec::new();
    }
    let path = |rest: &str| format!("/{}/{{uuid}}/metrics{rest}", collection.path);
    let (noun, tag) = (noun(class), &*class.name);
    let (at, id) = (path(""), format!("get{noun}Metrics"));
    let describe = move |parts: &mut Parts| live(parts, class);
    let live = match tag {
        "VM" => Endpoint::get(&at, &id, tag, With(collection, vm::metrics), describe),
        _ => Endpoint::get(&at, &id, tag, With(collection, super::live), describe),
    };
    vec![
        live.makes(match tag {
            "VM" => vec!["VM_metrics.get_record", "VM_guest_metrics.get_record"],
            "host" => vec!["host_metrics.get_record"],
            _ => vec!["SR.get_record"],
        }),
        Endpoint::get(
            &path("/sources"),
            &format!("list{noun}MetricsSources"),
            tag,
            With(collection, super::sources),
            move |parts| sources(parts, class),
        )
        .makes([format!("{tag}.get_data_sources")]),
        Endpoint::get(
            &path("/history"),
            &format!("get{noun}MetricsHistory"),
            tag,
            With(collection, super::history),
            move |parts| history(parts, class),
        )
        .makes([format!("{tag}.query_data_source")]),
    ]
}

/// What every one of them takes.
fn of_object(parts: &mut Parts) -> Vec<Ref> {
    let mut all = parameters::of_object(parts);
    all.extend(parameters::of_versions(parts));
    all
}

/// `VM`, `host`, `SR`: as they stand in operation ids.
fn noun(class: &Class) -> String {
    component_name(&class.name)
}

fn live(parts: &mut Parts, class: &Class) -> Description {
    let (body, text): (Shape, &str) = match class.name.as_str() {
        "VM" => (
            of_vm(parts),
            "The VM's VM_metrics record, under `guest` its VM_guest_metrics record, and under \
             `samples` the newest of what its host measures. Of a VM without a metrics record, \
             `uuid` is null and the record's fields are absent.",
        ),
        "host" => (
            of_host(parts),
            "The host's host_metrics record, and under `samples` the newest of what it measures.",
        ),
        _ => (
            of_sr(parts),
            "The newest of what is measured of the SR, by all hosts that it is plugged into.",
        ),
    };
    let found = answers::answer(parts, "The metrics.", Some(body));
    Description {
        description: Some(format!(
            "{text} Samples are fetched from each host once for all clients, as long as somebody \
             asks; the first to ask waits for them, a few seconds at most. What is not known is \
             null, and `sampling.reason` says why."
        )),
        parameters: of_object(parts),
        ..Description::of(
            format!("Read the metrics of a {}", class.name),
            mirrored(parts, found, &[failures::NOT_FOUND, failures::AMBIGUOUS]),
        )
    }
}

fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class that the tests look up")
}

fn of_vm(parts: &mut Parts) -> Shape {
    parts.schema("VmMetricsDocument", |parts| {
        let guest_class = class("VM_guest_metrics");
        records_doc::record(parts, guest_class);
        let guest = or_null_shape(named(&component_name("VM_guest_metrics")));
        let text = "What the agent inside the VM reports; null when it reports nothing.";
        let [samples, sampling] = members(parts);
        let more = [("guest", guest, text, examples::record(guest_class)), samples, sampling];
        records_doc::record_with(parts, class("VM_metrics"), &more)
            .description(Some("What is measured of a VM, from outside and from inside."))
            .property(
                "uuid",
                described(or_null_shape(uuid()), "The metrics record; null without one."),
            )
            .required("guest")
            .required("samples")
            .required("sampling")
            .into()
    })
}

fn of_host(parts: &mut Parts) -> Shape {
    parts.schema("HostMetricsDocument", |parts| {
        let more = members(parts);
        records_doc::record_with(parts, class("host_metrics"), &more)
            .description(Some("What is measured of a host."))
            .required("samples")
            .required("sampling")
            .into()
    })
}

fn of_sr(parts: &mut Parts) -> Shape {
    parts.schema("SrMetricsDocument", |parts| {
        let [
            (samples, samples_shape, samples_text, _),
            (sampling, sampling_shape, sampling_text, _),
        ] = members(parts);
        object(
            [
                ("uuid", uuid(), "The SR."),
                ("backend", string(), "The backend it is on."),
                (samples, samples_shape, samples_text),
                (sampling, sampling_shape, sampling_text),
            ],
            &["uuid", "backend", "samples", "sampling"],
        )
        .description(Some("What is measured of an SR."))
        .into()
    })
}

/// The event that tells of an object's samples.
pub(crate) fn event(parts: &mut Parts) -> Shape {
    let members = members(parts);
    parts.schema("SamplesEvent", |parts| {
        let of = parts.schema("Measured", |_| {
            let members = [
                ("class", string(), "Its class: `VM`, `host` or `SR`."),
                ("uuid", uuid(), "Its uuid."),
            ];
            object(members, &["class", "uuid"]).into()
        });
        let example = [
            ("class", json!("VM_metrics")),
            ("uuid", json!("5d1f6f0e-0a53-4b55-9c4c-6f6a1f0d5f3b")),
            ("backend", json!("london")),
            ("of", json!({"class": "VM", "uuid": "0f7c4dcb-2a0e-4c1b-9d5e-3b8f4f6a1c20"})),
        ];
        let example = example.into_iter().map(|(name, value)| (name.to_owned(), value));
        let measured =
            members.iter().map(|(name, _, _, value)| ((*name).to_owned(), value.clone()));
        let example: Value = example.chain(measured).collect::<serde_json::Map<_, _>>().into();
        let [
            (samples, samples_shape, samples_text, _),
            (sampling, sampling_shape, sampling_text, _),
        ] = members;
        object(
            [
                ("class", string(), "The object's class: `VM_metrics`, `host_metrics` or `SR`."),
                (
                    "uuid",
                    or_null_shape(uuid()),
                    "The object's uuid; null of a VM without VM_metrics.",
                ),
                ("backend", string(), "The object's backend."),
                ("of", of, "What is measured: the VM, the host, the SR."),
                (samples, samples_shape, samples_text),
                (sampling, sampling_shape, sampling_text),
            ],
            &["class", "uuid", "backend", "of", "samples", "sampling"],
        )
        .examples([example])
        .into()
    })
}

/// `samples` and `sampling`.
fn members(parts: &mut Parts) -> [(&'static str, Shape, &'static str, Value); 2] {
    let sample = parts.schema("Sample", |_| {
        let text = "When it was measured, by the clock of the host that did.";
        object(
            [
                ("value", nullable_float(), "The value in base units; null when it is not known."),
                ("unit", nullable_string(), UNITS),
                ("time", or_null_shape(formatted("date-time")), text),
            ],
            &["value", "unit", "time"],
        )
        .examples([json!({"value": 0.25, "unit": "fraction", "time": TIME})])
        .into()
    });
    let sampling = parts.schema("Sampling", |parts| {
        let reason = parts.schema("SamplingReason", |_| {
            let codes = "A name for programs: `NOT_RUNNING`, `HOST_UNREACHABLE`, `HOST_SLOW`, …";
            let members = [("code", string(), codes), ("detail", string(), "A text for people.")];
            object(members, &["code", "detail"]).into()
        });
        let offset = "Seconds that the host's clock is ahead of the gateway's. A few are no sign \
                      of anything; sample times are never corrected by it.";
        object(
            [
                ("host", nullable_ref("host"), "The host that measures."),
                ("time", or_null_shape(formatted("date-time")), "The host's newest measurement."),
                ("step", or_null_shape(integer()), "Seconds between two measurements."),
                ("clock_offset", or_null_shape(integer()), offset),
                ("reason", or_null_shape(reason), "Why samples are not known; null when they are."),
            ],
            &["host", "time", "step", "clock_offset", "reason"],
        )
        .into()
    });
    let samples = "The newest of each source, by its name: `cpu` (the mean, from 0 to 1) and \
                   `cpu0`, …, `memory_bytes`, `memory_free_bytes`, `vif_0_rx`, `vbd_xvda_read`, \
                   `vbd_xvda_iops_read`, …";
    let sample_example = json!({"cpu": {"value": 0.25, "unit": "fraction", "time": TIME}});
    let sampling_example = json!({
        "host": "0b6c1a52-9d3e-4f87-a1c0-5e4d3c2b1a09",
        "time": TIME,
        "step": 5,
        "clock_offset": -3,
        "reason": null,
    });
    [
        ("samples", map(sample), samples, sample_example),
        ("sampling", sampling, "Where samples come from, or why there are none.", sampling_example),
    ]
}

const UNITS: &str = "`fraction`, `bytes`, `bytes/s`, `requests/s`, `errors/s`, `s`, `requests` or \
                     `count`; null when it is not known.";

fn sources(parts: &mut Parts, class: &Class) -> Description {
    let item = parts.schema("MetricsSource", |_| {
        let kind = "What the RRD takes its readings for: `GAUGE` as they are, `DERIVE` and \
                    `ABSOLUTE` as counters; null when it is not known.";
        object(
            [
                ("name", string(), "Its name in samples and histories."),
                ("source", string(), "XAPI's own name, which `sources=` takes as well."),
                ("type", nullable_string(), kind),
                ("unit", nullable_string(), UNITS),
                ("description", string(), "What it is."),
            ],
            &["name", "source", "type", "unit", "description"],
        )
        .into()
    });
    let list = parts.schema("MetricsSourceList", |_| {
        let members =
            [("items", array(item), "The sources."), ("total", integer(), "How many there are.")];
        object(members, &["items", "total"]).into()
    });
    let found = answers::answer(parts, "The sources.", Some(list));
    Description {
        parameters: of_object(parts),
        ..Description::of(
            format!("List what is measured of a {}", class.name),
            mirrored(parts, found, &OF_HOST),
        )
    }
}

fn history(parts: &mut Parts, class: &Class) -> Description {
    let body = parts.schema("MetricsHistory", history_schema);
    let mut found = answers::answer(parts, "What was measured.", Some(body));
    for media in Media::ALL.into_iter().skip(1) {
        let name = media.name().split(';').next().unwrap_or_default();
        found = found.content(name, ContentBuilder::new().schema(Some(string())).build());
    }
    let mut all = of_object(parts);
    all.extend(parameters_of_history(parts));
    Description {
        description: Some(
            "XAPI keeps 10 minutes of every 5 seconds, 2 hours of minutes, a week of hours and a \
             year of days; the finest of these that covers the range is taken, unless `step` says \
             which. Times are those of the host that measured. A halted VM still has its history. \
             As JSON, CSV (`Accept: text/csv`), an object per line (`application/x-ndjson`) or a \
             plot (`image/svg+xml`)."
                .into(),
        ),
        parameters: all,
        ..Description::of(
            format!("Read or plot what was measured of a {}", class.name),
            mirrored(parts, found, &OF_HOST),
        )
    }
}

fn history_schema(parts: &mut Parts) -> Shape {
    let column = parts.schema("MetricsColumn", |_| {
        object(
            [
                ("name", string(), "Its name."),
                ("source", string(), "XAPI's own name."),
                ("unit", nullable_string(), UNITS),
                ("description", string(), "What it is."),
            ],
            &["name", "source", "unit", "description"],
        )
        .into()
    });
    let time = || {
        let text = "RFC 3339, or with `time=unix` seconds since 1970.";
        let types = [Type::String, Type::Integer];
        let shape =
            ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::from_iter(types));
        Shape::from(shape.description(Some(text)))
    };
    let row = parts.schema("MetricsRow", |_| {
        let values = "A value for each column, in its unit; null when it is not known.";
        let members =
            [("time", time(), "When the row ends."), ("values", array(nullable_float()), values)];
        object(members, &["time", "values"]).into()
    });
    object(
        [
            ("uuid", uuid(), "What was measured."),
            ("backend", string(), "The backend it is on."),
            ("class", string(), "Its class."),
            ("cf", string(), "How the measurements of a row became one."),
            ("step", integer(), "Seconds between two rows."),
            ("from", time(), "Where the range begins."),
            ("to", time(), "Where it ends."),
            ("columns", array(column), "The sources."),
            ("rows", array(row), "The rows, oldest first."),
        ],
        &["uuid", "backend", "class", "cf", "step", "from", "to", "columns", "rows"],
    )
    .into()
}

fn parameters_of_history(parts: &mut Parts) -> Vec<Ref> {
    let time = |name: &str| -> Shape {
        ObjectBuilder::new().schema_type(Type::String).examples([name]).into()
    };
    let word = |values: &[&str], default: &str| -> Shape {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(values.iter().copied()))
            .default(Some(json!(default)))
            .into()
    };
    let step = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let step = step.maximum(Some(31_622_400)).examples([60]);
    let from = "Where it begins: RFC 3339, seconds since 1970, or so long before the newest sample \
                (`-2h`). An hour unless told.";
    let to = "Where it ends, in the same forms; at the newest sample unless told.";
    let sources = "Names of sources, ours or XAPI's, separated by commas; `*` stands for anything.";
    [
        ("history_from", "from", time("-2h"), from),
        ("history_to", "to", time("2026-11-22T08:00:00Z"), to),
        ("history_step", "step", step.into(), "Seconds between rows: 5, 60, 3600 or 86400."),
        (
            "history_cf",
            "cf",
            word(&["AVERAGE", "MIN", "MAX", "LAST"], "AVERAGE"),
            "How the measurements of a row become one.",
        ),
        ("history_sources", "sources", time("cpu*,vif_0_rx"), sources),
        ("history_time", "time", word(&["rfc3339", "unix"], "rfc3339"), "How times are written."),
    ]
    .into_iter()
    .map(|(component, name, shape, text)| {
        parts.parameter(component, || parameters::query(name, shape, text))
    })
    .collect()
}
