//! The roles that subjects have.
//!
//! XAPI's roles never change and no event tells of them: those that subjects name are asked for,
//! once per sync, and stand in the ref index beside what events have told.

use std::time::Duration;

use foldhash::HashMap;
use serde_json::value::RawValue;
use tokio::time::timeout;
use uuid::Uuid;

use super::refs::Target;
use crate::backend::{Backend, CallError, Phase, Retry, Session};
use crate::datamodel::datamodel;
use crate::wire::Arg;
use crate::wire::mend::mended;

/// More roles than subjects ever have: pools have half a dozen, and one for each permission that
/// hardly anybody gives by itself.
const MOST: usize = 256;
/// How long asking may take, all in all.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// The roles that subjects have named since everything was last asked for.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// Whether each has been asked for.
    named: HashMap<Box<str>, bool>,
}

/// What a role's ref names.
pub(super) type Learned = Vec<(Box<str>, Target)>;

impl Roles {
    /// Notes the roles that the subject of an event has.
    pub(super) fn note(&mut self, event: &[u8]) {
        for name in named_in(event) {
            if self.named.len() < MOST {
                self.named.entry(name.into()).or_default();
            }
        }
    }

    /// Asks for those that have not been asked for. One that the backend does not know is left
    /// alone until the next sync.
    pub(super) async fn learn(
        &mut self,
        backend: &Backend,
        session: &Session,
    ) -> Result<Learned, CallError> {
        let class = datamodel().class("role").expect("the Xen-API has roles").id;
        let mut learned = Vec::new();
        let asking = async {
            for (name, asked) in self.named.iter_mut().filter(|(_, asked)| !**asked) {
                let args = [Arg::from(&**name)];
                match backend.call(session, "role.get_uuid", &args, Retry::Read).await {
                    Ok(value) => {
                        let uuid = serde_json::from_str::<Uuid>(value.get()).ok();
                        learned.extend(uuid.map(|uuid| (name.clone(), (class, uuid))));
                    }
                    Err(CallError::Failure(failure)) if failure.code == "HANDLE_INVALID" => {}
                    Err(error) => return Err(error),
                }
                *asked = true;
            }
            Ok(())
        };
        match timeout(ASK_WITHIN, asking).await {
            Ok(asked) => asked.map(|()| learned),
            Err(_) => Err(CallError::Timeout(Phase::Reply)),
        }
    }
}

/// The refs of the roles that the subject of an event has; none when it is about anything else.
fn named_in(event: &[u8]) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        class: String,
        #[serde(borrow)]
        snapshot: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Subject {
        roles: Vec<String>,
    }
    if memchr::memmem::find(event, br#""subject""#).is_none() {
        return Vec::new();
    }
    let text;
    let subject = match serde_json::from_slice::<Event<'_>>(event) {
        Ok(event) => Some(event),
        Err(_) => {
            text = mended(event);
            serde_json::from_str(&text).ok()
        }
    };
    let subject = subject.filter(|event| event.class == "subject").and_then(|event| event.snapshot);
    let subject = subject.and_then(|json| serde_json::from_str::<Subject>(json.get()).ok());
    subject.map(|subject| subject.roles).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subjects_have_roles() {
        let event = |class: &str| {
            format!(
                r#"{{"class":"{class}","operation":"add","ref":"OpaqueRef:s",
                "snapshot":{{"uuid":"subject","roles":["OpaqueRef:a","OpaqueRef:b"]}}}}"#
            )
        };
        assert_eq!(named_in(event("subject").as_bytes()), ["OpaqueRef:a", "OpaqueRef:b"]);
        assert!(named_in(event("vm").as_bytes()).is_empty());
        for other in [r#"{"class":"subject","operation":"del"}"#, "", r#""subject""#, "\"subject\""]
        {
            assert!(named_in(other.as_bytes()).is_empty(), "{other}");
        }
    }

    #[test]
    fn they_are_bounded_and_each_is_noted_once() {
        let mut roles = Roles::default();
        for n in 0..2 * MOST {
            let event = format!(
                r#"{{"class":"subject","snapshot":{{"roles":["OpaqueRef:{n}","OpaqueRef:0"]}}}}"#
            );
            roles.note(event.as_bytes());
        }
        assert_eq!(roles.named.len(), MOST);
    }
}
