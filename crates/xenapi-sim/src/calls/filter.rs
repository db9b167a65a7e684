//! The expressions of `get_all_records_where`: `field "name__label"="x" and not true`.

use crate::database::Object;
use crate::protocol::Failure;
use xenapi_model::Class;

/// Deeper expressions than any caller needs.
const DEEPEST: usize = 100;

/// An expression over an object's fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Constant(bool),
    Equal(Operand, Operand),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Literal(String),
    Field(usize),
    Ref,
}

impl Filter {
    /// Reads an expression over a class's fields, by the names that the database has for them.
    pub(super) fn parse(text: &str, class: &Class) -> Result<Self, Failure> {
        let invalid = || Failure::new("INVALID_VALUE", [text, "Stdlib.Parsing.Parse_error"]);
        let mut parser = Parser { tokens: lex(text).ok_or_else(invalid)?, next: 0, class };
        let filter = parser.either(0)?.ok_or_else(invalid)?;
        if parser.next == parser.tokens.len() { Ok(filter) } else { Err(invalid()) }
    }

    /// Whether it holds for an object.
    pub(super) fn holds(&self, object: &Object) -> bool {
        match self {
            Self::Constant(constant) => *constant,
            Self::Equal(one, two) => one.value(object) == two.value(object),
            Self::And(one, two) => one.holds(object) && two.holds(object),
            Self::Or(one, two) => one.holds(object) || two.holds(object),
            Self::Not(inner) => !inner.holds(object),
        }
    }
}

impl Operand {
    fn value(&self, object: &Object) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Field(field) => object.fields()[*field].marshalled(),
            Self::Ref => object.reference().to_string(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(&'static str),
    Text(String),
}

const WORDS: [&str; 9] = ["=", "(", ")", "true", "false", "field", "and", "or", "not"];

fn lex(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\n']);
    while !rest.is_empty() {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"')?;
            tokens.push(Token::Text(text.to_owned()));
            after
        } else {
            let word = WORDS.into_iter().find(|word| rest.starts_with(word))?;
            tokens.push(Token::Word(word));
            &rest[word.len()..]
        };
        rest = after.trim_start_matches([' ', '\t', '\n']);
    }
    Some(tokens)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    class: &'a Class,
}

impl Parser<'_> {
    fn accept(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.next), Some(Token::Word(next)) if *next == word);
        self.next += usize::from(found);
        found
    }

    /// `and` and `or` bind alike, from the left.
    fn either(&mut self, depth: usize) -> Result<Option<Filter>, Failure> {
        let Some(mut left) = self.one(depth)? else { return Ok(None) };
        loop {
            let both = self.accept("and");
            if !both && !self.accept("or") {
                return Ok(Some(left));
            }
            let Some(right) = self.one(depth)? else { return Ok(None) };
            let (one, two) = (Box::new(left), Box::new(right));
            left = if both { Filter::And(one, two) } else { Filter::Or(one, two) };
        }
    }

    fn one(&mut self, depth: usize) -> Result<Option<Filter>, Failure> {
        if depth > DEEPEST {
            return Ok(None);
        }
        if self.accept("true") {
            return Ok(Some(Filter::Constant(true)));
        }
        if self.accept("false") {
            return Ok(Some(Filter::Constant(false)));
        }
        if self.accept("not") {
            let inner = self.one(depth + 1)?;
            return Ok(inner.map(|inner| Filter::Not(Box::new(inner))));
        }
        if self.accept("(") {
            let inner = self.either(depth + 1)?;
            return Ok(inner.filter(|_| self.accept(")")));
        }
        let Some(left) = self.operand()? else { return Ok(None) };
        if !self.accept("=") {
            return Ok(None);
        }
        Ok(self.operand()?.map(|right| Filter::Equal(left, right)))
    }

    fn operand(&mut self) -> Result<Option<Operand>, Failure> {
        let is_field = self.accept("field");
        let Some(Token::Text(text)) = self.tokens.get(self.next).cloned() else { return Ok(None) };
        self.next += 1;
        if is_field { self.field(&text).map(Some) } else { Ok(Some(Operand::Literal(text))) }
    }

    /// The database joins the parts of a name with two underscores.
    fn field(&self, name: &str) -> Result<Operand, Failure> {
        if name == "_ref" || name == "ref" {
            return Ok(Operand::Ref);
        }
        let known = match name {
            "name_label" | "name_description" => None,
            _ => self.class.field_index(&name.replace("__", "_")),
        };
        known
            .map(Operand::Field)
            .ok_or_else(|| Failure::new("INTERNAL_ERROR", ["missing field", name, ""]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Database, Value};
    use xenapi_model::datamodel;

    #[test]
    fn expressions_pick_objects() {
        let vm = datamodel().class("VM").expect("VM");
        let field = |name: &str| vm.field_index(name).expect("a field");
        let mut db = Database::default();
        let fields = [
            (field("name_label"), Value::text("web")),
            (field("is_a_template"), Value::Bool(true)),
        ];
        db.create(vm, "v1".into(), "u1".into(), fields);
        let object = db.table(vm.id).get("v1").expect("a VM");
        for (text, holds) in [
            ("true", true),
            ("not true", false),
            (r#"field "name__label"="web""#, true),
            (r#"(field "name__label" = "db") or field "is_a_template"="true""#, true),
            (r#"field "name__label"="web" and not field "uuid"="u1""#, false),
            (r#""a"="a""#, true),
            (r#"field "_ref"="v1""#, true),
        ] {
            let filter = Filter::parse(text, vm).expect("a filter");
            assert_eq!(filter.holds(object), holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let vm = datamodel().class("VM").expect("VM");
        let deep = "(".repeat(5_000);
        for text in ["", "maybe", "true true", "field \"uuid\"", "(true", "\"open", &deep] {
            let failure = Filter::parse(text, vm).expect_err("no filter");
            assert_eq!(failure.code, "INVALID_VALUE", "{text}");
        }
        let failure = Filter::parse("field \"name_label\"=\"x\"", vm).expect_err("no field");
        assert_eq!(failure.params, ["missing field", "name_label", ""]);
    }
}
