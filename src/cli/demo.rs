//! `xengate demo`: the gateway and a simulated pool in one process.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use super::serve::Signals;
use super::{Failed, Simulated, say};
use crate::app::{App, Running, StartError};
use xenapi_model::datamodel;
use xenapi_sim::xend::{Power, Xend, XendConfig};
use xenapi_sim::{PASSWORD, Sim, SimConfig, SimHandle, Value};
use xengate_config::{BackendConfig, Config, Kind, User};
use xengate_core::auth;

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
    let running = start(demo.listen_or(PORT), backend, Vec::new()).await?;
    say(format_args!("xengate listening on {}", running.url()));
    say(welcome(&running.url(), "pool", demo.vms(), a_running_vm(&sim).as_deref()));
    signals.drain(running).await;
    sim.stop().await;
    Ok(())
}

/// The same with a simulated xend, which asks nobody for a password: so the gateway does.
pub(super) async fn run_xend(demo: Simulated) -> Result<(), Failed> {
    let signals = Signals::new()?;
    let host = XendConfig {
        vms: demo.vms(),
        guest_delay: Duration::from_secs(3),
        costly: true,
        ..XendConfig::default()
    };
    let address = host.api;
    let xend = Xend::start(host).map_err(|source| Failed::Sim { address, source })?;
    let password_hash = auth::hash(&SecretString::from(PASSWORD))?;
    let user = |name: &str, role: &str| User {
        name: name.to_owned(),
        password_hash: password_hash.clone(),
        role: role.to_owned(),
    };
    // One for each role of the Xen-API, and the one that newcomers try first.
    let roles = datamodel().roles.iter().map(|role| user(role, role));
    let users = std::iter::once(user("root", "pool-admin")).chain(roles).collect();
    let mut backend = BackendConfig::new(vec![xend.api_url()]);
    backend.kind = Kind::Xend;
    let running = start(demo.listen_or(PORT), backend, users).await?;
    say(format_args!("xengate listening on {}", running.url()));
    let vm = xend.vm_that_is(Power::Running).map(|vm| vm.uuid);
    say(welcome(&running.url(), "xend", demo.vms(), vm.as_deref()));
    signals.drain(running).await;
    xend.stop().await;
    Ok(())
}

/// A gateway in front of what is simulated.
async fn start(
    listen: SocketAddr,
    backend: BackendConfig,
    users: Vec<User>,
) -> Result<Running, Failed> {
    let config = Config {
        listen,
        // Nothing here is worth securing: the pool is made up, and so is its password.
        allow_plaintext: true,
        backends: [(NAME.to_owned(), backend)].into(),
        users,
        ..Config::default()
    };
    App::start(config).await.map_err(|error| match error {
        StartError::Listen { ref source, .. } if source.kind() == ErrorKind::AddrInUse => {
            Failed::Port(error)
        }
        error => Failed::Start(error),
    })
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
fn welcome(url: &str, what: &str, vms: usize, vm: Option<&str>) -> String {
    let third = vm.map_or("/backends".to_owned(), |uuid| format!("/vms/{uuid}/metrics"));
    format!(
        r#"
A simulated {what} with {vms} VMs is behind it; log in as root, password {PASSWORD}. Paste:

TOKEN=$(curl -s {url}/sessions -H 'Content-Type: application/json' -d '{{"username":"root","password":"{PASSWORD}"}}' | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
curl -s -H "Authorization: Bearer $TOKEN" '{url}/vms?limit=3'; echo
curl -s -H "Authorization: Bearer $TOKEN" {url}{third}; echo

The whole API: {url}/docs
Ctrl-C ends it."#
    )
}
