//! `xengate sim`: the simulated pool alone.

use std::net::SocketAddr;
use std::time::Duration;

use super::serve::Signals;
use super::{Failed, Simulated, say};
use xenapi_sim::xend::{Xend, XendConfig};
use xenapi_sim::{PASSWORD, Sim, SimConfig};

/// Beside the gateway's own default.
const PORT: u16 = 8081;

/// xend's own ports: of its Xen-API interface, and of the legacy one.
const XEND_PORTS: (u16, u16) = (9363, 8006);

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

/// Runs a simulated xend. The legacy interface listens beside the other.
pub(super) async fn run_xend(simulated: Simulated) -> Result<(), Failed> {
    let mut signals = Signals::new()?;
    let address = simulated.listen_or(XEND_PORTS.0);
    let legacy = match address.port() {
        0 => 0,
        _ => XEND_PORTS.1,
    };
    let config = XendConfig {
        api: address,
        legacy: SocketAddr::new(address.ip(), legacy),
        vms: simulated.vms(),
        guest_delay: Duration::from_secs(3),
        task_duration: Duration::from_secs(1),
        costly: true,
        ..XendConfig::default()
    };
    let xend = Xend::start(config).map_err(|source| Failed::Sim { address, source })?;
    say(format_args!("simulated xend listening on {}", xend.api_url()));
    say(format_args!("its legacy interface, which xm uses, listening on {}", xend.legacy_url()));
    say("anyone may do anything, as xend comes");
    signals.wait().await;
    xend.stop().await;
    Ok(())
}
