//! `GET /vms/{uuid}/metrics`.

use std::sync::Arc;

use axum::response::Response;
use uuid::Uuid;

use super::samples_of;
use crate::api::objects::read::ObjectQuery;
use crate::extract::Read;
use crate::problem::Problem;
use crate::representation::{json, with_member};
use crate::validators::EtagBuilder;
use xenapi_mirror::inventory::{Object, Snapshot};
use xenapi_model::datamodel;

/// The VM's VM_metrics record, if it has one, with its VM_guest_metrics record as `guest` and the newest of what
/// its host measures as `samples`.
pub async fn metrics(read: Read<ObjectQuery>) -> Result<Response, Problem> {
    let vm = datamodel().class("VM").expect("the Xen-API has VMs");
    let found = read.find(vm.id, []).await?;
    let (reading, object) = (&*found.reading, &*found.object);
    let snapshot = &reading.snapshot;
    // Samples are the VM's own: it has them whether or not there is a record.
    let metrics = referred(snapshot, object, "metrics", "VM_metrics");
    let guest = referred(snapshot, object, "guest_metrics", "VM_guest_metrics");
    let (samples, sampling) = samples_of(&read, &found).await;
    let stamp = EtagBuilder::of_object(reading, metrics.map_or(object, |metrics| &**metrics))
        .also(guest.map(|guest| &**guest))
        .shaped(&samples)
        .shaped(&sampling);
    read.answer(&found, &stamp, || {
        let guest = guest.map_or(&b"null"[..], |guest| guest.record().json());
        let record = match metrics {
            Some(metrics) => with_member(metrics.record().json(), "guest", guest),
            None => {
                let none = serde_json::json!({"uuid": null, "backend": object.backend()});
                with_member(none.to_string().as_bytes(), "guest", guest)
            }
        };
        let record = with_member(&record, "samples", &samples);
        json(with_member(&record, "sampling", &sampling))
    })
}

/// The object that a ref field of `object` names.
pub(crate) fn referred<'a>(
    snapshot: &'a Snapshot,
    object: &Object,
    field: &str,
    class: &str,
) -> Option<&'a Arc<Object>> {
    let uuid: Uuid = object.record().uuid(object.class(), field)?;
    snapshot.object(datamodel().class(class)?.id, &uuid)
}
