//! xm's own `/etc/xen/xm-config.xml`, which says where xend listens and how to log in there.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use secrecy::SecretString;

use super::backends::Kind;
use super::files;

/// Where xm looks when its file names no server.
const DEFAULT_URI: &str = "httpu:///var/run/xend/xmlrpc.sock";

/// The largest file that is read: xm's has a few lines.
const LARGEST: u64 = 1 << 20;

/// What xm's file says.
#[derive(Debug)]
pub(super) struct XmConfig {
    /// `Xen-API` or `LegacyXMLRPC`.
    pub(super) kind: Kind,
    /// Where xend listens.
    pub(super) uri: String,
    /// Whom xm logs in as.
    pub(super) username: Option<String>,
    /// The password it uses.
    pub(super) password: SecretString,
}

/// Why xm's file cannot be used. No text repeats what the file says.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {text}", file.display(), Line(*line))]
pub(super) struct XmError {
    file: PathBuf,
    line: Option<usize>,
    text: String,
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Reads xm's file.
pub(super) fn read(file: &Path) -> Result<XmConfig, XmError> {
    let unreadable = |text: String| XmError { file: file.to_owned(), line: None, text };
    let mut bytes = Vec::new();
    files::open(file)
        .and_then(|open| open.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(format!("larger than {LARGEST} bytes")));
    }
    let text = decoded(bytes).ok_or_else(|| unreadable("neither UTF-8 nor Latin-1".to_owned()))?;
    parse(&text).map_err(|(offset, what)| XmError {
        file: file.to_owned(),
        line: Some(text.get(..offset).unwrap_or(&text).matches('\n').count() + 1),
        text: what.to_owned(),
    })
}

/// The text in UTF-8, or in the Latin-1 that it says it is in.
fn decoded(bytes: Vec<u8>) -> Option<String> {
    const LATIN_1: [&str; 3] = ["iso-8859-1", "latin1", "latin-1"];
    String::from_utf8(bytes).map_or_else(
        |error| {
            let bytes = error.into_bytes();
            let declaration = bytes.strip_prefix(b"<?xml")?.split(|byte| *byte == b'?').next()?;
            let declaration = std::str::from_utf8(declaration).ok()?.to_ascii_lowercase();
            let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?;
            let name = value.trim_start().get(1..)?.split(['"', '\'']).next()?;
            LATIN_1.contains(&name).then(|| bytes.iter().copied().map(char::from).collect())
        },
        Some,
    )
}

/// What the text says; or where it goes wrong, and how.
fn parse(text: &str) -> Result<XmConfig, (usize, &'static str)> {
    let mut reader = Reader::from_str(text);
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let (mut open, mut any) = (0_usize, false);
    loop {
        // Where the element begins: what comes before it may end in line breaks.
        let at = place(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element))
                if element.name().as_ref() == "server" =>
            {
                return server(&element).map_err(|what| (at, what));
            }
            Ok(Event::Start(_)) => {
                any = true;
                open += 1;
            }
            Ok(Event::Empty(_)) => any = true,
            Ok(Event::End(_)) => open = open.saturating_sub(1),
            Ok(Event::Eof) if !any => return Err((at, "this is no XML")),
            Ok(Event::Eof) if open > 0 => return Err((at, "an element is not closed")),
            Ok(Event::Eof) => {
                let password = SecretString::default();
                let uri = DEFAULT_URI.to_owned();
                return Ok(XmConfig { kind: Kind::Legacy, uri, username: None, password });
            }
            Ok(_) => {}
            Err(_) => return Err((place(reader.error_position()), "this is no well-formed XML")),
        }
    }
}

fn server(element: &BytesStart<'_>) -> Result<XmConfig, &'static str> {
    let (mut kind, mut uri, mut username, mut password) = (None, None, None, String::new());
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|_| "an attribute of <server> is malformed")?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|_| "an attribute of <server> has a malformed value")?
            .into_owned();
        match attribute.key.as_ref() {
            "type" => kind = Some(value),
            "uri" => uri = Some(value).filter(|uri| !uri.is_empty()),
            "username" => username = Some(value).filter(|name| !name.is_empty()),
            "password" => password = value,
            _ => {}
        }
    }
    let kind = match kind.as_deref() {
        Some("Xen-API") => Kind::Xend,
        Some("LegacyXMLRPC") | None => Kind::Legacy,
        Some(_) => return Err("the server's type is neither Xen-API nor LegacyXMLRPC"),
    };
    let uri = uri.ok_or("the server has no uri")?;
    Ok(XmConfig { kind, uri, username, password: password.into() })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn xms_own_words_are_understood() {
        let config = parse(
            "<!-- xm -->\n<xm>\n  <server type='Xen-API' uri='http://localhost:9363/'\n\
             username='me' password='my&amp;password'/>\n</xm>\n",
        )
        .expect("xm's file");
        assert_eq!((config.kind, &*config.uri), (Kind::Xend, "http://localhost:9363/"));
        assert_eq!(config.username.as_deref(), Some("me"));
        assert_eq!(config.password.expose_secret(), "my&password");
        let legacy = parse("<xm><server type='LegacyXMLRPC' uri='httpu:///run/x'></server></xm>");
        let legacy = legacy.expect("xm's file");
        assert_eq!((legacy.kind, legacy.username), (Kind::Legacy, None));
        let silent = parse("<xm>\n</xm>").expect("xm's file");
        assert_eq!((silent.kind, &*silent.uri), (Kind::Legacy, DEFAULT_URI));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_no_word_of_the_file() {
        let directory = tempfile::tempdir().expect("dir");
        let file = directory.path().join("xm-config.xml");
        for (text, line, part) in [
            ("", 1, "no XML"),
            ("just text", 1, "no XML"),
            ("<xm>\n<server>", 2, "no uri"),
            ("<xm>\n\n<server type='XAPI' uri='hunter2'/>", 3, "neither"),
            ("<xm>\n<server uri=hunter2/></xm>", 2, "malformed"),
            ("<xm>\n<other>\n", 3, "not closed"),
            ("<xm>\n</mx>", 2, "well-formed"),
        ] {
            std::fs::write(&file, text).expect("write");
            let said = read(&file).expect_err(text).to_string();
            let (place, what) = said.split_once(": ").expect("a place");
            assert_eq!(place, format!("{}:{line}", file.display()), "{text}");
            assert!(what.contains(part) && !what.contains("hunter2"), "{text}: {what}");
        }
        std::fs::write(&file, b"<xm><server uri='hunter2\xe9'/></xm>").expect("write");
        let said = read(&file).expect_err("bytes in no encoding").to_string();
        assert!(said.ends_with("neither UTF-8 nor Latin-1"), "{said}");
        std::fs::write(&file, vec![b' '; (1 << 20) + 1]).expect("write");
        let said = read(&file).expect_err("a large file").to_string();
        assert!(said.ends_with("larger than 1048576 bytes"), "{said}");
        let gone = read(&directory.path().join("none")).expect_err("no file").to_string();
        assert!(gone.contains("none: "), "{gone}");
    }

    #[test]
    fn a_file_in_latin_1_is_read_as_that() {
        let directory = tempfile::tempdir().expect("dir");
        let file = directory.path().join("xm-config.xml");
        let text = b"<?xml version='1.0' encoding='ISO-8859-1'?><xm><server type='Xen-API' \
            uri='http://localhost:9363/' username='me' password='caf\xe9'/></xm>";
        std::fs::write(&file, text).expect("write");
        assert_eq!(read(&file).expect("xm's file").password.expose_secret(), "caf\u{e9}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        let said = read(Path::new("/dev/zero")).expect_err("no end").to_string();
        assert!(said.ends_with("it is no regular file"), "{said}");
    }
}
