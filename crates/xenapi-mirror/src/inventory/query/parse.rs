//! Reads a filter's text.
//!
//! ```text
//! either := both ("or" both)*
//! both   := one ("and" one)*
//! one    := "not" one | "(" either ")" | term
//! term   := path [operator value | "has" value | ["not"] "in" "(" value ("," value)* ")"]
//! path   := name ("." (name | string))*
//! value  := word | string
//! ```

use std::borrow::Cow;

use winnow::ascii::multispace0;
use winnow::combinator::{alt, not, opt, peek, preceded, terminated};
use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location, Stateful};
use winnow::token::{any, literal, one_of, take_while};

use super::error::{Wrong, echo};
use super::syntax::{
    Asks, At, Expression, KEYWORDS, Operator, Part, Term, Value, is_name, is_word,
};

/// How long a filter is at most, in bytes.
pub(super) const LONGEST: usize = 4096;
/// How deep parentheses and `not` stand in each other at most.
pub(super) const DEEPEST: usize = 64;
/// How many terms it has at most; each value of an `in` counts as one.
pub(super) const MOST_TERMS: usize = 256;

const OPERATORS: &str = "an operator (= != < <= > >= ~ !~ has in)";
const CONDITION: &str = "a condition: a field, `not` or `(`";
const VALUE: &str = "a value: a word, a number, a date or \"text\"";

/// How much has been read so far.
#[derive(Debug, Default)]
struct Budget {
    depth: usize,
    terms: usize,
}

type Input<'i> = Stateful<LocatingSlice<&'i str>, Budget>;
type Read<T> = Result<T, Wrong>;

impl ParserError<Input<'_>> for Wrong {
    type Inner = Self;

    fn from_input(input: &Input<'_>) -> Self {
        Self::new(input.current_token_start(), "it ends or goes on where it should not")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Expression, Wrong> {
    if text.len() > LONGEST {
        return Err(too_long(text));
    }
    let mut input = Input { input: LocatingSlice::new(text), state: Budget::default() };
    let filter = either(&mut input)?;
    blank(&mut input)?;
    if input.input.is_empty() {
        return Ok(filter);
    }
    Err(behind_condition(&mut input, "`and`, `or` or the end"))
}

/// Reads paths with commas between them, each with whether a minus stands before it.
pub(super) fn paths(text: &str) -> Read<Vec<(bool, Vec<Part>)>> {
    if text.len() > LONGEST {
        return Err(too_long(text));
    }
    let mut input = Input { input: LocatingSlice::new(text), state: Budget::default() };
    let mut paths = Vec::new();
    loop {
        blank(&mut input)?;
        let minus = opt(literal("-")).parse_next(&mut input)?.is_some();
        paths.push((minus, path(&mut input, "a field")?));
        blank(&mut input)?;
        if opt(literal(",")).parse_next(&mut input)?.is_none() {
            break;
        }
    }
    if input.input.is_empty() {
        return Ok(paths);
    }
    Err(unexpected(&mut input, "a comma or the end"))
}

/// The error about a text that is too long to be read at all.
pub(super) fn too_long(text: &str) -> Wrong {
    Wrong::new(0, format!("it has {} bytes", text.len()))
        .expected(format!("{LONGEST} bytes at most"))
}

fn either(input: &mut Input<'_>) -> Read<Expression> {
    let mut parts = vec![both(input)?];
    while opt(keyword("or")).parse_next(input)?.is_some() {
        parts.push(both(input)?);
    }
    Ok(single(parts).unwrap_or_else(Expression::Any))
}

fn both(input: &mut Input<'_>) -> Read<Expression> {
    let mut parts = vec![one(input)?];
    while opt(keyword("and")).parse_next(input)?.is_some() {
        parts.push(one(input)?);
    }
    Ok(single(parts).unwrap_or_else(Expression::All))
}

/// The only part, or all of them.
fn single(mut parts: Vec<Expression>) -> Result<Expression, Vec<Expression>> {
    if parts.len() > 1 { Err(parts) } else { parts.pop().ok_or(parts) }
}

fn one(input: &mut Input<'_>) -> Read<Expression> {
    if opt(keyword("not")).parse_next(input)?.is_some() {
        return Ok(Expression::Not(Box::new(deeper(input, one)?)));
    }
    if opt(sign("(")).parse_next(input)?.is_some() {
        let inner = deeper(input, either)?;
        close(input)?;
        return Ok(inner);
    }
    term(input)
}

/// Reads what stands one level deeper.
fn deeper(input: &mut Input<'_>, read: fn(&mut Input<'_>) -> Read<Expression>) -> Read<Expression> {
    if input.state.depth == DEEPEST {
        let at = input.previous_token_end();
        return Err(Wrong::new(
            at.saturating_sub(1),
            "too deep a nesting of parentheses and `not`",
        )
        .expected(format!("{DEEPEST} levels at most")));
    }
    input.state.depth += 1;
    let inner = read(input)?;
    input.state.depth -= 1;
    Ok(inner)
}

fn close(input: &mut Input<'_>) -> Read<()> {
    match opt(sign(")")).parse_next(input)? {
        Some(_) => Ok(()),
        None => {
            blank(input)?;
            Err(behind_condition(input, "`and`, `or` or `)`"))
        }
    }
}

fn term(input: &mut Input<'_>) -> Read<Expression> {
    count(input)?;
    let path = path(input, CONDITION)?;
    let at = place(input)?;
    if let Some(operator) = opt(operator).parse_next(input)? {
        let value = value(input)?;
        return Ok(Expression::Term(Term { path, asks: Asks::Compare(operator, at, value) }));
    }
    if opt(keyword("has")).parse_next(input)?.is_some() {
        let value = value(input)?;
        return Ok(Expression::Term(Term { path, asks: Asks::Has(at, value) }));
    }
    let negated = opt(terminated(keyword("not"), peek(keyword("in")))).parse_next(input)?.is_some();
    if opt(keyword("in")).parse_next(input)?.is_none() {
        return Ok(Expression::Term(Term { path, asks: Asks::Itself }));
    }
    let term = Expression::Term(Term { path, asks: Asks::In(at, values(input)?) });
    Ok(if negated { Expression::Not(Box::new(term)) } else { term })
}

/// `(value, value)`.
fn values(input: &mut Input<'_>) -> Read<Vec<Value>> {
    if opt(sign("(")).parse_next(input)?.is_none() {
        blank(input)?;
        return Err(unexpected(input, "`(` and values with commas between them"));
    }
    let mut values = vec![value(input)?];
    while opt(sign(",")).parse_next(input)?.is_some() {
        count(input)?;
        values.push(value(input)?);
    }
    match opt(sign(")")).parse_next(input)? {
        Some(_) => Ok(values),
        None => {
            blank(input)?;
            Err(unexpected(input, "`,` or `)`"))
        }
    }
}

fn count(input: &mut Input<'_>) -> Read<()> {
    let at = place(input)?;
    input.state.terms += 1;
    if input.state.terms > MOST_TERMS {
        return Err(Wrong::new(at.0, "too many terms")
            .expected(format!("{MOST_TERMS} terms at most, each value of an `in` counted")));
    }
    Ok(())
}

fn path(input: &mut Input<'_>, expected: &'static str) -> Read<Vec<Part>> {
    let at = place(input)?;
    let Some(name) = opt(take_while(1.., is_name)).parse_next(input)? else {
        return Err(unexpected(input, expected));
    };
    if KEYWORDS.contains(&name) {
        return Err(Wrong::new(at.0, echo(name)).expected(expected));
    }
    let mut path = vec![Part { text: name.to_owned(), at }];
    while opt(literal(".")).parse_next(input)?.is_some() {
        let at = At(input.current_token_start());
        let text = match opt(take_while(1.., is_name)).parse_next(input)? {
            Some(name) => name.to_owned(),
            None if input.input.starts_with('"') => string(input)?,
            None => {
                return Err(unexpected(
                    input,
                    "a field, or a key of the map (\"quoted\" if need be)",
                ));
            }
        };
        path.push(Part { text, at });
    }
    Ok(path)
}

fn operator(input: &mut Input<'_>) -> Read<Operator> {
    alt((
        literal("!=").value(Operator::NotEqual),
        literal("!~").value(Operator::NotLike),
        literal("<=").value(Operator::LessOrEqual),
        literal(">=").value(Operator::GreaterOrEqual),
        literal("=").value(Operator::Equal),
        literal("<").value(Operator::Less),
        literal(">").value(Operator::Greater),
        literal("~").value(Operator::Like),
    ))
    .parse_next(input)
}

fn value(input: &mut Input<'_>) -> Read<Value> {
    let at = place(input)?;
    if input.input.starts_with('"') {
        return Ok(Value { text: string(input)?, quoted: true, at });
    }
    match opt(take_while(1.., is_word)).parse_next(input)? {
        Some(word) if KEYWORDS.contains(&word) => Err(Wrong::new(at.0, echo(word))
            .expected(format!("{VALUE}; words of the language are values in quotes"))),
        Some(word) => Ok(Value { text: word.to_owned(), quoted: false, at }),
        None => Err(unexpected(input, VALUE)),
    }
}

/// A JSON string.
fn string(input: &mut Input<'_>) -> Read<String> {
    let at = input.current_token_start();
    let content = take_while(0.., |char| char != '"' && char != '\\');
    let escape = ('\\', any).void();
    let body =
        winnow::combinator::repeat::<_, _, (), _, _>(0.., alt((escape, none_empty(content))));
    let text = ('"', body, '"')
        .take()
        .parse_next(input)
        .map_err(|_: Wrong| Wrong::new(at, "text that does not end").expected("a closing `\"`"))?;
    serde_json::from_str(text).map_err(|_| {
        Wrong::new(at, "text with a bad escape or a control character")
            .expected("a string as in JSON: \\\" \\\\ \\n \\t \\u0020")
    })
}

/// What `parser` takes, unless that is nothing.
fn none_empty<'i>(
    parser: impl Parser<Input<'i>, &'i str, Wrong>,
) -> impl Parser<Input<'i>, (), Wrong> {
    parser.verify(|taken: &str| !taken.is_empty()).void()
}

fn keyword<'i>(word: &'static str) -> impl Parser<Input<'i>, (), Wrong> {
    preceded(multispace0, terminated(literal(word), not(one_of(is_word)))).void()
}

fn sign<'i>(sign: &'static str) -> impl Parser<Input<'i>, (), Wrong> {
    preceded(multispace0, literal(sign)).void()
}

fn blank(input: &mut Input<'_>) -> Read<()> {
    multispace0.void().parse_next(input)
}

/// Where the next thing stands.
fn place(input: &mut Input<'_>) -> Read<At> {
    blank(input)?;
    Ok(At(input.current_token_start()))
}

/// What stands here is not what should.
fn unexpected(input: &mut Input<'_>, expected: impl Into<Cow<'static, str>>) -> Wrong {
    let at = input.current_token_start();
    let rest: &str = input.input.as_ref();
    let next = rest.split(char::is_whitespace).next().unwrap_or_default();
    let what = match (next, rest) {
        ("", "") => "the end".to_owned(),
        ("", _) => "a blank".to_owned(),
        _ => echo(next),
    };
    Wrong::new(at, what).expected(expected)
}

/// What stands behind a condition is not what should; an operator may be misspelt.
fn behind_condition(input: &mut Input<'_>, expected: &'static str) -> Wrong {
    let rest: &str = input.input.as_ref();
    match rest.starts_with(['=', '!', '<', '>', '~', '&', '|']) {
        true => unexpected(input, format!("{OPERATORS}, {expected}")),
        false => unexpected(input, expected),
    }
}
