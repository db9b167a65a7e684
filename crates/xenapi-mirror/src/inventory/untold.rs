//! Objects that no event tells of and that mirrored objects name: the roles of subjects, the
//! secrets of pools.
//!
//! What their refs stand for is asked for, once per sync, and stands in the ref index beside what
//! events have told.

use std::sync::LazyLock;
use std::time::Duration;

use foldhash::HashMap;
use serde_json::value::RawValue;
use tokio::time::timeout;
use uuid::Uuid;

use super::draft::is_mirrored;
use super::refs::Target;
use super::standing::ends_session;
use xenapi_client::{Backend, CallError, Phase, Retry, Session};
use xenapi_model::{Class, Type, datamodel};
use xenapi_wire::Arg;
use xenapi_wire::mend::mended;

/// More of them than objects ever name: pools have half a dozen roles, and one for each permission
/// that hardly anybody gives by itself. What is beyond stays unknown.
const MOST: usize = 256;
/// How long asking may take, all in all.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// The refs that have been named since everything was last asked for.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Of which class each is, and whether it has been asked for.
    named: HashMap<Box<str>, (&'static str, bool)>,
}

/// What refs name.
pub(super) type Learned = Vec<(Box<str>, Target)>;

/// The fields of a mirrored class that name objects of classes which are not mirrored.
struct Naming {
    class: &'static Class,
    /// As events spell it.
    event_class: String,
    fields: Vec<(&'static str, &'static Class)>,
}

static NAMING: LazyLock<Vec<Naming>> = LazyLock::new(|| {
    let mirrored = datamodel().classes.iter().filter(|class| is_mirrored(class));
    let naming = mirrored.map(|class| {
        let fields = class.fields.iter();
        let fields = fields.filter_map(|field| Some((&*field.name, named_by(&field.ty)?)));
        let event_class = class.name.to_ascii_lowercase();
        Naming { class, event_class, fields: fields.collect() }
    });
    naming.filter(|naming| !naming.fields.is_empty()).collect()
});

/// The class that is not mirrored and that refs of this type name.
fn named_by(ty: &Type) -> Option<&'static Class> {
    match ty {
        Type::Ref(id) => Some(datamodel().get(*id)).filter(|class| {
            // Sessions stay in the gateway.
            !is_mirrored(class) && class.name != "session" && class.call("get_uuid").is_some()
        }),
        Type::Set(inner) | Type::Option(inner) => named_by(inner),
        Type::Map(key, value) => named_by(key).or_else(|| named_by(value)),
        _ => None,
    }
}

impl Untold {
    /// Notes what the object of an event names.
    pub(super) fn note(&mut self, event: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Event<'a> {
            class: String,
            #[serde(borrow)]
            snapshot: Option<&'a RawValue>,
        }
        if !may_name(event) {
            return;
        }
        let text;
        let event = match serde_json::from_slice::<Event<'_>>(event) {
            Ok(event) => Some(event),
            Err(_) => {
                text = mended(event);
                serde_json::from_str(&text).ok()
            }
        };
        let Some(event) = event else { return };
        let naming = NAMING.iter().find(|naming| naming.event_class == event.class);
        if let (Some(naming), Some(snapshot)) = (naming, event.snapshot) {
            self.take(naming, snapshot.get());
        }
    }

    /// Notes what an object names.
    pub(super) fn note_record(&mut self, class: &Class, record: &str) {
        if let Some(naming) = NAMING.iter().find(|naming| naming.class.id == class.id) {
            self.take(naming, record);
        }
    }

    fn take(&mut self, naming: &Naming, record: &str) {
        let Ok(record) = serde_json::from_str::<HashMap<String, &RawValue>>(record) else { return };
        for (field, class) in &naming.fields {
            let Some(value) = record.get(*field) else { continue };
            for name in strings(value.get()) {
                if names_something(&name) && self.named.len() < MOST {
                    self.named.entry(name.into()).or_insert((&class.name, false));
                }
            }
        }
    }

    /// Asks for what has not been asked for. One that the backend does not tell of is left alone
    /// until the next sync; what this session may not ask for is left to the next one.
    pub(super) async fn learn(
        &mut self,
        backend: &Backend,
        session: &Session,
    ) -> Result<Learned, CallError> {
        let mut learned = Vec::new();
        let access = &session.access;
        let asking = async {
            for (name, (class, asked)) in self.named.iter_mut().filter(|(_, (_, asked))| !*asked) {
                let call = format!("{class}.get_uuid");
                let may = access.is_local_superuser
                    || access.permissions.contains(&call.to_ascii_lowercase());
                let Some(class) = datamodel().class(class).filter(|_| may) else { continue };
                match backend.call(session, &call, &[Arg::from(&**name)], Retry::Read).await {
                    Ok(value) => {
                        let uuid = serde_json::from_str::<Uuid>(value.get()).ok();
                        learned.extend(uuid.map(|uuid| (name.clone(), (class.id, uuid))));
                    }
                    Err(error @ CallError::Failure(_)) if ends_session(&error) => {
                        return Err(error);
                    }
                    // It says no, or nothing that makes sense: the rest is worth more than this.
                    Err(CallError::Failure(_) | CallError::BadReply(_)) => {}
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

/// Whether an event is about a class whose objects name what no event tells of, at a first glance.
fn may_name(event: &[u8]) -> bool {
    memchr::memmem::find_iter(event, br#""class""#).any(|at| {
        let rest = event.get(at + 7..).unwrap_or_default();
        let start =
            rest.iter().position(|byte| !matches!(byte, b':' | b' ' | b'\t' | b'\n' | b'\r'));
        let value = start.and_then(|start| rest.get(start + 1..)).unwrap_or_default();
        NAMING.iter().any(|naming| {
            value
                .strip_prefix(naming.event_class.as_bytes())
                .is_some_and(|end| end.starts_with(b"\""))
        })
    })
}

fn names_something(name: &str) -> bool {
    !matches!(name, "" | "OpaqueRef:NULL" | "NULL")
}

/// The texts in a value: a text, those of a set, or the keys and values of a map.
fn strings(json: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Several(Vec<String>),
        Pairs(HashMap<String, String>),
    }
    match serde_json::from_str(json) {
        Ok(Texts::One(text)) => vec![text],
        Ok(Texts::Several(texts)) => texts,
        Ok(Texts::Pairs(pairs)) => {
            pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(event: &str) -> Vec<(String, &'static str)> {
        let mut untold = Untold::default();
        untold.note(event.as_bytes());
        let mut named: Vec<_> =
            untold.named.iter().map(|(name, (class, _))| (name.to_string(), *class)).collect();
        named.sort();
        named
    }

    #[test]
    fn the_roles_of_subjects_and_the_secrets_of_pools_are_noted() {
        let subject = |class: &str| {
            format!(
                r#"{{"class":"{class}","operation":"add","ref":"OpaqueRef:s",
                "snapshot":{{"uuid":"subject","roles":["OpaqueRef:a","OpaqueRef:b"]}}}}"#
            )
        };
        let roles = [("OpaqueRef:a".to_owned(), "role"), ("OpaqueRef:b".to_owned(), "role")];
        assert_eq!(noted(&subject("subject")), roles);
        assert!(noted(&subject("vm")).is_empty());
        // Members may come in any order, and other objects may speak of classes.
        let pool = r#"{"snapshot":{"other_config":{"class": "x"},"telemetry_uuid":"OpaqueRef:t",
            "repository_proxy_password":"OpaqueRef:NULL"},"operation":"mod", "class" : "pool"}"#;
        assert_eq!(noted(pool), [("OpaqueRef:t".to_owned(), "secret")]);
        for other in [r#"{"class":"subject","operation":"del"}"#, "", r#""class""#, "\"class\":\""]
        {
            assert!(noted(other).is_empty(), "{other}");
        }
    }

    #[test]
    fn every_mirrored_class_that_names_such_objects_is_known() {
        let mut fields = Vec::new();
        for naming in NAMING.iter() {
            let names = naming.fields.iter();
            fields.extend(names.map(|(field, _)| format!("{}.{field}", naming.class.name)));
        }
        fields.sort();
        assert_eq!(
            fields,
            ["pool.repository_proxy_password", "pool.telemetry_uuid", "subject.roles"]
        );
    }

    #[test]
    fn they_are_bounded_and_each_is_noted_once() {
        let mut untold = Untold::default();
        for n in 0..2 * MOST {
            let event = format!(
                r#"{{"class":"subject","snapshot":{{"roles":["OpaqueRef:{n}","OpaqueRef:0"]}}}}"#
            );
            untold.note(event.as_bytes());
        }
        assert_eq!(untold.named.len(), MOST);
    }
}
