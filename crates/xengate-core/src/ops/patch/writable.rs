//! Which fields can be changed, and by which calls.

use xenapi_model::{Call, Class, Field, State, Type};

/// How a field is changed.
#[derive(Debug, Clone, Copy)]
pub enum Writing {
    /// As a whole.
    Set(&'static Call),
    /// A map, by its keys.
    Keys {
        /// `add_to_FIELD(self, key, value)`.
        add: &'static Call,
        /// `remove_from_FIELD(self, key)`.
        remove: &'static Call,
        /// `set_FIELD(self, value)`, to clear it at once.
        set: Option<&'static Call>,
    },
    /// A set, by its members.
    Members {
        /// `add_FIELD(self, value)`.
        add: &'static Call,
        /// `remove_FIELD(self, value)`.
        remove: &'static Call,
    },
    /// With others: a VM's memory and its VCPUs.
    Together,
}

impl Writing {
    /// The calls that may be made, by their names on the wire.
    pub fn calls(self, field: &Field) -> Vec<&'static str> {
        let calls: &[Option<&'static Call>] = match self {
            Self::Set(call) => &[Some(call)],
            Self::Keys { add, remove, set } => &[Some(add), Some(remove), set],
            Self::Members { add, remove } => &[Some(add), Some(remove)],
            Self::Together => return super::machine::calls(&field.name).to_vec(),
        };
        calls.iter().flatten().map(|call| call.wire_name.as_str()).collect()
    }
}

/// Fields that have a public setter and are not for clients all the same, with the reason.
#[rustfmt::skip]
static INTERNAL: &[(&str, &str, &str)] = &[
    ("task", "status", "what became of a task is for the backend to say"),
    ("task", "progress", "what became of a task is for the backend to say"),
    ("task", "result", "what became of a task is for the backend to say"),
    ("task", "error_info", "what became of a task is for the backend to say"),
    ("VMSS", "last_run_time", "kept by the scheduler that runs the policy"),
    ("SR", "physical_size", "kept by the SR's driver"),
];

/// The fields that clients cannot change though they have a public setter, with the reason.
pub fn internal() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    INTERNAL.iter().copied()
}

/// How this field of the class is changed, if clients can.
pub fn writing(class: &'static Class, field: &Field) -> Option<Writing> {
    if INTERNAL.iter().any(|(of, name, _)| *of == class.name && *name == field.name) {
        return None;
    }
    if super::machine::is_of_machine(class, field) {
        return Some(Writing::Together);
    }
    let set = taking(class, &format!("set_{}", field.name), &[&field.ty]);
    match &field.ty {
        Type::Map(key, value) => {
            let add = taking(class, &format!("add_to_{}", field.name), &[key, value]);
            let remove = taking(class, &format!("remove_from_{}", field.name), &[key]);
            if let (Some(add), Some(remove)) = (add, remove) {
                return Some(Writing::Keys { add, remove, set });
            }
        }
        Type::Set(member) => {
            let add = taking(class, &format!("add_{}", field.name), &[member]);
            let remove = taking(class, &format!("remove_{}", field.name), &[member]);
            if let (Some(add), Some(remove)) = (add, remove) {
                return Some(Writing::Members { add, remove });
            }
        }
        _ => {}
    }
    set.map(Writing::Set)
}

/// The fields of a class that clients can change, in the datamodel's order.
pub fn writable(class: &'static Class) -> impl Iterator<Item = (&'static Field, Writing)> {
    class.fields.iter().filter_map(move |field| Some((field, writing(class, field)?)))
}

/// The public call of this name on an object of the class, when it takes just these.
fn taking(class: &'static Class, name: &str, types: &[&Type]) -> Option<&'static Call> {
    let call = class.call(name)?;
    let (own, others) = call.params.split_first()?;
    let fits = own.ty == Type::Ref(class.id)
        && others.iter().map(|param| &param.ty).eq(types.iter().copied());
    let public = !call.hidden && !call.pool_internal && call.lifecycle.state != State::Removed;
    (fits && public).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_model::{CallKind, datamodel};

    fn count(holds: impl Fn(&Class, &Field, Option<Writing>) -> bool) -> usize {
        let fields = datamodel().classes.iter().flat_map(|c| c.fields.iter().map(move |f| (c, f)));
        fields.filter(|(class, field)| holds(class, field, writing(class, field))).count()
    }

    #[test]
    fn every_field_with_a_public_setter_can_be_changed_or_stands_in_the_table() {
        for class in &datamodel().classes {
            for field in &class.fields {
                let set = taking(class, &format!("set_{}", field.name), &[&field.ty]);
                let listed = INTERNAL.iter().any(|(c, f, _)| *c == class.name && *f == field.name);
                assert!(set.is_some() || !listed, "{}.{} has no setter", class.name, field.name);
                if set.is_some() {
                    let can = writing(class, field).is_some();
                    assert!(can != listed, "{}.{}", class.name, field.name);
                }
            }
        }
        assert_eq!(count(|_, _, writing| writing.is_some()), 225);
        assert_eq!(count(|_, _, w| matches!(w, Some(Writing::Keys { .. }))), 58);
        assert_eq!(count(|_, _, w| matches!(w, Some(Writing::Members { .. }))), 11);
        assert_eq!(count(|_, _, w| matches!(w, Some(Writing::Together))), 6);
    }

    #[test]
    fn fields_are_changed_as_their_type_wants() {
        let of = |class: &str, field: &str| {
            let class = datamodel().class(class).expect("a class");
            let field = class.field(field).expect("a field");
            writing(class, field).map(|writing| writing.calls(field))
        };
        assert_eq!(of("VM", "name_label"), Some(vec!["VM.set_name_label"]));
        assert_eq!(of("VM", "tags"), Some(vec!["VM.add_tags", "VM.remove_tags"]));
        assert_eq!(of("VM", "bios_strings"), Some(vec!["VM.set_bios_strings"]));
        assert_eq!(of("VDI", "name_label"), Some(vec!["VDI.set_name_label"]));
        assert_eq!(
            of("pool", "guest_agent_config"),
            Some(vec!["pool.add_to_guest_agent_config", "pool.remove_from_guest_agent_config"])
        );
        assert!(of("VM", "memory_static_max").is_some_and(|calls| calls.len() == 2));
        for (class, field) in [
            ("VM", "uuid"),
            ("VM", "power_state"),
            ("VDI", "managed"),
            ("VDI", "virtual_size"),
            ("task", "status"),
            ("VMPP", "name_label"),
            ("host", "power_on_mode"),
        ] {
            assert_eq!(of(class, field), None, "{class}.{field}");
        }
    }

    #[test]
    fn every_public_setter_of_a_field_belongs_to_one() {
        // Whatever the datamodel derives from a field is reachable by changing that field.
        for class in &datamodel().classes {
            for call in class.calls.iter().filter(|call| {
                matches!(call.kind, CallKind::FieldSet | CallKind::FieldAdd | CallKind::FieldRemove)
                    && call.lifecycle.state != State::Removed
            }) {
                let reached = writable(class)
                    .any(|(field, writing)| writing.calls(field).contains(&&*call.wire_name));
                let tags = call.name == "set_tags";
                assert!(reached || tags, "{}", call.wire_name);
            }
        }
    }
}
