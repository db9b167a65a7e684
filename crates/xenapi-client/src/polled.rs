//! What a backend gives that does not tell of changes: its records, whenever it is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call::{Value, not_there};
use super::error::CallError;
use super::records::{Found, Pace, Records};
use super::session::Session;
use super::{Backend, Way};
use super::{Legacy, Xend, legacy};
use xengate_config::PasswordCheck;

/// How the gateway learns of changes, and how what takes long is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// The backend tells of changes in events and keeps tasks.
    Eventful,
    /// The backend has to be asked again and again, and every call is waited for.
    Polled,
}

impl Backend {
    /// What sort of backend it is; found out first where that is not known yet.
    pub async fn nature(&self) -> Result<Nature, CallError> {
        self.way().await.map(Way::nature)
    }

    /// The same, if it is known.
    pub fn known_nature(&self) -> Option<Nature> {
        self.way.get().map(Way::nature)
    }

    /// Whether the backend can be asked for this call, if its kind alone decides that.
    pub fn has(&self, call: &str) -> Option<bool> {
        match self.way.get()? {
            Way::Xapi(_) => None,
            Way::Xend(_) => Some(Xend::has(call)),
            Way::Legacy(_) => Some(legacy::has(call)),
        }
    }

    /// Whether the backend's objects have this field, if its kind alone decides that.
    pub fn has_field(&self, class: &str, field: &str) -> Option<bool> {
        match self.way.get()? {
            Way::Xapi(_) => None,
            Way::Xend(_) => Some(Xend::has_field(class, field)),
            Way::Legacy(_) => Some(Legacy::has_field(class, field)),
        }
    }

    /// How long a guest may take to shut down or reboot.
    pub fn guest_timeout(&self) -> Duration {
        self.config.guest_timeout
    }

    /// Who checks passwords, as far as that is known.
    pub fn known_password_check(&self) -> Option<PasswordCheck> {
        match self.way.get()? {
            Way::Xapi(_) => Some(PasswordCheck::Backend),
            Way::Xend(xend) => Some(xend.password_check()),
            Way::Legacy(_) => Some(PasswordCheck::Users),
        }
    }

    /// The classes that are worth reading at this pace, those together that are read together.
    pub fn polls(&self, pace: Pace) -> &'static [&'static [&'static str]] {
        match self.way.get() {
            Some(Way::Xend(_)) => Xend::polls(pace),
            Some(Way::Legacy(_)) => Legacy::polls(pace),
            Some(Way::Xapi(_)) | None => &[],
        }
    }

    /// Every object of the classes of a poll of this pace. A class that the backend fails to tell of
    /// is left out, unless there is nothing without it.
    pub async fn records(
        &self,
        session: &Session,
        pace: Pace,
        classes: &'static [&'static str],
    ) -> Result<Records, CallError> {
        self.own(session)?;
        match self.way().await? {
            Way::Xapi(_) => Ok(Records::default()),
            Way::Legacy(legacy) => {
                let calling = self.tally.begin(Legacy::method(pace));
                let found = calling.end(legacy.records(pace).await)?;
                Ok(Records { found, classes: classes.to_vec() })
            }
            Way::Xend(xend) => {
                let mut records = Records::default();
                for class in classes {
                    let calling = self.tally.begin(&format!("{class}.get_all_records"));
                    match calling.end(xend.records(session, class, pace).await) {
                        Ok(mut found) => {
                            records.found.append(&mut found);
                            records.classes.push(class);
                        }
                        Err(CallError::Failure(failure))
                            if *class != "VM" && !failure.code.starts_with("SESSION") =>
                        {
                            let (backend, code) = (self.name(), failure.code);
                            tracing::warn!(backend, class, code, "a class could not be read");
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(records)
            }
        }
    }

    /// One object and what comes along with it. Without a record it has gone.
    pub async fn record(
        &self,
        session: &Session,
        class: &'static str,
        reference: &str,
    ) -> Result<Vec<Found>, CallError> {
        self.own(session)?;
        match self.way().await? {
            Way::Xapi(_) => Err(not_there("get_record")),
            Way::Legacy(legacy) if class == "VM" => {
                self.tally.begin("xend.domain").end(legacy.domain(reference).await)
            }
            Way::Legacy(_) => Ok(Vec::new()),
            Way::Xend(xend) => {
                let calling = self.tally.begin(&format!("{class}.get_record"));
                let found = calling.end(xend.record(session, class, reference).await)?;
                // A VM that was started has other metrics than before.
                let metrics = found.record.as_deref().filter(|_| class == "VM").and_then(metrics);
                let mut all = vec![found];
                if let Some(metrics) = metrics {
                    match xend.record(session, "VM_metrics", &metrics).await {
                        Ok(metrics) => all.push(metrics),
                        // The VM's own record is what matters.
                        Err(error) => tracing::debug!(%error, "a VM's metrics were not read"),
                    }
                }
                Ok(all)
            }
        }
    }

    /// The VCPUs of a domain as `xend.domain.getVCPUInfo` lists them, where there is such a thing;
    /// none of a domain that is there no more. Whoever reads what the same poll brought, which began
    /// then, shares one question.
    pub async fn vcpus(
        &self,
        session: &Session,
        uuid: &str,
        name: &str,
        as_of: Option<Instant>,
    ) -> Result<Option<Arc<Value>>, CallError> {
        self.own(session)?;
        match self.way().await? {
            Way::Legacy(legacy) => legacy.vcpus(uuid, name, as_of, &self.tally).await,
            Way::Xapi(_) | Way::Xend(_) => Err(not_there("xend.domain.getVCPUInfo")),
        }
    }

    /// What `xend.node.info` tells of the host, where there is such a thing.
    pub async fn host_info(&self, session: &Session) -> Result<Value, CallError> {
        self.own(session)?;
        match self.way().await? {
            Way::Legacy(legacy) => self.tally.begin("xend.node.info").end(legacy.host_info().await),
            Way::Xapi(_) | Way::Xend(_) => Err(not_there("xend.node.info")),
        }
    }

    /// Gives back what the gateway itself holds of the backend.
    pub async fn leave(&self) {
        if let Some(Way::Xend(xend)) = self.way.get() {
            xend.leave().await;
        }
    }
}

impl Way {
    fn nature(&self) -> Nature {
        match self {
            Self::Xapi(_) => Nature::Eventful,
            Self::Xend(_) | Self::Legacy(_) => Nature::Polled,
        }
    }
}

/// The ref of a VM's metrics.
pub(super) fn metrics(vm: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Metrics {
        metrics: Option<String>,
    }
    let vm: Metrics = serde_json::from_str(vm).ok()?;
    vm.metrics.filter(|reference| !reference.is_empty())
}
