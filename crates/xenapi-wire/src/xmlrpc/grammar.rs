//! Which element may stand where in a reply, and what each writes as JSON.

use super::scalar::{self, Kind};
use super::text::Cut;
use crate::error::{Seen, is_html_name};

/// Where in the grammar the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Before `<methodResponse>`.
    Prolog,
    Response,
    Params,
    Param,
    ParamDone,
    ParamsDone,
    Fault,
    FaultDone,
    ResponseDone,
    /// Behind `</methodResponse>`.
    Epilog,
    /// Behind `<value>`.
    ValueOpen,
    /// The same, after white space that counts only if no element follows.
    ValueSpace,
    /// In the text of a value without a type.
    ValueText,
    /// Behind the element in a value.
    ValueDone,
    /// In an element that holds text.
    Leaf,
    Array,
    DataEmpty,
    Data,
    ArrayDone,
    StructEmpty,
    Struct,
    Member,
    Name,
    Named,
    MemberDone,
    /// In a member whose value came first.
    Unnamed,
    LateName,
}

/// What is open around a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Struct,
    /// A struct whose open member has no name yet.
    UnnamedMember,
}

/// Why the reader cannot go on. The caller knows where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(&'static str),
    TooDeep,
    /// The document is none of XML-RPC.
    Foreign(Seen),
}

/// The elements that hold text.
const LEAVES: [(&[u8], Kind); 22] = [
    (b"string", Kind::Text),
    (b"int", Kind::Int),
    (b"i4", Kind::Int),
    (b"i8", Kind::Int),
    (b"boolean", Kind::Bool),
    (b"double", Kind::Float),
    (b"dateTime.iso8601", Kind::Text),
    (b"nil", Kind::Nil),
    (b"base64", Kind::Text),
    // What other implementations send beyond the standard.
    (b"ex:nil", Kind::Nil),
    (b"i1", Kind::Int),
    (b"i2", Kind::Int),
    (b"ex:i1", Kind::Int),
    (b"ex:i2", Kind::Int),
    (b"ex:i8", Kind::Int),
    (b"biginteger", Kind::Int),
    (b"ex:biginteger", Kind::Int),
    (b"float", Kind::Float),
    (b"ex:float", Kind::Float),
    (b"bigdecimal", Kind::Float),
    (b"ex:bigdecimal", Kind::Float),
    (b"dateTime", Kind::Text),
];

/// The place of `string` in `LEAVES`.
pub(super) const STRING: usize = 0;

/// What is known of the reply so far, apart from its markup.
pub(super) struct Grammar {
    pub(super) at: At,
    pub(super) stack: Vec<Container>,
    /// Which of `LEAVES` is open.
    pub(super) leaf: usize,
    /// Where each value that came before its name starts in what is held back.
    holds: Vec<usize>,
    late_name: usize,
    /// White space of a value that may or may not count, escaped.
    pub(super) space: Vec<u8>,
    /// The text of a scalar.
    pub(super) scalar: Vec<u8>,
    pub(super) cut: Cut,
    /// How many bytes of a byte order mark were seen.
    pub(super) mark: usize,
    is_fault: bool,
    max_depth: usize,
}

const NOT_HERE: Refusal = Refusal::Malformed("an element where it does not belong");
const NO_MATCH: Refusal = Refusal::Malformed("a closing tag that closes another element");

impl Grammar {
    pub(super) fn new(max_depth: usize) -> Self {
        Grammar {
            at: At::Prolog,
            stack: Vec::new(),
            leaf: 0,
            holds: Vec::new(),
            late_name: 0,
            space: Vec::new(),
            scalar: Vec::new(),
            cut: Cut::default(),
            mark: 0,
            is_fault: false,
            max_depth,
        }
    }

    /// Whether a value is open whose name has not come yet, so that nothing may leave.
    #[inline]
    pub(super) fn is_holding(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Whether a character is cut in two by the end of a chunk.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// How many bytes this has allocated.
    pub(super) fn allocated(&self) -> usize {
        self.stack.capacity()
            + self.holds.capacity() * size_of::<usize>()
            + self.space.capacity()
            + self.scalar.capacity()
    }

    pub(super) fn open(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.at = match (self.at, name) {
            (At::Data, b"value") => {
                out.push(b',');
                At::ValueOpen
            }
            (At::DataEmpty | At::Named | At::Param | At::Fault, b"value") => At::ValueOpen,
            (At::Member, b"value") => {
                // Only the value of a struct's member gets here, so there is a struct.
                self.stack.pop();
                self.stack.push(Container::UnnamedMember);
                let start = if self.is_holding() { out.len() } else { 0 };
                self.holds.push(start);
                At::ValueOpen
            }
            (At::ValueOpen | At::ValueSpace, _) => return self.open_typed(name, out),
            (At::StructEmpty, b"member") => At::Member,
            (At::Struct, b"member") => {
                out.push(b',');
                At::Member
            }
            (At::Member, b"name") => {
                out.push(b'"');
                At::Name
            }
            (At::Unnamed, b"name") => {
                self.late_name = out.len();
                out.push(b'"');
                At::LateName
            }
            (At::Array, b"data") => At::DataEmpty,
            (At::Prolog, b"methodResponse") => At::Response,
            (At::Prolog, name) => {
                let html = is_html_name(name);
                return Err(Refusal::Foreign(if html { Seen::Html } else { Seen::Xml }));
            }
            (At::Response, b"params") => At::Params,
            (At::Response, b"fault") => {
                out.extend_from_slice(b"{\"fault\":");
                self.is_fault = true;
                At::Fault
            }
            (At::Params, b"param") => At::Param,
            _ => return Err(NOT_HERE),
        };
        Ok(())
    }

    fn open_typed(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.space.clear();
        match name {
            b"struct" => return self.open_container(Container::Struct, out),
            b"array" => return self.open_container(Container::Array, out),
            _ => {}
        }
        let leaf = LEAVES.iter().position(|(known, _)| *known == name);
        self.leaf = leaf.ok_or(Refusal::Malformed("a value of an unknown type"))?;
        self.at = At::Leaf;
        if self.kind() == Kind::Text {
            out.push(b'"');
        }
        Ok(())
    }

    #[inline]
    pub(super) fn open_container(
        &mut self,
        container: Container,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if self.stack.len() >= self.max_depth {
            return Err(Refusal::TooDeep);
        }
        self.stack.push(container);
        let (at, bracket) = match container {
            Container::Array => (At::Array, b'['),
            _ => (At::StructEmpty, b'{'),
        };
        self.at = at;
        out.push(bracket);
        Ok(())
    }

    pub(super) fn close(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.at = match (self.at, name) {
            (At::ValueText, b"value") => {
                out.push(b'"');
                self.after_value()
            }
            (At::ValueOpen | At::ValueSpace, b"value") => {
                self.begin_text(out);
                out.push(b'"');
                self.after_value()
            }
            (At::ValueDone, b"value") => self.after_value(),
            (At::MemberDone, b"member") => At::Struct,
            (At::Named, b"member") => {
                out.extend_from_slice(b"null");
                At::Struct
            }
            (At::Member | At::Unnamed, b"member") => {
                return Err(Refusal::Malformed("a member without a name"));
            }
            (At::Name, b"name") => {
                out.extend_from_slice(b"\":");
                At::Named
            }
            (At::LateName, b"name") => {
                self.put_name_first(out);
                At::MemberDone
            }
            (At::Leaf, name) if name == LEAVES[self.leaf].0 => {
                self.close_leaf(out);
                At::ValueDone
            }
            (At::StructEmpty | At::Struct, b"struct") => self.close_container(b'}', out),
            (At::Array | At::ArrayDone, b"array") => self.close_container(b']', out),
            (At::DataEmpty | At::Data, b"data") => At::ArrayDone,
            (At::ParamDone, b"param") => At::ParamsDone,
            (At::Param, b"param") => {
                out.extend_from_slice(b"null");
                At::ParamsDone
            }
            (At::ParamsDone, b"params") => At::ResponseDone,
            (At::Params, b"params") => {
                out.extend_from_slice(b"null");
                At::ResponseDone
            }
            (At::FaultDone, b"fault") => {
                out.push(b'}');
                At::ResponseDone
            }
            (At::ResponseDone, b"methodResponse") => At::Epilog,
            (At::Response, b"methodResponse") => {
                return Err(Refusal::Malformed("neither params nor a fault"));
            }
            _ => return Err(NO_MATCH),
        };
        Ok(())
    }

    #[inline]
    pub(super) fn close_container(&mut self, bracket: u8, out: &mut Vec<u8>) -> At {
        self.stack.pop();
        out.push(bracket);
        At::ValueDone
    }

    fn close_leaf(&mut self, out: &mut Vec<u8>) {
        match self.kind() {
            Kind::Text => out.push(b'"'),
            Kind::Nil => out.extend_from_slice(b"null"),
            kind => {
                scalar::write(kind, &self.scalar, out);
                self.scalar.clear();
            }
        }
    }

    /// Where a value's end leads: what it stands in goes on.
    #[inline]
    pub(super) fn after_value(&self) -> At {
        match self.stack.last() {
            Some(Container::Struct) => At::MemberDone,
            Some(Container::Array) => At::Data,
            Some(Container::UnnamedMember) => At::Unnamed,
            None if self.is_fault => At::FaultDone,
            None => At::ParamDone,
        }
    }

    fn put_name_first(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\":");
        let start = self.holds.pop().unwrap_or(self.late_name);
        out[start..].rotate_left(self.late_name - start);
        self.stack.pop();
        self.stack.push(Container::Struct);
    }

    pub(super) fn kind(&self) -> Kind {
        LEAVES[self.leaf].1
    }
}
