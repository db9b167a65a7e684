//! What holds for made-up queries.

use proptest::prelude::*;

use super::glob::Glob;
use super::parse::parse;
use super::syntax::{Asks, At, Expression, Operator, Part, Term, Value};
use super::testing::class;
use super::{Fields, Filter};

/// Pieces of filters, well put together or not.
const PIECES: [&str; 36] = [
    "power_state",
    "name_label",
    "other_config",
    "metrics",
    "VBDs",
    "tags",
    ".",
    ".owner",
    "=",
    "!=",
    "~",
    "!~",
    "<=",
    ">",
    "in",
    "(",
    ")",
    ",",
    "and",
    "or",
    "not",
    "has",
    "null",
    "true",
    "4GiB",
    "2026-01-01",
    "\"",
    "\"a\"",
    "\\",
    "\"\\u00",
    "*",
    "é",
    "\u{1f600}",
    "\n",
    "\0",
    "empty",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)
        .prop_map(|pieces| pieces.join(" "))
}

fn part() -> impl Strategy<Value = Part> {
    any::<String>().prop_map(|text| Part { text, at: At(0) })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(|text| Value { text, quoted: true, at: At(0) }),
        "[a-z0-9*?.:+-]{1,8}".prop_filter_map("no keyword", |text| {
            let keyword = super::syntax::KEYWORDS.contains(&text.as_str());
            (!keyword).then_some(Value { text, quoted: false, at: At(0) })
        }),
    ]
}

fn term() -> impl Strategy<Value = Expression> {
    let operator = prop::sample::select(vec![
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
        Operator::Like,
        Operator::NotLike,
    ]);
    let asks = prop_oneof![
        Just(Asks::Itself),
        (operator, value()).prop_map(|(operator, value)| Asks::Compare(operator, At(0), value)),
        value().prop_map(|value| Asks::Has(At(0), value)),
        prop::collection::vec(value(), 1..4).prop_map(|values| Asks::In(At(0), values)),
    ];
    let path = ("f[a-z_]{0,6}", prop::collection::vec(part(), 0..3)).prop_map(|(first, rest)| {
        let first = Part { text: first, at: At(0) };
        std::iter::once(first).chain(rest).collect()
    });
    (path, asks).prop_map(|(path, asks)| Expression::Term(Term { path, asks }))
}

fn expression() -> impl Strategy<Value = Expression> {
    term().prop_recursive(5, 24, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expression::Any),
            several.prop_map(Expression::All),
            inner.prop_map(|inner| Expression::Not(Box::new(inner))),
        ]
    })
}

/// Whether a text fits a pattern of plain characters, `*` and `?`, tried in every way.
fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=text.len()).any(|skip| fits(rest, &text[skip..])),
        (Some(('?', rest)), Some((_, text))) => fits(rest, text),
        (Some((wanted, rest)), Some((char, text))) => wanted == char && fits(rest, text),
        _ => false,
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in any::<String>(), pieces in pieces()) {
        let classes = [class("VM"), class("task")];
        for text in [text, pieces] {
            if let Err(error) = Filter::parse(&text, &classes) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
                prop_assert!(!error.what.is_empty());
            }
            let _ = Fields::parse(&text, classes[0]);
        }
    }

    #[test]
    fn what_is_written_out_reads_the_same(expression in expression()) {
        let text = expression.to_string();
        if text.len() <= super::parse::LONGEST {
            prop_assert_eq!(parse(&text), Ok(expression), "{}", text);
        }
    }

    #[test]
    fn globs_fit_what_they_should(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
        let glob = Glob::new(&pattern).expect("short patterns are good");
        let (wanted, given): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(glob.matches(&text), fits(&wanted, &given), "{} {}", pattern, text);
    }
}
