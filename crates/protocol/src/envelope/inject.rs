//! Gives a broadcast its category: `"c":"X",` behind the opening brace, in the text.
//!
//! Runs on each publish, so it looks once at each byte and allocates only for the result. It never changes anything but
//! that one insertion, and nothing at all in text that is no JSON object.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::category::Category;
use crate::json::{MAX_DEPTH, walk};

/// Where the category of a broadcast has to be inserted, for callers that copy the text anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// Byte index behind the opening brace.
    pub at: usize,
    /// The category that `t` calls for.
    pub category: Category,
}

impl Injection {
    /// The text to insert at [`Injection::at`].
    pub const fn text(self) -> &'static str {
        match self.category {
            Category::System => "\"c\":\"WSE\",",
            Category::Snapshot => "\"c\":\"S\",",
            Category::Update => "\"c\":\"U\",",
        }
    }
}

/// Applies the broadcast rule to `text`: with [`find_injection`]'s insertion where there is one, else unchanged.
pub fn inject_category(text: &str) -> Cow<'_, str> {
    let Some(injection) = find_injection(text) else {
        return Cow::Borrowed(text);
    };
    let (head, tail) = text.split_at(injection.at);
    let inserted = injection.text();
    let mut out = String::with_capacity(text.len() + inserted.len());
    out.push_str(head);
    out.push_str(inserted);
    out.push_str(tail);
    Cow::Owned(out)
}

/// Decides whether a broadcast needs a category and which.
///
/// The rule is textual, at the top level of the object only: `"c":` present means no; `"t":"…"` means the category of
/// that type; `"t":` followed by anything else, a space included, means `U`; neither means no. Key and colon must touch.
/// `None` as well for text that is not a JSON object, or one nested deeper than [`MAX_DEPTH`]: it is sent as it is.
pub fn find_injection(text: &str) -> Option<Injection> {
    let bytes = text.as_bytes();
    let mut has_c = false;
    let mut found = None;
    let walked = walk(bytes, MAX_DEPTH, |key, value| {
        let touches_colon = bytes.get(key.end + 1) == Some(&b':');
        match &bytes[key.clone()] {
            b"c" if touches_colon => {
                has_c = true;
                return ControlFlow::Break(());
            }
            b"t" if touches_colon && found.is_none() => {
                let is_direct = value.start == key.end + 2;
                found = Some(match &bytes[value] {
                    [b'"', name @ .., b'"'] if is_direct => Category::of_bytes(name),
                    _ => Category::Update,
                });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    if walked.is_err() || has_c {
        return None;
    }
    // An object, so the first byte that is not white space is its brace.
    let at = bytes.iter().position(|byte| *byte == b'{')? + 1;
    found.map(|category| Injection { at, category })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untouched() {
        for text in [
            "",
            " ",
            "hello",
            "PING:17",
            "{",
            "{}",
            "[]",
            r#"[{"t":"x"}]"#,
            r#"U{"t":"x"}"#,
            r#"{"c":"S","t":"x"}"#,
            r#"{"t":"x","p":{},"c":null}"#,
            r#"{"x":{"t":"y"}}"#,
            r#"{"x":["t",{"t":"y"}]}"#,
            r#"{"T":"y","tt":"y"}"#,
            r#"{"x":"t"}"#,
            r#"{"x":"\"t\":\"y\""}"#,
            r#"{"t" :"y"}"#,
            r#"{"t":"unterminated}"#,
            r#"{"t":"x""#,
            r#"{"t":"x\"#,
            "{\"p\":\"\n\",\"t\":\"x\"}",
            r#"{"t":"x"} trailing"#,
            "\"t\":\"x\"",
            "{\"\\",
        ] {
            assert!(matches!(inject_category(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn inserted() {
        for (text, expected) in [
            (r#"{"t":"tick","p":{}}"#, r#"{"c":"U","t":"tick","p":{}}"#),
            (r#"{"p":{"c":1},"t":"error"}"#, r#"{"c":"WSE","p":{"c":1},"t":"error"}"#),
            (r#" { "t":"room_snapshot"} "#, r#" {"c":"S", "t":"room_snapshot"} "#),
            (r#"{"t": "error"}"#, r#"{"c":"U","t": "error"}"#),
            (r#"{"t":5}"#, r#"{"c":"U","t":5}"#),
            (r#"{"t":"x\"_snapshot"}"#, r#"{"c":"S","t":"x\"_snapshot"}"#),
            (r#"{"p":"}]{[ \\","t":"é"}"#, r#"{"c":"U","p":"}]{[ \\","t":"é"}"#),
            (r#"{"t":"a","t":"error"}"#, r#"{"c":"U","t":"a","t":"error"}"#),
            (r#"{"c" :"S","t":"x"}"#, r#"{"c":"U","c" :"S","t":"x"}"#),
        ] {
            assert_eq!(inject_category(text), expected);
        }
    }

    /// The scan is by words; every alignment of the interesting bytes has to give the same answer.
    #[test]
    fn every_alignment() {
        for padding in 0..40 {
            let pad = "x".repeat(padding);
            let with = format!(r#"{{"p":"{pad}","t":"error","q":["{pad}"]}}"#);
            assert_eq!(inject_category(&with), format!("{{\"c\":\"WSE\",{}", &with[1..]));
            let has = format!(r#"{{"t":"error","p":"{pad}","c":"U"}}"#);
            assert_eq!(inject_category(&has), has);
        }
    }
}
