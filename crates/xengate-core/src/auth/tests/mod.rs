//! Logins and sessions against pools that answer on a socket.

mod liveness;
mod logins;
pub(crate) mod pool;
mod presence;
mod tickets;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::*;
use pool::{PASSWORD, Pool};
use xenapi_client::Backend;
use xenapi_mirror::inventory::Inventory;
use xengate_config::{AuthConfig, BackendConfig, Kind};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A gate in front of these pools.
fn authority_with(pools: &[(&str, &Pool)], config: &AuthConfig) -> Arc<Authority> {
    let backends: BTreeMap<String, Arc<Backend>> = pools
        .iter()
        .map(|(name, pool)| {
            let mut config = BackendConfig::new(vec![pool.uri.clone()]);
            config.kind = Kind::Xapi;
            ((*name).to_owned(), Backend::new(name, &config).expect("a backend"))
        })
        .collect();
    Authority::new(config, &[], Inventory::start(Vec::new()), backends).expect("a gate")
}

fn authority(pools: &[(&str, &Pool)]) -> Arc<Authority> {
    authority_with(pools, &AuthConfig::default())
}

fn password() -> SecretString {
    PASSWORD.into()
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(ToString::to_string).collect())
}

async fn login(authority: &Authority) -> Login {
    authority.login(PEER, "root", password(), None).await.expect("a login")
}

async fn authenticate(authority: &Authority, login: &Login) -> Result<Caller, AuthError> {
    authority.authenticate(login.token.expose_secret()).await
}

fn statuses(session: &GatewaySession) -> Vec<(String, &'static str)> {
    let status = |status| match status {
        BackendStatus::Ok => "ok",
        BackendStatus::Refused => "refused",
        BackendStatus::Forbidden => "forbidden",
        BackendStatus::Unreachable => "unreachable",
        BackendStatus::Ended => "ended",
    };
    session.backends().into_iter().map(|(name, is)| (name, status(is))).collect()
}

/// Lets time pass at once. Only between steps: while time is held, every wait on a socket would
/// let it run.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until no more than this many tasks are left, of which the sweeper is one.
async fn until_tasks(authority: &Authority, left: usize) {
    let until = async {
        while authority.doors.tasks.len() > left {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(20), until).await.expect("the tasks end");
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
