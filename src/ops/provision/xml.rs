//! The disks that a template orders, which it writes in XML.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};
use uuid::Uuid;

/// `<provision><disk sr="…"/></provision>` with every disk on this SR; `None` if it is no such.
pub(super) fn on_sr(xml: &str, sr: Uuid) -> Option<String> {
    let (mut reader, mut writer) = (Reader::from_str(xml), Writer::new(Vec::new()));
    let mut disks = 0;
    loop {
        let event = match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Empty(element) if element.name().as_ref() == "disk" => {
                disks += 1;
                Event::Empty(moved(&element, sr)?)
            }
            Event::Start(element) if element.name().as_ref() == "disk" => {
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
            on_sr(xml, Uuid::from_u128(1)).as_deref(),
            Some(
                "<provision><disk device=\"0\" size=\"8589934592\" bootable=\"true\" \
                 type=\"system\" sr=\"00000000-0000-0000-0000-000000000001\"/>\
                 <disk device=\"1\" size=\"1\" type=\"a&amp;b\" \
                 sr=\"00000000-0000-0000-0000-000000000001\"></disk></provision>"
            )
        );
    }

    #[test]
    fn what_orders_no_disks_is_left_alone() {
        for xml in ["", "<provision/>", "<provision></provision>", "<provision><disk", "text"] {
            assert_eq!(on_sr(xml, Uuid::nil()), None, "{xml}");
        }
    }
}
