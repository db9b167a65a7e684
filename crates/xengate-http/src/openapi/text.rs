//! The document as text.

use crate::openapi::tree::Node;

/// How the text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line, for programs: half as long.
    Compact,
    /// Indented, with a newline at its end.
    Indented,
}

/// The document as text.
pub(crate) fn render(node: &Node, layout: Layout) -> String {
    match layout {
        Layout::Compact => serde_json::to_string(node),
        Layout::Indented => serde_json::to_string_pretty(node).map(|text| text + "\n"),
    }
    .expect("a node has string keys only")
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::extensions::ExtensionsBuilder;
    use utoipa::openapi::{InfoBuilder, OpenApiBuilder};

    use super::*;

    #[test]
    fn extensions_come_last_and_sorted() {
        let names = ["x-d", "x-a", "x-e", "x-c", "x-b"];
        let extensions = names.iter().fold(ExtensionsBuilder::new(), |e, name| e.add(*name, 1));
        let info = InfoBuilder::new().title("t").version("1").extensions(Some(extensions.build()));
        let text = render(&Node::of(&OpenApiBuilder::new().info(info).build()), Layout::Indented);
        let found: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_suffix(": 1,")).collect();
        assert_eq!(found, ["\"x-a\"", "\"x-b\"", "\"x-c\"", "\"x-d\""]);
        assert!(text.ends_with("}\n") && text.contains("\"x-e\": 1\n"));
    }
}
