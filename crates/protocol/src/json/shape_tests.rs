//! Unit tests of shapes by hand-picked text; random text is in `tests/json_props.rs`.

use super::*;

fn learn(text: &str) -> Shape {
    Shape::learn(text.as_bytes(), 64).unwrap_or_else(|| panic!("{text} has no shape"))
}

/// The leaves of `text` if it has this shape.
fn leaves<'a>(shape: &Shape, text: &'a str, max_depth: u32) -> Option<Vec<&'a str>> {
    let mut cells = [0; MAX_LEAVES];
    let found = shape.matches(text.as_bytes(), max_depth, &mut cells);
    found.then(|| (0..shape.leaves()).map(|leaf| &text[shape.place(leaf, &cells)]).collect())
}

#[test]
fn a_shape_is_what_stays_the_same() {
    let shape = learn(r#"{"c":"U","t":"in","p":{"seq":"1","x":{"deep":[1]}},"e":{},"v":1}"#);
    assert_eq!(shape.template(), r#"{"c":0,"t":0,"p":{"seq":0,"x":0},"e":0,"v":0}"#);
    assert_eq!(
        leaves(&shape, r#"{"c":"U","t":"in","p":{"seq":"1","x":{"deep":[1]}},"e":{},"v":1}"#, 64).unwrap(),
        [r#""U""#, r#""in""#, r#""1""#, r#"{"deep":[1]}"#, "{}", "1"]
    );
    assert_eq!(
        leaves(&shape, r#"{"c":"","t":null,"p":{"seq":-0.5e+9,"x":"\"é"},"e":{"a":1},"v":[{}]}"#, 64).unwrap(),
        [r#""""#, "null", "-0.5e+9", r#""\"é""#, r#"{"a":1}"#, "[{}]"]
    );
    for other in [
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0},"e":{},"v":1} "#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0},"e":{},"v":1}}"#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0},"e":{},"v":1"#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0},"e":{},"v":}"#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0},"e":{},"v":01}"#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":tru},"e":{},"v":1}"#,
        r#"{"c":"U","t":"in","p":{"x":0,"seq":"1"},"e":{},"v":1}"#,
        r#"{"c":"U","t":"in","p":{"seq":"1","x":0,"y":0},"e":{},"v":1}"#,
        r#"{"c":"U","t":"in","p":{"seq": "1","x":0},"e":{},"v":1}"#,
        r#"{"c":"U","t":"in","p":{},"e":{},"v":1}"#,
        r#"{"c":"U","t":"in","p":null,"e":{},"v":1}"#,
        "",
        "{}",
    ] {
        assert_eq!(leaves(&shape, other, 64), None, "{other}");
    }
}

#[test]
fn white_space_belongs_to_the_shape() {
    let text = " { \"a\" :\t1 , \"p\" : { \"b\" : 2 } }\r\n";
    let shape = learn(text);
    assert_eq!(shape.template(), r#"{"a":0,"p":{"b":0}}"#);
    assert_eq!(leaves(&shape, &text.replace('2', "[ 2 ]"), 64).unwrap(), ["1", "[ 2 ]"]);
    assert_eq!(leaves(&shape, text.trim_end(), 64), None);
    assert_eq!(leaves(&shape, r#"{"a":1,"p":{"b":2}}"#, 64), None);
}

#[test]
fn what_has_no_shape() {
    let many = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"k{i}\":{i}")).collect::<Vec<_>>().join(","));
    assert_eq!(learn(&many(MAX_LEAVES)).leaves(), MAX_LEAVES);
    let nested = |n: usize| format!("{{\"a\":1,\"p\":{}}}", many(n));
    assert_eq!(learn(&nested(MAX_LEAVES - 1)).leaves(), MAX_LEAVES);
    let long = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n - 8));
    let limit = learn(&long(MAX_TEXT));
    assert_eq!(leaves(&limit, &long(MAX_TEXT + 1), 64), None);
    for text in [
        "",
        "[]",
        "{}",
        "{ \t\r\n    }",
        r#"{"a":1}"#, // too short for the words it is compared in
        r#"{"a":1,}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"p":{"a":1,"a":2}}"#,
        r#"{"a":1,"":2}"#,
        r#"{"p":{"":1}}"#,
        r#"{"__proto__":1}"#,
        r#"{"p":{"__proto__":1}}"#,
        r#"{"0":"integers come first"}"#,
        r#"{"a":1,"-1":2}"#,
        r#"{"p":{"17":2}}"#,
        r#"{"caf\u00e9":1}"#,
        r#"{"café":1}"#,
        "{\"a\u{7f}\":1}",
        r#"{"t":1,"payload":1}"#,
        r#"{"type":1,"t":1}"#,
        &many(MAX_LEAVES + 1),
        &nested(MAX_LEAVES),
        &long(MAX_TEXT + 1),
    ] {
        assert_eq!(Shape::learn(text.as_bytes(), 64), None, "{text}");
    }
    // Only at the root, and only these, are other names.
    for text in [r#"{"p":{"type":1,"payload":2}}"#, r#"{"a b/c~":1}"#, r#"{"constructor":1}"#] {
        assert_eq!(leaves(&learn(text), text, 64).map(|cells| cells.len()), Some(learn(text).leaves()));
    }
}

#[test]
fn the_engines_own_messages_have_none() {
    let shape = learn(r#"{"t":"chat","p":{"timestamp":1}}"#);
    for t in ["ping", "pong", "PONG", "client_hello", "subscription_update", r"p\u0069ng"] {
        let text = format!(r#"{{"t":"{t}","p":{{"timestamp":1}}}}"#);
        assert_eq!(leaves(&shape, &text, 64), None, "{text}");
        // Learned from one, it may serve the application's.
        assert!(leaves(&learn(&text), r#"{"t":"chat","p":{"timestamp":1}}"#, 64).is_some());
    }
    for t in [r#""Ping""#, r#""pings""#, r#""\u0070ings""#, r#"["ping"]"#, "null"] {
        assert!(leaves(&shape, &format!(r#"{{"t":{t},"p":{{"timestamp":1}}}}"#), 64).is_some(), "{t}");
    }
    let elsewhere = learn(r#"{"a":1,"p":{"t":1}}"#);
    assert!(leaves(&elsewhere, r#"{"a":"ping","p":{"t":"ping"}}"#, 64).is_some(), "only the root's t is the type");
}

#[test]
fn depth_is_that_of_the_scanner() {
    let shape = learn(r#"{"a":1,"p":{"b":1}}"#);
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in 0..8 {
        let value = if levels == 0 { "7".to_owned() } else { nested(levels) };
        for text in [format!(r#"{{"a":{value},"p":{{"b":1}}}}"#), format!(r#"{{"a":1,"p":{{"b":{value}}}}}"#)] {
            for limit in 0..12 {
                let valid = scan_object(text.as_bytes(), limit).is_ok();
                assert_eq!(leaves(&shape, &text, limit).is_some(), valid, "{text} within {limit}");
                assert_eq!(Shape::learn(text.as_bytes(), limit).is_some(), valid, "{text} within {limit}");
            }
        }
    }
    for (levels, fits) in [(126, true), (127, false)] {
        let text = format!(r#"{{"a":1,"p":{{"b":{}}}}}"#, nested(levels));
        assert_eq!(scan_object(text.as_bytes(), u32::MAX).is_ok(), fits);
        assert_eq!(leaves(&shape, &text, u32::MAX).is_some(), fits);
        assert_eq!(Shape::learn(text.as_bytes(), u32::MAX).is_some(), fits);
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_judged_as_by_the_scanner() {
    let text = r#"{"c":"U","t":"é\n","p":{"seq":-1.5e3,"list":[1,{"x":null}]},"v":true}"#;
    let shape = learn(text);
    for end in 0..text.len() {
        let mut cells = [0; MAX_LEAVES];
        assert!(!shape.matches(&text.as_bytes()[..end], 64, &mut cells), "{end}");
    }
    let mut cells = [0; MAX_LEAVES];
    for at in 0..text.len() {
        for byte in 0..=255u8 {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = byte;
            if shape.matches(&changed, 64, &mut cells) {
                assert!(scan_object(&changed, 64).is_ok(), "{byte} at {at}");
            }
        }
    }
}
