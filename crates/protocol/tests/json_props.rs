//! The JSON scanner and the category injection against serde_json, over random documents and random damage to them.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Map, Value};
use wse_protocol::envelope::{Category, inject_category};
use wse_protocol::json::{int_value, member, normalise_aliases, scan_object, string_value};

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
}
