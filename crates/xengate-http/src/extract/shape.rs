//! JSON texts as what a path takes, and what is wrong with those that are not.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use crate::problem::{Code, Problem};

/// How serde says that a field comes twice.
const DUPLICATE: &str = "duplicate field `";

/// A pointer goes no deeper: no body that fits does.
const DEEPEST: usize = 16;

/// A JSON object, none of whose fields comes twice, nor any within them: of two values of a field
/// one would be dropped in silence.
#[derive(Debug, Clone, Default)]
pub struct Object(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = super::echo(&name);
                return Err(A::Error::custom(format_args!("{DUPLICATE}{name}`")));
            }
            object.insert(name, fields.next_value_seed(Whole)?);
        }
        Ok(object)
    }
}

/// Any JSON, with the same care.
struct Whole;

impl<'de> DeserializeSeed<'de> for Whole {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(Whole)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(fields).map(Value::Object)
    }
}

/// Reads a body: an object, as `T` has it.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        // serde would take an array for a struct, its fields in order.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| malformed(&error))?;
        return Err(wrong_shape("invalid type, expected an object", String::new()));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        match error.inner().classify() {
            Category::Data => {
                unfit(&error.inner().to_string(), pointer, path_is_whole(error.path()))
            }
            _ => malformed(error.inner()),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedJson, format!("the body is not JSON: {error}"))
}

/// What does not fit, by serde's word.
fn unfit(message: &str, mut pointer: String, whole: bool) -> Problem {
    // serde_json puts the place behind the message; the pointer says it better.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let Some(name) = message.strip_prefix(DUPLICATE) else { return wrong_shape(message, pointer) };
    if whole {
        pointer.push('/');
        pointer.push_str(&escape(name.strip_suffix('`').unwrap_or(name)));
    }
    Problem::new(Code::DuplicateField, format!("{pointer}: {message}")).at(pointer)
}

/// What was expected, without the value that was found.
fn wrong_shape(message: &str, mut pointer: String) -> Problem {
    let detail = if message.starts_with("missing field") {
        message.to_owned()
    } else if let Some(unknown) = message.strip_prefix("unknown field `") {
        // The one name that is the client's own, and as long as it likes.
        match unknown.rsplit_once("`, expected ") {
            Some((name, known)) => {
                format!("unknown field `{}`, expected {known}", super::echo(name))
            }
            None => "unknown field".to_owned(),
        }
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        format!("expected {expected}")
    } else {
        "this value cannot be used here".to_owned()
    };
    if let Some(field) = message.strip_prefix("missing field `") {
        pointer.push('/');
        pointer.push_str(&escape(field.trim_end_matches('`')));
    }
    let place = if pointer.is_empty() { "the body" } else { pointer.as_str() };
    Problem::new(Code::WrongShape, format!("{place}: {detail}")).at(pointer)
}

/// Whether all of the path is in the pointer.
fn path_is_whole(path: &Path) -> bool {
    path.iter().len() <= DEEPEST
}

/// RFC 6901, down to [`DEEPEST`] members.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter().take(DEEPEST) {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&escape(key));
            }
            // A variant's name is no member of the document, or the last one known.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(key: &str) -> String {
    super::echo(key).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Login {
        username: String,
        password: u8,
        #[serde(default)]
        more: BTreeMap<String, Vec<Kind>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two,
    }

    fn refused(body: &str) -> (u16, String, serde_json::Value) {
        let problem = parse::<Login>(body.as_bytes()).expect_err(body);
        let document: serde_json::Value =
            serde_json::from_slice(&problem.document("id")).expect("JSON");
        (problem.status().as_u16(), problem.detail().to_owned(), document["pointer"].clone())
    }

    #[test]
    fn what_is_no_json_is_placed_by_line_and_column() {
        let (status, detail, pointer) = refused("{\n  \"username\": x}");
        assert_eq!(status, 400);
        assert!(detail.ends_with("line 2 column 15"), "{detail}");
        assert!(pointer.is_null());
        assert_eq!(refused("{\"username\":").0, 400);
        assert_eq!(refused(r#"{"username":"a","password":1} x"#).0, 400);
        assert_eq!(refused(&"[".repeat(10_000)).0, 400);
        assert_eq!(refused(&"{\"more\":".repeat(10_000)).0, 422);
        assert_eq!(refused("\"\u{0}\"").0, 400);
    }

    #[test]
    fn another_shape_is_placed_by_a_pointer() {
        let cases = [
            (r#"{"username":"a","password":1,"extra":2}"#, "/extra"),
            (r#"{"username":"a","password":"hunter2"}"#, "/password"),
            (r#"{"username":"a"}"#, "/password"),
            (r#"{"username":"a","password":1,"more":{"a/b~":["one","three"]}}"#, "/more/a~1b~0/1"),
            (r#"["a", 1]"#, ""),
            ("null", ""),
        ];
        for (body, expected) in cases {
            let (status, detail, pointer) = refused(body);
            assert_eq!((status, pointer.as_str()), (422, Some(expected)), "{body}: {detail}");
        }
    }

    #[test]
    fn no_value_is_said_back() {
        for body in [
            r#"{"username":"a","password":"hunter2"}"#,
            r#"{"username":"a","password":1,"more":{"a":["hunter2"]}}"#,
            r#"{"username":"a","password":"hunter2, expected nothing"}"#,
            r#"{"username":["hunter2"]}"#,
            r#""hunter2""#,
        ] {
            let (_, detail, _) = refused(body);
            assert!(!detail.contains("hunter2"), "{detail}");
        }
        let (_, detail, _) = refused(r#"{"username":"a","password":"hunter2"}"#);
        assert_eq!(detail, "/password: expected u8");
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "`, expected x".repeat(50_000);
        let (_, detail, pointer) = refused(&format!("{{\"{long}\":1}}"));
        assert!(detail.len() < 300 && detail.contains("expected one of `username`"), "{detail}");
        assert!(pointer.as_str().expect("a pointer").len() < 100, "{pointer}");
        let (_, detail, _) = refused(r#"{"usernam":"a"}"#);
        let known = "expected one of `username`, `password`, `more`";
        assert_eq!(detail, format!("/usernam: unknown field `usernam`, {known}"));
    }

    #[test]
    fn a_field_given_twice_is_refused_at_every_depth() {
        let refused = |body: &str| {
            let problem = parse::<Object>(body.as_bytes()).expect_err(body);
            let document: Value = serde_json::from_slice(&problem.document("id")).expect("JSON");
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "DUPLICATE_FIELD"));
            assert!(!problem.detail().contains("hunter2"), "{}", problem.detail());
            document["pointer"].as_str().expect("a pointer").to_owned()
        };
        assert_eq!(refused(r#"{"a":"hunter2","b":1,"a":"hunter2"}"#), "/a");
        assert_eq!(refused(r#"{"a":{"b/c":{"d~":1,"e":2,"d~":1}}}"#), "/a/b~1c/d~0");
        assert_eq!(refused(r#"{"a":[1,{"x":1},[{"b":1,"b":2}]]}"#), "/a/2/0/b");
        assert_eq!(refused(r#"{"":1,"":2}"#), "/");
        // The same name, however it is spelt; and the first of several.
        assert_eq!(refused("{\"name\":1,\"n\\u0061me\":2}"), "/name");
        assert_eq!(refused(r#"{"a":{"b":1,"b":2},"c":1,"c":2}"#), "/a/b");
        let long = "x".repeat(100_000);
        assert!(refused(&format!("{{\"{long}\":1,\"{long}\":2}}")).len() < 100);
        let deep = format!("{}{{\"b\":1,\"b\":2}}{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert_eq!(refused(&deep), "/a".repeat(DEEPEST));
        let (status, _, pointer) = super::tests::refused(r#"{"username":"a","username":"b"}"#);
        assert_eq!((status, pointer.as_str()), (400, Some("/username")));
    }

    #[test]
    fn what_comes_once_is_read_as_it_is() {
        let body = r#"{"a":{"a":[{"a":1},{"a":-2}],"b":null},"b":[true,1.5,18446744073709551615,"\u00e9"],"c":{}}"#;
        let Object(object) = parse(body.as_bytes()).expect("an object");
        let plain: Map<String, Value> = serde_json::from_str(body).expect("JSON");
        assert_eq!(object, plain);
        let deep = "{\"a\":".repeat(10_000);
        assert_eq!(parse::<Object>(deep.as_bytes()).expect_err("deep").status().as_u16(), 400);
    }
}
