//! `POST /sessions` and `/sessions/current`: logging in and out.

pub mod doc;
pub mod permissions;
pub mod permissions_doc;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::Gateway;
use crate::extract::{AcceptsJson, Json, NoQuery, OfSession, Peer, UnauthenticatedJson};
use crate::problem::{Code, Problem};
use crate::representation::json;
use xengate_core::auth::{BackendStatus, GatewaySession, Login, LoginError};

/// Where a caller finds its own session.
const CURRENT: &str = "/sessions/current";

/// The body of a login.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsBody {
    /// The user's name on the backends.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
    /// Where to log in; may be left out where it is clear.
    pub backend: Option<BackendNames>,
}

/// The body of a login to further backends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendCredentialsBody {
    /// The user's name there; the session's own unless it is given.
    pub username: Option<String>,
    /// The user's password there.
    pub password: SecretString,
    /// Where to log in.
    pub backend: BackendNames,
}

/// A backend's name, or a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendNames {
    /// `"lab"`
    One(String),
    /// `["lab", "office"]`
    Several(Vec<String>),
}

/// A successful login.
#[derive(Debug, Serialize)]
pub struct SessionCreated {
    /// What to send as `Authorization: Bearer …`.
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// When the token ends at the latest, RFC 3339.
    pub expires_at: String,
    /// The session the token names.
    pub session: SessionView,
}

/// A session of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Names the session, in the log too; of no use without the token.
    pub id: Uuid,
    /// Who logged in.
    pub username: String,
    /// When it ends at the latest, RFC 3339.
    pub expires_at: String,
    /// The backends it logged in to, or tried to, by name.
    pub backends: Vec<BackendLogin>,
}

/// How a session stands with a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendLogin {
    /// The backend's name.
    pub name: String,
    /// `ok`, `refused`, `forbidden`, `unreachable` or `ended`.
    pub status: BackendStatus,
}

/// Logs in.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Peer(peer): Peer,
    _: AcceptsJson,
    _: NoQuery,
    UnauthenticatedJson(body): UnauthenticatedJson<CredentialsBody>,
) -> Result<Response, Problem> {
    let CredentialsBody { username, password, backend } = body;
    let (backends, shape) = BackendNames::split(backend);
    let login = gateway.authority.login(peer, &username, password, backends).await;
    let login = login.map_err(|error| refused(error, shape))?;
    let mut response = secret(&SessionCreated::from(login));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(CURRENT));
    Ok(response)
}

/// The caller's session, whether or not its backends can be reached.
pub async fn current(
    State(gateway): State<Arc<Gateway>>,
    OfSession(holder): OfSession,
    _: AcceptsJson,
    _: NoQuery,
) -> Result<Response, Problem> {
    gateway.authority.look_up(&holder).await?;
    Ok(secret(&SessionView::of(&holder.session)))
}

/// Logs out, here and on the backends.
pub async fn end(
    State(gateway): State<Arc<Gateway>>,
    OfSession(holder): OfSession,
    Peer(peer): Peer,
    _: NoQuery,
) -> Response {
    let session = &holder.session;
    gateway.authority.logout(session).await;
    tracing::info!(%peer, username = session.username(), session = %session.id(), "logged out");
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

/// Logs the caller's session in to further backends.
pub async fn add_backends(
    State(gateway): State<Arc<Gateway>>,
    OfSession(holder): OfSession,
    Peer(peer): Peer,
    _: AcceptsJson,
    _: NoQuery,
    Json(body): Json<BackendCredentialsBody>,
) -> Result<Response, Problem> {
    let BackendCredentialsBody { username, password, backend } = body;
    let (backends, shape) = BackendNames::split(Some(backend));
    let (session, backends) = (&holder.session, backends.unwrap_or_default());
    let authority = &gateway.authority;
    authority.add_backends(session, peer, username.as_deref(), password, backends).await.map_err(
        |error| match error {
            LoginError::Refused => Problem::new(Code::BackendLoginRefused, error.to_string()),
            error => refused(error, shape),
        },
    )?;
    tracing::info!(
        %peer, username = session.username(), session = %session.id(), "logged in to further backends"
    );
    Ok(secret(&SessionView::of(session)))
}

/// An answer nobody may keep a copy of.
pub(crate) fn secret(body: &impl Serialize) -> Response {
    let mut response = json(serde_json::to_vec(body).expect("strings and uuids are always JSON"));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How the backends were written in a body, which decides where in it one of them stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
}

/// The problem that says why there is no login.
fn refused(error: LoginError, shape: Shape) -> Problem {
    let detail = error.to_string();
    let wrong = |pointer: String| {
        Problem::new(Code::WrongShape, format!("{pointer}: {detail}")).at(pointer)
    };
    match error {
        LoginError::Username => wrong("/username".to_owned()),
        LoginError::Password => wrong("/password".to_owned()),
        LoginError::Unnamed { known } | LoginError::NoneNamed { known } => {
            wrong("/backend".to_owned()).with_params(known)
        }
        LoginError::Unknown { index, known } => match shape {
            Shape::One => wrong("/backend".to_owned()).with_params(known),
            Shape::List => wrong(format!("/backend/{index}")).with_params(known),
        },
        LoginError::Throttled { retry_after } => {
            Problem::new(Code::TooManyAttempts, detail).retry_after(retry_after)
        }
        LoginError::Refused => Problem::new(Code::LoginRefused, detail),
        LoginError::Forbidden { backends } => {
            let code = backends.first().map_or("", |(_, code)| code);
            Problem::failure(code, &[], |_| None)
                .with_detail(detail)
                .with_params(backends.iter().map(|(name, _)| name.as_str()))
        }
        LoginError::Failed { code, backends } => Problem::login_failed(&code)
            .with_detail(detail)
            .with_params(backends.into_iter().map(|(name, _)| name)),
        LoginError::Late { backends, retry_after } => Problem::new(Code::BackendTimeout, detail)
            .with_params(backends.into_iter().map(|(name, _)| name))
            .retry_after(retry_after),
        LoginError::Busy { backends, retry_after } => Problem::new(Code::BackendBusy, detail)
            .with_params(backends.into_iter().map(|(name, _)| name))
            .retry_after(retry_after),
        LoginError::BadReply { backends, retry_after } => Problem::new(Code::BadReply, detail)
            .with_params(backends.into_iter().map(|(name, _)| name))
            .retry_after(retry_after),
        LoginError::NotConfigured { backends } => Problem::new(Code::LoginNotConfigured, detail)
            .with_params(backends.into_iter().map(|(name, _)| name)),
        LoginError::Unreachable { backends, retry_after } => {
            Problem::new(Code::BackendUnreachable, detail)
                .with_params(backends.into_iter().map(|(name, _)| name))
                .retry_after(retry_after)
        }
        LoginError::Full { retry_after } => {
            Problem::new(Code::TooManySessions, detail).retry_after(retry_after)
        }
        LoginError::ShuttingDown => Problem::new(Code::ShuttingDown, detail),
        LoginError::SessionEnded => Problem::new(Code::InvalidToken, detail),
    }
}

impl BackendNames {
    /// The names, and how they were written.
    fn split(names: Option<Self>) -> (Option<Vec<String>>, Shape) {
        match names {
            None => (None, Shape::One),
            Some(Self::One(name)) => (Some(vec![name]), Shape::One),
            Some(Self::Several(names)) => (Some(names), Shape::List),
        }
    }
}

impl<'de> Deserialize<'de> for BackendNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = BackendNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a backend's name or a list of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<BackendNames, E> {
                Ok(BackendNames::One(name.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BackendNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(BackendNames::Several(names))
            }
        }

        deserializer.deserialize_any(Names)
    }
}

impl From<Login> for SessionCreated {
    fn from(login: Login) -> Self {
        Self {
            token_type: "Bearer",
            expires_at: rfc3339(login.expires_at()),
            session: SessionView::of(&login.session),
            token: login.token,
        }
    }
}

impl SessionView {
    fn of(session: &GatewaySession) -> Self {
        let backends = session.backends().into_iter();
        Self {
            id: session.id(),
            username: session.username().to_owned(),
            expires_at: rfc3339(session.expires_at()),
            backends: backends.map(|(name, status)| BackendLogin { name, status }).collect(),
        }
    }
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The one place where a token is written out: to whom it was made for.
pub(crate) fn expose<S: Serializer>(
    token: &SecretString,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

#[cfg(test)]
mod tests;
