//! Which fields a client wants.

use super::error::{QueryError, Wrong, echo};
use super::parse::{LONGEST, too_long};
use super::path::no_field;
use crate::inventory::Object;
use crate::inventory::record::Slot;
use xenapi_model::{Class, ClassId, is_secret_field};

/// A choice of fields, in the client's order: `name_label,power_state`. `uuid` and `backend` are
/// always among them.
#[derive(Debug, Clone)]
pub struct Fields {
    by_class: Box<[(ClassId, Box<[Chosen]>)]>,
}

/// A chosen field.
#[derive(Debug, Clone)]
struct Chosen {
    name: Box<str>,
    slot: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Known(Slot),
    /// A field that the datamodel does not know, looked for by its name.
    Further,
}

/// A field of an object by its name, as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// `name_label`.
    pub name: &'a str,
    /// Its value, if the object has one.
    pub json: Option<&'a [u8]>,
}

impl Fields {
    /// Reads a list of fields of this class, with commas between them.
    pub fn parse(text: &str, class: &'static Class) -> Result<Self, QueryError> {
        Self::of_classes(text, &[class], &[])
    }

    /// The same for objects of several classes: each field must be one of at least one of them, or
    /// one of `further` that objects have beyond their class's.
    pub fn of_classes(
        text: &str,
        classes: &[&'static Class],
        further: &[&str],
    ) -> Result<Self, QueryError> {
        let wrong = |wrong: Wrong| wrong.within(text);
        if text.len() > LONGEST {
            return Err(wrong(too_long(text)));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut at = 0;
        for part in text.split(',') {
            let name = part.trim();
            let start = at + part.len() - part.trim_start().len();
            at += part.len() + 1;
            if name.is_empty() {
                let expected = "fields with commas between them: name_label,power_state";
                return Err(wrong(Wrong::new(start, "no field").expected(expected)));
            }
            if names.contains(&name) {
                let what = format!("{} comes twice", echo(name));
                return Err(wrong(Wrong::new(start, what).expected("each field once")));
            }
            let known = classes.iter().any(|class| place(class, name, further).is_some());
            let first = classes.first().filter(|_| !known);
            if let Some(class) = first {
                return Err(wrong(no_field(class, start, name)));
            }
            names.push(name);
        }
        let chosen = |class: &&'static Class| {
            let all = names.iter().filter_map(|name| {
                Some(Chosen { name: (*name).into(), slot: place(class, name, further)? })
            });
            (class.id, all.collect())
        };
        Ok(Self { by_class: classes.iter().map(chosen).collect() })
    }

    /// Writes the object's chosen fields as one JSON object: its uuid and its backend, and what it
    /// has of the others.
    pub fn write(&self, object: &Object, out: &mut Vec<u8>) {
        out.push(b'{');
        let record = object.record();
        for slot in [Slot::of_uuid(), Slot::of_backend()] {
            if let Some(member) = record.member(slot) {
                out.extend_from_slice(member);
                out.push(b',');
            }
        }
        for chosen in self.of(object).iter().filter(|chosen| !chosen.is_identity()) {
            let member = match chosen.slot {
                Place::Known(slot) => record.member(slot),
                Place::Further => record.further(object.class(), &chosen.name),
            };
            if let Some(member) = member {
                out.extend_from_slice(member);
                out.push(b',');
            }
        }
        if let Some(last) = out.last_mut().filter(|last| **last == b',') {
            *last = b'}';
        } else {
            out.push(b'}');
        }
    }

    /// The names of the chosen fields of a class, as the client ordered them.
    pub fn names(&self, class: &Class) -> impl Iterator<Item = &str> {
        let chosen = self.by_class.iter().find(|(id, _)| *id == class.id);
        chosen.into_iter().flat_map(|(_, chosen)| chosen).map(|chosen| &*chosen.name)
    }

    /// The object's chosen fields in the client's order, those it does not have included.
    pub fn values<'a>(&'a self, object: &'a Object) -> impl Iterator<Item = Named<'a>> {
        let record = object.record();
        self.of(object).iter().map(move |chosen| {
            let json = match chosen.slot {
                Place::Known(slot) => record.value(slot),
                Place::Further => record
                    .further(object.class(), &chosen.name)
                    .and_then(|member| member.get(chosen.name.len() + 3..)),
            };
            Named { name: &chosen.name, json }
        })
    }

    fn of(&self, object: &Object) -> &[Chosen] {
        let class = object.class().id;
        let chosen = self.by_class.iter().find(|(id, _)| *id == class);
        chosen.map_or(&[], |(_, chosen)| chosen)
    }
}

impl Chosen {
    /// Whether it comes along unasked.
    fn is_identity(&self) -> bool {
        matches!(&*self.name, "uuid" | "backend")
    }
}

fn place(class: &'static Class, name: &str, further: &[&str]) -> Option<Place> {
    if name == "backend" {
        return Some(Place::Known(Slot::of_backend()));
    }
    match class.field_index(name).filter(|_| !is_secret_field(&class.name, name)) {
        Some(index) => Some(Place::Known(Slot::of_field(class, index))),
        None => further.contains(&name).then_some(Place::Further),
    }
}
