//! What is done on the pool for a caller, below HTTP: typed calls, patches, tasks, flows.

mod calls;
mod flows;
mod patches;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use uuid::Uuid;
use xengate::backend::Backend;
use xengate::config::BackendConfig;
use xengate::datamodel::{Call, Class, datamodel};
use xengate::inventory::Inventory;
use xengate::ops::{OpError, Reach, Tasks};
use xengate::sim::{PASSWORD, Sim, SimConfig, SimHandle, Value};

/// How long a condition may take to come true before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A simulated pool, its mirror, and callers of it.
pub(crate) struct Bench {
    pub(crate) sim: SimHandle,
    pub(crate) tasks: Arc<Tasks>,
    backend: Arc<Backend>,
    inventory: Arc<Inventory>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let config = SimConfig { batching: Some(Duration::ZERO), ..crate::lab::pool() };
        let sim = Sim::start(config).expect("the pool starts");
        let config = BackendConfig::new(vec![sim.url()]);
        let backend = Backend::new("lab", &config).expect("a backend");
        let inventory = Inventory::start(vec![(backend.clone(), &config)]);
        Self { sim, tasks: Tasks::new(), backend, inventory }
    }

    /// A caller, named like the role, with the mirror live.
    pub(crate) async fn caller(&self, user: &str) -> Reach {
        let session = self.backend.login(user, &PASSWORD.into(), user).await.expect("a login");
        let mirror = self.inventory.mirror("lab").expect("there is one").clone();
        mirror.offer(session.clone());
        mirror.ready(PATIENCE).await.expect("the mirror comes up");
        Reach { mirror, session }
    }

    /// Ends it all.
    pub(crate) async fn end(self) {
        self.tasks.shutdown().await;
        self.inventory.shutdown().await;
        self.sim.stop().await;
    }

    /// The uuid of the object of this ref.
    pub(crate) fn uuid(&self, class: &str, reference: &str) -> Uuid {
        let uuid = self.sim.field(class, reference, "uuid").expect("it is there");
        Uuid::try_parse(uuid.as_text().expect("text")).expect("a uuid")
    }

    /// The uuid and the ref of some VM that is no template and does not run.
    pub(crate) fn a_vm(&self) -> (Uuid, Arc<str>) {
        let text = |vm: &str, field: &str| {
            self.sim.field("VM", vm, field).and_then(|value| value.as_text().cloned())
        };
        let flag =
            |vm: &str, field: &str| self.sim.field("VM", vm, field) == Some(Value::Bool(true));
        let found = self.sim.refs("VM").into_iter().find(|vm| {
            text(vm, "power_state").as_deref() == Some("Halted")
                && !flag(vm, "is_a_template")
                && !flag(vm, "is_control_domain")
        });
        let vm = found.expect("a halted VM");
        (self.uuid("VM", &vm), vm)
    }
}

/// A call of the datamodel.
pub(crate) fn call(wire_name: &str) -> &'static Call {
    datamodel().call(wire_name).expect("a call").1
}

/// A class of the datamodel.
pub(crate) fn class(name: &str) -> &'static Class {
    datamodel().class(name).expect("a class")
}

/// The record that the mirror has of an object.
pub(crate) fn record(reach: &Reach, class: &Class, uuid: Uuid) -> Map<String, Json> {
    let snapshot = reach.snapshot().expect("the mirror is up");
    let object = snapshot.object(class.id, &uuid).expect("an object");
    serde_json::from_slice(object.record().json()).expect("an object")
}

/// A JSON object.
pub(crate) fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// The code of a failure.
pub(crate) fn code(error: &OpError) -> Option<&str> {
    match error {
        OpError::Failure { failure, .. } => Some(&failure.code),
        _ => None,
    }
}

/// Looks again and again until what is looked for is there.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it comes true in time")
}
