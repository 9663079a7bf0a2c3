//! Unit tests of the scanner by hand-picked text; random text against serde_json is in `tests/json_props.rs`.

use super::*;

fn scan(text: &str) -> Result<Scan<'_>, JsonError> {
    scan_object(text.as_bytes(), 64)
}

fn raw<'a>(member: &Option<Member<'a>>) -> Option<&'a str> {
    member.as_ref().map(|m| std::str::from_utf8(m.raw).unwrap())
}

#[test]
fn finds_the_top_level_members() {
    let text =
        r#" { "c" : "WSE", "t":"ping","p":{"t":"inner","timestamp":5},"id":"x\"y" , "type":1, "payload":[ 1 ] } "#;
    let scan = scan(text).unwrap();
    assert_eq!(raw(&scan.c), Some("\"WSE\""));
    assert_eq!(raw(&scan.t), Some("\"ping\""));
    assert_eq!(raw(&scan.p), Some(r#"{"t":"inner","timestamp":5}"#));
    assert_eq!(raw(&scan.id), Some(r#""x\"y""#));
    assert_eq!(raw(&scan.type_alias), Some("1"));
    assert_eq!(raw(&scan.payload_alias), Some("[ 1 ]"));
    for member in [&scan.c, &scan.t, &scan.p, &scan.id].into_iter().flatten() {
        assert_eq!(member.raw, &text.as_bytes()[member.value.clone()]);
        assert_eq!(text.as_bytes()[member.key.start - 1], b'"');
        assert_eq!(text.as_bytes()[member.key.end], b'"');
    }
}

#[test]
fn last_duplicate_wins() {
    assert_eq!(raw(&scan(r#"{"t":"a","t":"b"}"#).unwrap().t), Some("\"b\""));
    assert_eq!(member(br#"{"n":1,"n":2}"#, "n"), Some(&b"2"[..]));
}

#[test]
fn only_objects_are_objects() {
    for text in ["", " ", "[]", "1", "null", "\"{}\"", "U{}", "\u{feff}{}", "\u{a0}{}"] {
        assert_eq!(scan(text), Err(JsonError::NotAnObject), "{text:?}");
    }
    for text in ["{}", " \t\r\n{ \t\r\n} \t\r\n", r#"{"":""}"#, r#"{"__proto__":{"a":1},"constructor":0}"#] {
        assert!(scan(text).is_ok(), "{text:?}");
    }
}

#[test]
fn reports_where_the_grammar_breaks() {
    for (text, at) in [
        ("{} x", 3),
        ("{}{}", 2),
        ("{,}", 1),
        (r#"{"a":1,}"#, 7),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":[}"#, 6),
        (r#"{"a":[1}"#, 7),
        (r#"{"a":{]}"#, 6),
        (r#"{"a":{"b":1]}"#, 11),
        (r#"{"a" 1}"#, 5),
        (r#"{a:1}"#, 1),
        (r#"{'a':1}"#, 1),
        (r#"{"a":tru}"#, 8),
        (r#"{"a":nul"#, 8),
        (r#"{"a":NaN}"#, 5),
        (r#"{"a":1 2}"#, 7),
        ("{\"a\u{0}\":1}", 3),
        ("{\"abcdefghijklmno\np\":1}", 17),
        (r#"{"a":"\x"}"#, 7),
        (r#"{"a":"\u12g4"}"#, 10),
        ("{\"a\":\u{b}1}", 5),
        ("{\"a\":/**/1}", 5),
    ] {
        assert_eq!(scan(text), Err(JsonError::Syntax { at }), "{text:?}");
    }
}

#[test]
fn numbers() {
    for good in
        ["0", "-0", "1", "-12", "0.5", "1.25e10", "1E+5", "2e-7", "0e0", "1e999", "123456789012345678901234567890"]
    {
        assert!(scan(&format!("{{\"n\":{good}}}")).is_ok(), "{good}");
        assert!(scan(&format!("{{\"n\":[{good}, {good}]}}")).is_ok(), "{good}");
    }
    for bad in
        ["-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e1", "0x10", "1_000", "--1", "1.2.3", "Infinity", "٣"]
    {
        assert!(scan(&format!("{{\"n\":{bad}}}")).is_err(), "{bad}");
        assert!(scan(&format!("{{\"n\":[{bad}]}}")).is_err(), "{bad}");
    }
}

#[test]
fn control_characters_and_escapes() {
    for code in 0..0x20u8 {
        let text = format!("{{\"a\":\"x{}y\"}}", code as char);
        assert_eq!(scan(&text), Err(JsonError::Syntax { at: 7 }), "{code}");
    }
    assert!(scan("{\"a\":\"\u{7f}\u{2028}é漢😀\"}").is_ok());
    assert!(scan(r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"}"#).is_ok());
}

/// serde_json refuses a lone surrogate in a `String`; `JSON.parse` takes it, and so must a validator in front of it.
#[test]
fn lone_surrogates_pass_as_in_json_parse() {
    for text in [r#"{"a":"\ud800"}"#, r#"{"a":"\udc00x"}"#, r#"{"a":"\ud800\ud800"}"#, r#"{"\udfff":1}"#] {
        assert!(scan(text).is_ok(), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
    }
}

#[test]
fn escaped_keys_are_recognised_where_the_engine_reads_them() {
    let escaped = scan(r#"{"\u0074":"ping","\u0070":1,"\u0063":"U"}"#).unwrap();
    assert_eq!((raw(&escaped.t), raw(&escaped.p), raw(&escaped.c)), (Some("\"ping\""), Some("1"), Some("\"U\"")));
    assert_eq!(raw(&scan(r#"{"t":"x","\u0074":"ping"}"#).unwrap().t), Some("\"ping\""), "the last one wins");
    assert_eq!(scan(r#"{"\u0069d":1,"typ\u0065":"x","\\u0074":1}"#).unwrap(), Scan::default());
}

#[test]
fn truncated_at_every_byte() {
    let text = r#"{"t":"cha\n\u0041t.message","p":{"a":[1,-2.5e3,{"x":null}],"b":true,"c":false},"id":"0123456789"}"#;
    assert!(scan(text).is_ok());
    for end in 0..text.len() {
        let cut = &text[..end];
        match scan(cut) {
            Err(JsonError::NotAnObject) => assert_eq!(end, 0),
            Err(JsonError::Syntax { at }) => assert_eq!(at, end, "{cut}"),
            other => panic!("{cut}: {other:?}"),
        }
    }
}

#[test]
fn depth_is_limited_and_exact() {
    let nested = |depth: usize| {
        let inner = depth - 1;
        let open: String = (0..inner).map(|i| if i % 2 == 0 { "[" } else { "{\"k\":" }).collect();
        let close: String = (0..inner).rev().map(|i| if i % 2 == 0 { "]" } else { "}" }).collect();
        let core = if inner % 2 == 1 { "" } else { "0" };
        format!("{{\"p\":{open}{core}{close}}}")
    };
    for limit in [1, 2, 3, 63, 64, 127, 128_u32] {
        let levels = limit as usize;
        let fits = nested(levels);
        assert!(scan_object(fits.as_bytes(), limit).is_ok(), "{limit}: {fits}");
        let over = nested(levels + 1);
        assert_eq!(scan_object(over.as_bytes(), limit), Err(JsonError::TooDeep), "{limit}");
    }
    assert_eq!(scan_object(b"{}", 0), Err(JsonError::TooDeep));
    assert_eq!(scan_object(nested(129).as_bytes(), u32::MAX), Err(JsonError::TooDeep));
    let bomb = format!("{{\"a\":{}", "[".repeat(1 << 20));
    assert_eq!(scan_object(bomb.as_bytes(), 128), Err(JsonError::TooDeep));
    // Many siblings are not depth.
    let wide = format!("{{\"a\":[{}0]}}", "[],{},".repeat(10_000));
    assert!(scan_object(wide.as_bytes(), 3).is_ok());
}

#[test]
fn aliases_become_short_names() {
    let cases = [
        (r#"{"type":"a","payload":1}"#, r#"{"t":"a","p":1}"#),
        (r#"{ "payload" : {"type":1} , "x":0, "type" : "a" }"#, r#"{ "p" : {"type":1} , "x":0, "t" : "a" }"#),
        (r#"{"type":"a","t":"b","payload":1}"#, r#"{"type":"a","t":"b","p":1}"#),
        (r#"{"type":"a","type":"b"}"#, r#"{"type":"a","t":"b"}"#),
    ];
    for (text, expected) in cases {
        let scan = scan(text).unwrap();
        assert_eq!(normalise_aliases(text.as_bytes(), &scan), expected.as_bytes());
    }
    let untouched = r#"{"t":1,"p":2,"type":3,"payload":4}"#;
    let scan = scan(untouched).unwrap();
    assert!(matches!(normalise_aliases(untouched.as_bytes(), &scan), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn nested_members() {
    let p = br#"{"client_version":"2.0.7","features":{"encryption":true},"timestamp": 17 }"#;
    assert_eq!(member(p, "timestamp").and_then(int_value), Some(17));
    assert_eq!(member(p, "features").and_then(|f| member(f, "encryption")), Some(&b"true"[..]));
    assert_eq!(member(p, "encryption"), None);
    for not_an_object in [&b"17"[..], b"[]", b"", b"{", b"null"] {
        assert_eq!(member(not_an_object, "timestamp"), None);
    }
}

#[test]
fn integers() {
    for (raw, value) in
        [("0", 0), ("-0", 0), ("17", 17), ("-9223372036854775808", i64::MIN), ("9223372036854775807", i64::MAX)]
    {
        assert_eq!(int_value(raw.as_bytes()), Some(value), "{raw}");
    }
    for raw in ["", "-", "+1", "01", "1.0", "1e3", "9223372036854775808", "\"1\"", "null", " 1", "--1", "-+1"] {
        assert_eq!(int_value(raw.as_bytes()), None, "{raw}");
    }
}

#[test]
fn strings() {
    for (raw, value) in [
        (r#""""#, ""),
        (r#""plain é""#, "plain é"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""a\u00e9b\ud83d\ude00c""#, "aéb😀c"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00\ud83dx""#, "\u{fffd}\u{fffd}x"),
        (r#""\ud83d\u0041""#, "\u{fffd}A"),
        (r#""\u0000""#, "\u{0}"),
    ] {
        assert_eq!(string_value(raw.as_bytes()).as_deref(), Some(value), "{raw}");
    }
    for raw in ["", "\"", "a", "1", r#""a"b""#, r#""\""#, r#""\x""#, r#""\u12""#, r#""\u+123""#, r#""\ué12""#, "\"\n\""]
    {
        assert_eq!(string_value(raw.as_bytes()), None, "{raw}");
    }
    assert_eq!(string_value(b"\"\xff\""), None);
}
