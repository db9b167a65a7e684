//! Operations for monitoring systems.

use utoipa::openapi::content::ContentBuilder;

use crate::api::gateway::doc::PUBLIC_FAILURES;
use crate::openapi::answers;
use crate::openapi::answers::with_media;
use crate::openapi::description::Description;
use crate::openapi::endpoint::{Access, Endpoint};
use crate::openapi::failures;
use crate::openapi::parts::Parts;
use crate::openapi::shapes::string;

/// What is here.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/metrics", "getMetrics", "Metrics", super::own, own)
            .open_to(Access::Scraper),
        Endpoint::get("/metrics/xen", "getXenMetrics", "Metrics", super::fleet, fleet)
            .open_to(Access::FleetScraper),
    ]
}

/// The two formats that metrics come in.
fn metrics(parts: &mut Parts, text: &str) -> utoipa::openapi::ResponseBuilder {
    let open = ContentBuilder::new().schema(Some(string())).build();
    with_media(parts, text, Some(("text/plain", string())))
        .content("application/openmetrics-text", open)
}

fn own(parts: &mut Parts) -> Description {
    let text =
        "The metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0 if that is accepted.";
    let found = metrics(parts, text).build();
    let refused = [
        failures::UNAUTHORIZED,
        failures::NOT_THE_SCRAPER,
        failures::NOT_CONFIGURED,
        failures::OVERLOADED,
    ];
    let mut responses = answers::with(parts, (200, found), &PUBLIC_FAILURES);
    responses.extend(refused.iter().map(|failure| failure.response(parts)));
    Description {
        description: Some(
            "Requests by route, status and duration, calls to backends by outcome and duration, \
             connections, queues, mirrors, sessions, event streams, and what the process takes. \
             Open to requests from the gateway's own machine that came through no proxy."
                .to_owned(),
        ),
        ..Description::of("Read the gateway's own metrics", responses)
    }
}

fn fleet(parts: &mut Parts) -> Description {
    let text =
        "The metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0 if that is accepted.";
    let found = metrics(parts, text).build();
    let refused = [failures::UNAUTHORIZED, failures::NOT_CONFIGURED, failures::OVERLOADED];
    let mut responses = answers::with(parts, (200, found), &PUBLIC_FAILURES);
    responses.extend(refused.iter().map(|failure| failure.response(parts)));
    Description {
        description: Some(
            "VMs, hosts, SRs and pools of every backend that has a service account, or needs none: \
             `xen_vm_*`, `xen_host_*`, `xen_sr_*`, `xen_pool_*`, in base units, with the labels `uuid`, `name`, \
             `host`, `pool`, `backend`, `power_state` and `tags`. `xen_backend_up` says which \
             backends are there. What hosts measure costs one question to each host and no login."
                .to_owned(),
        ),
        ..Description::of("Read the pools' metrics", responses)}
}
