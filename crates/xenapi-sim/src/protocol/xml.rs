//! Reads a call of XML-RPC as leniently, and as strictly, as XAPI does.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::{Arg, BadCall, Call, Form, ocaml_string};

/// Deeper nesting than any call needs; keeps a hostile body from exhausting the stack.
const DEEPEST: usize = 200;

/// Reads a call.
pub(crate) fn read(body: &[u8]) -> Result<Call, BadCall> {
    let text = std::str::from_utf8(body)
        .map_err(|error| xmlm(body, error.valid_up_to(), "malformed character stream"))?;
    let mut input = Input::new(text);
    input.open("methodCall")?;
    input.open("methodName")?;
    let name = input.text()?;
    input.close("methodName")?;
    input.open("params")?;
    let mut args = Vec::new();
    while !input.at_close()? {
        input.open("param")?;
        args.push(input.value(0)?);
        input.close("param")?;
    }
    input.close("params")?;
    input.close("methodCall")?;
    Ok(Call { name, args, form: Form::Xml })
}

/// Reads one value: what tests load recorded replies with.
#[cfg(test)]
pub(crate) fn read_reply(body: &str) -> Result<Arg, BadCall> {
    let mut input = Input::new(body);
    for tag in ["methodResponse", "params", "param"] {
        input.open(tag)?;
    }
    input.value(0)
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Open(String),
    Close,
    Text(String),
    Eof,
}

struct Input<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    next: Option<Item>,
    after: Option<Item>,
}

impl<'a> Input<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { text, reader, next: None, after: None }
    }

    fn value(&mut self, depth: usize) -> Result<Arg, BadCall> {
        if depth > DEEPEST {
            return Err(BadCall("Stack_overflow".into()));
        }
        self.open("value")?;
        let value = match self.peek()?.clone() {
            Item::Text(text) => {
                self.take()?;
                // White space before a type is layout; without a type it is the string itself.
                if blank(&text) && matches!(self.peek()?, Item::Open(_)) {
                    self.typed(depth)?
                } else {
                    Arg::String(text)
                }
            }
            Item::Open(_) => self.typed(depth)?,
            _ => Arg::String(String::new()),
        };
        self.close("value")?;
        Ok(value)
    }

    fn typed(&mut self, depth: usize) -> Result<Arg, BadCall> {
        let tag = self.open_any()?;
        let value = match tag.as_str() {
            "string" => Arg::String(self.text()?),
            "nil" => Arg::Nil,
            "array" => self.array(depth)?,
            "struct" => self.members(depth)?,
            "int" | "i4" | "i8" => {
                let text = self.text()?;
                let int =
                    text.parse().map_err(|_| BadCall("Failure(\"Int64.of_string\")".into()))?;
                Arg::Int(int)
            }
            "boolean" => Arg::Bool(self.text()? == "1"),
            "double" => {
                let text = self.text()?;
                let float = text.trim().parse();
                Arg::Float(float.map_err(|_| BadCall("Failure(\"float_of_string\")".into()))?)
            }
            "dateTime.iso8601" => Arg::DateTime(self.text()?),
            "base64" => Arg::Base64(self.text()?),
            _ => return Err(unexpected(&format!("open_tag({tag})"), KNOWN_TAGS)),
        };
        self.close(&tag)?;
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Arg, BadCall> {
        let mut items = Vec::new();
        if self.at_close()? {
            return Ok(Arg::Array(items));
        }
        self.open("data")?;
        while !self.at_close()? {
            items.push(self.value(depth + 1)?);
        }
        self.close("data")?;
        Ok(Arg::Array(items))
    }

    fn members(&mut self, depth: usize) -> Result<Arg, BadCall> {
        let mut members = Vec::new();
        while !self.at_close()? {
            self.open("member")?;
            self.open("name")?;
            let name = self.text()?;
            self.close("name")?;
            members.push((name, self.value(depth + 1)?));
            self.close("member")?;
        }
        Ok(Arg::Struct(members))
    }

    fn open_any(&mut self) -> Result<String, BadCall> {
        match self.take()? {
            Item::Open(tag) => Ok(tag),
            Item::Text(text) if blank(&text) => self.open_any(),
            Item::Text(text) => Err(unexpected(&format!("data({text})"), "open_tag")),
            Item::Close => Err(unexpected("close_tag", "open_tag")),
            Item::Eof => Err(self.ended()),
        }
    }

    fn open(&mut self, wanted: &str) -> Result<(), BadCall> {
        let tag = self.open_any()?;
        if tag == wanted {
            return Ok(());
        }
        Err(unexpected(&format!("open_tag({tag})"), &format!("open_tag({wanted})")))
    }

    fn close(&mut self, tag: &str) -> Result<(), BadCall> {
        let wanted = || format!("close_tag({tag})");
        match self.take()? {
            Item::Close => Ok(()),
            Item::Text(text) if blank(&text) => self.close(tag),
            Item::Text(text) => Err(unexpected(&format!("data({text})"), &wanted())),
            Item::Open(other) => Err(unexpected(&format!("open_tag({other})"), &wanted())),
            Item::Eof => Err(self.ended()),
        }
    }

    fn text(&mut self) -> Result<String, BadCall> {
        match self.peek()? {
            Item::Text(_) => match self.take()? {
                Item::Text(text) => Ok(text),
                _ => Ok(String::new()),
            },
            Item::Close => Ok(String::new()),
            Item::Open(tag) => Err(unexpected(&format!("open_tag({tag})"), "data")),
            Item::Eof => Err(self.ended()),
        }
    }

    fn at_close(&mut self) -> Result<bool, BadCall> {
        while matches!(self.peek()?, Item::Text(text) if blank(text)) {
            self.take()?;
        }
        Ok(*self.peek()? == Item::Close)
    }

    fn peek(&mut self) -> Result<&Item, BadCall> {
        let item = match self.next.take() {
            Some(item) => item,
            None => self.read()?,
        };
        Ok(self.next.insert(item))
    }

    fn take(&mut self) -> Result<Item, BadCall> {
        match self.next.take() {
            Some(item) => Ok(item),
            None => self.read(),
        }
    }

    /// The next item; text is joined across entities and CDATA.
    fn read(&mut self) -> Result<Item, BadCall> {
        if let Some(item) = self.after.take() {
            return Ok(item);
        }
        let mut text = String::new();
        let other = loop {
            let event = self.reader.read_event().map_err(|_| self.broken())?;
            match event {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(entity) => {
                    let character = entity.resolve_char_ref().map_err(|_| self.broken())?;
                    match (character, resolve_predefined_entity(&entity)) {
                        (Some(character), _) => text.push(character),
                        (None, Some(known)) => text.push_str(known),
                        (None, None) => return Err(self.broken()),
                    }
                }
                Event::Start(start) => break Item::Open(start.name().as_ref().to_owned()),
                Event::End(_) | Event::Empty(_) => break Item::Close,
                Event::Eof => break Item::Eof,
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
            }
        };
        if text.is_empty() {
            return Ok(other);
        }
        self.after = Some(other);
        Ok(Item::Text(text))
    }

    fn ended(&self) -> BadCall {
        xmlm(self.text.as_bytes(), self.text.len(), "unexpected end of input")
    }

    fn broken(&self) -> BadCall {
        let position = usize::try_from(self.reader.error_position()).unwrap_or(0);
        // An unclosed tag runs to the end of the input.
        if self.text.as_bytes().get(position..).is_none_or(|rest| !rest.contains(&b'>')) {
            return self.ended();
        }
        xmlm(self.text.as_bytes(), position, "character sequence illegal here")
    }
}

const KNOWN_TAGS: &str =
    "open_tag(int/i8/i4/boolean/double/string/dateTime.iso8601/array/struct/nil)";

fn blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

fn unexpected(got: &str, wanted: &str) -> BadCall {
    BadCall(format!("Xmlrpc.Parse_error({}, {}, _)", ocaml_string(got), ocaml_string(wanted)))
}

fn xmlm(body: &[u8], position: usize, what: &str) -> BadCall {
    let before = &body[..position.min(body.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    BadCall(format!("Xmlm.Error({line}:{column}, {})", ocaml_string(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(params: &str) -> Vec<Arg> {
        let body = format!(
            "<?xml version='1.0'?>\n<methodCall>\n<methodName>a.b</methodName>\n<params>\n{params}\n</params>\n</methodCall>\n"
        );
        let call = read(body.as_bytes()).expect("a call");
        assert_eq!(call.name, "a.b");
        call.args
    }

    #[test]
    fn every_type_is_read_with_and_without_layout() {
        let read = args(
            "<param>\n<value><string> a &lt;&amp;&#233;<![CDATA[<b>]]></string></value>\n</param>\
             <param><value>bare </value></param><param><value/></param>\
             <param><value>\n<int>5</int>\n</value></param><param><value><i8>-6</i8></value></param>\
             <param><value><boolean>1</boolean></value></param><param><value><double>2.0</double></value></param>\
             <param><value><dateTime.iso8601>20261122T07:25:54Z</dateTime.iso8601></value></param>\
             <param><value><array><data>\n<value>x</value>\n</data></array></value></param>\
             <param><value><struct>\n<member>\n<name>z</name>\n<value>1</value>\n</member>\
             <member><name>a</name><value><string></string></value></member></struct></value></param>\
             <param><value><nil/></value></param><param><value><array/></value></param>",
        );
        let printed: Vec<_> = read.iter().map(ToString::to_string).collect();
        let wanted = [
            "S( a <&é<b>)",
            "S(bare )",
            "S()",
            "I(5)",
            "I(-6)",
            "B(true)",
            "F(2)",
            "D(20261122T07:25:54Z)",
            "[S(x)]",
            "{z:S(1);a:S()}",
            "N",
            "[]",
        ];
        assert_eq!(printed, wanted);
    }

    #[test]
    fn what_is_no_call_is_refused_in_xapis_words() {
        let refused = |body: &str| read(body.as_bytes()).expect_err("no call").0;
        assert_eq!(refused("<nonsense"), "Xmlm.Error(1:10, \"unexpected end of input\")");
        assert_eq!(refused(""), "Xmlm.Error(1:1, \"unexpected end of input\")");
        assert_eq!(
            refused("<methodReply></methodReply>"),
            "Xmlrpc.Parse_error(\"open_tag(methodReply)\", \"open_tag(methodCall)\", _)"
        );
        let deep = "<value><array><data>".repeat(5_000);
        let deep = format!(
            "<methodCall><methodName>a</methodName><params><param>{deep}</param></params></methodCall>"
        );
        assert_eq!(refused(&deep), "Stack_overflow");
        assert!(read(b"\xff\xfe").is_err());
    }
}
