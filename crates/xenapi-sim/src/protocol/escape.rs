//! How XAPI escapes text.

/// Writes text as the content of an element.
pub(crate) fn xml(text: &str, mut write: impl FnMut(&str)) {
    let mut from = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'>' => "&gt;",
            b'<' => "&lt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            b'\t' | b'\n' | b'\r' => continue,
            // XAPI drops control characters in silence.
            0..0x20 => "",
            _ => continue,
        };
        write(&text[from..index]);
        write(escaped);
        from = index + 1;
    }
    write(&text[from..]);
}

/// Writes text as a string, quotes included.
pub(crate) fn json(text: &str, mut write: impl FnMut(&str)) {
    write("\"");
    let mut from = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 | 0x7f => &format!("\\u{byte:04x}"),
            _ => continue,
        };
        write(&text[from..index]);
        write(escaped);
        from = index + 1;
    }
    write(&text[from..]);
    write("\"");
}
