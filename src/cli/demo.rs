//! `xengate demo`: the gateway and a simulated pool in one process.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::serve::Signals;
use super::{Failed, Simulated, say};
use crate::app::{App, StartError};
use crate::config::{BackendConfig, Config};
use crate::sim::{PASSWORD, Sim, SimConfig, SimHandle, Value};

/// The backend's name.
const NAME: &str = "demo";

/// The port newcomers read about.
const PORT: u16 = 8080;

pub(super) async fn run(demo: Simulated) -> Result<(), Failed> {
    let signals = Signals::new()?;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let pool = SimConfig {
        listen: address,
        vms: demo.vms(),
        refusal_delay: Duration::from_secs(2),
        activity: !demo.still,
        ..SimConfig::default()
    };
    let sim = Sim::start(pool).map_err(|source| Failed::Sim { address, source })?;
    let backend = BackendConfig::new(vec![format!("http://{}", sim.addr())]);
    let config = Config {
        listen: demo.listen_or(PORT),
        // Nothing here is worth securing: the pool is made up, and so is its password.
        allow_plaintext: true,
        backends: [(NAME.to_owned(), backend)].into(),
        ..Config::default()
    };
    let running = App::start(config).await.map_err(|error| match error {
        StartError::Listen { ref source, .. } if source.kind() == ErrorKind::AddrInUse => {
            Failed::Port(error)
        }
        error => Failed::Start(error),
    })?;
    say(format_args!("xengate listening on {}", running.url()));
    say(welcome(&running.url(), demo.vms(), a_running_vm(&sim).as_deref()));
    signals.drain(running).await;
    sim.stop().await;
    Ok(())
}

/// The uuid of a VM that has metrics worth reading.
fn a_running_vm(sim: &SimHandle) -> Option<String> {
    let refs = sim.refs("VM");
    let field = |vm: &str, name| sim.field("VM", vm, name);
    let running = refs.iter().find(|vm| {
        field(vm, "power_state")
            .is_some_and(|state| state.as_text().is_some_and(|t| **t == *"Running"))
            && matches!(field(vm, "is_control_domain"), Some(Value::Bool(false)))
    })?;
    field(running, "uuid")?.as_text().map(ToString::to_string)
}

/// What to do next, to be pasted.
fn welcome(url: &str, vms: usize, vm: Option<&str>) -> String {
    let third = vm.map_or("/backends".to_owned(), |uuid| format!("/vms/{uuid}/metrics"));
    format!(
        r#"
A simulated pool with {vms} VMs is behind it; log in as root, password {PASSWORD}. Paste:

TOKEN=$(curl -s {url}/sessions -H 'Content-Type: application/json' -d '{{"username":"root","password":"{PASSWORD}"}}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
curl -s -H "Authorization: Bearer $TOKEN" '{url}/vms?limit=3'; echo
curl -s -H "Authorization: Bearer $TOKEN" {url}{third}; echo

The whole API: {url}/docs
Ctrl-C ends it."#
    )
}
