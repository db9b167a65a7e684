//! A VM's VCPUs. xend knows one number of them, which is both the most there may be and how many there
//! are at startup, and `VM.set_VCPUs_number_live` alone keeps it as a number: what the others set is
//! text, and a VM with that never starts again.

use super::taken::Expected;
use super::{Xend, calls};
use crate::call::{Retry, Value};
use crate::error::CallError;
use crate::session::Session;
use xenapi_wire::Arg;
use xenapi_wire::reply::Failure;

const LIVE: &str = "VM.set_VCPUs_number_live";

/// Whether a call is one of those that set a number of VCPUs.
pub(super) fn is_of_vcpus(call: &str) -> bool {
    matches!(call, "VM.set_VCPUs_max" | "VM.set_VCPUs_at_startup" | LIVE)
}

/// Sets what the call says, as far as there is such a thing. That the VM's state permits it has been
/// looked at.
pub(super) async fn set(
    xend: &Xend,
    session: &Session,
    call: &str,
    args: &[Arg],
) -> Result<Value, CallError> {
    let vm = calls::reference(args).unwrap_or_default();
    let number = args.get(1).and_then(number);
    if call == "VM.set_VCPUs_at_startup" {
        let record = xend.plain_record(session, "VM", vm).await;
        let record = record.map_err(CallError::before_the_call)?;
        let Some(record) = record else { return Err(failure("HANDLE_INVALID", &["VM", vm])) };
        let most = record.get("VCPUs_max").and_then(int);
        return match number {
            // It is that already.
            Some(number) if most == Some(number) => Ok(Value::void()),
            _ => {
                let why = "xend starts a VM with VCPUs_max VCPUs: set that";
                Err(failure("NOT_IMPLEMENTED", &[call, why]))
            }
        };
    }
    let within = xend.line.call_timeout;
    let value = xend.made(session, LIVE, args, Retry::Write, within).await?;
    let Some(number) = number else { return Ok(value) };
    let Some(record) = xend.plain_record(session, "VM", vm).await.ok().flatten() else {
        return Ok(value);
    };
    // What runs has so many online; what does not is configured with as many.
    let runs = record.get("domid").and_then(int).is_some_and(|domid| domid >= 0);
    let metrics = record.get("metrics").and_then(serde_json::Value::as_str);
    let expected = match (runs, metrics) {
        (true, Some(metrics)) => {
            Expected::number(call, ("VM_metrics", metrics), "VCPUs_number", number)
        }
        (true, None) => return Ok(value),
        (false, _) => Expected::number(call, ("VM", vm), "VCPUs_max", number),
    };
    xend.look_for(session, expected).await?;
    Ok(value)
}

fn number(arg: &Arg) -> Option<i64> {
    match arg {
        Arg::Int(int) => Some(*int),
        Arg::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An int, or the text of one.
fn int(value: &serde_json::Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn failure(code: &str, params: &[&str]) -> CallError {
    let params = params.iter().map(|param| (*param).to_owned()).collect();
    CallError::Failure(Failure { code: code.to_owned(), params })
}
