use super::*;
use crate::Seen;

fn json(body: impl AsRef<[u8]>) -> Result<String, ReadError> {
    to_json(body.as_ref(), Limits::default()).map(|json| String::from_utf8(json).unwrap())
}

/// The JSON of one value, which is given with its `<value>` tags.
fn value(value: impl AsRef<[u8]>) -> Result<String, ReadError> {
    let parts: [&[u8]; 3] =
        [b"<methodResponse><params><param>", value.as_ref(), b"</param></params></methodResponse>"];
    json(parts.concat())
}

fn malformed<T>(result: Result<T, ReadError>) -> &'static str {
    match result {
        Err(ReadError::Malformed { what, .. }) => what,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn every_type_has_its_json() {
    for (xml, json) in [
        ("<value>OpaqueRef:NULL</value>", r#""OpaqueRef:NULL""#),
        ("<value><string>a</string></value>", r#""a""#),
        ("<value><int>5</int></value>", "5"),
        ("<value><i4>-5</i4></value>", "-5"),
        ("<value><i8>1099511627776</i8></value>", "1099511627776"),
        ("<value><ex:i8>7</ex:i8></value>", "7"),
        ("<value><int>9223372036854775808</int></value>", r#""9223372036854775808""#),
        ("<value><boolean>0</boolean></value>", "false"),
        ("<value><boolean>true</boolean></value>", "true"),
        ("<value><double>1</double></value>", "1.0"),
        ("<value><double>nan</double></value>", "null"),
        (
            "<value><dateTime.iso8601>20261122T07:25:54Z</dateTime.iso8601></value>",
            r#""20261122T07:25:54Z""#,
        ),
        (
            "<value><dateTime.iso8601>20261122T06:59:52</dateTime.iso8601></value>",
            r#""20261122T06:59:52""#,
        ),
        ("<value><base64>aGk=</base64></value>", r#""aGk=""#),
        ("<value><nil/></value>", "null"),
        ("<value><ex:nil/></value>", "null"),
        ("<value><nil></nil></value>", "null"),
        (
            "<value><array><data><value>a</value><value><i4>1</i4></value></data></array></value>",
            r#"["a",1]"#,
        ),
        (
            "<value><struct><member><name>a</name><value>1</value></member><member><name>b</name><value><struct></struct></value></member></struct></value>",
            r#"{"a":"1","b":{}}"#,
        ),
    ] {
        assert_eq!(value(xml).as_deref(), Ok(json), "{xml}");
    }
}

#[test]
fn sloppy_forms_are_read() {
    for (xml, json) in [
        // White space counts only where no element follows.
        ("<value>  <int> 5 </int> </value>", "5"),
        ("<value>  text\n</value>", r#""  text\n""#),
        ("<value>  </value>", r#""  ""#),
        ("<value> <string> a </string> </value>", r#"" a ""#),
        ("<value>&#32;</value>", r#"" ""#),
        ("<value> <!-- c --> <i4>1</i4></value>", "1"),
        (
            "\n<value\n>\n<array>\n<data>\n<value>a</value>\n</data>\n</array>\n</value>\n",
            r#"["a"]"#,
        ),
        // Tags that close themselves, or hold nothing.
        ("<value/>", r#""""#),
        ("<value></value>", r#""""#),
        ("<value><string/></value>", r#""""#),
        ("<value><struct/></value>", "{}"),
        ("<value><array/></value>", "[]"),
        ("<value><array></array></value>", "[]"),
        ("<value><array><data/></array></value>", "[]"),
        ("<value><array><data><value/><value /></data></array></value>", r#"["",""]"#),
        ("<value><int/></value>", r#""""#),
        ("<value><struct><member><name/><value/></member></struct></value>", r#"{"":""}"#),
        ("<value><struct><member><name>a</name></member></struct></value>", r#"{"a":null}"#),
        ("", "null"),
        // Attributes, comments, instructions, character data.
        ("<value x='a>b' y=\"/\"><string xml:space='preserve'>a</string ></value >", r#""a""#),
        ("<value>a<!-- - -- > b -->c</value>", r#""ac""#),
        ("<value>a<?pi > ?>b</value>", r#""ab""#),
        ("<value><![CDATA[<a>&lt;]]></value>", r#""<a>&lt;""#),
        ("<value>a<![CDATA[]]]]><![CDATA[>]]]></value>", r#""a]]>]""#),
        ("<value><![CDATA[ ]]></value>", r#"" ""#),
        ("<value><int><![CDATA[5]]></int></value>", "5"),
        // References.
        ("<value>&lt;&gt;&amp;&quot;&apos;&#10;&#x41;&#233;</value>", r#""<>&\"'\nAé""#),
        ("<value>&nbsp;&;&&#xD800; & &#;</value>", r#""&nbsp;&;&&#xD800; & &#;""#),
        ("<value>&averylongnamethatis;none</value>", r#""&averylongnamethatis;none""#),
        ("<value><i4>&#53;</i4></value>", "5"),
        // Members in the other order, in each other too.
        ("<value><struct><member><value/><name/></member></struct></value>", r#"{"":""}"#),
        (
            "<value><struct><member><value>1</value><name>a</name></member><member><name>b</name><value>2</value></member></struct></value>",
            r#"{"a":"1","b":"2"}"#,
        ),
        (
            "<value><array><data><value><struct><member> <value><struct><member><value><nil/></value><name>c</name></member><member><name>d</name><value/></member></struct></value> <name>e</name> </member></struct></value></data></array></value>",
            r#"[{"e":{"c":null,"d":""}}]"#,
        ),
    ] {
        assert_eq!(value(xml).as_deref(), Ok(json), "{xml}");
    }
}

#[test]
fn bytes_that_are_no_characters_are_read() {
    for (xml, json) in [
        (&b"<value>caf\xe9</value>"[..], r#""café""#),
        (b"<value><string>\xc3\xa9\xe9\xc3</string></value>", r#""ééÃ""#),
        (b"<value>a\x01b\x08\x00</value>", r#""a\u0001b\u0008\u0000""#),
        (b"<value>\xe2\x82&amp;\xac</value>", "\"\u{e2}\u{82}&\u{ac}\""),
        (
            b"<value><struct><member><name>\xe9\x02</name><value/></member></struct></value>",
            r#"{"é\u0002":""}"#,
        ),
        (b"<value><int>\xe9</int></value>", r#""é""#),
    ] {
        assert_eq!(value(xml).as_deref(), Ok(json), "{xml:?}");
    }
}

#[test]
fn the_document_around_the_value_may_be_sloppy() {
    const CORE: &str =
        "<methodResponse><params><param><value>a</value></param></params></methodResponse>";
    for (before, after) in [
        ("", "\r\n"),
        ("\u{feff}", ""),
        ("\n <?xml version='1.0' encoding='ISO-8859-1'?>\n", "<!-- end -->\n<?pi?>"),
        ("<?xml version=\"1.0\"?><!DOCTYPE methodResponse SYSTEM \"x>y\"><!---->", ""),
    ] {
        assert_eq!(json(format!("{before}{CORE}{after}")).as_deref(), Ok(r#""a""#));
    }
    assert_eq!(json("<methodResponse><params/></methodResponse>").as_deref(), Ok("null"));
    assert_eq!(
        json("<methodResponse> <params> </params> </methodResponse>").as_deref(),
        Ok("null")
    );
    assert_eq!(
        json("<methodResponse><params><param/></params></methodResponse>").as_deref(),
        Ok("null")
    );
}

#[test]
fn a_fault_is_wrapped() {
    let fault = "<methodResponse><fault><value><struct>
        <member><name>faultCode</name><value><int>3</int></value></member>
        <member><name>faultString</name><value><string>nosuch</string></value></member>
        </struct></value></fault></methodResponse>";
    assert_eq!(json(fault).as_deref(), Ok(r#"{"fault":{"faultCode":3,"faultString":"nosuch"}}"#));
}

#[test]
fn what_is_no_xmlrpc_is_named() {
    for (body, seen) in [
        ("<html><body>502</body></html>", Seen::Html),
        ("<!doctype HTML>\n<head>", Seen::Html),
        ("\n<!-- x --><HTML lang='en'>", Seen::Html),
        ("<methodCall>", Seen::Xml),
        ("<?xml version='1.0'?><soap:Envelope>", Seen::Xml),
        ("<<", Seen::Xml),
        ("<!ELEMENT a>", Seen::Xml),
        ("{\"result\":1}", Seen::Json),
        ("HTTP/1.1 500", Seen::Text),
        ("\x1f\u{8b}", Seen::Binary),
    ] {
        assert_eq!(json(body), Err(ReadError::NotXmlRpc(seen)), "{body}");
    }
    assert_eq!(json(""), Err(ReadError::Empty));
    assert_eq!(json("\u{feff} \r\n"), Err(ReadError::Empty));
}

#[test]
fn nesting_must_match() {
    for (xml, what) in [
        ("<value><int>5</i4></value>", "a closing tag that closes another element"),
        ("<value>a</string></value>", "a closing tag that closes another element"),
        (
            "<value><array><data></array></data></value>",
            "a closing tag that closes another element",
        ),
        ("<value>a<int>5</int></value>", "an element where it does not belong"),
        ("<value><int>5</int><int>5</int></value>", "an element where it does not belong"),
        ("<value/><value/>", "an element where it does not belong"),
        ("<value><int>5</int>a</value>", "text where it does not belong"),
        ("<value><struct>a</struct></value>", "text where it does not belong"),
        ("<value><nil>a</nil></value>", "text where it does not belong"),
        ("<value><colour>a</colour></value>", "a value of an unknown type"),
        ("<value><struct><member><value/></member></struct></value>", "a member without a name"),
        ("<value><struct><member/></struct></value>", "a member without a name"),
        ("<value <int>", "a tag inside a tag"),
        ("<value><>", "a tag without a proper name"),
        ("<value><!ENTITY a 'b'>", "markup that XML does not have"),
        ("<value><!DOCTYPE a>", "a document type inside the document"),
    ] {
        assert_eq!(malformed(value(xml)), what, "{xml}");
    }
    let long = format!("<value x='{}'/>", "y".repeat(scan::LONGEST_TAG));
    assert_eq!(malformed(value(long)), "a tag that does not end");
    assert_eq!(malformed(json("<methodResponse/>")), "neither params nor a fault");
    let twice = "<methodResponse><params/></methodResponse>x";
    assert_eq!(malformed(json(twice)), "text where it does not belong");
    assert_eq!(
        json("<methodResponse>\n<param>"),
        Err(ReadError::Malformed { offset: 17, what: "an element where it does not belong" })
    );
}

#[test]
fn a_document_type_declares_nothing() {
    let bomb =
        "<!DOCTYPE methodResponse [<!ENTITY a 'aaaa'>]><methodResponse><params/></methodResponse>";
    assert_eq!(json(bomb), Err(ReadError::NotXmlRpc(Seen::Xml)));
}

#[test]
fn every_cut_is_seen() {
    let whole = "<?xml version=\"1.0\"?><methodResponse><params><param><value><array><data>\
        <value>a&lt;</value><value><![CDATA[b]]></value><value><int>5</int></value></data></array>\
        </value></param></params></methodResponse>";
    assert!(json(whole).is_ok());
    for len in 1..whole.len() {
        let offset = len as u64;
        assert_eq!(json(&whole[..len]), Err(ReadError::Truncated { offset }), "{}", &whole[..len]);
    }
}

#[test]
fn limits_hold() {
    let nested = |depth: usize| {
        let open = "<value><array><data>".repeat(depth);
        let close = "</data></array></value>".repeat(depth);
        format!("{open}{close}")
    };
    assert!(value(nested(64)).is_ok());
    assert_eq!(value(nested(65)), Err(ReadError::TooDeep { limit: 64 }));
    assert_eq!(value(nested(10_000)), Err(ReadError::TooDeep { limit: 64 }));
    // Neither does a value that is nested without its end, or slowly.
    assert_eq!(
        value("<value><struct><member>".repeat(10_000)),
        Err(ReadError::TooDeep { limit: 64 })
    );

    let body = "<methodResponse><params/></methodResponse>\n\n";
    let limits = |max_bytes| Limits { max_bytes, ..Limits::default() };
    assert!(to_json(body.as_bytes(), limits(body.len() as u64)).is_ok());
    let limit = body.len() as u64 - 1;
    assert_eq!(to_json(body.as_bytes(), limits(limit)), Err(ReadError::TooLarge { limit }));
}

#[test]
fn an_error_lasts() {
    let mut transcoder = Transcoder::new(Limits::default());
    let mut out = Vec::new();
    let error = transcoder.push(b"nonsense", &mut out).unwrap_err();
    assert_eq!(transcoder.push(b"<methodResponse>", &mut out), Err(error.clone()));
    assert_eq!(transcoder.finish(), Err(error));
}

/// What stands in front of hostile inputs.
const HEAD: &[u8] = b"<methodResponse><params><param>";

/// Inputs that try to make the reader hold or write much, without their end.
fn hostile(size: usize) -> Vec<Vec<u8>> {
    let pieces: [(&str, &str); 16] = [
        ("<value>", "\u{1}"),
        ("<value>", "\n"),
        ("<value>", "\""),
        ("<value>", "&"),
        ("<value>", "&#1;"),
        ("<value>", "&unknown;"),
        ("<value><![CDATA[", "]"),
        ("<value><int>", "9"),
        ("<value><double>", "\u{1}"),
        ("<value><!--", "-"),
        ("<value><?", "?"),
        ("<value><array><data>", "<value/>"),
        ("<value><struct><member><name>", "a"),
        ("<value><struct><member><value>", "\u{1}"),
        ("", "<value><array><data>"),
        ("", "<value><struct><member>"),
    ];
    let mut inputs: Vec<_> = pieces
        .iter()
        .map(|(start, piece)| {
            [HEAD, start.as_bytes(), piece.repeat(size / piece.len()).as_bytes()].concat()
        })
        .collect();
    inputs.push([HEAD, b"<value>", &b"\xe9".repeat(size)].concat());
    inputs.push([HEAD, b"<value>", &b"\xf0\x9f".repeat(size / 2)].concat());
    inputs
}

#[test]
fn output_and_memory_stay_in_proportion() {
    let limits = Limits { max_depth: usize::MAX, ..Limits::default() };
    for input in hostile(300_000) {
        let start = String::from_utf8_lossy(&input[HEAD.len()..HEAD.len() + 40]).into_owned();
        let mut transcoder = Transcoder::new(limits);
        let mut out = Vec::new();
        transcoder.push(&input, &mut out).unwrap();
        assert!(out.len() <= 6 * input.len(), "{} written for {start}", out.len());
        let allocated = transcoder.allocated();
        assert!(allocated <= 12 * input.len() + 8_192, "{allocated} allocated for {start}");
        assert_eq!(transcoder.finish(), Err(ReadError::Truncated { offset: input.len() as u64 }));
    }
}

/// Were anything read twice, this would not end within anyone's patience.
#[test]
fn no_chunks_make_the_reader_start_over() {
    let text = [HEAD, b"<value>", &b"a".repeat(10_000_000)].concat();
    let mut inputs = vec![(1_000, text)];
    inputs.extend(hostile(100_000).into_iter().map(|input| (1, input)));
    let limits = Limits { max_depth: usize::MAX, ..Limits::default() };
    for (chunk, input) in inputs {
        let (mut transcoder, mut out) = (Transcoder::new(limits), Vec::new());
        for bytes in input.chunks(chunk) {
            transcoder.push(bytes, &mut out).unwrap();
        }
        let mut whole = Vec::new();
        Transcoder::new(limits).push(&input, &mut whole).unwrap();
        // What may still change is held back, so the last few bytes may differ.
        let both = whole.len().min(out.len());
        assert!(whole.len().abs_diff(out.len()) <= 8 && whole[..both] == out[..both]);
    }
}

#[test]
fn no_error_holds_a_byte_of_the_body() {
    for body in [
        "sentinel",
        "<sentinel>",
        "<html>sentinel",
        "{\"sentinel\":",
        "<methodResponse>sentinel",
        "<methodResponse><params><param><value><sentinel>",
        "<methodResponse><params><param><value>sentinel</sentinel>",
        "<methodResponse><params><param><value sentinel <",
    ] {
        let error = json(body).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sentinel"), "{body}");
    }
}
