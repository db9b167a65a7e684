//! The disks that a template orders, which it writes in XML.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};
use uuid::Uuid;

/// Which of a template's disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those that name no SR.
    Unplaced,
}

/// The SRs that a template's disks name, each once; `None` stands for disks that name none.
pub(super) fn srs(xml: &str) -> Vec<Option<String>> {
    let mut reader = Reader::from_str(xml);
    let mut found = Vec::new();
    while let Ok(event) = reader.read_event() {
        let (Event::Empty(element) | Event::Start(element)) = event else {
            if event == Event::Eof {
                break;
            }
            continue;
        };
        if element.name().as_ref() == "disk" {
            let sr = sr_of(&element);
            if !found.contains(&sr) {
                found.push(sr);
            }
        }
    }
    found
}

fn sr_of(disk: &BytesStart<'_>) -> Option<String> {
    let sr = disk.try_get_attribute("sr").ok()??;
    Some(sr.value.into_owned()).filter(|sr| !sr.is_empty())
}

/// `<provision><disk sr="…"/></provision>` with these disks on this SR; `None` if it has none.
pub(super) fn on_sr(xml: &str, sr: Uuid, which: Which) -> Option<String> {
    let (mut reader, mut writer) = (Reader::from_str(xml), Writer::new(Vec::new()));
    let mut disks = 0;
    let moves = |element: &BytesStart<'_>| {
        element.name().as_ref() == "disk" && (which == Which::All || sr_of(element).is_none())
    };
    loop {
        let event = match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Empty(element) if moves(&element) => {
                disks += 1;
                Event::Empty(moved(&element, sr)?)
            }
            Event::Start(element) if moves(&element) => {
                disks += 1;
                Event::Start(moved(&element, sr)?)
            }
            other => other,
        };
        writer.write_event(event).ok()?;
    }
    let text = String::from_utf8(writer.into_inner()).ok()?;
    (disks > 0).then_some(text)
}

fn moved(element: &BytesStart<'_>, sr: Uuid) -> Option<BytesStart<'static>> {
    let mut moved = BytesStart::new("disk");
    for attribute in element.attributes() {
        let attribute = attribute.ok()?;
        if attribute.key.as_ref() != "sr" {
            moved.push_attribute(attribute);
        }
    }
    moved.push_attribute(("sr", sr.to_string().as_str()));
    Some(moved.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disk_goes_to_the_sr_and_nothing_else_changes() {
        let xml = r#"<provision><disk device="0" size="8589934592" sr="" bootable="true" type="system"/><disk device="1" size="1" type="a&amp;b"></disk></provision>"#;
        assert_eq!(
            on_sr(xml, Uuid::from_u128(1), Which::All).as_deref(),
            Some(
                "<provision><disk device=\"0\" size=\"8589934592\" bootable=\"true\" \
                 type=\"system\" sr=\"00000000-0000-0000-0000-000000000001\"/>\
                 <disk device=\"1\" size=\"1\" type=\"a&amp;b\" \
                 sr=\"00000000-0000-0000-0000-000000000001\"></disk></provision>"
            )
        );
    }

    #[test]
    fn disks_that_name_an_sr_stay_there() {
        let xml =
            r#"<provision><disk device="0" sr=""/><disk device="1" sr="here"/><disk/></provision>"#;
        assert_eq!(srs(xml), [None, Some("here".to_owned())]);
        let uuid = "00000000-0000-0000-0000-000000000001";
        assert_eq!(
            on_sr(xml, Uuid::from_u128(1), Which::Unplaced),
            Some(format!(
                "<provision><disk device=\"0\" sr=\"{uuid}\"/><disk device=\"1\" sr=\"here\"/>\
                 <disk sr=\"{uuid}\"/></provision>"
            ))
        );
        let placed = r#"<provision><disk device="1" sr="here"/></provision>"#;
        assert_eq!(on_sr(placed, Uuid::nil(), Which::Unplaced), None);
        assert!(srs("").is_empty() && srs("<provision><disk sr=").is_empty());
    }

    #[test]
    fn what_orders_no_disks_is_left_alone() {
        for xml in ["", "<provision/>", "<provision></provision>", "<provision><disk", "text"] {
            assert_eq!(on_sr(xml, Uuid::nil(), Which::All), None, "{xml}");
        }
    }
}
