//! The report a row prints, one JSON object, and the numbers the server answers orders with. Measures nothing.

use serde_json::{Map, Value};

use crate::args::Outcome;

/// Members of the report; a row adds to them as it goes.
pub(crate) type Report = Map<String, Value>;

/// The members of the object `more`, beside those that are there.
pub(crate) fn with(mut report: Report, more: Value) -> Report {
    if let Value::Object(more) = more {
        report.extend(more);
    }
    report
}

/// Three decimals are what a clock here is worth; what is not finite becomes null, never an invented figure.
pub(crate) fn rounded(value: f64) -> Value {
    Value::from((value * 1e3).round() / 1e3)
}

/// The application message inside `payload`, also where the peer wraps it (`42["m",{…}]`).
pub(crate) fn message(payload: &[u8]) -> Option<Value> {
    let from = payload.iter().position(|byte| *byte == b'{')?;
    serde_json::Deserializer::from_slice(&payload[from..]).into_iter().next()?.ok()
}

/// Member `key` of an answer's payload.
pub(crate) fn number(answer: &Value, key: &str) -> Outcome<u64> {
    optional(answer, key).ok_or_else(|| format!("no {key:?} in {answer}"))
}

/// Member `key` of an answer's payload, where this peer has such a figure.
pub(crate) fn optional(answer: &Value, key: &str) -> Option<u64> {
    answer["p"][key].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read_also_from_inside_a_wrapping() {
        let plain = message(br#"{"t":"ctl","p":{"op":"done","published":7,"dropped":null}}"#).unwrap();
        assert_eq!((number(&plain, "published"), optional(&plain, "dropped")), (Ok(7), None));
        assert!(number(&plain, "dropped").is_err());
        let wrapped = message(br#"42["m",{"t":"ctl","p":{"op":"count","n":3}}]"#).unwrap();
        assert_eq!(number(&wrapped, "n"), Ok(3));
        assert_eq!(message(b"40"), None);
    }

    #[test]
    fn no_figure_is_invented() {
        let report = with(Report::new(), json!({"a": rounded(0.123_45), "b": rounded(f64::NAN)}));
        assert_eq!(Value::Object(report), json!({"a": 0.123, "b": null}));
    }
}
