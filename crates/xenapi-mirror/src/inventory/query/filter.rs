//! Which objects a client wants.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use super::cost::{Cost, Population, Pricing};
use super::error::{QueryError, Wrong, echo};
use super::glob::Glob;
use super::literal;
use super::parse;
use super::path::Path;
use super::syntax::{Asks, At, Expression, Operator, Term, Value};
use super::test::{Check, Compare};
use crate::inventory::record::Slot;
use crate::inventory::{Object, Snapshot};
use xenapi_model::{Class, ClassId, Type, datamodel};

/// How many records are fetched from memory before the first of them is looked at.
const AHEAD: usize = 32;

/// A condition on objects of one or several classes, such as
/// `power_state = Running and (name_label ~ "web-*" or tags has "prod")`.
///
/// It is read once and checked against the datamodel. [`fmt::Display`] gives its one canonical text.
#[derive(Debug, Clone)]
pub struct Filter {
    expression: Expression,
    by_class: Box<[OfClass]>,
    follows: Box<[ClassId]>,
}

/// The condition for objects of one class.
#[derive(Debug, Clone)]
struct OfClass {
    class: ClassId,
    node: Node,
    /// What it reads of each object.
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone)]
enum Node {
    Any(Box<[Node]>),
    All(Box<[Node]>),
    Not(Box<Node>),
    Test(Box<Path>, Check),
    /// The class has no such field: it holds for null.
    Constant(bool),
}

impl Filter {
    /// Reads a filter for objects of these classes. Each field must be one of at least one of them;
    /// in objects of the others it is null.
    pub fn parse(text: &str, classes: &[&'static Class]) -> Result<Self, QueryError> {
        Self::read(text, classes).map_err(|wrong| wrong.within(text))
    }

    fn read(text: &str, classes: &[&'static Class]) -> Result<Self, Wrong> {
        let expression = parse::parse(text)?;
        let mut follows = Vec::new();
        let by_class: Result<_, Wrong> = classes
            .iter()
            .map(|class| {
                let mut compiler = Compiler { class, classes, follows: &mut follows };
                let node = compiler.node(&expression)?;
                let mut slots = Vec::new();
                node.slots(&mut slots);
                slots.sort_unstable();
                slots.dedup();
                Ok(OfClass { class: class.id, node, slots: slots.into() })
            })
            .collect();
        let by_class = by_class?;
        follows.sort_unstable();
        follows.dedup();
        Ok(Self { expression, by_class, follows: follows.into() })
    }

    /// Whether the object is one of those. `snapshot` is where its refs lead.
    pub fn matches(&self, snapshot: &Snapshot, object: &Object) -> bool {
        self.of(object).is_some_and(|of_class| of_class.node.holds(snapshot, object))
    }

    /// Those of the objects, in their order, that it lets through.
    ///
    /// A table is larger than what a processor has at hand, and most of the time would be spent
    /// waiting for one record after the other. So the bytes that are going to be looked at are asked
    /// for in advance, for some objects at once.
    pub fn select<'a>(
        &self,
        snapshot: &Snapshot,
        objects: impl IntoIterator<Item = &'a Arc<Object>>,
        mut each: impl FnMut(&'a Arc<Object>),
    ) {
        let mut objects = objects.into_iter();
        let mut ahead = Vec::with_capacity(AHEAD);
        loop {
            ahead.extend(objects.by_ref().take(AHEAD));
            if ahead.is_empty() {
                return;
            }
            for object in &ahead {
                let slots = self.of(object).map_or(&[][..], |of_class| &of_class.slots);
                for slot in slots {
                    black_box(object.record().peek(*slot));
                }
            }
            for object in ahead.drain(..).filter(|object| self.matches(snapshot, object)) {
                each(object);
            }
        }
    }

    /// What it costs to ask these objects, which are of this class.
    pub fn cost(&self, class: ClassId, pricing: &mut Pricing<'_>, asked: &Population<'_>) -> Cost {
        let of_class = self.by_class.iter().find(|of_class| of_class.class == class);
        of_class.map_or_else(Cost::default, |of_class| {
            of_class.node.cost(&self.expression, pricing, asked)
        })
    }

    fn of(&self, object: &Object) -> Option<&OfClass> {
        let class = object.class().id;
        self.by_class.iter().find(|of_class| of_class.class == class)
    }

    /// The classes whose objects it looks into, beside those it is for: what it lets through changes
    /// with them.
    pub fn classes(&self) -> &[ClassId] {
        &self.follows
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

impl Node {
    fn holds(&self, snapshot: &Snapshot, object: &Object) -> bool {
        match self {
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(snapshot, object)),
            Self::All(nodes) => nodes.iter().all(|node| node.holds(snapshot, object)),
            Self::Not(node) => !node.holds(snapshot, object),
            Self::Test(path, check) => path.any(snapshot, object, |value| check.holds(value)),
            Self::Constant(constant) => *constant,
        }
    }

    /// What it costs, as far as nothing ends it early; `written` is what it was made of.
    fn cost(
        &self,
        written: &Expression,
        pricing: &mut Pricing<'_>,
        asked: &Population<'_>,
    ) -> Cost {
        match (self, written) {
            (Self::Any(nodes), Expression::Any(parts))
            | (Self::All(nodes), Expression::All(parts)) => {
                let each = nodes.iter().zip(parts);
                each.map(|(node, part)| node.cost(part, pricing, asked))
                    .fold(Cost::default(), Cost::and)
            }
            (Self::Not(node), Expression::Not(inner)) => node.cost(inner, pricing, asked),
            // `!=` is the one term turned around.
            (Self::Not(node), _) => node.cost(written, pricing, asked),
            (Self::Test(path, check), _) => {
                let steps = path.cost(pricing, asked, |bytes| check.cost(bytes));
                let cheaper = check.cheaper().or_else(|| path.cheaper());
                let cheaper = cheaper.unwrap_or("fewer terms cost less");
                Cost::of(steps, || echo(&written.to_string()), cheaper)
            }
            (Self::Any(_) | Self::All(_) | Self::Constant(_), _) => Cost::plain(asked.count()),
        }
    }

    /// Adds the slots of the objects themselves that it reads.
    fn slots(&self, slots: &mut Vec<Slot>) {
        match self {
            Self::Any(nodes) | Self::All(nodes) => nodes.iter().for_each(|node| node.slots(slots)),
            Self::Not(node) => node.slots(slots),
            Self::Test(path, _) => slots.push(path.slot()),
            Self::Constant(_) => {}
        }
    }
}

/// Turns what is written into what is asked of the objects of a class.
struct Compiler<'a> {
    class: &'static Class,
    /// All classes of the filter.
    classes: &'a [&'static Class],
    follows: &'a mut Vec<ClassId>,
}

impl Compiler<'_> {
    fn node(&mut self, expression: &Expression) -> Result<Node, Wrong> {
        Ok(match expression {
            Expression::Any(parts) => Node::Any(self.nodes(parts)?),
            Expression::All(parts) => Node::All(self.nodes(parts)?),
            Expression::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
            Expression::Term(term) => self.term(term)?,
        })
    }

    fn nodes(&mut self, parts: &[Expression]) -> Result<Box<[Node]>, Wrong> {
        parts.iter().map(|part| self.node(part)).collect()
    }

    fn term(&mut self, term: &Term) -> Result<Node, Wrong> {
        let path = match Path::new(&term.path, self.class) {
            Ok(path) => path,
            Err(wrong) if wrong.no_field => {
                let known = |class: &&&'static Class| Path::new(&term.path, class).is_ok();
                return match self.classes.iter().find(known) {
                    Some(_) => Ok(Node::Constant(holds_for_null(term))),
                    None => Err(wrong),
                };
            }
            Err(wrong) => return Err(wrong),
        };
        self.follows.extend(path.classes());
        let (check, negated) = check(term, path.ty)?;
        let test = Node::Test(Box::new(path), check);
        Ok(if negated { Node::Not(Box::new(test)) } else { test })
    }
}

/// Whether a term holds of an object without the field.
fn holds_for_null(term: &Term) -> bool {
    match &term.asks {
        Asks::Itself | Asks::Has(..) => false,
        Asks::In(_, values) => values.iter().any(|value| value.is("null")),
        Asks::Compare(operator, _, value) => match operator {
            Operator::Equal => value.is("null"),
            Operator::NotEqual => !value.is("null"),
            Operator::NotLike => true,
            _ => false,
        },
    }
}

/// What a term asks of a value of this type, and whether it must be false.
fn check(term: &Term, ty: &Type) -> Result<(Check, bool), Wrong> {
    let end = || term.path.last().map_or(0, |part| part.at.0);
    match &term.asks {
        Asks::Itself if *ty == Type::Bool => Ok((Check::Bool(true), false)),
        Asks::Itself => {
            let name = term.path.last().map_or("", |part| &part.text);
            let what = format!("{} alone is no condition", echo(name));
            Err(Wrong::new(end(), what).expected(format!("{} behind it", operators(ty))))
        }
        Asks::Has(at, value) => has(*at, value, ty).map(|check| (check, false)),
        Asks::In(at, values) => {
            let each = values.iter().map(|value| compare(Operator::Equal, *at, value, ty));
            Ok((Check::OneOf(each.collect::<Result<_, _>>()?), false))
        }
        Asks::Compare(Operator::NotEqual, at, value) => {
            Ok((compare(Operator::Equal, *at, value, ty)?, true))
        }
        Asks::Compare(Operator::NotLike, at, value) => {
            Ok((compare(Operator::Like, *at, value, ty)?, true))
        }
        Asks::Compare(operator, at, value) => Ok((compare(*operator, *at, value, ty)?, false)),
    }
}

fn has(at: At, value: &Value, ty: &Type) -> Result<Check, Wrong> {
    match ty {
        Type::Set(element) => {
            Ok(Check::Element(Box::new(compare(Operator::Equal, at, value, element)?)))
        }
        Type::Map(..) => Ok(Check::Key(value.text.as_str().into())),
        _ => Err(unfit(at, "has", ty)),
    }
}

fn compare(operator: Operator, at: At, value: &Value, ty: &Type) -> Result<Check, Wrong> {
    let equality = operator == Operator::Equal;
    if equality && value.is("null") {
        return Ok(Check::Null);
    }
    let how = match operator {
        Operator::Equal => Some(Compare::Equal),
        Operator::Less => Some(Compare::Less),
        Operator::LessOrEqual => Some(Compare::LessOrEqual),
        Operator::Greater => Some(Compare::Greater),
        Operator::GreaterOrEqual => Some(Compare::GreaterOrEqual),
        Operator::NotEqual | Operator::Like | Operator::NotLike => None,
    };
    match (ty, how) {
        (_, Some(_)) if !equality && value.is("null") => {
            Err(Wrong::new(value.at.0, "null has no order").expected("null only behind = and !="))
        }
        (Type::Int, Some(how)) => Ok(Check::Int(how, literal::int(value)?)),
        (Type::Float, Some(how)) => Ok(Check::Float(how, literal::float(value)?)),
        (Type::DateTime, Some(how)) => Ok(Check::Date(how, literal::date(value)?)),
        (Type::String | Type::Secret, Some(how)) => {
            Ok(Check::Text(how, value.text.as_str().into()))
        }
        (Type::String | Type::Secret | Type::Enum(_), None) => like(value),
        (Type::Set(element), None) if is_text(element) => {
            Ok(Check::Element(Box::new(like(value)?)))
        }
        (Type::Bool, Some(Compare::Equal)) => Ok(Check::Bool(literal::bool(value)?)),
        (Type::Enum(id), Some(Compare::Equal)) => {
            let text = literal::of_enumeration(value, datamodel().enumeration(*id))?;
            Ok(Check::Text(Compare::Equal, text.into()))
        }
        (Type::Ref(_), Some(Compare::Equal)) => {
            Ok(Check::Text(Compare::Equal, literal::uuid(value)?.into()))
        }
        (Type::Set(_) | Type::Map(..), Some(Compare::Equal)) => match value.is("empty") {
            true => Ok(Check::Empty),
            false => Err(Wrong::new(value.at.0, echo(&value.text))
                .expected(format!("empty, or another operator: {}", operators(ty)))),
        },
        _ => Err(unfit(at, operator.sign(), ty)),
    }
}

fn like(value: &Value) -> Result<Check, Wrong> {
    let glob = Glob::new(&value.text);
    glob.map(Check::Like).map_err(|expected| {
        Wrong::new(value.at.0, "a pattern that takes too long").expected(expected)
    })
}

fn is_text(ty: &Type) -> bool {
    matches!(ty, Type::String | Type::Enum(_))
}

fn unfit(at: At, operator: &str, ty: &Type) -> Wrong {
    let what = format!("{operator} does not fit type {}", ty.notation(datamodel()));
    Wrong::new(at.0, what).expected(operators(ty))
}

/// What can stand behind a field of this type.
fn operators(ty: &Type) -> &'static str {
    match ty {
        Type::Int | Type::Float | Type::DateTime => "= != < <= > >= or in",
        Type::String | Type::Secret => "= != < <= > >= ~ !~ or in",
        Type::Enum(_) => "= != ~ !~ or in",
        Type::Bool => "= or !=",
        Type::Ref(_) => "= != or in, or a dot and a field of what it leads to",
        Type::Set(element) if is_text(element) => "has, ~, !~, = empty or != empty",
        Type::Set(_) => "has, = empty or != empty",
        Type::Map(..) => "has, = empty or != empty, or a dot and a key",
        Type::Record(_) | Type::Option(_) => "= null or != null",
    }
}
