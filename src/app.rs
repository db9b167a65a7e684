//! The wiring: a configuration becomes a gateway that runs.

mod memory;
mod warnings;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use xenapi_client::{Backend, BackendError};
use xenapi_mirror::inventory::{Bounds, Inventory};
use xengate_config::{Config, SecretError};
use xengate_core::auth::{self, Authority};
use xengate_http::Gateway;
use xengate_http::connection::Server;
use xengate_http::middleware::RequestService;
use xengate_http::router::routes;
use xengate_http::telemetry::Telemetry;
use xengate_http::tls;
use xengate_http::tls::{Certificate, TlsError};

/// Why a gateway cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// A backend cannot be set up as it is configured.
    #[error("backend {name}: {source}")]
    Backend {
        /// Its name.
        name: String,
        /// Why not.
        source: BackendError,
    },
    /// A service account's password cannot be read.
    #[error("backend {name}: {source}")]
    Secret {
        /// The backend's name.
        name: String,
        /// Why not.
        source: SecretError,
    },
    /// There can be no sessions.
    #[error("auth: {0}")]
    Auth(#[from] auth::StartError),
}

pub(crate) use warnings::warnings;

/// Starts gateways.
#[derive(Debug)]
pub struct App;

/// A gateway that runs, until [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    certificate: Option<Arc<Certificate>>,
    server: JoinHandle<()>,
}

impl App {
    /// Starts a gateway on the current runtime. Backends that are down are no obstacle.
    pub async fn start(mut config: Config) -> Result<Running, StartError> {
        for warning in warnings(&config) {
            warning.log();
        }
        let objects = memory::share_out(&mut config.limits);
        let config = Arc::new(config);
        let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
        let acceptor = certificate.as_ref().map(tls::acceptor).transpose()?;
        let backends = backends(&config)?;
        let address = config.listen;
        let cannot_listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;

        let mirrored =
            backends.iter().map(|(name, backend)| (backend.clone(), &config.backends[name]));
        let inventory = Inventory::within(bounds(&config, objects), mirrored.collect());
        let authority =
            match Authority::new(&config.auth, &config.users, inventory.clone(), backends) {
                Ok(authority) => authority,
                Err(error) => {
                    inventory.shutdown().await;
                    return Err(error.into());
                }
            };
        let routes = routes();
        let telemetry = Telemetry::new(routes.paths());
        let gateway = Gateway::new(config.clone(), inventory, authority, telemetry.clone());
        let gateway = Arc::new(gateway);
        let routes = routes.answered_by(gateway.clone());
        let bodies = gateway.bodies.clone();
        let shell =
            RequestService::new(routes, &config.limits, &config.cors, bodies, telemetry.clone());
        shell.trust(&config.trusted_proxies);
        shell.log_access(config.log.access);
        if let Some(lasting) = config.tls.as_ref().and_then(|tls| tls.hsts) {
            shell.insist_on_tls(lasting);
        }
        let server = Server {
            listener,
            tls: acceptor,
            shell,
            limits: config.limits.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            telemetry,
        };
        let server = tokio::spawn(server.run(gateway.stopping.clone()));
        Ok(Running { address, gateway, certificate, server })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its paths begin: `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        let scheme = if self.gateway.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What its routes work with.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Reads the certificate that it listens with again, if it has one. One that is no good is none:
    /// the log says so, and the old one stays.
    pub fn reload(&self) {
        match self.certificate.as_deref().map(Certificate::reload) {
            None => tracing::info!("there is nothing to read again: no certificate is configured"),
            Some(Ok(())) => tracing::info!("new connections get the certificate as it is now"),
            Some(Err(error)) => {
                tracing::error!(%error, "the certificate cannot be read again; the old one stays");
            }
        }
    }

    /// Accepts nothing new, finishes what runs, logs out of the backends. Each of these is bounded.
    pub async fn shutdown(self) {
        let until = Instant::now() + self.gateway.config.limits.shutdown_grace;
        self.gateway.stopping.cancel();
        // Changes are told to stop in time for their clients to hear of it.
        let (served, ()) = tokio::join!(self.server, self.gateway.writes.shutdown(until));
        if let Err(error) = served {
            tracing::error!(%error, "the server did not end as it should");
        }
        self.gateway.events.shutdown().await;
        // What the last requests have begun.
        self.gateway.writes.shutdown(until).await;
        self.gateway.tasks.shutdown().await;
        self.gateway.metrics.shutdown().await;
        self.gateway.authority.shutdown().await;
        self.gateway.inventory.shutdown().await;
    }
}

/// How much memory mirrors may take, where `objects` is what is left for what they hold.
fn bounds(config: &Config, objects: Option<u64>) -> Bounds {
    let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    Bounds { history: bytes(config.limits.event_history), objects: objects.map(bytes) }
}

/// The backends that are configured.
fn backends(config: &Config) -> Result<BTreeMap<String, Arc<Backend>>, StartError> {
    let mut backends = BTreeMap::new();
    for (name, settings) in &config.backends {
        let backend = Backend::new(name, settings)
            .map_err(|source| StartError::Backend { name: name.clone(), source })?;
        if let Some(password) = &settings.service_password {
            // Read when it is needed; who starts a gateway learns at once that it cannot be.
            password.read().map_err(|source| StartError::Secret { name: name.clone(), source })?;
        }
        backends.insert(name.clone(), backend);
    }
    Ok(backends)
}
