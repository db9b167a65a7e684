//! Carries a planned patch out.
//!
//! A map's key is changed by removing it and adding it anew, and a set's members one by one. Should
//! anything go wrong on the way, what was done of the field is taken back, so that it has its new
//! value or its old one. Where it is not known whether a call was carried out, the backend is asked
//! what it has.

use std::fmt;

use tokio_util::sync::CancellationToken;

use super::place::{Place, Undo, is_duplicate, same};
use super::{Act, Invocation, Plan, below};
use crate::ops::error::OpError;
use crate::ops::reach::{Reach, Settled, Touched};
use xenapi_wire::Arg;

/// How often a key is removed and added anew when somebody else keeps adding it in between.
const TRIES: usize = 3;

/// What has come of a patch.
#[derive(Debug)]
pub struct Ran {
    /// Whether readers can see what was applied.
    pub settled: Settled,
    /// Where it came to a halt, if it did.
    pub halted: Option<Box<Halted>>,
}

/// A patch that was carried out in part. Each of its fields stands in one of the lists.
#[derive(Debug)]
pub struct Halted {
    /// Fields that have their new value.
    pub applied: Vec<&'static str>,
    /// Fields whose call failed; they have their old value.
    pub failed: Vec<&'static str>,
    /// Fields of which it is not known which value they have.
    pub unknown: Vec<&'static str>,
    /// Fields whose calls were not made any more.
    pub not_tried: Vec<&'static str>,
    /// Where the body speaks of what was changed and could not be taken back: a key that may be
    /// missing now.
    pub lost: Vec<String>,
    /// Why it failed.
    pub error: OpError,
}

/// A step that did not come to its end.
struct Stuck {
    error: OpError,
    lost: Option<String>,
}

impl From<OpError> for Stuck {
    fn from(error: OpError) -> Self {
        Self { error, lost: None }
    }
}

impl From<OpError> for Box<Halted> {
    fn from(error: OpError) -> Self {
        let (applied, failed, unknown) = (Vec::new(), Vec::new(), Vec::new());
        Self::new(Halted {
            applied,
            failed,
            unknown,
            not_tried: Vec::new(),
            lost: Vec::new(),
            error,
        })
    }
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        let lists = [
            ("applied", &self.applied),
            ("failed", &self.failed),
            ("unknown", &self.unknown),
            ("not tried", &self.not_tried),
        ];
        for (what, fields) in lists.into_iter().filter(|(_, fields)| !fields.is_empty()) {
            write!(f, "; {what}: {}", fields.join(", "))?;
        }
        if !self.lost.is_empty() {
            write!(f, "; could not be put back: {:?}", self.lost)?;
        }
        Ok(())
    }
}

impl Ran {
    /// Readers can see it, or where it came to a halt.
    pub fn into_result(self) -> Result<Settled, Box<Halted>> {
        match self.halted {
            None => Ok(self.settled),
            Some(halted) => Err(halted),
        }
    }
}

impl Plan {
    /// Makes the calls, up to the first that fails; none is begun once `stop` is cancelled.
    pub async fn run(&self, reach: &Reach, stop: &CancellationToken) -> Ran {
        let mut halted = None;
        // Of the field that is being changed.
        let mut undo: Vec<Undo> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 && self.steps[index - 1].fields != step.fields {
                undo.clear();
            }
            let done = match index > 0 && stop.is_cancelled() {
                false => step.act.run(reach).await,
                true => Err(OpError::Interrupted(format!("PATCH {}", self.class.name)).into()),
            };
            match done {
                Ok(mut more) => undo.append(&mut more),
                Err(Stuck { error, lost }) => {
                    let mut lost: Vec<String> = lost.into_iter().collect();
                    for undo in undo.iter().rev() {
                        if !undo.carry_out(reach).await && !lost.contains(&undo.place.pointer) {
                            lost.push(undo.place.pointer.clone());
                        }
                    }
                    halted = Some(Box::new(self.halted(index, error, lost)));
                    break;
                }
            }
        }
        let settled = match self.steps.is_empty() {
            true => Settled::Seen,
            false => reach.settle(Touched::Object(self.class, &self.reference)).await,
        };
        Ran { settled, halted }
    }

    fn halted(&self, at: usize, error: OpError, lost: Vec<String>) -> Halted {
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
        let (failed, unknown) = match error.is_unknown() || !lost.is_empty() {
            true => (Vec::new(), failed),
            false => (failed, Vec::new()),
        };
        Halted { applied, failed, unknown, not_tried, lost, error }
    }
}

impl Act {
    /// Does it; how it can be taken back.
    async fn run(&self, reach: &Reach) -> Result<Vec<Undo>, Stuck> {
        match self {
            Self::Call(call) => {
                call.make(reach).await?;
                Ok(Vec::new())
            }
            Self::Add { place, add, remove } => add_to(reach, place, add, remove).await,
            Self::Remove { place, remove, back } => {
                let undo = |call| Undo { call, place: place.clone(), present: true };
                removed(reach, place, remove).await?;
                Ok(back.clone().map(undo).into_iter().collect())
            }
            Self::Replace { place, remove, add, old } => {
                replace(reach, place, (remove, add), old.as_ref()).await
            }
        }
    }
}

/// Adds what is believed not to be there.
async fn add_to(
    reach: &Reach,
    place: &Place,
    add: &Invocation,
    remove: &Invocation,
) -> Result<Vec<Undo>, Stuck> {
    let undo = || vec![Undo { call: remove.clone(), place: place.clone(), present: false }];
    let Err(error) = add.make(reach).await else { return Ok(undo()) };
    if is_duplicate(&error) {
        // Somebody else was faster. What cannot be put back is not removed.
        return match place.now(reach).await {
            Some(Some(theirs)) if same(&theirs, add.value()) => Ok(Vec::new()),
            Some(Some(theirs)) => {
                let old = add.with_value(theirs);
                replace(reach, place, (remove, add), Some(&old)).await
            }
            Some(None) => replace(reach, place, (remove, add), None).await,
            None => Err(error.into()),
        };
    }
    if !error.is_unknown() {
        return Err(error.into());
    }
    match place.now(reach).await {
        Some(Some(found)) if same(&found, add.value()) => Ok(undo()),
        Some(_) => Err(error.into()),
        None => Err(Stuck { error, lost: Some(place.pointer.clone()) }),
    }
}

/// Removes something.
async fn removed(reach: &Reach, place: &Place, remove: &Invocation) -> Result<(), Stuck> {
    let Err(error) = remove.make(reach).await else { return Ok(()) };
    if !error.is_unknown() {
        return Err(error.into());
    }
    match place.now(reach).await {
        Some(None) => Ok(()),
        Some(Some(_)) => Err(error.into()),
        None => Err(Stuck { error, lost: Some(place.pointer.clone()) }),
    }
}

/// Removes a key and adds it anew; should that fail, with its old value.
async fn replace(
    reach: &Reach,
    place: &Place,
    (remove, add): (&Invocation, &Invocation),
    old: Option<&Invocation>,
) -> Result<Vec<Undo>, Stuck> {
    let put_back = old.map(|old| Undo { call: old.clone(), place: place.clone(), present: true });
    let taken = Undo { call: remove.clone(), place: place.clone(), present: false };
    // Taken back from the last to the first.
    let undo = || put_back.iter().chain([&taken]).cloned().collect::<Vec<_>>();
    let mut tries = 1;
    loop {
        removed(reach, place, remove).await?;
        let Err(error) = add.make(reach).await else { return Ok(undo()) };
        if is_duplicate(&error) {
            // Somebody else's stands, unless they come to rest.
            if tries == TRIES {
                return Err(error.into());
            }
            tries += 1;
            continue;
        }
        let found = if error.is_unknown() { place.now(reach).await } else { Some(None) };
        if let Some(Some(found)) = found {
            return if same(&found, add.value()) { Ok(undo()) } else { Err(error.into()) };
        }
        let is_back = match &put_back {
            Some(put_back) => put_back.carry_out(reach).await,
            None => found.is_some(),
        };
        let lost = (!is_back).then(|| place.pointer.clone());
        return Err(Stuck { error, lost });
    }
}

impl Invocation {
    pub(super) async fn make(&self, reach: &Reach) -> Result<(), OpError> {
        reach.send(self.call, &self.call.wire_name, &self.arguments).await.map(drop)
    }

    /// What it adds.
    fn value(&self) -> &Arg {
        self.arguments.values.last().unwrap_or(&Arg::Nil)
    }

    /// The same with another value.
    fn with_value(&self, value: Arg) -> Self {
        let mut other = self.clone();
        if let Some(last) = other.arguments.values.last_mut() {
            *last = value;
        }
        other
    }
}
