use super::*;

const PATH: &[&str] = &["result", "events"];

fn split(json: impl AsRef<[u8]>, limits: Limits) -> Result<(Vec<String>, String), ReadError> {
    let mut splitter = ArraySplitter::new(PATH, limits);
    let mut elements = Vec::new();
    splitter.push(json.as_ref(), &mut |element: &[u8]| {
        elements.push(String::from_utf8(element.to_vec()).unwrap());
        Ok::<_, ReadError>(())
    })?;
    Ok((elements, String::from_utf8(splitter.finish()?).unwrap()))
}

fn parts(json: &str) -> (Vec<String>, String) {
    split(json, Limits::default()).unwrap()
}

fn error(json: impl AsRef<[u8]>) -> ReadError {
    split(json, Limits::default()).unwrap_err()
}

#[test]
fn elements_and_frame_come_apart() {
    let (elements, frame) = parts(
        r#" {"id":1, "result": {"token":"]","events":[ {"a":"}]\"\\"} , [[1]],"x\\",-1e3 ,null], "c":{}}} "#,
    );
    assert_eq!(elements, [r#"{"a":"}]\"\\"}"#, "[[1]]", r#""x\\""#, "-1e3", "null"]);
    assert_eq!(frame, r#"{"id":1, "result": {"token":"]","events":[], "c":{}}}"#);
}

#[test]
fn only_the_array_at_the_path_is_taken() {
    for frame in [
        r#"{"events":[1],"result":null}"#,
        r#"{"result":{"events":{"events":[1]},"x":{"events":[2]},"y":["events",[3]]}}"#,
        r#"{"x":{"result":{"events":[1]}},"result":[{"events":[2]}]}"#,
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":"C","data":["a"]},"id":1}"#,
        r#"[{"result":{"events":[1]}}]"#,
        r#"{"result":"events","x":[1]}"#,
    ] {
        assert_eq!(parts(frame), (vec![], frame.to_owned()));
    }
    let (elements, frame) = parts(r#"{"result":{"a":{"events":[1]},"events":[2]}}"#);
    assert_eq!(elements, ["2"]);
    assert_eq!(frame, r#"{"result":{"a":{"events":[1]},"events":[]}}"#);
}

#[test]
fn what_is_broken_is_an_error() {
    for (json, expected) in [
        ("", ReadError::Empty),
        (" \n", ReadError::Empty),
        ("<html>", ReadError::NotJson(Seen::Html)),
        ("Bad Gateway", ReadError::NotJson(Seen::Text)),
        (r#"{"result":{"events":[{"a":1"#, ReadError::Truncated { offset: 27 }),
        (r#"{"result":"#, ReadError::Truncated { offset: 10 }),
    ] {
        assert_eq!(error(json), expected, "{json}");
    }
    for (json, at) in [
        (r#"{"result":{"events":[1 2]}}"#, 23),
        (r#"{"result":{"events":[,1]}}"#, 21),
        (r#"{"result":{"events":[1,]}}"#, 23),
        (r#"{"result":{"events":[{"a":[}]]}}"#, 27),
        (r#"{"result":{"events":[1}}"#, 22),
        (r#"{"result":]}"#, 10),
        (r#"{"result":{"events":[]}} {}"#, 25),
    ] {
        match error(json) {
            ReadError::Malformed { offset, .. } => assert_eq!(offset, at, "{json}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(error("x".repeat(10_000)), ReadError::NotJson(Seen::Text));
}

#[test]
fn each_element_and_the_frame_have_their_limit() {
    let limits = Limits { max_depth: 64, max_bytes: 40 };
    let events = |element: &str, count: usize| {
        format!(r#"{{"result":{{"events":[{}]}}}}"#, vec![element; count].join(","))
    };
    let element = format!("\"{}\"", "a".repeat(38));
    assert_eq!(split(events(&element, 1_000), limits).unwrap().0.len(), 1_000);
    let large = format!("\"{}\"", "a".repeat(39));
    assert_eq!(split(events(&large, 1), limits), Err(ReadError::TooLarge { limit: 40 }));
    let frame = format!(r#"{{"result":{{"events":[1]}},"x":"{}"}}"#, "a".repeat(40));
    assert_eq!(split(frame, limits), Err(ReadError::TooLarge { limit: 40 }));
}

#[test]
fn depth_is_limited_in_elements_and_in_the_frame() {
    let deep = ReadError::TooDeep { limit: 64 };
    assert_eq!(error(format!(r#"{{"result":{{"events":[{}"#, "[".repeat(10_000))), deep);
    assert_eq!(error(format!(r#"{{"x":{}"#, "{\"a\":".repeat(10_000))), deep);
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut splitter = ArraySplitter::new(PATH, Limits::default());
    let refuse = |_: &[u8]| Err(ReadError::Empty);
    let json = br#"{"result":{"events":[1,2"#;
    assert_eq!(splitter.push(json, &mut { refuse }), Err(ReadError::Empty));
    let accept = |_: &[u8]| Ok(());
    assert!(matches!(splitter.push(b"]}}", &mut { accept }), Err(ReadError::NotAReply(_))));
    assert!(matches!(splitter.finish(), Err(ReadError::NotAReply(_))));
}
