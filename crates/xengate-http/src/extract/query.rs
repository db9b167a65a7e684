//! Query parameters: nothing is dropped in silence.

use std::borrow::Cow;
use std::cell::Cell;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::{cut, echo};
use crate::problem::{Code, Problem};

/// At most this much is said about what is wrong with a value.
const LONGEST_REASON: usize = 256;

/// The query parameters as a struct, one field each. A parameter that the struct does not have,
/// one given twice and one whose value does not parse get a 400 that names it.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// There are no query parameters; any gets a 400 that names it.
#[derive(Debug, Clone, Copy)]
pub struct NoQuery;

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check_names(parts.uri.query().unwrap_or_default(), &[]).map(|()| Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let refusal = Cell::new(None);
    serde_path_to_error::deserialize(Parameters { query, refusal: &refusal }).map_err(|error| {
        refusal.take().unwrap_or_else(|| {
            let name = echo(&error.path().to_string());
            // What is wrong with a value may be told by repeating it.
            let wrong = cut(&error.inner().to_string(), LONGEST_REASON);
            let detail = format!("query parameter {name:?}: {wrong}");
            Problem::new(Code::BadParameter, detail).with_params([name])
        })
    })
}

/// Refuses names that are not among `known`, and names that come twice.
fn check_names(query: &str, known: &[&str]) -> Result<(), Problem> {
    let names: Vec<Cow<'_, str>> =
        form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
    for (place, name) in names.iter().enumerate() {
        let refused = |code: Code, what: &str| {
            let name = echo(name);
            Err(Problem::new(code, format!("query parameter {name:?} {what}")).with_params([name]))
        };
        if !known.contains(&name.as_ref()) {
            return refused(Code::UnknownParameter, "is not known here");
        }
        if names[..place].contains(name) {
            return refused(Code::DuplicateParameter, "is given twice");
        }
    }
    Ok(())
}

/// A deserializer that looks at the names, once serde says which fields the struct has, before
/// the values are read.
struct Parameters<'a> {
    query: &'a str,
    refusal: &'a Cell<Option<Problem>>,
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = serde_urlencoded::de::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if let Err(problem) = check_names(self.query, fields) {
            let error = Self::Error::custom(problem.detail());
            self.refusal.set(Some(problem));
            return Err(error);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let pairs = form_urlencoded::parse(self.query.as_bytes());
        serde_urlencoded::Deserializer::new(pairs).deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        limit: Option<u16>,
        cursor: Option<String>,
        #[serde(default)]
        backend: String,
    }

    fn refused(query: &str) -> (String, String) {
        let problem = parse::<Page>(query).expect_err(query);
        assert_eq!(problem.status(), http::StatusCode::BAD_REQUEST);
        (problem.code().to_owned(), problem.detail().to_owned())
    }

    #[test]
    fn parameters_become_a_struct() {
        let page = parse::<Page>("limit=10&cursor=a%2Bb+c&backend=lab").expect("page");
        let cursor = Some("a+b c".to_owned());
        assert_eq!(page, Page { limit: Some(10), cursor, backend: "lab".to_owned() });
        let page = parse::<Page>("").expect("page");
        assert_eq!(page, Page { limit: None, cursor: None, backend: String::new() });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (code, detail) = refused("limit=10&limt=1");
        assert_eq!(code, "UNKNOWN_PARAMETER");
        assert!(detail.contains("\"limt\""), "{detail}");
        let (code, detail) = refused("limit=10&cursor=a&limit=11");
        assert_eq!(code, "DUPLICATE_PARAMETER");
        assert!(detail.contains("\"limit\""), "{detail}");
        for wrong in ["limit=ten", "limit=", "limit=-1", "cursor=a&limit=65536"] {
            let (code, detail) = refused(wrong);
            assert_eq!(code, "BAD_PARAMETER");
            assert!(detail.contains("\"limit\""), "{detail}");
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let (_, detail) = refused(&"x".repeat(10_000));
        assert!(detail.len() < 200, "{detail}");
        #[derive(Debug, Deserialize)]
        enum Order {}
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Sorted {
            order: Order,
        }
        let long = format!("order={}", "x".repeat(10_000));
        let problem = parse::<Sorted>(&long).expect_err("no such order");
        assert!(problem.detail().len() < 400, "{}", problem.detail());
    }

    #[test]
    fn no_query_means_none() {
        assert!(check_names("", &[]).is_ok());
        let problem = check_names("a=1", &[]).expect_err("a");
        assert_eq!(problem.code(), "UNKNOWN_PARAMETER");
    }
}
