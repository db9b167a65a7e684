//! Writes a reply, in either form.

use crate::database::Value;

use super::body::{Body, PIECE};
use super::{Arg, Failure, Form, escape, number};

/// Writes one reply.
#[derive(Debug)]
pub(crate) struct Output {
    done: Body,
    piece: Vec<u8>,
    form: Form,
    /// For each open container, whether it is a struct.
    open: Vec<bool>,
    comma: bool,
}

impl Output {
    fn new(form: Form) -> Self {
        let (done, piece) = (Body::default(), Vec::with_capacity(1024));
        Self { done, piece, form, open: Vec::new(), comma: false }
    }

    /// A reply whose value `write` writes.
    pub(crate) fn success(form: Form, write: impl FnOnce(&mut Self)) -> Body {
        let mut out = Self::new(form);
        match out.form {
            Form::Xml => {
                out.raw(XML_HEAD);
                out.begin_struct();
                out.member("Status", |out| out.string("Success"));
                out.member("Value", write);
                out.end();
                out.raw(XML_TAIL);
            }
            Form::Json1(_) => {
                out.begin_struct();
                out.member("result", write);
                out.member("error", Self::nil);
                out.id_and_end();
            }
            Form::Json2(_) => {
                out.begin_struct();
                out.member("jsonrpc", |out| out.string("2.0"));
                out.member("result", write);
                out.id_and_end();
            }
        }
        out.finish()
    }

    /// A reply that tells of a failure.
    pub(crate) fn failure(form: Form, failure: &Failure) -> Body {
        let mut out = Self::new(form);
        let whole = || std::iter::once(&failure.code).chain(&failure.params);
        match out.form {
            Form::Xml => {
                out.raw(XML_HEAD);
                out.begin_struct();
                out.member("Status", |out| out.string("Failure"));
                out.member("ErrorDescription", |out| out.strings(whole()));
                out.end();
                out.raw(XML_TAIL);
            }
            Form::Json1(_) => {
                out.begin_struct();
                out.member("result", Self::nil);
                out.member("error", |out| out.strings(whole()));
                out.id_and_end();
            }
            Form::Json2(_) => {
                out.begin_struct();
                out.member("jsonrpc", |out| out.string("2.0"));
                out.member("error", |out| {
                    out.begin_struct();
                    out.member("code", |out| out.int(1));
                    out.member("message", |out| out.string(&failure.code));
                    out.member("data", |out| out.strings(&failure.params));
                    out.end();
                });
                out.id_and_end();
            }
        }
        out.finish()
    }

    /// A value as XML-RPC has it, alone: how a task keeps its result.
    pub(crate) fn xml(value: &Value) -> String {
        let mut out = Self::new(Form::Xml);
        out.value(value);
        let mut body = out.finish();
        let mut text = Vec::new();
        while let Some(piece) = body.next() {
            text.extend(piece);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Writes a field's value.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Text(text) => self.string(text),
            Value::Int(int) => self.int(*int),
            Value::Float(float) => self.float(*float),
            Value::Bool(bool) => self.bool(*bool),
            Value::DateTime(instant) => self.date_time(instant),
            Value::Set(items) => {
                self.begin_array();
                for item in items {
                    self.value(item);
                }
                self.end();
            }
            Value::Map(pairs) => {
                self.begin_struct();
                for (key, value) in pairs {
                    match key.as_text() {
                        Some(key) => self.member(key, |out| out.value(value)),
                        None => self.member(&key.marshalled(), |out| out.value(value)),
                    }
                }
                self.end();
            }
        }
    }

    /// Writes a string.
    pub(crate) fn string(&mut self, text: &str) {
        self.scalar(|out| match out.form {
            Form::Xml => escape::xml(text, |part| out.raw(part)),
            _ => escape::json(text, |part| out.raw(part)),
        });
    }

    /// Writes an array of strings.
    pub(crate) fn strings<S: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = S>) {
        self.begin_array();
        for text in texts {
            self.string(text.as_ref());
        }
        self.end();
    }

    /// Writes an integer, which XML-RPC leaves untagged.
    pub(crate) fn int(&mut self, int: i64) {
        self.scalar(|out| out.raw(&int.to_string()));
    }

    /// Writes a count, the only integer that XML-RPC tags.
    pub(crate) fn count(&mut self, count: usize) {
        self.tagged("i4", &count.to_string());
    }

    /// Writes an array's items between this and [`Output::end`].
    pub(crate) fn begin_array(&mut self) {
        self.begin(false, "<array><data>", "[");
    }

    /// Writes a struct's members between this and [`Output::end`].
    pub(crate) fn begin_struct(&mut self) {
        self.begin(true, "<struct>", "{");
    }

    /// Writes a member of a struct.
    pub(crate) fn member(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        match self.form {
            Form::Xml => {
                self.raw("<member><name>");
                // XAPI does not escape names either.
                self.raw(name);
                self.raw("</name>");
                value(self);
                self.raw("</member>");
            }
            _ => {
                self.separate();
                escape::json(name, |part| self.raw(part));
                self.raw(":");
                self.comma = false;
                value(self);
            }
        }
    }

    /// Ends the innermost array or struct.
    pub(crate) fn end(&mut self) {
        let is_struct = self.open.pop().unwrap_or(false);
        self.raw(match (&self.form, is_struct) {
            (Form::Xml, true) => "</struct></value>",
            (Form::Xml, false) => "</data></array></value>",
            (_, true) => "}",
            (_, false) => "]",
        });
        self.comma = true;
    }

    fn bool(&mut self, bool: bool) {
        match self.form {
            Form::Xml => self.tagged("boolean", if bool { "1" } else { "0" }),
            _ => self.scalar(|out| out.raw(if bool { "true" } else { "false" })),
        }
    }

    fn float(&mut self, float: f64) {
        match self.form {
            Form::Xml => self.tagged("double", &number::general(float, 16)),
            _ => self.scalar(|out| out.raw(&number::json(float))),
        }
    }

    fn date_time(&mut self, instant: &str) {
        match self.form {
            Form::Xml => self.tagged("dateTime.iso8601", instant),
            _ => self.string(instant),
        }
    }

    fn nil(&mut self) {
        self.scalar(|out| match out.form {
            Form::Xml => out.raw("<nil/>"),
            _ => out.raw("null"),
        });
    }

    fn tagged(&mut self, tag: &str, text: &str) {
        self.scalar(|out| {
            if out.form == Form::Xml {
                for part in ["<", tag, ">", text, "</", tag, ">"] {
                    out.raw(part);
                }
            } else {
                out.raw(text);
            }
        });
    }

    fn id_and_end(&mut self) {
        let id = match &self.form {
            Form::Json1(id) | Form::Json2(id) => id.clone(),
            Form::Xml => Arg::Nil,
        };
        self.member("id", |out| match id {
            Arg::Int(id) => out.int(id),
            Arg::String(id) => out.string(&id),
            _ => out.nil(),
        });
        self.end();
    }

    fn begin(&mut self, is_struct: bool, xml: &str, json: &str) {
        if self.form == Form::Xml {
            self.raw("<value>");
            self.raw(xml);
        } else {
            self.separate();
            self.raw(json);
        }
        self.open.push(is_struct);
        self.comma = false;
    }

    fn scalar(&mut self, write: impl FnOnce(&mut Self)) {
        if self.form == Form::Xml {
            self.raw("<value>");
            write(self);
            self.raw("</value>");
        } else {
            self.separate();
            write(self);
        }
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.raw(",");
        }
    }

    fn raw(&mut self, text: &str) {
        if self.piece.len() + text.len() > PIECE && !self.piece.is_empty() {
            let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
            self.done.push(full);
        }
        self.piece.extend_from_slice(text.as_bytes());
    }

    fn finish(mut self) -> Body {
        self.done.push(self.piece);
        self.done
    }
}

const XML_HEAD: &str = "<?xml version=\"1.0\"?><methodResponse><params><param>";
const XML_TAIL: &str = "</param></params></methodResponse>";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mut body: Body) -> String {
        let mut bytes = Vec::new();
        while let Some(piece) = body.next() {
            bytes.extend(piece);
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn odd_characters_are_written_as_xapi_writes_them() {
        let odd = "<a href=\"é\">&'\u{1}\u{7f}\n";
        let xml = text(Output::success(Form::Xml, |out| out.string(odd)));
        assert!(xml.contains("<value>&lt;a href=&quot;é&quot;&gt;&amp;'\u{7f}\n</value>"), "{xml}");
        let json =
            text(Output::success(Form::Json2(Arg::String("x".into())), |out| out.string(odd)));
        let wanted = "{\"jsonrpc\":\"2.0\",\"result\":\"<a href=\\\"é\\\">&'\\u0001\\u007f\\n\",\"id\":\"x\"}";
        assert_eq!(json, wanted);
    }

    #[test]
    fn nested_values_keep_their_commas() {
        let value = Value::Set(vec![
            Value::Map(vec![]),
            Value::Set(vec![]),
            Value::Map(vec![
                (Value::Int(1), Value::Float(1.0)),
                (Value::text("k"), Value::Set(vec![Value::Bool(true), Value::Int(2)])),
            ]),
        ]);
        let json = text(Output::success(Form::Json1(Arg::Int(7)), |out| out.value(&value)));
        assert_eq!(json, "{\"result\":[{},[],{\"1\":1.0,\"k\":[true,2]}],\"error\":null,\"id\":7}");
    }

    #[test]
    fn a_large_reply_comes_in_pieces() {
        let many: Vec<_> = (0..100_000).map(|n| format!("number {n}")).collect();
        let mut body = Output::success(Form::Xml, |out| out.strings(&many));
        let (mut len, mut pieces) = (0, 0);
        let whole = body.len();
        while let Some(piece) = body.next() {
            len += piece.len();
            pieces += 1;
            assert!(piece.len() <= PIECE);
        }
        assert!(pieces > 5);
        assert_eq!(len, whole);
    }
}
