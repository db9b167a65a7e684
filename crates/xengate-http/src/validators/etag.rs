//! Entity tags, made from revisions: nothing is hashed but what shapes an answer, never its body.
//!
//! A tag reads `"BOOT-REVISION-SUBJECT-SHAPE"`, and `"…-zstd"` for a body that is compressed: the
//! run of the gateway, the newest revision that the answer shows, what it is about, and whatever
//! else shapes it.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use axum::response::Response;
use http::{HeaderValue, header};

use crate::Gateway;
use crate::compression::Encoding;
use crate::response_cache::Version;
use crate::scope::Scope;
use xenapi_mirror::inventory::{Object, Reading, Table};

/// What an answer is made of, as far as its bytes depend on it.
#[derive(Debug, Clone)]
pub struct EtagBuilder {
    revision: u64,
    subject: u32,
    shape: DefaultHasher,
}

/// A hash that nobody can foresee: clients choose some of what goes into it.
fn hasher() -> DefaultHasher {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    KEYS.get_or_init(RandomState::new).build_hasher()
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = hasher();
    of.hash(&mut hasher);
    hasher.finish()
}

impl EtagBuilder {
    /// Of an answer about one object, which `reading` has. Its revision is the object's own, so
    /// that nothing else that changes touches it.
    pub fn of_object(reading: &Reading, object: &Object) -> Self {
        let mut stamp =
            Self { revision: object.revision(), subject: subject(object), shape: hasher() };
        stamp.state(object.backend(), reading);
        stamp
    }

    /// Of a list, at this path, of what the backends of `scope` have. The tables it is made from
    /// are to follow.
    pub fn of_list(scope: &Scope, path: &str) -> Self {
        let mut stamp = Self { revision: 0, subject: short(hash(&path)), shape: hasher() };
        for (name, reading) in scope.readings() {
            stamp.state(name, reading);
        }
        scope.partial().hash(&mut stamp.shape);
        stamp
    }

    /// Of something else that is known by `subject` and has no revision.
    pub fn of(subject: &impl Hash) -> Self {
        Self { revision: 0, subject: short(hash(subject)), shape: hasher() }
    }

    /// A table that the answer is made from.
    #[must_use]
    pub fn table(mut self, table: &Table) -> Self {
        self.revision = self.revision.max(table.revision());
        self
    }

    /// The object whose list it is.
    #[must_use]
    pub fn owner(mut self, object: &Object) -> Self {
        self.revision = self.revision.max(object.revision());
        self.shaped(&subject(object))
    }

    /// An object that is shown beside the one it is about. That one's own revision stays what
    /// counts for `If-Match`.
    #[must_use]
    pub fn also(self, object: Option<&Object>) -> Self {
        self.shaped(&object.map(|object| (subject(object), object.uuid(), object.revision())))
    }

    /// Something else that shapes the answer: a part of the query, a media type.
    #[must_use]
    pub fn shaped(mut self, by: &impl Hash) -> Self {
        by.hash(&mut self.shape);
        self
    }

    /// The tag.
    pub fn etag(&self, gateway: &Gateway) -> ETag {
        self.etag_of_boot(&gateway.boot_id)
    }

    pub(crate) fn etag_of_boot(&self, boot: &str) -> ETag {
        let Self { revision, subject, shape } = self;
        let shape = shape.finish();
        let mut text = String::with_capacity(64);
        // Writing to a string cannot fail.
        let _ = write!(text, "\"{boot}-{revision}-{subject:08x}-");
        let own = text.len();
        let _ = write!(text, "{shape:016x}\"");
        let version = Version { of: (*subject, shape), revision: *revision };
        ETag { text, own, version }
    }

    /// A backend, and whether what is known of it may be out of date: who had an answer marked so
    /// is to learn that it no longer is.
    fn state(&mut self, backend: &str, reading: &Reading) {
        (backend, reading.stale_since.is_some()).hash(&mut self.shape);
    }
}

fn short(hash: u64) -> u32 {
    // Half of the bits are as good.
    (hash >> 32) as u32
}

fn subject(object: &Object) -> u32 {
    short(hash(&(object.class().id, object.uuid(), object.backend())))
}

/// The entity tag of an answer, before it is known how it will be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag {
    /// With its quotes.
    text: String,
    /// How much of it tells which version of what it is about.
    own: usize,
    version: Version,
}

impl ETag {
    /// The tag of something that lasts as long as the program: `text` tells its contents.
    pub fn lasting(text: &str) -> Self {
        let stamp = EtagBuilder::of(&text);
        let text = format!("\"{text}\"");
        let version = Version { of: (stamp.subject, hash(&text)), revision: 0 };
        Self { own: text.len() - 1, text, version }
    }

    /// A number for the answer as it is: another answer has another.
    pub fn number(&self) -> u64 {
        hash(&self.text)
    }

    /// Which version of what it is the tag of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Puts it on an answer that is not compressed yet.
    #[must_use]
    pub fn on(&self, response: Response) -> Response {
        self.on_encoded(None, response)
    }

    /// Puts it on an answer that is compressed so.
    pub(super) fn on_encoded(
        &self,
        encoding: Option<Encoding>,
        mut response: Response,
    ) -> Response {
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.value(encoding));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
        response.extensions_mut().insert(self.version);
        response
    }

    /// As it stands in a header, for a body that is compressed so.
    fn value(&self, encoding: Option<Encoding>) -> HeaderValue {
        let text = match encoding {
            None => self.text.clone(),
            Some(encoding) => format!("{}-{}\"", self.open(), encoding.name()),
        };
        HeaderValue::try_from(text).expect("letters, digits and dashes")
    }

    /// Without the quote at its end.
    fn open(&self) -> &str {
        &self.text[..self.text.len() - 1]
    }

    /// Whether a client's tag, without quotes, is this one, and then for which coding.
    pub(super) fn names(&self, opaque: &[u8]) -> Option<Option<Encoding>> {
        let (base, encoding) = without_encoding(opaque);
        (base == &self.open().as_bytes()[1..]).then_some(encoding)
    }

    /// Whether a client's tag, without quotes, is of the same version of the same thing, however
    /// that was shown.
    pub(super) fn is_version(&self, opaque: &[u8]) -> bool {
        opaque.starts_with(&self.text.as_bytes()[1..self.own])
    }
}

/// The tag of the body as it was before it was compressed, and how it was.
fn without_encoding(opaque: &[u8]) -> (&[u8], Option<Encoding>) {
    for encoding in Encoding::ALL {
        let base = opaque.strip_suffix(encoding.name().as_bytes());
        if let Some(base) = base.and_then(|base| base.strip_suffix(b"-")) {
            return (base, Some(encoding));
        }
    }
    (opaque, None)
}

/// The tag that an answer has once its body is compressed; `tag` is that of the plain body.
pub fn encoded(tag: &HeaderValue, encoding: Encoding) -> Option<HeaderValue> {
    let open = tag.as_bytes().strip_suffix(b"\"")?;
    let text = [open, b"-", encoding.name().as_bytes(), b"\""].concat();
    HeaderValue::from_bytes(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etag(revision: u64, subject: &str, shape: &str) -> ETag {
        EtagBuilder { revision, ..EtagBuilder::of(&subject) }
            .shaped(&shape)
            .etag_of_boot("0f3c9a71be42")
    }

    #[test]
    fn a_tag_differs_by_version_shape_and_coding() {
        let tag = etag(7, "vm", "json");
        let others = [etag(8, "vm", "json"), etag(7, "vm2", "json"), etag(7, "vm", "csv")];
        assert!(others.iter().all(|other| *other != tag));
        let plain = tag.value(None);
        let zstd = tag.value(Some(Encoding::Zstd));
        assert_eq!(encoded(&plain, Encoding::Zstd), Some(zstd.clone()));
        let inner = |value: &HeaderValue| value.as_bytes()[1..value.len() - 1].to_vec();
        assert_eq!(tag.names(&inner(&plain)), Some(None));
        assert_eq!(tag.names(&inner(&zstd)), Some(Some(Encoding::Zstd)));
        for other in &others {
            assert_eq!(other.names(&inner(&zstd)), None);
        }
        assert!(others[2].is_version(&inner(&zstd)), "the same version, shown otherwise");
        assert!(!others[0].is_version(&inner(&plain)) && !others[1].is_version(&inner(&plain)));
        assert!(!tag.is_version(b"") && !tag.is_version(b"0f3c9a71be42-7"));
        assert!(!etag(70, "vm", "json").is_version(&inner(&plain)));
    }
}
