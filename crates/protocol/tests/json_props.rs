//! The JSON scanner and the category injection against serde_json, over random documents and random damage to them.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Map, Value};
use wse_protocol::envelope::{Category, Control, inject_category};
use wse_protocol::json::{MAX_LEAVES, Shape, int_value, member, normalise_aliases, scan_object, string_value};

const NAMES: [&str; 10] = ["t", "p", "c", "id", "type", "payload", "v", "", "té", "timestamp"];

/// serde_json's verdict on `text` being one object; `None` where it is known to be stricter than `JSON.parse`.
fn oracle(text: &str) -> Option<bool> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Some(value.is_object()),
        Err(error) => {
            let stricter = ["number out of range", "surrogate", "end of hex escape", "recursion limit"];
            let message = error.to_string();
            (!stricter.iter().any(|reason| message.contains(reason))).then_some(false)
        }
    }
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,9}"]
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        r#"([ -!#-\[\]-~]|\\["\\/bfnrt]|\\u00[0-7][0-9a-fA-F]|\\uD83D\\ude00|é|漢|😀){0,24}"#
            .prop_map(|text| format!("\"{text}\"")),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        literal(),
    ]
}

/// Texts of members: `key`, white space, colon, white space, `value`, white space.
fn member_text(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name =
        prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(|name| format!("\"{name}\"")), 1 => literal()];
    (space(), name, space(), space(), value, space()).prop_map(|(a, k, b, c, v, d)| format!("{a}{k}{b}:{c}{v}{d}"))
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(6, 48, 5, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, v, b)| format!("{a}{v}{b}"));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member_text(inner), 0..5).prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}

fn document() -> impl Strategy<Value = String> {
    (space(), prop::collection::vec(member_text(value()), 0..7), space())
        .prop_map(|(a, members, b)| format!("{a}{{{}}}{b}", members.join(",")))
}

/// Two documents that differ only in values that are no objects, under keys of which most are each another.
fn twins() -> impl Strategy<Value = (String, String)> {
    let leaf = || {
        let array = prop::collection::vec(value(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let t = prop::sample::select(&["\"ping\"", "\"PONG\"", "\"client_hello\"", "\"chat\""][..]);
        prop_oneof![4 => scalar(), 1 => array, 1 => t.prop_map(str::to_owned)]
    };
    let pair = move || (leaf(), leaf());
    let object = move || (prop::collection::vec(twin_member(pair()), 1..5), space()).prop_map(braced);
    (prop::collection::vec(twin_member(prop_oneof![3 => pair(), 1 => object()]), 1..8), space()).prop_map(braced)
}

fn twin_member(values: impl Strategy<Value = (String, String)>) -> impl Strategy<Value = (String, String)> {
    let name =
        prop_oneof![1 => prop::sample::select(&["t", "p", "c", "v"][..]).prop_map(str::to_owned), 4 => "[a-z ]{2,12}"];
    (space(), name, space(), space(), values).prop_map(|(a, name, b, c, (one, other))| {
        let head = format!("{a}\"{name}\"{b}:{c}");
        (format!("{head}{one}"), format!("{head}{other}"))
    })
}

fn braced((members, space): (Vec<(String, String)>, String)) -> (String, String) {
    let (ones, others): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    (format!("{{{}{space}}}", ones.join(",")), format!("{{{}{space}}}", others.join(",")))
}

/// The places of the leaves, if `text` has this shape.
fn places(shape: &Shape, text: &str, max_depth: u32) -> Option<Vec<std::ops::Range<usize>>> {
    let mut cells = [0; MAX_LEAVES];
    let found = shape.matches(text.as_bytes(), max_depth, &mut cells);
    found.then(|| (0..shape.leaves()).map(|leaf| shape.place(leaf, &cells)).collect())
}

/// What is around the leaves.
fn literals<'a>(text: &'a str, places: &[std::ops::Range<usize>]) -> Vec<&'a str> {
    let ends = std::iter::once(0).chain(places.iter().map(|place| place.end));
    let starts = places.iter().map(|place| place.start).chain([text.len()]);
    ends.zip(starts).map(|(end, start)| &text[end..start]).collect()
}

/// The message made from the template, as text.
fn rebuilt(shape: &Shape, text: &str, places: &[std::ops::Range<usize>]) -> String {
    // No key of a template holds a quote, so this is where the leaves are.
    let mut parts = shape.template().split("\":0");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (part, place) in parts.zip(places) {
        out.extend(["\":", &text[place.clone()], part]);
    }
    out
}

/// All that a match promises.
fn check_match(shape: &Shape, learned: &str, text: &str, max_depth: u32) -> Result<bool, TestCaseError> {
    let Some(found) = places(shape, text, max_depth) else { return Ok(false) };
    let scan = scan_object(text.as_bytes(), max_depth);
    prop_assert!(scan.is_ok(), "{} is not valid", text);
    prop_assert!(scan.unwrap().t.is_none_or(|t| Control::of(t.raw).is_none()), "{} is the engine's", text);
    if let Some(own) = places(shape, learned, 128) {
        prop_assert_eq!(literals(text, &found), literals(learned, &own));
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        prop_assert_eq!(serde_json::from_str::<Value>(&rebuilt(shape, text, &found)).unwrap(), value);
    }
    Ok(true)
}

/// Replaces, inserts or removes one byte.
#[derive(Debug, Clone)]
struct Damage(usize, u8, u8);

fn damage() -> impl Strategy<Value = Damage> {
    let byte =
        prop_oneof![3 => prop::sample::select(&b"\"\\{}[]:,0.-+eEtfnu \n\t\x00\x1f\x7f/'"[..]), 1 => any::<u8>()];
    (any::<usize>(), 0..3_u8, byte).prop_map(|(at, kind, byte)| Damage(at, kind, byte))
}

fn damaged(text: &str, damages: &[Damage]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for Damage(at, kind, byte) in damages {
        let at = at % (bytes.len() + 1);
        match kind {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, *byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `PROPTEST_CASES` asks for more; a failing seed goes to a file beside this one and is replayed first.
fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn accepts_every_valid_document(text in document()) {
        prop_assert!(scan_object(text.as_bytes(), 64).is_ok(), "{}", text);
    }

    #[test]
    fn agrees_on_damaged_documents(text in document(), damages in prop::collection::vec(damage(), 48)) {
        // Each damage alone, then in pairs: one wrong byte in a valid text is what a wrong scanner lets pass.
        let singles = damages.chunks(1);
        for damage in singles.chain(damages.chunks(2)) {
            let text = damaged(&text, damage);
            if let Some(valid) = oracle(&text) {
                prop_assert_eq!(scan_object(text.as_bytes(), 128).is_ok(), valid, "{}", text);
            }
        }
    }

    #[test]
    fn agrees_on_token_soup(text in r#"\{([{}\[\],:"\\ ]|"a"|"a":|0|-1|1\.5|1e3|true|null|\\u1|"t"|é){0,14}\}"#) {
        if let Some(valid) = oracle(&text) {
            prop_assert_eq!(scan_object(text.as_bytes(), 128).is_ok(), valid, "{}", text);
        }
    }

    #[test]
    fn spans_are_the_values(text in document()) {
        // A key spelled with escapes is known to serde_json and, as documented, not to the scanner.
        let text = text.replace("\\u00", "\\u10");
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let scan = scan_object(text.as_bytes(), 64).unwrap();
        let seen = [&scan.t, &scan.p, &scan.c, &scan.id, &scan.type_alias, &scan.payload_alias];
        for (name, seen) in NAMES.iter().zip(seen) {
            let found = seen.as_ref().map(|seen| serde_json::from_slice::<Value>(seen.raw).unwrap());
            prop_assert_eq!(found.as_ref(), object.get(*name));
            if let Some(seen) = seen {
                prop_assert_eq!(&text[seen.key.clone()], *name);
                prop_assert_eq!(&text.as_bytes()[seen.value.clone()], seen.raw);
            }
        }
        for name in NAMES {
            let found = member(text.as_bytes(), name).map(|raw| serde_json::from_slice::<Value>(raw).unwrap());
            prop_assert_eq!(found.as_ref(), object.get(name));
        }
    }

    #[test]
    fn aliases_are_renamed(object in prop::collection::hash_map(prop::sample::select(&NAMES[..]), 0..9_u8, 0..6)) {
        let mut object: Map<String, Value> = object.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        let text = Value::Object(object.clone()).to_string();
        let scan = scan_object(text.as_bytes(), 64).unwrap();
        let renamed: Value = serde_json::from_slice(&normalise_aliases(text.as_bytes(), &scan)).unwrap();
        for (long, short) in [("type", "t"), ("payload", "p")] {
            if !object.contains_key(short) && let Some(value) = object.remove(long) {
                object.insert(short.to_owned(), value);
            }
        }
        prop_assert_eq!(renamed, Value::Object(object));
    }

    #[test]
    fn strings_decode_as_serde_does(text in literal(), any in any::<String>()) {
        let expected = serde_json::from_str::<String>(&text).unwrap();
        let decoded = string_value(text.as_bytes());
        prop_assert_eq!(decoded.as_deref(), Some(&*expected));
        // Never a panic, and never an answer for what is no string.
        if string_value(any.as_bytes()).is_some() {
            prop_assert!(serde_json::from_str::<String>(&any).is_ok());
        }
    }

    #[test]
    fn integers_decode_as_serde_does(text in prop_oneof![scalar(), any::<u64>().prop_map(|n| n.to_string())]) {
        let expected = serde_json::from_str::<Value>(&text).ok().and_then(|value| value.as_i64());
        // serde_json reads `-0` as a float.
        if text != "-0" {
            prop_assert_eq!(int_value(text.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn injection_follows_the_rule(text in document()) {
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let text = Value::Object(object.clone()).to_string();
        let category = match object.get("t") {
            Some(Value::String(name)) => Some(Category::of(name)),
            Some(_) => Some(Category::Update),
            None => None,
        };
        let injected = inject_category(&text).into_owned();
        match category {
            Some(category) if !object.contains_key("c") => {
                prop_assert_eq!(injected, format!("{{\"c\":\"{}\",{}", category.as_str(), &text[1..]));
            }
            _ => prop_assert_eq!(injected, text),
        }
    }

    #[test]
    fn injection_only_ever_inserts(text in document(), damages in prop::collection::vec(damage(), 0..4), any in any::<String>()) {
        for text in [damaged(&text, &damages), any] {
            let injected = inject_category(&text);
            if *injected != *text {
                let brace = text.find('{').unwrap() + 1;
                prop_assert!(injected.starts_with(&text[..brace]) && injected.ends_with(&text[brace..]));
                prop_assert!(injected[brace..].starts_with("\"c\":\""));
            }
        }
    }

    #[test]
    fn messages_of_one_shape_match((one, other) in twins()) {
        let Some(shape) = Shape::learn(one.as_bytes(), 64) else {
            // The only reasons such a text can have: see `Shape::learn`.
            let scan = scan_object(one.as_bytes(), 64).unwrap();
            let distinct = names_are_distinct(&one);
            prop_assert!(one.len() < 8 || one.len() > 4096 || !distinct || scan.type_alias.is_some() || scan.payload_alias.is_some());
            return Ok(());
        };
        for text in [&one, &other] {
            let matched = check_match(&shape, &one, text, 64)?;
            let scan = scan_object(text.as_bytes(), 64).unwrap();
            let own = scan.t.is_some_and(|t| Control::of(t.raw).is_some());
            prop_assert_eq!(matched, !own && (8..=4096).contains(&text.len()), "{}", text);
            for depth in 0..8 {
                let valid = scan_object(text.as_bytes(), depth).is_ok();
                prop_assert_eq!(check_match(&shape, &one, text, depth)?, matched && valid, "{} within {}", text, depth);
            }
        }
    }

    #[test]
    fn a_match_is_a_validation(
        (one, other) in twins(),
        any in document(),
        damages in prop::collection::vec(damage(), 48),
    ) {
        for learned in [&one, &any] {
            let Some(shape) = Shape::learn(learned.as_bytes(), 64) else { continue };
            check_match(&shape, learned, &any, 64)?;
            for damage in damages.chunks(1).chain(damages.chunks(2)) {
                for text in [damaged(learned, damage), damaged(&other, damage)] {
                    check_match(&shape, learned, &text, 64)?;
                }
            }
        }
    }
}

/// Whether no object of the text has two members of one name.
fn names_are_distinct(text: &str) -> bool {
    fn count(value: &Value) -> usize {
        match value {
            Value::Object(object) => object.values().map(count).sum::<usize>() + object.len(),
            Value::Array(items) => items.iter().map(count).sum(),
            _ => 0,
        }
    }
    // Each member adds a colon outside of strings; serde_json keeps one of each name.
    let (mut colons, mut quoted, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b':' if !quoted => colons += 1,
            _ => {}
        }
    }
    serde_json::from_str::<Value>(text).map_or(true, |value| count(&value) == colons)
}
