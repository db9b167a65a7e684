//! Carries a planned patch out.

use super::{Act, Invocation, Plan, below};
use crate::ops::error::OpError;
use crate::ops::reach::{Reach, Settled, Touched};

/// What has come of a patch.
#[derive(Debug)]
pub struct Ran {
    /// Whether readers can see what was applied.
    pub settled: Settled,
    /// Where it came to a halt, if it did.
    pub halted: Option<Halted>,
}

/// A patch that was carried out in part. Each of its fields stands in one of the lists.
#[derive(Debug)]
pub struct Halted {
    /// Fields that have their new value.
    pub applied: Vec<&'static str>,
    /// Fields whose call failed.
    pub failed: Vec<&'static str>,
    /// Fields whose calls were not made any more.
    pub not_tried: Vec<&'static str>,
    /// Why it failed.
    pub error: OpError,
}

impl Plan {
    /// Makes the calls, up to the first that fails.
    pub async fn run(&self, reach: &Reach) -> Ran {
        let mut halted = None;
        for (index, step) in self.steps.iter().enumerate() {
            if let Err(error) = step.act.run(reach).await {
                halted = Some(self.halted(index, error));
                break;
            }
        }
        let settled = match self.steps.is_empty() {
            true => Settled::Seen,
            false => reach.settle(Touched::Object(self.class, &self.reference)).await,
        };
        Ran { settled, halted }
    }

    fn halted(&self, at: usize, error: OpError) -> Halted {
        let failed = self.steps[at].fields.clone();
        let (mut applied, mut not_tried) = (Vec::new(), Vec::new());
        let add = |list: &mut Vec<&'static str>, field: &'static str| {
            if !failed.contains(&field) && !list.contains(&field) {
                list.push(field);
            }
        };
        for field in self.steps[at..].iter().flat_map(|step| &step.fields) {
            add(&mut not_tried, field);
        }
        for field in self.steps[..at].iter().flat_map(|step| &step.fields) {
            if !not_tried.contains(field) {
                add(&mut applied, field);
            }
        }
        let error = match error {
            // What the object itself is blamed for is no field's fault.
            OpError::Failure { failure, pointer: None } if failure.code != "HANDLE_INVALID" => {
                OpError::Failure { failure, pointer: Some(below("", failed[0])) }
            }
            other => other,
        };
        Halted { applied, failed, not_tried, error }
    }
}

impl Act {
    async fn run(&self, reach: &Reach) -> Result<(), OpError> {
        match self {
            Self::Call(call) => call.make(reach).await,
            Self::Add { add, remove } => match add.make(reach).await {
                // Somebody else was faster.
                Err(error) if error.code() == Some("MAP_DUPLICATE_KEY") => {
                    remove.make(reach).await?;
                    add.make(reach).await
                }
                result => result,
            },
            Self::Replace { remove, add, old } => {
                remove.make(reach).await?;
                let added = add.make(reach).await;
                if let (Err(OpError::Failure { .. }), Some(old)) = (&added, old)
                    && let Err(error) = old.make(reach).await
                {
                    tracing::warn!(%error, call = old.call.wire_name, "a key could not be put back");
                }
                added
            }
        }
    }
}

impl Invocation {
    async fn make(&self, reach: &Reach) -> Result<(), OpError> {
        reach.send(self.call, &self.call.wire_name, &self.arguments).await.map(drop)
    }
}
