//! Finding things in SXP, by the rules of xend's own client.

use std::borrow::Cow;

use super::{Sxp, text_of_float};

/// What stands before an element's attributes, which are no children of it.
const ATTRIBUTES: &str = "@";

/// The Xen-API's words for xend's numbers of states. A domain that was shut down and is kept is
/// halted, as xend's own Xen-API has it.
const STATES: [&str; 7] =
    ["Halted", "Paused", "Running", "Suspended", "Halted", "Crashed", "Unknown"];

impl Sxp {
    /// The power state that a domain's SXP tells, in the Xen-API's words: by xend's number for it,
    /// or by what else tells of it in older versions.
    pub fn power_state(&self) -> &'static str {
        if let Some(status) = self.int("status") {
            let index = usize::try_from(status).unwrap_or(usize::MAX);
            return STATES.get(index).copied().unwrap_or("Unknown");
        }
        let flags = self.text("state").unwrap_or_default();
        match () {
            () if self.value("domid").is_none() => "Halted",
            () if flags.contains('c') => "Crashed",
            () if flags.contains('s') => "Halted",
            () if flags.contains('p') => "Paused",
            () => "Running",
        }
    }

    /// The items, if this is a list.
    pub fn items(&self) -> Option<&[Sxp]> {
        match self {
            Sxp::List(items) => Some(items),
            _ => None,
        }
    }

    /// The name of an element: the text that a list begins with.
    pub fn name(&self) -> Option<&str> {
        match self.items()?.first()? {
            Sxp::Text(name) => Some(name),
            _ => None,
        }
    }

    /// Whether this is an element of that name.
    pub fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }

    /// What stands behind an element's name.
    pub fn children(&self) -> &[Sxp] {
        match self.items() {
            Some([_, attributes, rest @ ..]) if attributes.is(ATTRIBUTES) => rest,
            Some([_, rest @ ..]) => rest,
            _ => &[],
        }
    }

    /// The children that are elements of that name, as `device` of a domain.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sxp> {
        self.children().iter().filter(move |child| child.is(name))
    }

    /// The first child that is an element of that name.
    pub fn child(&self, name: &str) -> Option<&Sxp> {
        self.children().iter().find(|child| child.is(name))
    }

    /// What the first child of that name holds: `2` of `(vcpus 2)`. A child that holds nothing has
    /// no value.
    pub fn value(&self, name: &str) -> Option<&Sxp> {
        self.child(name)?.children().first()
    }

    /// The value of that child as text; see [`Sxp::as_text`].
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.value(name)?.as_text()
    }

    /// The value of that child as an int; see [`Sxp::as_int`].
    pub fn int(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_int()
    }

    /// The value of that child as a float; see [`Sxp::as_double`].
    pub fn double(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_double()
    }

    /// A scalar as Python's `str` writes it; nothing for nil, lists and maps.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Sxp::Text(text) => Cow::Borrowed(text),
            Sxp::Int(int) => Cow::Owned(int.to_string()),
            Sxp::Double(float) => Cow::Owned(text_of_float(*float)),
            Sxp::Bool(true) => Cow::Borrowed("True"),
            Sxp::Bool(false) => Cow::Borrowed("False"),
            Sxp::Nil | Sxp::List(_) | Sxp::Map(_) => return None,
        })
    }

    /// A number or its digits as an int. What is behind a point is cut off, as Python's `int`
    /// does.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Sxp::Int(int) => Some(*int),
            Sxp::Bool(bool) => Some(i64::from(*bool)),
            Sxp::Text(text) => text.trim_ascii().parse().ok(),
            Sxp::Double(float) => whole(*float),
            Sxp::Nil | Sxp::List(_) | Sxp::Map(_) => None,
        }
    }

    /// A number or its digits as a float.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "Python's float() loses the same")]
            Sxp::Int(int) => Some(*int as f64),
            Sxp::Bool(bool) => Some(f64::from(u8::from(*bool))),
            Sxp::Text(text) => text.trim_ascii().parse().ok(),
            Sxp::Double(float) => Some(*float),
            Sxp::Nil | Sxp::List(_) | Sxp::Map(_) => None,
        }
    }
}

/// A float without its fraction, if that is an int.
fn whole(float: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "bounds are checked before")]
    (-BEYOND..BEYOND).contains(&float).then_some(float as i64)
}
