//! A place in the caller's buffer, moved forward by what is put there. Knows nothing of what it writes.

use std::ops::Range;

/// A place in the caller's buffer.
pub(super) struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The place `at` in `out`.
    pub(super) const fn new(out: &'a mut [u8], at: usize) -> Self {
        Self { out, at }
    }

    /// How far it has come.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// What was put since `start`, to be changed.
    pub(super) fn since(&mut self, start: usize) -> &mut [u8] {
        &mut self.out[start..self.at]
    }

    /// Puts zeros up to `end`.
    pub(super) fn fill_to(&mut self, end: usize) {
        self.out[self.at..end].fill(0);
        self.at = end;
    }

    /// The whole buffer again.
    pub(super) fn into_inner(self) -> &'a mut [u8] {
        self.out
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    /// Puts `text[part]`. Short parts are copied as what they and their neighbours are together, if there is room for it:
    /// a copy of fixed size needs no call.
    #[inline]
    pub(super) fn put_part(&mut self, text: &[u8], part: Range<usize>) {
        const WIDE: usize = 32;
        let len = part.len();
        if len <= WIDE
            && let Some(from) = text.get(part.start..).and_then(<[u8]>::first_chunk::<WIDE>)
            && let Some(to) = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut::<WIDE>)
        {
            *to = *from;
            self.at += len;
        } else {
            self.put(&text[part]);
        }
    }
}
