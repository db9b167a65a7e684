//! SXP as text.

use super::{Sxp, repr, text_of_float};

/// How wide a line may get before a list is broken over several.
const WIDTH: usize = 80;
const INDENT: usize = 4;

impl Sxp {
    /// A value as Python's `str` writes it.
    pub fn to_python(&self) -> String {
        match self {
            Sxp::Text(text) => text.clone(),
            other => literal(other),
        }
    }

    /// The text on one line.
    pub fn show(&self) -> String {
        let mut out = String::new();
        Laid::out(self).flat(&mut out);
        out
    }

    /// The text as `xm list --long` prints it, with the newline behind it: a list that does not
    /// fit into what is left of 80 columns has each item on a line of its own, indented by 4, and
    /// so its closing parenthesis.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        Laid::out(self).broken(0, &mut out);
        out.push('\n');
        out
    }
}

/// Text whose width is known.
enum Laid {
    Atom(String),
    List { width: usize, items: Vec<Laid> },
}

impl Laid {
    fn out(sxp: &Sxp) -> Self {
        let Sxp::List(items) = sxp else { return Laid::Atom(atom(sxp)) };
        let items: Vec<Laid> = items.iter().map(Laid::out).collect();
        let spaces = items.len().saturating_sub(1);
        let width = 2 + spaces + items.iter().map(Laid::width).sum::<usize>();
        Laid::List { width, items }
    }

    fn width(&self) -> usize {
        match self {
            Laid::Atom(text) => text.len(),
            Laid::List { width, .. } => *width,
        }
    }

    fn flat(&self, out: &mut String) {
        match self {
            Laid::Atom(text) => out.push_str(text),
            Laid::List { items, .. } => {
                out.push('(');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    item.flat(out);
                }
                out.push(')');
            }
        }
    }

    /// Writes it at that column.
    fn broken(&self, column: usize, out: &mut String) {
        let Laid::List { width, items } = self else { return self.flat(out) };
        if column + width <= WIDTH {
            return self.flat(out);
        }
        out.push('(');
        for (index, item) in items.iter().enumerate() {
            if index == 0 {
                // The first item stays on the line of its parenthesis.
                item.broken(column + 1, out);
            } else {
                newline(column + INDENT, out);
                item.broken(column + INDENT, out);
            }
        }
        newline(column, out);
        out.push(')');
    }
}

fn newline(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// What is no list, as text. All but numbers and plain words is quoted.
fn atom(sxp: &Sxp) -> String {
    match sxp {
        Sxp::Text(text) if is_plain(text) => text.clone(),
        Sxp::Text(text) => repr(text),
        Sxp::Int(int) => int.to_string(),
        Sxp::Double(float) => text_of_float(*float),
        Sxp::Bool(true) => "True".into(),
        Sxp::Bool(false) => "False".into(),
        Sxp::Nil => repr("None"),
        Sxp::Map(_) | Sxp::List(_) => repr(&literal(sxp)),
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |byte| matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'~');
    text == "@"
        || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || plain(byte))
}

/// A value as a Python literal, which is what a dictionary is quoted as.
fn literal(sxp: &Sxp) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match sxp {
        Sxp::Text(text) => repr(text),
        Sxp::Nil => "None".into(),
        Sxp::Double(float) => text_of_float(*float),
        Sxp::List(items) => format!("[{}]", joined(items.iter().map(literal).collect())),
        Sxp::Map(members) => {
            let member =
                |(name, value): &(String, Sxp)| format!("{}: {}", repr(name), literal(value));
            format!("{{{}}}", joined(members.iter().map(member).collect()))
        }
        // Ints and bools are their own literals.
        Sxp::Int(_) | Sxp::Bool(_) => atom(sxp),
    }
}
