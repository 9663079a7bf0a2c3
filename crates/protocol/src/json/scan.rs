//! One pass over a JSON object: strict RFC 8259 validation, and where the top-level members the engine reads are.
//!
//! Never recurses, never allocates, never decodes a value. It accepts what `JSON.parse` accepts for an object: lone
//! surrogate escapes, numbers beyond `f64` and duplicate keys are fine (the last one wins). Depth is limited.

use std::fmt;
use std::ops::{ControlFlow, Range};

use memchr::memchr2;

use super::swar::{first_marked, json_special, word_at};

/// The deepest nesting the scanner can follow, whatever limit it is given: one bit of a `u128` per level.
pub const MAX_DEPTH: u32 = 128;

/// Why a text is not a JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonError {
    /// The first byte that is not white space is not `{`. The rest was not looked at.
    NotAnObject,
    /// The text breaks the grammar.
    Syntax {
        /// Index of the first byte that cannot be there; the length of the text when it ends too early.
        at: usize,
    },
    /// Objects and arrays are nested deeper than the limit.
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::Syntax { at } => write!(f, "invalid JSON at byte {at}"),
            Self::TooDeep => f.write_str("JSON nested too deeply"),
        }
    }
}

impl std::error::Error for JsonError {}

/// One `"key": value` of the scanned object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The value's text exactly as written, strings with their quotes: `text[value]`.
    pub raw: &'a [u8],
    /// Where the key stands in the text, without its quotes.
    pub key: Range<usize>,
    /// Where the value stands in the text.
    pub value: Range<usize>,
}

/// The top-level members the engine reads, each the last of its name.
///
/// Keys are compared as raw bytes, which keeps the scan to one pass. The one other spelling of `t`, `p` and `c` each is
/// recognised too (`"\u0074"`), so that nobody hides a control message from the engine; a long name spelled with escapes is
/// not, and such a message simply goes to the application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan<'a> {
    /// `t`, the message type.
    pub t: Option<Member<'a>>,
    /// `p`, the payload.
    pub p: Option<Member<'a>>,
    /// `c`, the category.
    pub c: Option<Member<'a>>,
    /// `id`, the message id.
    pub id: Option<Member<'a>>,
    /// `type`, the long name of `t`.
    pub type_alias: Option<Member<'a>>,
    /// `payload`, the long name of `p`.
    pub payload_alias: Option<Member<'a>>,
}

/// Validates `text` as one JSON object, white space around it allowed, and notes the members the engine reads.
///
/// The object itself is depth 1; a `max_depth` above [`MAX_DEPTH`] counts as [`MAX_DEPTH`].
// Inlined into the caller while `fill` is not: the result is then written where it stays and never copied, which for
// a short message would cost as much as the scan.
#[inline]
pub fn scan_object(text: &[u8], max_depth: u32) -> Result<Scan<'_>, JsonError> {
    let mut scan = Scan::default();
    fill(text, max_depth, &mut scan)?;
    Ok(scan)
}

fn fill<'a>(text: &'a [u8], max_depth: u32, scan: &mut Scan<'a>) -> Result<(), JsonError> {
    walk(text, max_depth, |key, value| {
        let slot = match &text[key.clone()] {
            b"t" | b"\\u0074" => &mut scan.t,
            b"p" | b"\\u0070" => &mut scan.p,
            b"c" | b"\\u0063" => &mut scan.c,
            b"id" => &mut scan.id,
            b"type" => &mut scan.type_alias,
            b"payload" => &mut scan.payload_alias,
            [b'\\', ..] => match escaped(&text[key.clone()], scan) {
                Some(slot) => slot,
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        *slot = Some(Member { raw: &text[value.clone()], key, value });
        ControlFlow::Continue(())
    })
}

/// Where the member goes whose key, which begins with a backslash, is `t`, `p` or `c`. Apart, so that ordinary keys are
/// compared with nothing more.
#[cold]
#[inline(never)]
fn escaped<'s, 'a>(key: &[u8], scan: &'s mut Scan<'a>) -> Option<&'s mut Option<Member<'a>>> {
    match key {
        b"\\u0074" => Some(&mut scan.t),
        b"\\u0070" => Some(&mut scan.p),
        b"\\u0063" => Some(&mut scan.c),
        _ => None,
    }
}

/// The raw value of the member `key` of the object in `raw_object`; the last one when there are several.
///
/// For the few nested fields the engine reads (`p.timestamp` of a ping, `p.*` of a client_hello). `None` when there is
/// no such member or the text is not an object. Keys spelled with escapes are not recognised.
pub fn member<'a>(raw_object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    walk(raw_object, MAX_DEPTH, |name, value| {
        if &raw_object[name] == key.as_bytes() {
            found = Some(&raw_object[value]);
        }
        ControlFlow::Continue(())
    })
    .ok()?;
    found
}

/// Validates the object and reports each top-level member as the ranges of its key text and its value text.
///
/// `Break` ends the walk with `Ok`, the rest of the text unseen.
#[inline(always)]
pub(crate) fn walk(
    text: &[u8],
    max_depth: u32,
    mut on_member: impl FnMut(Range<usize>, Range<usize>) -> ControlFlow<()>,
) -> Result<(), JsonError> {
    let mut at = skip_space(text, 0);
    if text.get(at) != Some(&b'{') {
        return Err(JsonError::NotAnObject);
    }
    let inner_depth = max_depth.min(MAX_DEPTH).checked_sub(1).ok_or(JsonError::TooDeep)?;
    at = skip_space(text, at + 1);
    if text.get(at) == Some(&b'}') {
        return only_space(text, at + 1);
    }
    loop {
        let key_start = at + 1;
        let key_end = key_end(text, at)? - 1;
        let start = after_colon(text, key_end + 1)?;
        let end = value_end(text, start, inner_depth)?;
        if on_member(key_start..key_end, start..end).is_break() {
            return Ok(());
        }
        at = skip_space(text, end);
        match text.get(at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b'}') => return only_space(text, at + 1),
            _ => return Err(JsonError::Syntax { at }),
        }
    }
}

/// End of the value at `at`, whose containers may be nested `max_depth` deep.
#[inline(always)]
pub(super) fn value_end(text: &[u8], at: usize, max_depth: u32) -> Result<usize, JsonError> {
    match text.get(at) {
        Some(b'"') => string_end(text, at),
        Some(b'{' | b'[') => container_end(text, at, max_depth),
        _ => scalar_end(text, at),
    }
}

/// End of the object or array that opens at `at`. Nesting is one bit per level: 1 object, 0 array.
fn container_end(text: &[u8], mut at: usize, max_depth: u32) -> Result<usize, JsonError> {
    let mut objects: u128 = 0;
    let mut depth = 0;
    loop {
        // `at` is on an opening brace or bracket.
        if depth == max_depth {
            return Err(JsonError::TooDeep);
        }
        depth += 1;
        let mut in_object = text[at] == b'{';
        objects = objects << 1 | u128::from(in_object);
        at = skip_space(text, at + 1);
        // Only an empty container may close here; after a comma a value must follow.
        let mut value_next = text.get(at) != Some(&if in_object { b'}' } else { b']' });
        loop {
            if value_next {
                if in_object {
                    at = key_end(text, at)?;
                    at = after_colon(text, at)?;
                }
                match text.get(at) {
                    Some(b'{' | b'[') => break,
                    _ => at = scalar_end(text, at)?,
                }
                at = skip_space(text, at);
            }
            match text.get(at) {
                Some(b',') => {
                    at = skip_space(text, at + 1);
                    value_next = true;
                }
                Some(b'}') if in_object => value_next = false,
                Some(b']') if !in_object => value_next = false,
                _ => return Err(JsonError::Syntax { at }),
            }
            if !value_next {
                at += 1;
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
                objects >>= 1;
                in_object = objects & 1 == 1;
                at = skip_space(text, at);
            }
        }
    }
}

/// End of the string, number or literal at `at`.
#[inline(always)]
fn scalar_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match text.get(at) {
        Some(b'"') => string_end(text, at),
        Some(b'-' | b'0'..=b'9') => number_end(text, at),
        Some(b't') => literal_end(text, at, b"true"),
        Some(b'f') => literal_end(text, at, b"false"),
        Some(b'n') => literal_end(text, at, b"null"),
        _ => Err(JsonError::Syntax { at }),
    }
}

/// First byte after the key whose opening quote must stand at `at`.
#[inline(always)]
fn key_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    // Most keys of the envelope are one letter. A predicted branch finds their end sooner than arithmetic on a word,
    // because the next load need not wait for it.
    if let Some([b'"', 0x20..=0x21 | 0x23..=0x5b | 0x5d.., b'"', ..]) = text.get(at..) {
        return Ok(at + 3);
    }
    string_end(text, at)
}

/// In texts with so many bytes left, strings are looked through many bytes at once; those of shorter ones are found sooner word by
/// word.
const LONG: usize = 512;
/// In them as well, up to this length, bytes.
const SHORT: usize = 32;

/// First byte after the string whose opening quote must stand at `at`.
#[inline(always)]
fn string_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    if text.get(at) != Some(&b'"') {
        return Err(JsonError::Syntax { at });
    }
    if text.len() - at >= LONG { long_string_end(text, at + 1) } else { content_end(text, at + 1) }
}

/// First byte behind the quote that ends the string whose content is at `at`, in a long text.
#[inline(never)]
fn long_string_end(text: &[u8], start: usize) -> Result<usize, JsonError> {
    // Long texts too are mostly made of short strings.
    for at in (start..start + SHORT).step_by(8) {
        match word_at(text, at).map(json_special) {
            Some(0) => {}
            Some(marks) => return content_end(text, at + first_marked(marks)),
            None => return content_end(text, at),
        }
    }
    content_end(text, skip_plain(text, start + SHORT))
}

/// Goes on from `at` to the next quote or backslash, if no control character stands before it. Two passes, each of which compares as
/// many bytes at once as the machine can: together they take less than half of one that looks for all three.
fn skip_plain(text: &[u8], at: usize) -> usize {
    let content = &text[at..];
    let plain = memchr2(b'"', b'\\', content).unwrap_or(content.len());
    let least = content[..plain].iter().fold(u8::MAX, |least, byte| least.min(*byte));
    if least < 0x20 { at } else { at + plain }
}

/// First byte behind the quote that ends the string whose content is at `at`.
#[inline(always)]
fn content_end(text: &[u8], mut at: usize) -> Result<usize, JsonError> {
    loop {
        while let Some(word) = word_at(text, at) {
            let marks = json_special(word);
            if marks != 0 {
                at += first_marked(marks);
                break;
            }
            at += 8;
        }
        // Either on a special byte, or within the last seven bytes of the text.
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape_end(text, at)?,
            Some(0x20..) => at += 1,
            _ => return Err(JsonError::Syntax { at }),
        }
    }
}

/// First byte after the escape whose backslash stands at `at`. Surrogates need not pair, as in `JSON.parse`.
#[inline]
fn escape_end(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match text.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            for digit in at + 2..at + 6 {
                if !text.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                    return Err(JsonError::Syntax { at: digit });
                }
            }
            Ok(at + 6)
        }
        _ => Err(JsonError::Syntax { at: at + 1 }),
    }
}

/// End of the number at `at`; what may follow it is the caller's question.
#[inline]
fn number_end(text: &[u8], mut at: usize) -> Result<usize, JsonError> {
    if text.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match text.get(at) {
        // A leading zero stands alone: the digit after it is then refused by the caller.
        Some(b'0') => at + 1,
        _ => digits_end(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits_end(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Ok(at)
}

/// End of a run of at least one digit.
#[inline(always)]
fn digits_end(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut at = start;
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    if at == start { Err(JsonError::Syntax { at }) } else { Ok(at) }
}

#[inline]
fn literal_end(text: &[u8], at: usize, literal: &[u8]) -> Result<usize, JsonError> {
    if text[at..].starts_with(literal) {
        return Ok(at + literal.len());
    }
    let same = text[at..].iter().zip(literal).take_while(|(a, b)| a == b).count();
    Err(JsonError::Syntax { at: at + same })
}

/// Start of the value behind the colon that must come next.
#[inline(always)]
fn after_colon(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let at = skip_space(text, at);
    match text.get(at) {
        Some(b':') => Ok(skip_space(text, at + 1)),
        _ => Err(JsonError::Syntax { at }),
    }
}

fn only_space(text: &[u8], at: usize) -> Result<(), JsonError> {
    let at = skip_space(text, at);
    if at == text.len() { Ok(()) } else { Err(JsonError::Syntax { at }) }
}

#[inline(always)]
fn skip_space(text: &[u8], at: usize) -> usize {
    // Machines write JSON without white space: one comparison decides nearly always.
    match text.get(at) {
        Some(..=b' ') => skip_space_run(text, at),
        _ => at,
    }
}

#[cold]
#[inline(never)]
fn skip_space_run(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}
