//! `xengate sim`: the simulated pool alone.

use std::time::Duration;

use super::serve::Signals;
use super::{Failed, Simulated, say};
use crate::sim::{PASSWORD, Sim, SimConfig};

/// Beside the gateway's own default.
const PORT: u16 = 8081;

pub(super) async fn run(simulated: Simulated) -> Result<(), Failed> {
    let mut signals = Signals::new()?;
    let address = simulated.listen_or(PORT);
    let pool = SimConfig {
        listen: address,
        vms: simulated.vms(),
        refusal_delay: Duration::from_secs(2),
        activity: !simulated.still,
        ..SimConfig::default()
    };
    let sim = Sim::start(pool).map_err(|source| Failed::Sim { address, source })?;
    say(format_args!("simulated pool listening on http://{}", sim.addr()));
    say(format_args!("log in as root, or as one of the Xen-API's roles; password {PASSWORD}"));
    signals.wait().await;
    sim.stop().await;
    Ok(())
}
