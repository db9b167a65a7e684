//! What it means for the next attempt that a call came to nothing.

use crate::inventory::standing::is_unknown;
use xenapi_client::{CallError, Fault, Phase};

/// Whether the backend did not answer: no reason to leave it alone for long.
pub(super) fn is_silence(error: &CallError) -> bool {
    match error {
        CallError::Unreachable(_) | CallError::Timeout(Phase::Reply) => true,
        // What stands before it says so.
        CallError::BadReply(reply) => matches!(reply.status, Some(502..=504)),
        _ => false,
    }
}

/// Whether the backend may still tell of its classes one by one. Not where it cannot be reached,
/// has no events at all, or tells more than the gateway is set to take.
pub(super) fn is_worth_a_closer_look(error: &CallError) -> bool {
    match error {
        CallError::Failure(failure) => !is_unknown(failure),
        CallError::BadReply(reply) => !matches!(reply.fault, Fault::TooLarge { .. }),
        CallError::Unreachable(_) => error.is_loss(),
        CallError::Timeout(phase) => *phase != Phase::Queue,
        CallError::Unasked(error) | CallError::Partly(error) => is_worth_a_closer_look(error),
        CallError::Busy(_)
        | CallError::Misconfigured(_)
        | CallError::NotTaken(_)
        | CallError::Unsendable(_) => false,
    }
}

/// Whether the next attempt is sure to come to the same. A pool takes seconds to refuse a password,
/// and a reply that is too large was read to the limit first.
pub(super) fn is_lasting(error: &CallError) -> bool {
    match error {
        CallError::Failure(failure) => failure.code == "SESSION_AUTHENTICATION_FAILED",
        CallError::BadReply(reply) => matches!(reply.fault, Fault::TooLarge { .. }),
        _ => false,
    }
}
