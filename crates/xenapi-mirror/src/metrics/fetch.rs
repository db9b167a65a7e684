//! Asking hosts for what they have measured.

use std::time::Duration;

use uuid::Uuid;

use super::sample_error::SampleError;
use super::subject::coordinator;
use crate::inventory::{Mirror, Snapshot};
use xenapi_client::{CallError, Handler, RrdRequest, Session};
use xenapi_model::datamodel;

/// How long a host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Why there is no body.
pub(super) enum Fetch {
    /// The host does not take this session.
    Refused,
    /// Anything else.
    Failed(SampleError),
}

/// What a host, or the coordinator, answers at a path.
pub(super) async fn fetch(
    mirror: &Mirror,
    session: &Session,
    host: Option<Uuid>,
    handler: Handler,
    query: &[(&str, &str)],
) -> Result<Vec<u8>, Fetch> {
    let reading = mirror.reading().ok_or(Fetch::Failed(SampleError::NoHost))?;
    let addresses = addresses(&reading.snapshot);
    let address_of = |host: Uuid| {
        let found = addresses.iter().find(|(uuid, _)| *uuid == host);
        found.map(|(_, address)| address.as_str())
    };
    let chief = coordinator(&reading.snapshot);
    let own = match host {
        // The coordinator is where it has been found, whatever address it gives itself.
        Some(host) if chief != Some(host) => {
            Some(address_of(host).ok_or(Fetch::Failed(SampleError::NoHost))?)
        }
        _ => None,
    };
    let chief = chief.and_then(address_of);
    let pool: Vec<&str> = addresses.iter().map(|(_, address)| address.as_str()).collect();
    let request = RrdRequest {
        host: own,
        coordinator: chief,
        handler,
        query,
        pool: &pool,
        within: ANSWER_WITHIN,
    };
    mirror.backend().rrd(session, &request).await.map_err(|error| match error {
        CallError::Failure(failure) if failure.code != "MESSAGE_METHOD_UNKNOWN" => Fetch::Refused,
        error => Fetch::Failed(SampleError::from(&error)),
    })
}

/// The hosts of a pool with their addresses.
fn addresses(snapshot: &Snapshot) -> Vec<(Uuid, String)> {
    let class = datamodel().class("host").expect("the Xen-API has hosts");
    let hosts = snapshot.class(class.id).iter();
    let address =
        |record: &crate::inventory::Record| record.text(class, "address").map(str::to_owned);
    hosts.filter_map(|host| Some((host.uuid(), address(host.record())?))).collect()
}
