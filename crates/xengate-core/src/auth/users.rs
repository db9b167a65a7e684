//! The gateway's own users, for backends that do not check passwords.
//!
//! A hash takes memory and time by design: few are worked out at once, on threads of their own, and
//! a name that nobody has costs as much as one that somebody has.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHashString, PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::roles;
use xenapi_client::Access;
use xenapi_model::datamodel;

/// Hashes worked out at once: at the usual 19 MiB each.
const AT_ONCE: usize = 4;

/// The most memory a hash may ask for, in KiB, and the most passes: with all turns taken, 1 GiB.
const MOST_MEMORY: u32 = (1 << 20) / AT_ONCE as u32;
const MOST_PASSES: u32 = 100;

/// Why the users that are configured cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("user number {}: {key}: {why}", .index + 1)]
pub struct UsersError {
    /// The user's place in the list, from 0.
    pub index: usize,
    /// The key that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// The gateway's own users.
pub struct Users {
    users: Vec<User>,
    /// What the password of a name that nobody has is compared with.
    decoy: Option<PasswordHashString>,
    turns: Arc<Semaphore>,
}

struct User {
    name: String,
    hash: PasswordHashString,
    access: Access,
}

impl Users {
    /// Those that are configured.
    pub fn new(users: &[xengate_config::User]) -> Result<Self, UsersError> {
        let users = users
            .iter()
            .enumerate()
            .map(|(index, user)| {
                let wrong = |key, why| UsersError { index, key, why };
                let hash = read(&user.password_hash).map_err(|why| wrong("password_hash", why))?;
                let access = roles::access_of(&user.role).ok_or_else(|| {
                    let known = datamodel().roles.join(", ");
                    wrong("role", format!("no role of the Xen-API; those are {known}"))
                })?;
                Ok(User { name: user.name.clone(), hash, access })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let costliest = users.iter().max_by_key(|user| cost(&user.hash));
        if let Some(most) = costliest.map(|user| cost(&user.hash))
            && let Some(user) = users.iter().find(|user| cost(&user.hash) != most)
        {
            // How long a refusal takes tells whose name is known.
            tracing::warn!(
                user = user.name,
                "some password hashes cost less than others: make them anew, all alike"
            );
        }
        let decoy = costliest.map(|user| user.hash.clone());
        Ok(Self { users, decoy, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What the user of this name and password may do; `None` when there is no such user, or it is
    /// not the password.
    pub async fn verify(&self, name: &str, password: &SecretString) -> Option<Access> {
        let user = self.users.iter().find(|user| user.name == name);
        let hash = user.map(|user| &user.hash).or(self.decoy.as_ref())?.clone();
        // Nothing closes the semaphore.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let password = password.clone();
        let matches = tokio::task::spawn_blocking(move || {
            // Held until the work is done, whether or not anybody waits for it.
            let _turn = turn;
            let password = password.expose_secret().as_bytes();
            Argon2::default().verify_password(password, &hash.password_hash()).is_ok()
        });
        let matches = matches.await.unwrap_or(false);
        user.filter(|_| matches).map(|user| user.access.clone())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({} of them)", self.users.len())
    }
}

/// The hash of a new password, with a salt of its own.
pub fn hash(password: &SecretString) -> Result<String, HashError> {
    hash_at_cost(password, Params::default())
}

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// There is no randomness to be had.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The library refused.
    #[error("the password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

pub(crate) fn hash_at_cost(password: &SecretString, cost: Params) -> Result<String, HashError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(HashError::Random)?;
    let salt = SaltString::encode_b64(&salt).map_err(HashError::Hash)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    let hash = argon2.hash_password(password.expose_secret().as_bytes(), &salt);
    Ok(hash.map_err(HashError::Hash)?.to_string())
}

/// Reads a hash that was written into the configuration. Nothing of it is repeated.
fn read(text: &str) -> Result<PasswordHashString, String> {
    let malformed = || "a malformed argon2id hash; `xengate hash-password` makes one".to_owned();
    let hash = PasswordHash::new(text).map_err(|_| malformed())?;
    let params = Params::try_from(&hash).map_err(|_| malformed())?;
    if hash.algorithm != argon2::ARGON2ID_IDENT || hash.salt.is_none() || hash.hash.is_none() {
        return Err(malformed());
    }
    if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES {
        return Err(format!(
            "a hash that takes more than {} MiB or {MOST_PASSES} passes would stop the gateway",
            MOST_MEMORY >> 10
        ));
    }
    Ok(hash.serialize())
}

/// How much work a hash is.
fn cost(hash: &PasswordHashString) -> u64 {
    let params = Params::try_from(&hash.password_hash()).unwrap_or_default();
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(password: &str) -> String {
        let cost = Params::new(8, 1, 1, None).expect("a cost");
        hash_at_cost(&password.into(), cost).expect("a hash")
    }

    fn user(name: &str, password: &str, role: &str) -> xengate_config::User {
        xengate_config::User {
            name: name.into(),
            password_hash: cheap(password),
            role: role.into(),
        }
    }

    #[tokio::test]
    async fn a_user_is_who_knows_the_password_and_may_what_the_role_may() {
        let users = [user("ann", "one", "read-only"), user("bob", "two", "pool-admin")];
        let users = Users::new(&users).expect("users");
        for (name, password, good) in [
            ("ann", "one", true),
            ("ann", "two", false),
            ("ann", "", false),
            ("bob", "two", true),
            ("Ann", "one", false),
            ("eve", "one", false),
        ] {
            let access = users.verify(name, &password.into()).await;
            assert_eq!(access.is_some(), good, "{name} {password}");
        }
        let start = datamodel().call("VM.start").expect("a call").1;
        let may = async |name: &str, password: &str| {
            let access = users.verify(name, &password.into()).await.expect("a user");
            assert!(!access.is_local_superuser);
            roles::may(&access, start).is_ok()
        };
        assert!(!may("ann", "one").await && may("bob", "two").await);
    }

    #[tokio::test]
    async fn without_users_nobody_is_one() {
        let users = Users::new(&[]).expect("no users");
        assert!(users.is_empty());
        assert!(users.verify("root", &"".into()).await.is_none());
    }

    #[test]
    fn what_cannot_be_a_user_is_refused_and_not_repeated() {
        let good = cheap("hunter2");
        let bad_cost = good.replace("m=8", "m=99999999");
        let other = good.replace("argon2id", "argon2d");
        for (hash, role, key) in [
            ("$argon2id$hunter2", "read-only", "password_hash"),
            ("$argon2id$v=19$m=8,t=1,p=1$hunter2hunter2", "read-only", "password_hash"),
            (&bad_cost, "read-only", "password_hash"),
            (&other, "read-only", "password_hash"),
            (&good, "root", "role"),
        ] {
            let user = xengate_config::User {
                name: "a".into(),
                password_hash: hash.into(),
                role: role.into(),
            };
            let error = Users::new(&[user]).expect_err(hash);
            assert_eq!((error.index, error.key), (0, key), "{hash}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_hash_is_salted_and_says_how_it_was_made() {
        let (one, two) = (cheap("a"), cheap("a"));
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{one}");
    }

    #[test]
    fn the_costliest_hash_is_the_decoy() {
        let mut users = vec![user("a", "a", "read-only"), user("b", "b", "read-only")];
        let cost = Params::new(16, 2, 1, None).expect("a cost");
        users[1].password_hash = hash_at_cost(&"b".into(), cost).expect("a hash");
        let wanted = users[1].password_hash.clone();
        let users = Users::new(&users).expect("users");
        assert_eq!(users.decoy.map(|decoy| decoy.to_string()), Some(wanted));
    }
}
