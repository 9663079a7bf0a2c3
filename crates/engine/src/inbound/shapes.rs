//! The shapes a shard's messages have had lately, so that the next of their kind is checked and taken apart in one pass.
//! A few at most: what a peer does to it costs the others a little time, never memory.

use std::sync::Arc;

use wse_protocol::json::{LeafEnds, MAX_LEAVES, Shape};

/// Shapes kept.
const KNOWN: usize = 4;
/// Only every so-manyth message of unknown shape is learned: peers may send a new shape each time. An odd number, or one who
/// sends every other message would always have the lesson to himself.
const MISSES_PER_LESSON: u32 = 7;

/// A message of a known shape.
pub(crate) struct Match<'a> {
    pub(crate) shape: &'a Arc<Shape>,
    /// Where its leaves end.
    pub(crate) ends: &'a [u16],
}

/// One shard's shapes.
pub(crate) struct Shapes {
    /// Most recently used first.
    known: Vec<Arc<Shape>>,
    /// Where the leaves of the last match end.
    ends: LeafEnds,
    misses: u32,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self { known: Vec::with_capacity(KNOWN), ends: [0; MAX_LEAVES], misses: 0 }
    }

    /// The shape of `text`, if it is a known one: then it is valid and not the engine's own.
    #[inline]
    pub(crate) fn find(&mut self, text: &[u8], max_depth: u32) -> Option<Match<'_>> {
        let Self { known, ends, .. } = self;
        let index = known.iter().position(|shape| shape.matches(text, max_depth, ends))?;
        if index > 0 {
            known[..=index].rotate_right(1);
        }
        let shape = known.first()?;
        Some(Match { shape, ends: &ends[..shape.leaves()] })
    }

    /// Takes note of a valid message for the application whose shape was not known.
    pub(crate) fn missed(&mut self, text: &[u8], max_depth: u32) {
        self.misses += 1;
        if self.misses < MISSES_PER_LESSON {
            return;
        }
        self.misses = 0;
        // One that is known already belongs to a message the engine reads, in a mode in which it does not.
        if let Some(shape) = Shape::learn(text, max_depth)
            && !self.known.iter().any(|known| **known == shape)
        {
            // In the last place: what proves useful moves up, what does not is the next to go.
            self.known.truncate(KNOWN - 1);
            self.known.push(Arc::new(shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shape: usize, value: usize) -> String {
        format!(r#"{{"shape {shape}":{value},"t":"x"}}"#)
    }

    /// As the connection does it.
    fn hear(shapes: &mut Shapes, text: &str) -> bool {
        let found = shapes.find(text.as_bytes(), 64).is_some();
        if !found {
            shapes.missed(text.as_bytes(), 64);
        }
        found
    }

    #[test]
    fn a_shape_is_known_after_a_few_messages() {
        let mut shapes = Shapes::new();
        assert_eq!((0..20).filter(|n| hear(&mut shapes, &text(1, *n))).count(), 13);
        let found = shapes.find(text(1, 7).as_bytes(), 64);
        assert_eq!(found.map(|found| (found.shape.leaves(), found.ends.len())), Some((2, 2)));
    }

    #[test]
    fn shapes_in_use_stay_whatever_else_comes() {
        let mut shapes = Shapes::new();
        let mut found = 0;
        for n in 0..10_000 {
            let used = hear(&mut shapes, &text(n % 2, n));
            found += usize::from(used);
            hear(&mut shapes, &text(2 + n, n));
        }
        assert!(found >= 9900, "{found} found");
        assert_eq!(shapes.known.len(), KNOWN);
    }

    #[test]
    fn what_has_no_shape_is_not_learned() {
        let mut shapes = Shapes::new();
        for _ in 0..100 {
            assert!(!hear(&mut shapes, r#"{"__proto__":1}"#));
        }
        assert!(shapes.known.is_empty());
    }
}
