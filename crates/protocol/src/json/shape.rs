//! The shape of a message: what a client that sends the same kind of message again and again writes the same way each time.
//! Learned from one valid text, it then tells of another whether only the values differ, and where they end.
//!
//! Never decodes a value and never accepts what [`scan_object`](super::scan_object) would refuse: the text between the
//! values is byte for byte that of a valid message, and the values pass the scanner's own checks.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{ControlFlow, Range};

use super::scan::{JsonError, MAX_DEPTH, value_end, walk};
use super::swar::word_at;
use crate::envelope::Control;

/// Leaves of a shape at most.
pub const MAX_LEAVES: usize = 32;
/// Longer texts have no shape: what is saved is a cost per message, not per byte, and a text that differs from several
/// shapes only at its end is read once for each.
pub const MAX_TEXT: usize = 4096;
/// Shorter ones neither: the last literal is compared with the last eight bytes of the text.
const MIN_TEXT: usize = 8;

/// Where each leaf of a matching text ends, in the order of the leaves. Offsets stay below [`MAX_TEXT`].
pub type LeafEnds = [u16; MAX_LEAVES];

/// The text between the values of a message, exactly as written, white space included.
///
/// The values (*leaves*) are those of the root's members; where such a value is an object with members, those of its members
/// instead. Everything deeper belongs to a leaf.
pub struct Shape {
    /// Of all the rest: shapes are compared often, and mostly differ.
    hash: u64,
    /// The literals, in words: one literal before each leaf, one at the end.
    words: Box<[Word]>,
    /// Length of the literal before each leaf.
    literals: Box<[u16]>,
    template: Box<str>,
    /// The leaf that is the message's type.
    type_leaf: Option<usize>,
}

/// Up to eight bytes of a literal. A literal holds no zero byte, so text that has ended never matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Word {
    bytes: u64,
    mask: u64,
    len: u8,
    /// The last word of a literal before a leaf: how many containers are around that leaf. Otherwise 0.
    leaf_depth: u8,
}

impl Shape {
    /// The shape of `text`, a JSON object no deeper than `max_depth`.
    ///
    /// `None` for what is no such object, for texts without values, with too many or too long, and for keys outside the rule:
    /// printable ASCII without escapes, none twice in an object, none that begins with a digit or a minus sign, neither
    /// `__proto__` nor a name the engine renames (`type`, `payload`). A reader may then fill a template by name and in order.
    pub fn learn(text: &[u8], max_depth: u32) -> Option<Self> {
        if !(MIN_TEXT..=MAX_TEXT).contains(&text.len()) {
            return None;
        }
        let mut sketch =
            Sketch { text, words: Vec::new(), literals: Vec::new(), template: String::new(), end: 0, type_leaf: None };
        sketch.members(0..text.len(), max_depth, |sketch, key, value| {
            if matches!(key, "type" | "payload") {
                return None;
            }
            let explode = text[value.start] == b'{';
            if explode && sketch.members(value.clone(), max_depth - 1, |sketch, _, value| sketch.leaf(value, 2))? {
                return Some(());
            }
            if key == "t" {
                sketch.type_leaf = Some(sketch.literals.len());
            }
            sketch.leaf(value, 1)
        })?;
        let Sketch { mut words, literals, template, end, type_leaf, .. } = sketch;
        if literals.is_empty() {
            return None;
        }
        words.extend(literal_words(&text[end..]));
        let mut hasher = DefaultHasher::new();
        (&words, &template).hash(&mut hasher);
        let (words, literals, template) = (words.into(), literals.into(), template.into());
        Some(Self { hash: hasher.finish(), words, literals, template, type_leaf })
    }

    /// Whether `text` is a message of this shape, nested no deeper than `max_depth`, that is not the engine's to answer.
    /// `ends` then says where its leaves end; otherwise it holds nothing of use.
    #[inline]
    pub fn matches(&self, text: &[u8], max_depth: u32, ends: &mut LeafEnds) -> bool {
        if !(MIN_TEXT..=MAX_TEXT).contains(&text.len()) {
            return false;
        }
        let mut at = 0;
        let mut ends_left = ends.iter_mut();
        for word in &self.words {
            if (word_or_tail(text, at) ^ word.bytes) & word.mask != 0 {
                return false;
            }
            at += usize::from(word.len);
            if word.leaf_depth > 0 {
                let Ok(end) = leaf_end(text, at, max_depth, word.leaf_depth) else { return false };
                at = end;
                let Some(slot) = ends_left.next() else { return false };
                *slot = offset(end);
            }
        }
        at == text.len() && self.type_leaf.is_none_or(|leaf| Control::of(&text[self.place(leaf, ends)]).is_none())
    }

    /// How many leaves it has, at least one.
    pub fn leaves(&self) -> usize {
        self.literals.len()
    }

    /// Where the value of a leaf stands in a text that matched; `ends` is what that match filled in.
    #[inline]
    pub fn place(&self, leaf: usize, ends: &[u16]) -> Range<usize> {
        let before = if leaf == 0 { 0 } else { usize::from(ends[leaf - 1]) };
        before + usize::from(self.literals[leaf])..usize::from(ends[leaf])
    }

    /// A message of this shape without white space, with 0 for each leaf.
    pub fn template(&self) -> &str {
        &self.template
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        // The words are the literals with all lengths and depths; the rest follows from them and the template.
        self.hash == other.hash && self.words == other.words && self.template == other.template
    }
}

impl Eq for Shape {}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shape").field(&self.template).finish()
    }
}

/// A shape while it is being learned.
struct Sketch<'a> {
    text: &'a [u8],
    words: Vec<Word>,
    literals: Vec<u16>,
    template: String,
    /// Where the last leaf ended.
    end: usize,
    type_leaf: Option<usize>,
}

impl<'a> Sketch<'a> {
    /// Calls `on_member` with the key and the place of the value of each member of the object at `place`, and writes the
    /// object into the template. `Some(false)` when it has none; `None` when it has no shape.
    fn members(
        &mut self,
        place: Range<usize>,
        max_depth: u32,
        mut on_member: impl FnMut(&mut Self, &'a str, Range<usize>) -> Option<()>,
    ) -> Option<bool> {
        let (text, start) = (self.text, place.start);
        let mut keys: Vec<&str> = Vec::new();
        let mut eligible = true;
        walk(&text[place], max_depth, |key, value| {
            let taken = plain_key(&text[start + key.start..start + key.end])
                .filter(|key| keys.len() < MAX_LEAVES && !keys.contains(key))
                .and_then(|key| {
                    self.template.extend([if keys.is_empty() { "{\"" } else { ",\"" }, key, "\":"]);
                    keys.push(key);
                    on_member(self, key, start + value.start..start + value.end)
                });
            eligible = taken.is_some();
            if eligible { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .ok()?;
        if !keys.is_empty() {
            self.template.push('}');
        }
        eligible.then_some(!keys.is_empty())
    }

    fn leaf(&mut self, value: Range<usize>, depth: u8) -> Option<()> {
        let literal = &self.text[self.end..value.start];
        self.words.extend(literal_words(literal));
        self.words.last_mut()?.leaf_depth = depth;
        self.literals.push(offset(literal.len()));
        self.template.push('0');
        self.end = value.end;
        (self.literals.len() <= MAX_LEAVES).then_some(())
    }
}

/// A key within the rule of [`Shape::learn`]. Digits are left out because readers order integer names before all others, and
/// `__proto__` because to some it is no name of a member.
fn plain_key(key: &[u8]) -> Option<&str> {
    let plain = key.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
    let named = !matches!(key.first(), None | Some(b'0'..=b'9' | b'-')) && key != b"__proto__";
    if plain && named { std::str::from_utf8(key).ok() } else { None }
}

fn literal_words(literal: &[u8]) -> impl Iterator<Item = Word> {
    literal.chunks(8).map(|chunk| {
        let (mut bytes, mut mask) = ([0; 8], [0; 8]);
        bytes[..chunk.len()].copy_from_slice(chunk);
        mask[..chunk.len()].fill(0xFF);
        let (bytes, mask) = (u64::from_le_bytes(bytes), u64::from_le_bytes(mask));
        #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
        Word { bytes, mask, len: chunk.len() as u8, leaf_depth: 0 }
    })
}

/// End of a leaf with `around` containers around it.
#[inline(always)]
fn leaf_end(text: &[u8], at: usize, max_depth: u32, around: u8) -> Result<usize, JsonError> {
    let inner_depth = max_depth.min(MAX_DEPTH).checked_sub(u32::from(around)).ok_or(JsonError::TooDeep)?;
    value_end(text, at, inner_depth)
}

/// The eight bytes at `at`; zeros where the text, which has at least as many, has ended.
#[inline(always)]
fn word_or_tail(text: &[u8], at: usize) -> u64 {
    if let Some(word) = word_at(text, at) {
        return word;
    }
    let missing = (at + 8).saturating_sub(text.len()).min(8);
    let last = text.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
    // Shifted in two steps, because one of 64 bits is none.
    last >> (missing * 4) >> (missing * 4)
}

/// Offsets within a text of at most [`MAX_TEXT`] bytes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most MAX_TEXT")]
const fn offset(at: usize) -> u16 {
    debug_assert!(at <= MAX_TEXT);
    at as u16
}
