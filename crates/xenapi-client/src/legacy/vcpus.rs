//! The VCPUs of domains, each asked for once for all who read the same poll's answer.
//!
//! xend tells of them one domain at a time, so a list of them costs it a call for each domain.

use std::pin::pin;
use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::call::Value;
use crate::error::CallError;

/// As many domains are kept.
const MOST: usize = 4096;

/// A longer answer is not kept, in bytes: some hundred VCPUs that may run on as many CPUs.
const LONGEST: usize = 64 << 10;

/// What has been asked.
#[derive(Default)]
pub(super) struct Vcpus(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// When the poll began whose domains these are.
    as_of: Option<Instant>,
    domains: HashMap<String, Arc<OnceCell<Option<Arc<Value>>>>>,
}

impl Vcpus {
    /// What is known of a domain since that poll; otherwise what `ask` brings.
    pub(super) async fn of(
        &self,
        uuid: &str,
        as_of: Option<Instant>,
        ask: impl Future<Output = Result<Option<Value>, CallError>>,
    ) -> Result<Option<Arc<Value>>, CallError> {
        let cell = self.cell(uuid, as_of);
        let (mut ask, mut own) = (pin!(ask), None);
        let shared = cell.get_or_init(async || match ask.as_mut().await {
            Ok(Some(value)) => Some(Arc::new(value)),
            other => {
                own = Some(other);
                None
            }
        });
        let shared = shared.await.clone();
        // What is not there may come, and what failed may go well.
        if shared.as_ref().is_none_or(|value| value.get().len() > LONGEST) {
            let mut kept = self.0.lock();
            if kept.domains.get(uuid).is_some_and(|known| Arc::ptr_eq(known, &cell)) {
                kept.domains.remove(uuid);
            }
        }
        match (shared, own) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(own)) => own.map(|value| value.map(Arc::new)),
            // Another's question was in vain, which says nothing about this one.
            (None, None) => Ok(ask.await?.map(Arc::new)),
        }
    }

    /// Forgets everything: a domain is to be changed, or has been.
    pub(super) fn forget(&self) {
        self.0.lock().domains.clear();
    }

    fn cell(&self, uuid: &str, as_of: Option<Instant>) -> Arc<OnceCell<Option<Arc<Value>>>> {
        let mut kept = self.0.lock();
        if as_of > kept.as_of {
            *kept = Kept { as_of, domains: HashMap::default() };
        }
        match kept.domains.get(uuid) {
            Some(cell) => cell.clone(),
            None => {
                let cell = Arc::<OnceCell<_>>::default();
                if kept.domains.len() < MOST {
                    kept.domains.insert(uuid.to_owned(), cell.clone());
                }
                cell
            }
        }
    }
}
