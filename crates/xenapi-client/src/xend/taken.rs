//! Whether a write took. xend says yes to changes that it does not make, so what was changed is
//! looked at afterwards.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{CallError, NotTaken};
use xenapi_model::datamodel;
use xenapi_wire::Arg;

/// The pauses between one look and the next: what is not there at once may come.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What a record is to show after a call.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The call.
    pub(crate) call: String,
    /// The class of the object, and its ref.
    pub(crate) class: &'static str,
    pub(crate) reference: String,
    field: String,
    value: Shown,
}

/// What a field is to show.
#[derive(Debug)]
enum Shown {
    /// This value.
    Value(Arg),
    /// A map's key with this value, or without that key.
    Key(String, Option<Arg>),
}

impl Expected {
    /// What is to be seen after a setter; nothing of other calls. The arguments begin with the ref.
    pub(crate) fn of(call: &str, args: &[Arg]) -> Option<Self> {
        let (class, known) = datamodel().call(call)?;
        let field = |prefix: &str| {
            let field = known.name.strip_prefix(prefix)?;
            class.field(field)?;
            Some(field.to_owned())
        };
        let text = |arg: &Arg| match arg {
            Arg::String(text) => Some(text.clone()),
            _ => None,
        };
        let (field, value) = match args.get(1..)? {
            [value] => match (field("set_"), field("remove_from_")) {
                (Some(field), _) => (field, Shown::Value(value.clone())),
                (None, Some(field)) => (field, Shown::Key(text(value)?, None)),
                (None, None) => return None,
            },
            [key, value] => (field("add_to_")?, Shown::Key(text(key)?, Some(value.clone()))),
            _ => return None,
        };
        let reference = text(args.first()?)?;
        Some(Self { call: call.to_owned(), class: &class.name, reference, field, value })
    }

    /// That a field shows this value.
    pub(crate) fn value(
        call: &str,
        (class, reference): (&'static str, &str),
        field: &str,
        value: Arg,
    ) -> Self {
        let (call, reference, field) = (call.to_owned(), reference.to_owned(), field.to_owned());
        Self { call, class, reference, field, value: Shown::Value(value) }
    }

    /// That a field shows this number.
    pub(crate) fn number(
        call: &str,
        (class, reference): (&'static str, &str),
        field: &str,
        number: i64,
    ) -> Self {
        Self::value(call, (class, reference), field, Arg::Int(number))
    }

    /// Whether a record shows it. What it does not tell of cannot be looked at.
    fn holds(&self, record: &Map<String, Value>) -> bool {
        let Some(shown) = record.get(&self.field) else { return true };
        match (&self.value, shown) {
            (Shown::Value(Arg::Struct(members)), Value::Object(shown)) => {
                let there = |(name, value): &(String, Arg)| {
                    shown.get(name).is_some_and(|shown| is(value, shown))
                };
                // xend adds keys of its own to some maps, but not to what is its users'.
                let exact = self.field != "other_config" || members.len() == shown.len();
                exact && members.iter().all(there)
            }
            (Shown::Value(value), shown) => is(value, shown),
            (Shown::Key(key, Some(value)), Value::Object(shown)) => {
                shown.get(key).is_some_and(|shown| is(value, shown))
            }
            (Shown::Key(key, None), Value::Object(shown)) => !shown.contains_key(key),
            (Shown::Key(..), _) => true,
        }
    }

    /// Whether a look has shown it, or that it cannot be seen: the object has gone, or nobody can
    /// say.
    pub(crate) fn is_seen(&self, look: Result<Option<Map<String, Value>>, CallError>) -> bool {
        match look {
            Ok(Some(record)) => self.holds(&record),
            Ok(None) => true,
            Err(error) => {
                tracing::debug!(call = self.call, %error, "what was written was not looked at");
                true
            }
        }
    }

    /// That it has not come.
    pub(crate) fn not_taken(self) -> CallError {
        tracing::warn!(call = self.call, field = self.field, "a write was not taken");
        NotTaken { call: self.call, field: self.field }.into()
    }
}

/// How long to wait after each look; nothing after the last.
pub(crate) fn pauses() -> impl Iterator<Item = Option<Duration>> {
    PAUSES.into_iter().map(Some).chain([None])
}

/// Whether what is shown is the value, in whatever spelling.
fn is(value: &Arg, shown: &Value) -> bool {
    match (value, shown) {
        (Arg::Array(items), Value::Array(shown)) => {
            items.len() == shown.len() && items.iter().all(|item| shown.iter().any(|s| is(item, s)))
        }
        (Arg::Array(items), _) => items.is_empty(),
        (Arg::Bool(bool), shown) => match text(shown).as_str() {
            "true" | "True" | "1" => *bool,
            _ => !*bool,
        },
        (Arg::Int(int), shown) => same(&int.to_string(), &text(shown)),
        (Arg::Float(float), shown) => same(&float.to_string(), &text(shown)),
        (Arg::String(string), Value::Bool(_)) => is(&Arg::Bool(string == "1"), shown),
        (Arg::String(string), shown) => same(string, &text(shown)),
        // Nothing that a setter of xend's takes.
        _ => true,
    }
}

fn text(shown: &Value) -> String {
    match shown {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn same(one: &str, other: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    // A reply's line ends are XML's.
    let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    one == other
        || lines(one) == lines(other)
        || number(one).is_some_and(|one| number(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(call: &str, args: &[Arg], record: Value) -> bool {
        let args: Vec<Arg> = [Arg::from("vm")].into_iter().chain(args.iter().cloned()).collect();
        let expected = Expected::of(call, &args).expect(call);
        expected.holds(record.as_object().expect("an object"))
    }

    #[test]
    fn a_setter_is_to_show_what_it_set_in_whatever_spelling() {
        let text = |text: &str| [Arg::from(text)];
        for (call, args, record, want) in [
            ("VM.set_name_label", text("a"), json!({"name_label": "a"}), true),
            ("VM.set_name_label", text("a"), json!({"name_label": "b"}), false),
            ("VM.set_name_label", text("a\r\nb"), json!({"name_label": "a\nb"}), true),
            ("VM.set_VCPUs_max", text("4"), json!({"VCPUs_max": "4"}), true),
            ("VM.set_VCPUs_max", text("4"), json!({"VCPUs_max": 4}), true),
            ("VM.set_VCPUs_max", text("4"), json!({"VCPUs_max": "2"}), false),
            ("VM.set_VCPUs_max", text("4"), json!({}), true),
            ("VM.remove_from_other_config", text("k"), json!({"other_config": {"k": "v"}}), false),
            ("VM.remove_from_other_config", text("k"), json!({"other_config": {}}), true),
        ] {
            assert_eq!(holds(call, &args, record.clone()), want, "{call} {record}");
        }
        let pair = [Arg::from("k"), Arg::from("v")];
        for (record, want) in
            [(json!({"other_config": {"k": "v"}}), true), (json!({"other_config": {}}), false)]
        {
            assert_eq!(holds("VM.add_to_other_config", &pair, record), want);
        }
        let map = [Arg::Struct(vec![("k".to_owned(), Arg::from("v"))])];
        let more = || json!({"k": "v", "own": "1"});
        assert!(holds("VM.set_platform", &map, json!({"platform": more()})));
        assert!(!holds("VM.set_other_config", &map, json!({"other_config": more()})));
        let bool = [Arg::Bool(true)];
        assert!(holds("VBD.set_bootable", &bool, json!({"bootable": "1"})));
        assert!(!holds("VBD.set_bootable", &bool, json!({"bootable": false})));
        for call in ["VM.start", "VM.set_VCPUs_number_live", "VM.get_record", "xend.domain"] {
            assert!(Expected::of(call, &[Arg::from("vm"), Arg::from("1")]).is_none(), "{call}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_not_missed() {
        let expected = Expected::number("VM.set_VCPUs_max", ("VM", "vm"), "VCPUs_max", 4);
        let shows = |shown: &str| Ok(json!({"VCPUs_max": shown}).as_object().cloned());
        assert!(expected.is_seen(shows("4")) && !expected.is_seen(shows("2")));
        assert!(expected.is_seen(Ok(None)), "it is gone");
        let silent = CallError::Timeout(crate::Phase::Reply);
        assert!(expected.is_seen(Err(silent)), "nobody can say");
        let told = expected.not_taken().to_string();
        assert!(told.contains("VM.set_VCPUs_max") && told.contains("VCPUs_max"), "{told}");
        assert_eq!(pauses().filter(Option::is_none).count(), 1);
    }
}
