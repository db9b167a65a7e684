//! The gateway's own metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{backends, process};
use crate::Gateway;
use crate::api::prometheus::families::Families;

/// What the gateway counts about itself, read when it is asked for.
#[derive(Debug)]
pub struct Own(pub Arc<Gateway>);

impl Collector for Own {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (gateway, mut families) = (&*self.0, Families::new(encoder));
        families.infos("xengate_build", "This gateway.", |series| {
            series.info(&[
                ("version", env!("CARGO_PKG_VERSION")),
                ("arch", std::env::consts::ARCH),
                ("os", std::env::consts::OS),
            ])
        })?;
        requests(gateway, &mut families)?;
        clients(gateway, &mut families)?;
        backends::write(gateway, &mut families)?;
        process::write(gateway.telemetry.started, &mut families)
    }
}

/// Requests by route.
fn requests(gateway: &Gateway, families: &mut Families<'_>) -> fmt::Result {
    let requests = &gateway.telemetry.requests;
    families.counters(
        "xengate_http_requests",
        "Requests that were answered. A path that is no route counts as other.",
        |series| {
            requests.answered().try_for_each(|one| {
                one.statuses.iter().try_for_each(|(status, count)| {
                    let code = status.map_or("other".to_owned(), |status| status.to_string());
                    let labels =
                        [("route", one.route), ("method", one.method), ("code", code.as_str())];
                    series.counter(&labels, *count)
                })
            })
        },
    )?;
    families.histograms(
        "xengate_http_request_duration_seconds",
        "How long answers took to begin.",
        |series| {
            requests.answered().try_for_each(|one| {
                series.histogram(&[("route", one.route), ("method", one.method)], &one.took)
            })
        },
    )
}

/// Clients, and what they are held to.
fn clients(gateway: &Gateway, families: &mut Families<'_>) -> fmt::Result {
    let (telemetry, limits) = (&gateway.telemetry, &gateway.config.limits);
    families.counters(
        "xengate_http_requests_refused",
        "Requests that met a limit of the configuration.",
        |series| {
            telemetry
                .refused
                .all()
                .iter()
                .try_for_each(|(limit, count)| series.counter(&[("limit", *limit)], count.get()))
        },
    )?;
    families.counter(
        "xengate_http_request_panics",
        "Requests that ran into a bug of the gateway.",
        telemetry.panics.get(),
    )?;
    if let Some(load) = telemetry.load.get() {
        let in_flight = load.in_flight();
        let help = "Requests that are worked on.";
        families.gauge("xengate_http_requests_in_flight", help, in_flight.working() as u64)?;
        let help = "Requests that may be worked on at once.";
        families.gauge(
            "xengate_http_requests_in_flight_max",
            help,
            in_flight.most_working() as u64,
        )?;
        let help = "Requests that wait for a task, a revision or a turn.";
        families.gauge("xengate_http_requests_waiting", help, in_flight.waiting() as u64)?;
        let help = "Requests that may wait at once.";
        families.gauge(
            "xengate_http_requests_waiting_max",
            help,
            in_flight.most_waiting() as u64,
        )?;
        let help = "Bytes of answers that clients have not taken yet, and of those kept for who asks next.";
        families.gauge("xengate_http_unsent_bytes", help, load.unsent())?;
        let help = "Bytes there may be of such answers.";
        families.gauge("xengate_http_unsent_max_bytes", help, load.max_unsent())?;
    }
    let help = "Client connections that are open.";
    families.gauge("xengate_http_connections", help, telemetry.connections.get())?;
    let help = "Client connections that may be open.";
    families.gauge("xengate_http_connections_max", help, limits.max_connections as u64)?;
    let help = "Client connections that were accepted.";
    families.counter("xengate_http_connections_accepted", help, telemetry.accepted.get())?;
    let help = "Event streams that are open.";
    let events = gateway.events.counts();
    families.gauge("xengate_event_streams", help, events.streams as u64)?;
    let help = "Different things that event streams ask for.";
    families.gauge("xengate_event_groups", help, events.groups as u64)?;
    let help = "Events that were encoded, each once for all streams that ask for the same.";
    families.counter("xengate_events_encoded", help, events.encoded)?;
    let help = "Sessions of the gateway.";
    families.gauge("xengate_sessions", help, gateway.authority.sessions() as u64)?;
    let help = "Sessions there may be.";
    families.gauge("xengate_sessions_max", help, gateway.config.auth.max_sessions as u64)
}
