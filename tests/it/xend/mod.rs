//! A gateway in front of xend: of what a real one was recorded to say, and of a simulated one.

mod actions;
mod hidden;
mod listed;
mod load;
mod logins;
mod measured;
mod polls;
mod replay;
mod server;
mod simulated;
mod taken;
mod views;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use xengate::config::{BackendConfig, Config, Kind, User};

use crate::lab::{BACKEND, Gate};

pub(crate) const USER: &str = "ann";
pub(crate) const USERS_PASSWORD: &str = "correct horse battery";

/// A user of the gateway's own, whose password costs next to nothing to check.
pub(crate) fn user(name: &str, role: &str) -> User {
    let cost = Params::new(8, 1, 1, None).expect("a cost");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    let salt = SaltString::encode_b64(b"salt for a test!").expect("a salt");
    let hash = argon2.hash_password(USERS_PASSWORD.as_bytes(), &salt).expect("a hash");
    User { name: name.to_owned(), password_hash: hash.to_string(), role: role.to_owned() }
}

/// A gateway whose one backend is a xend at `uri`, with a user of each of two roles.
pub(crate) async fn gate(uri: &str, kind: Kind, change: impl FnOnce(&mut BackendConfig)) -> Gate {
    gate_with(uri, kind, change, |_| {}).await
}

/// The same, with a word on the rest of the configuration.
pub(crate) async fn gate_with(
    uri: &str,
    kind: Kind,
    change: impl FnOnce(&mut BackendConfig),
    whole: impl FnOnce(&mut Config),
) -> Gate {
    Gate::start(uri, |config| {
        config.users = vec![user(USER, "pool-admin"), user("eve", "read-only")];
        let backend = config.backends.get_mut(BACKEND).expect("the backend");
        backend.kind = kind;
        change(backend);
        whole(config);
    })
    .await
}
