//! The little JSON this program needs: writing one flat-ish report, and reading numbers out of control messages.

use std::fmt::Write as _;

/// A JSON object under construction. Members keep the order in which they were added.
#[derive(Debug, Clone)]
pub(crate) struct Obj(String);

impl Obj {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _ = write!(self.0, "\"{key}\":");
    }

    pub(crate) fn int(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    pub(crate) fn signed(mut self, key: &str, value: i64) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    /// A number with three decimals; what is not finite becomes null, never an invented figure.
    pub(crate) fn num(mut self, key: &str, value: f64) -> Self {
        self.key(key);
        if value.is_finite() {
            let _ = write!(self.0, "{value:.3}");
        } else {
            self.0.push_str("null");
        }
        self
    }

    pub(crate) fn bool(mut self, key: &str, value: bool) -> Self {
        self.key(key);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.0.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                c if c < ' ' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    pub(crate) fn obj(mut self, key: &str, value: Obj) -> Self {
        self.key(key);
        self.0.push_str(&value.finish());
        self
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// First place of `needle` in `hay`. Only ever used on short or rare messages.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// The unsigned integer that follows `"key":`, if there is one.
pub(crate) fn integer(text: &[u8], key: &str) -> Option<u64> {
    let name = format!("\"{key}\":");
    let digits = &text[find(text, name.as_bytes())? + name.len()..];
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_back() {
        let text = Obj::new().int("n", 7).num("f", 0.5).text("s", "a\"b\n").bool("ok", true).num("x", f64::NAN);
        let text = text.obj("o", Obj::new().signed("d", -1)).finish();
        assert_eq!(text, r#"{"n":7,"f":0.500,"s":"a\"b\u000a","ok":true,"x":null,"o":{"d":-1}}"#);
        assert_eq!(integer(text.as_bytes(), "n"), Some(7));
        assert_eq!(integer(text.as_bytes(), "d"), None, "negative numbers are not counts");
        assert_eq!(integer(text.as_bytes(), "absent"), None);
    }
}
