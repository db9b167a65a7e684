//! Which calls clients may make by name: on one object, or on its collection.
//!
//! Every custom call is one of the two, or stands in the table of [`excluded`](self) calls with the
//! reason why. The calls that the datamodel derives from fields are not actions: they are what
//! reading, patching, making and destroying objects is made of.

mod excluded;

use xenapi_model::{Call, CallKind, Class, Type};

pub use excluded::Reason;

/// A call that clients may make by name.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Its class.
    pub class: &'static Class,
    /// The call.
    pub call: &'static Call,
    /// What it is done to.
    pub on: On,
}

impl Action {
    /// Whether it has parameters beside the object that it is done to.
    pub fn takes_parameters(&self) -> bool {
        self.call.params.len() > usize::from(self.on == On::Object)
    }
}

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// One object, which is the call's first argument.
    Object,
    /// The class, or whatever its parameters name.
    Collection,
}

/// Why there is no such action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAction {
    /// The class has no such call, or it is not one that clients make by name.
    #[error("no such action")]
    Unknown,
    /// There is such a call, but not for clients.
    #[error("this call is not for clients: {0}")]
    Excluded(Reason),
}

/// The action of a class by this name, without the class: `start`.
pub fn action(class: &'static Class, name: &str) -> Result<Action, NoAction> {
    let call = class.call(name).filter(|call| call.kind == CallKind::Custom);
    let call = call.ok_or(NoAction::Unknown)?;
    match excluded::reason(call) {
        Some(reason) => Err(NoAction::Excluded(reason)),
        None => Ok(Action { class, call, on: on(class, call) }),
    }
}

/// All actions of a class, in the datamodel's order.
pub fn actions(class: &'static Class) -> impl Iterator<Item = Action> {
    class.calls.iter().filter_map(move |call| action(class, &call.name).ok())
}

/// Every call that is not for clients, by its name on the wire, with the reason.
pub fn excluded() -> impl Iterator<Item = (&'static str, Reason)> {
    excluded::EXCLUDED.iter().flat_map(|(reason, names)| names.iter().map(|name| (*name, *reason)))
}

fn on(class: &Class, call: &Call) -> On {
    match call.params.first().map(|param| &param.ty) {
        Some(Type::Ref(id)) if *id == class.id => On::Object,
        _ => On::Collection,
    }
}

#[cfg(test)]
mod tests;
