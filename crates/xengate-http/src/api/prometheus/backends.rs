//! Of the gateway's own metrics, those about its backends: their mirrors, calls and connections.

use std::fmt;
use std::sync::Arc;

use crate::Gateway;
use crate::api::prometheus::families::Families;
use xenapi_client::{CallCounts, LaneUse};
use xenapi_mirror::inventory::{Mirror, MirrorState, Reading, Status, is_mirrored};
use xenapi_model::datamodel;

/// One backend, all of it read once.
struct Backend<'a> {
    name: &'a str,
    mirror: &'a Mirror,
    status: Status,
    reading: Option<Arc<Reading>>,
    calls: Vec<CallCounts>,
    lanes: Vec<LaneUse>,
}

/// Writes what is known of every backend.
pub(super) fn write(gateway: &Gateway, families: &mut Families<'_>) -> fmt::Result {
    let mirrors = gateway.inventory.mirrors().iter();
    let backends: Vec<Backend<'_>> = mirrors
        .map(|(name, mirror)| Backend {
            name,
            mirror,
            status: mirror.status(),
            reading: mirror.reading(),
            calls: mirror.backend().calls(),
            lanes: mirror.backend().connections(),
        })
        .collect();
    mirrors_of(&backends, families)?;
    contents_of(&backends, families)?;
    calls_of(&backends, families)?;
    connections_of(&backends, families)
}

fn mirrors_of(backends: &[Backend<'_>], families: &mut Families<'_>) -> fmt::Result {
    families.infos("xengate_backend", "What a backend is.", |series| {
        backends.iter().try_for_each(|one| {
            let about = one.mirror.backend().description();
            series.info(&[
                ("backend", one.name),
                ("kind", about.kind.name()),
                ("product", about.product.as_deref().unwrap_or_default()),
                ("version", about.version.as_deref().unwrap_or_default()),
                ("api_version", about.api_version.as_deref().unwrap_or_default()),
            ])
        })
    })?;
    let help = "Whether a backend answered when it was last asked anything.";
    families.gauges("xengate_backend_reachable", help, |series| {
        backends.iter().try_for_each(|one| {
            series.gauge(&[("backend", one.name)], u64::from(one.status.reachable))
        })
    })?;
    let help = "Which state a backend's mirror is in: 1 for that one, 0 for the others.";
    families.gauges("xengate_mirror_state", help, |series| {
        backends.iter().try_for_each(|one| {
            MirrorState::ALL.iter().try_for_each(|state| {
                let labels = [("backend", one.name), ("state", state.name())];
                series.gauge(&labels, u64::from(*state == one.status.state))
            })
        })
    })
}

fn contents_of(backends: &[Backend<'_>], families: &mut Families<'_>) -> fmt::Result {
    let read = || backends.iter().filter_map(|one| Some((one.name, one.reading.as_ref()?)));
    let help = "For how long a mirror has not been up to date; 0 while it is.";
    families.gauges("xengate_mirror_age_seconds", help, |series| {
        read().try_for_each(|(name, reading)| {
            let age = reading.stale_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            series.gauge(&[("backend", name)], age)
        })
    })?;
    let help = "The revision of a mirror's newest change.";
    families.gauges("xengate_mirror_revision", help, |series| {
        read().try_for_each(|(name, reading)| {
            series.gauge(&[("backend", name)], reading.snapshot.revision())
        })
    })?;
    let mirrored = || datamodel().classes.iter().filter(|class| is_mirrored(class));
    families.gauges("xengate_mirror_objects", "Objects that are mirrored.", |series| {
        read().try_for_each(|(name, reading)| {
            mirrored().try_for_each(|class| match reading.snapshot.class(class.id).len() {
                0 => Ok(()),
                count => series.gauge(&[("backend", name), ("class", &class.name)], count as u64),
            })
        })
    })?;
    families.gauges("xengate_mirror_bytes", "Records that are mirrored, as JSON.", |series| {
        read().try_for_each(|(name, reading)| {
            let tables = mirrored().map(|class| reading.snapshot.class(class.id).json_bytes());
            series.gauge(&[("backend", name)], tables.sum::<usize>() as u64)
        })
    })
}

fn calls_of(backends: &[Backend<'_>], families: &mut Families<'_>) -> fmt::Result {
    let calls = || backends.iter().flat_map(|one| one.calls.iter().map(|call| (one.name, call)));
    let help = "Calls to backends, by how they ended.";
    families.counters("xengate_backend_calls", help, |series| {
        calls().try_for_each(|(name, call)| {
            call.outcomes.iter().try_for_each(|(outcome, count)| {
                let labels = [("backend", name), ("call", &*call.call), ("outcome", *outcome)];
                series.counter(&labels, *count)
            })
        })
    })?;
    let help = "How long calls took, the wait for a connection included.";
    families.histograms("xengate_backend_call_duration_seconds", help, |series| {
        calls().try_for_each(|(name, call)| {
            series.histogram(&[("backend", name), ("call", &*call.call)], &call.took)
        })
    })
}

fn connections_of(backends: &[Backend<'_>], families: &mut Families<'_>) -> fmt::Result {
    let lanes = || backends.iter().flat_map(|one| one.lanes.iter().map(|lane| (one.name, lane)));
    let help = "Connections to a backend that are open, by what they are for.";
    families.gauges("xengate_backend_connections", help, |series| {
        lanes().try_for_each(|(name, lane)| {
            [("busy", lane.busy), ("idle", lane.idle)].into_iter().try_for_each(|(state, count)| {
                let labels = [("backend", name), ("lane", lane.lane), ("state", state)];
                series.gauge(&labels, count as u64)
            })
        })
    })?;
    let help = "Connections to a backend that may be open.";
    families.gauges("xengate_backend_connections_max", help, |series| {
        lanes().try_for_each(|(name, lane)| {
            series.gauge(&[("backend", name), ("lane", lane.lane)], lane.size as u64)
        })
    })?;
    let help = "Calls that wait for a connection.";
    families.gauges("xengate_backend_queue", help, |series| {
        lanes().try_for_each(|(name, lane)| {
            series.gauge(&[("backend", name), ("lane", lane.lane)], lane.waiting as u64)
        })
    })
}
