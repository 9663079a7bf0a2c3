//! Decodes the few scalar values the engine itself reads from a message.
//!
//! Never touches objects or arrays and never panics on text that is not JSON: it answers `None`.

use std::borrow::Cow;

/// Decodes a JSON string literal, quotes included; borrowed when it has no escapes.
///
/// A lone surrogate escape, which `JSON.parse` accepts but UTF-8 cannot express, becomes U+FFFD.
pub fn string_value(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let inner = std::str::from_utf8(inner).ok()?;
    if inner.bytes().any(|byte| byte < 0x20) {
        return None;
    }
    let mut rest = inner;
    let mut out = String::new();
    while let Some(at) = rest.find(['\\', '"']) {
        out.push_str(&rest[..at]);
        let (decoded, after) = escape(&rest[at..])?;
        out.push(decoded);
        rest = after;
    }
    if rest.len() == inner.len() {
        return Some(Cow::Borrowed(inner));
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// Reads a JSON number written as an integer that fits `i64`; `None` for `1.0`, `1e3` and anything else.
pub fn int_value(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    match digits {
        [b'0'] | [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // `parse` also takes a leading `+`; the match above has ruled that out.
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// Decodes the escape `text` starts with; also returns what follows it. A bare quote is no escape.
fn escape(text: &str) -> Option<(char, &str)> {
    let after_backslash = text.strip_prefix('\\')?;
    let kind = after_backslash.chars().next()?;
    let rest = &after_backslash[kind.len_utf8()..];
    let plain = match kind {
        '"' | '\\' | '/' => kind,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode_escape(rest),
        _ => return None,
    };
    Some((plain, rest))
}

/// Decodes the four digits after `\u`, together with a following low surrogate where one belongs.
fn unicode_escape(digits: &str) -> Option<(char, &str)> {
    let (unit, rest) = hex4(digits)?;
    if (0xD800..0xDC00).contains(&unit)
        && let Some(low_digits) = rest.strip_prefix("\\u")
        && let Some((low @ 0xDC00..0xE000, after)) = hex4(low_digits)
    {
        let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        return Some((char::from_u32(code)?, after));
    }
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn hex4(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}
