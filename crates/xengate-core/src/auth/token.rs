//! Bearer tokens: JSON Web Tokens signed with HS256.
//!
//! A token only names a gateway session; whether that session lives, and what it may do, the
//! registry knows. So a token that was once verified may be remembered, which spares the hashing,
//! without outliving a logout.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::key::Key;

/// Who issues the tokens.
const ISSUER: &str = "xengate";

/// Whom they are for.
const AUDIENCE: &str = "xengate-api";

/// No token of ours is longer; a longer one is not looked at.
pub(super) const LONGEST_TOKEN: usize = 2048;

/// Issues and verifies tokens.
pub(super) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// Tokens whose signature was good. Only they get in here, so a stranger cannot fill it; the
    /// hasher is seeded at random.
    verified: Cache<Box<str>, Verified, UnitWeighter, foldhash::quality::RandomState>,
}

/// What a token with a good signature says.
#[derive(Clone, Copy)]
struct Verified {
    session: Uuid,
    expires: u64,
}

/// Why a token is no good. It says no more: what exactly was wrong helps only who forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// It is not one of ours, or not good yet.
    Invalid,
    /// It was one of ours, and its time is over.
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    sid: Uuid,
    iat: u64,
    exp: u64,
}

/// The one claim that is ours to read; the library checks the others.
#[derive(Deserialize)]
struct Read {
    sid: Uuid,
    exp: u64,
}

impl Tokens {
    /// Signs with `key` and remembers `capacity` verified tokens.
    pub(super) fn new(key: &Key, capacity: usize) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(key.expose()),
            decoding: DecodingKey::from_secret(key.expose()),
            validation,
            verified: Cache::with(
                capacity,
                capacity as u64,
                UnitWeighter,
                foldhash::quality::RandomState::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    /// A token for the session `id` of `username`.
    pub(super) fn issue(
        &self,
        id: Uuid,
        username: &str,
        issued: SystemTime,
        expires: SystemTime,
    ) -> SecretString {
        let claims = Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: username,
            sid: id,
            iat: seconds(issued),
            exp: seconds(expires),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .expect("HMAC takes every key, and these claims are always JSON")
            .into()
    }

    /// The session a good token names. `now` is the wall's time.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Uuid, TokenError> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::Invalid);
        }
        if let Some(verified) = self.verified.get(token) {
            if verified.expires < seconds(now) {
                self.verified.remove(token);
                return Err(TokenError::Expired);
            }
            return Ok(verified.session);
        }
        let read = jsonwebtoken::decode::<Read>(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                // The library looks at the claims only after the signature.
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?
            .claims;
        self.verified.insert(token.into(), Verified { session: read.sid, expires: read.exp });
        Ok(read.sid)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("remembered", &self.verified.len()).finish_non_exhaustive()
    }
}

/// The wall's time.
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The same time without its fraction of a second, which a token cannot carry.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds(time))
}

/// Seconds since 1970, none for a clock that stands before it.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tokens(key: &Key) -> Tokens {
        Tokens::new(key, 16)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A token of any claims and any algorithm, as one who has `key` would make it.
    fn forge(key: &[u8], algorithm: Algorithm, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key))
            .expect("signed")
    }

    fn good_claims() -> Value {
        let now = seconds(wall_clock());
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "root", "sid": Uuid::from_u128(7),
            "iat": now, "exp": now + 1000,
        })
    }

    fn with(change: Value) -> Value {
        let mut claims = good_claims();
        for (name, value) in change.as_object().expect("an object") {
            match value {
                Value::Null => claims.as_object_mut().expect("an object").remove(name),
                value => {
                    claims.as_object_mut().expect("an object").insert(name.clone(), value.clone())
                }
            };
        }
        claims
    }

    #[test]
    fn a_token_names_its_session_first_time_and_remembered() {
        let tokens = tokens(&Key::ephemeral().expect("key"));
        let now = wall_clock();
        let id = Uuid::new_v4();
        let token = tokens.issue(id, "root", now, now + Duration::from_secs(60));
        assert_eq!(tokens.verify(token.expose_secret(), now), Ok(id));
        assert_eq!(tokens.verified.len(), 1);
        assert_eq!(tokens.verify(token.expose_secret(), now), Ok(id));
    }

    #[test]
    fn the_longest_name_fits() {
        let tokens = tokens(&Key::ephemeral().expect("key"));
        let now = wall_clock();
        let id = Uuid::new_v4();
        let name = "\"".repeat(crate::auth::login::LONGEST_USERNAME);
        let token = tokens.issue(id, &name, now, now + Duration::from_secs(60));
        assert_eq!(tokens.verify(token.expose_secret(), now), Ok(id));
    }

    #[test]
    fn a_remembered_token_expires_all_the_same() {
        let tokens = tokens(&Key::ephemeral().expect("key"));
        let now = wall_clock();
        let token = tokens.issue(Uuid::new_v4(), "root", now, now + Duration::from_secs(60));
        let token = token.expose_secret();
        assert!(tokens.verify(token, now).is_ok());
        assert!(tokens.verify(token, now + Duration::from_secs(60)).is_ok());
        let late = now + Duration::from_secs(61);
        assert_eq!(tokens.verify(token, late), Err(TokenError::Expired));
        assert_eq!(tokens.verified.len(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let tokens = tokens(&Key::ephemeral().expect("key"));
        let now = wall_clock();
        for _ in 0..200 {
            let token = tokens.issue(Uuid::new_v4(), "root", now, now + Duration::from_secs(60));
            assert!(tokens.verify(token.expose_secret(), now).is_ok());
        }
        assert!(tokens.verified.len() <= 16, "{}", tokens.verified.len());
    }

    #[test]
    fn forgeries_are_invalid_and_nothing_more() {
        let key = Key::ephemeral().expect("key");
        let tokens = tokens(&key);
        let secret = key.expose();
        let good = forge(secret, Algorithm::HS256, &good_claims());
        assert_eq!(tokens.verify(&good, wall_clock()), Ok(Uuid::from_u128(7)));

        let parts: Vec<&str> = good.split('.').collect();
        let (header, claims, signature) = (parts[0], parts[1], parts[2]);
        let other_claims = forge(secret, Algorithm::HS256, &with(json!({"sub": "mallory"})));
        let other_claims = other_claims.split('.').nth(1).expect("claims").to_owned();
        // {"alg":"none","typ":"JWT"} and {"alg":"None"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let capital_none = "eyJhbGciOiJOb25lIn0";
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let hs = |algorithm| forge(secret, algorithm, &good_claims());
        let claims_of = |change| forge(secret, Algorithm::HS256, &with(change));
        let now = seconds(wall_clock());

        for (what, forged) in [
            ("nothing", String::new()),
            ("garbage", "garbage".to_owned()),
            ("dots", "..".to_owned()),
            ("not ASCII", "é.ü.ß".to_owned()),
            ("no algorithm, no signature", format!("{none}.{claims}.")),
            ("no algorithm, the signature", format!("{none}.{claims}.{signature}")),
            ("no algorithm in capitals", format!("{capital_none}.{claims}.")),
            ("no signature", format!("{header}.{claims}.")),
            ("another signature", format!("{header}.{claims}.{flipped}{}", &signature[1..])),
            ("half a signature", format!("{header}.{claims}.{}", &signature[..20])),
            ("other claims", format!("{header}.{other_claims}.{signature}")),
            ("four parts", format!("{good}.{signature}")),
            ("a space", format!("{good} ")),
            ("HS384", hs(Algorithm::HS384)),
            ("HS512", hs(Algorithm::HS512)),
            ("another key", forge(&[7; 64], Algorithm::HS256, &good_claims())),
            ("an empty key", forge(&[], Algorithm::HS256, &good_claims())),
            ("another issuer", claims_of(json!({"iss": "xengat"}))),
            ("no issuer", claims_of(json!({"iss": null}))),
            ("another audience", claims_of(json!({"aud": "xengate"}))),
            ("no audience", claims_of(json!({"aud": null}))),
            ("no subject", claims_of(json!({"sub": null}))),
            ("no session", claims_of(json!({"sid": null}))),
            ("a session that is no uuid", claims_of(json!({"sid": "7"}))),
            ("no expiry", claims_of(json!({"exp": null}))),
            ("an expiry that is no number", claims_of(json!({"exp": "never"}))),
            ("not good yet", claims_of(json!({"nbf": now + 500}))),
        ] {
            assert_eq!(tokens.verify(&forged, wall_clock()), Err(TokenError::Invalid), "{what}");
        }
    }

    #[test]
    fn an_expired_token_says_so_only_when_it_is_ours() {
        let key = Key::ephemeral().expect("key");
        let tokens = tokens(&key);
        let old = with(json!({"exp": NOW - 800_000_000}));
        let ours = forge(key.expose(), Algorithm::HS256, &old);
        assert_eq!(tokens.verify(&ours, wall_clock()), Err(TokenError::Expired));
        let theirs = forge(&[7; 64], Algorithm::HS256, &old);
        assert_eq!(tokens.verify(&theirs, wall_clock()), Err(TokenError::Invalid));
    }

    #[test]
    fn a_long_token_is_not_looked_at() {
        let key = Key::ephemeral().expect("key");
        let tokens = tokens(&key);
        let long = with(json!({"sub": "r".repeat(LONGEST_TOKEN)}));
        let token = forge(key.expose(), Algorithm::HS256, &long);
        assert_eq!(tokens.verify(&token, wall_clock()), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&"a".repeat(1 << 24), wall_clock()), Err(TokenError::Invalid));
    }

    #[test]
    fn whole_seconds_lose_the_fraction() {
        let time = at(NOW) + Duration::from_millis(999);
        assert_eq!(whole_seconds(time), at(NOW));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Key::ephemeral().expect("key");
        let tokens = tokens(&key);
        let token = forge(key.expose(), Algorithm::HS256, &good_claims());
        assert!(tokens.verify(&token, wall_clock()).is_ok());
        assert_eq!(format!("{tokens:?}"), "Tokens { remembered: 1, .. }");
    }
}
