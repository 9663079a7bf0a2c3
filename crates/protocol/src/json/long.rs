//! Strings that may cross beside their messages and are not parsed: the one a large message mostly is, and plain ones. Never decodes
//! anything.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// The shortest text whose long string is looked for, in bytes.
pub const MIN_LONG_TEXT: usize = 4096;

/// What a stand-in for a long string begins with; no other string of its message has it in it.
pub const STAND_IN: &str = "~wse~";

/// Where the content of the string stands that is at least three quarters of `text`, a valid JSON object. `None` as well when it is a
/// key or not ASCII, when there is an escape anywhere in the text, or when [`STAND_IN`] occurs in the rest of it: so the text with a
/// stand-in is parsed to the same object, and nobody can forge one.
pub fn long_string(text: &[u8]) -> Option<Range<usize>> {
    if text.len() < MIN_LONG_TEXT {
        return None;
    }
    let least = text.len() / 4 * 3;
    let mut at = 0;
    // Without escapes every other quote opens a string. Only the first quarter of the text is looked through for one that can be long enough.
    while text.len() - at > least {
        let start = at + plain_quote(&text[at..])? + 1;
        let end = start + plain_quote(&text[start..])?;
        at = end + 1;
        if end - start >= least {
            let (before, content, after) = (&text[..start], &text[start..end], &text[at..]);
            let is_key = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
            let is_plain = !is_key
                && memchr(b'\\', after).is_none()
                && [before, after].iter().all(|rest| memmem::find(rest, STAND_IN.as_bytes()).is_none())
                && content.is_ascii();
            return is_plain.then_some(start..end);
        }
    }
    None
}

/// The content of `value`, a valid JSON value, if it is a string that means what is written: ASCII, without escapes.
pub fn plain_string(value: &[u8]) -> Option<&[u8]> {
    let content = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (content.is_ascii() && memchr(b'\\', content).is_none()).then_some(content)
}

/// The next quote, if no backslash comes first.
fn plain_quote(text: &[u8]) -> Option<usize> {
    memchr2(b'"', b'\\', text).filter(|at| text[*at] == b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(before: &str, content: &str, after: &str) -> bool {
        let text = [before, content, after].concat();
        assert!(crate::json::scan_object(text.as_bytes(), 64).is_ok(), "{before}…{after}");
        let range = long_string(text.as_bytes());
        assert!(range.is_none() || range == Some(before.len()..before.len() + content.len()), "{range:?}");
        range.is_some()
    }

    #[test]
    fn is_the_value_that_most_of_a_large_text_is() {
        let long = "x".repeat(8000);
        assert!(found(r#"{"t":"doc","p":{"text":""#, &long, r#"","n":1}}"#));
        assert!(found(r#"{"t":"ü","p":[[{"":""#, &long, r#""}]]}"#), "the rest need not be ASCII");
        assert!(found("{ \"t\" :\n \"", &long, "\" }"));
        assert!(!found(r#"{"t":""#, &"x".repeat(4000), r#""}"#), "too short");
        let half = format!(r#"","b":"{}"}}"#, "y".repeat(4000));
        assert!(!found(r#"{"t":""#, &long, &half), "only two thirds");
        let first = format!(r#"{{"a":"{}","t":""#, "y".repeat(2000));
        assert!(found(&first, &long, r#""}"#), "behind a shorter one");
    }

    #[test]
    fn a_plain_string_is_what_is_written() {
        assert_eq!(plain_string(b"\"a b~wse~\""), Some(b"a b~wse~".as_slice()));
        assert_eq!(plain_string(b"\"\""), Some(b"".as_slice()));
        for value in [r#""\n""#, r#""\""#, "\"\u{e9}\"", "1", "null", "[\"a\"]", "{}"] {
            assert_eq!(plain_string(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn nothing_that_parses_to_something_else_is_taken() {
        let long = "x".repeat(8000);
        for (before, content, after) in [
            (r#"{""#, long.as_str(), r#"":1}"#),
            (r#"{""#, &long, "\" \t\n:1}"),
            (r#"{"\u0061":""#, &long, r#""}"#),
            (r#"{"a":""#, &long, r#"","b":"\"~"}"#),
            (r#"{"~wse~":""#, &long, r#""}"#),
            (r#"{"a":""#, &long, r#"","b":["~wse~8000"]}"#),
            (r#"{"a":""#, &long.replacen('x', "é", 1), r#""}"#),
            (r#"{"a":""#, &long.replacen('x', r"\n", 1), r#""}"#),
        ] {
            assert!(!found(before, content, after), "{before}…{after}");
        }
        assert!(found(r#"{"a":""#, &long.replacen('x', "~wse~1", 1), r#""}"#), "its own content says what it likes");
    }
}
