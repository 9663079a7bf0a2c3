//! The envelope of an event the application sends to one connection (`sendEvent`).
//!
//! Never interprets the payload and never changes what the application gave, save `c` and `v`.

use serde_json::{Map, Value};

use super::category::Category;

/// What an event gets where the application gave nothing.
#[derive(Debug, Clone, Copy)]
pub struct EventDefaults<'a> {
    /// Message id, a UUIDv7.
    pub id: &'a str,
    /// Time in RFC 3339, as from [`super::iso8601`].
    pub ts: &'a str,
    /// Next number of the process-wide counter.
    pub seq: u64,
}

/// The text of an event: `c` follows from `t`, `v` is 1, `id`, `ts` and `seq` are filled in where absent.
///
/// Keys are in alphabetical order at all depths (that is how `serde_json`'s map iterates).
pub fn build_event(mut event: Map<String, Value>, defaults: &EventDefaults<'_>) -> String {
    let category = event.get("t").and_then(Value::as_str).map_or(Category::Update, Category::of);
    event.insert("c".into(), category.as_str().into());
    event.insert("v".into(), 1.into());
    event.entry("id").or_insert_with(|| defaults.id.into());
    event.entry("ts").or_insert_with(|| defaults.ts.into());
    event.entry("seq").or_insert_with(|| defaults.seq.into());
    Value::Object(event).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: EventDefaults<'_> = EventDefaults { id: "ID", ts: "TS", seq: 7 };

    fn build(value: &str) -> String {
        build_event(serde_json::from_str(value).unwrap(), &DEFAULTS)
    }

    #[test]
    fn fills_what_is_absent_and_sorts() {
        assert_eq!(
            build(r#"{"t":"tick","p":{"z":1,"a":{"y":[{"k":1,"b":2}],"x":0}}}"#),
            r#"{"c":"U","id":"ID","p":{"a":{"x":0,"y":[{"b":2,"k":1}]},"z":1},"seq":7,"t":"tick","ts":"TS","v":1}"#
        );
    }

    #[test]
    fn keeps_what_is_given_and_forces_c_and_v() {
        assert_eq!(
            build(r#"{"c":"U","cid":"q","id":"mine","pri":8,"seq":99,"t":"error","ts":null,"v":2}"#),
            r#"{"c":"WSE","cid":"q","id":"mine","pri":8,"seq":99,"t":"error","ts":null,"v":1}"#
        );
        assert_eq!(build(r#"{"t":5}"#), r#"{"c":"U","id":"ID","seq":7,"t":5,"ts":"TS","v":1}"#);
    }
}
