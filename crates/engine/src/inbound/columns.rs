//! The messages of one crossing that go over as columns: which shapes have enough of them, and the JSON text they become.
//!
//! One `JSON.parse` of the columns builds the values without objects and without reading a key twice; storing them into
//! objects of known keys costs JavaScript a third of parsing those (docs/design/columns.md).

use std::sync::Arc;

use wse_protocol::json::{Shape, plain_string};

use super::cursor::Cursor;

/// Fewer messages of a shape are not worth a template and columns of their own.
pub(super) const MIN_ROWS: usize = 8;
/// Shapes of one crossing; the messages of others go over as plain text.
pub(super) const MAX_TABLES: usize = 32;
/// Bytes from which on a column of strings stands beside the text: what a call per string costs JavaScript, the parser costs here.
pub(super) const LONG_VALUE: usize = 2048;
/// Beside the digits of its lengths, which are fewer than the bytes its keys had: `,{"at":4294967295,"lengths":[]}`.
const LONG_COLUMN: usize = 34;

/// What crosses beside the text, in order.
#[derive(Default)]
pub(super) struct Longs<'a> {
    parts: Vec<&'a [u8]>,
    /// Where the next one will stand.
    at: usize,
}

impl<'a> Longs<'a> {
    /// Where the next one will stand.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Adds the next one.
    pub(super) fn push(&mut self, part: &'a [u8]) {
        self.parts.push(part);
        self.at += part.len();
    }

    /// Writes them.
    pub(super) fn write(&self, out: &mut Cursor<'_>) {
        self.parts.iter().for_each(|part| out.put(part));
    }
}

/// The tables of one crossing.
#[derive(Default)]
pub(super) struct Tables<'a>(Vec<Table<'a>>);

struct Table<'a> {
    shape: &'a Arc<Shape>,
    count: usize,
    rows: Vec<Row<'a>>,
}

/// A message of a known shape.
pub(super) struct Row<'a> {
    /// Begins with the message; what follows it does not matter.
    pub(super) text: &'a [u8],
    /// Where its leaves end.
    pub(super) ends: &'a [u16],
}

impl<'a> Tables<'a> {
    /// Announces `count` messages of a shape. Shards learn the same shape each for itself.
    pub(super) fn announce(&mut self, shape: &'a Arc<Shape>, count: usize) {
        if count == 0 {
            return;
        }
        match self.position(shape) {
            Some(index) => self.0[index].count += count,
            None if self.0.len() < MAX_TABLES => self.0.push(Table { shape, count, rows: Vec::new() }),
            None => {}
        }
    }

    /// Everything is announced: forgets the shapes with few messages.
    pub(super) fn close(&mut self) {
        self.0.retain(|table| table.count >= MIN_ROWS);
        for table in &mut self.0 {
            table.rows.reserve_exact(table.count);
        }
    }

    /// Whether no shape has a table.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The table of a shape, if it has one.
    pub(super) fn position(&self, shape: &Arc<Shape>) -> Option<usize> {
        let same = |table: &Table<'_>| Arc::ptr_eq(table.shape, shape);
        self.0.iter().position(same).or_else(|| self.0.iter().position(|table| table.shape == shape))
    }

    /// Adds the next message of a table.
    #[inline]
    pub(super) fn push(&mut self, table: usize, row: Row<'a>) {
        self.0[table].rows.push(row);
    }

    /// An upper bound of the text beyond the bytes of the messages: those hold more than a separator per value, because each
    /// value has a key.
    pub(super) fn size(&self) -> usize {
        let beside = |table: &Table<'_>| table.shape.template().len() + 1 + table.shape.leaves() * LONG_COLUMN;
        if self.0.is_empty() { 0 } else { 2 + self.0.iter().map(beside).sum::<usize>() }
    }

    /// Writes the text: `[template, column, column…, template, column…]`, or nothing when there is no table.
    pub(super) fn write(&self, longs: &mut Longs<'a>, out: &mut Cursor<'_>) {
        for (index, table) in self.0.iter().enumerate() {
            out.put(if index == 0 { b"[" } else { b"," });
            out.put(table.shape.template().as_bytes());
            (0..table.shape.leaves()).for_each(|leaf| table.write_column(leaf, longs, out));
        }
        if !self.0.is_empty() {
            out.put(b"]");
        }
    }
}

impl<'a> Table<'a> {
    /// `,[value,value…]`; one value only when all are the same and not an object or array, which nobody may share. Long strings:
    /// `,{"at":place,"lengths":[length,length…]}`.
    fn write_column(&self, leaf: usize, longs: &mut Longs<'a>, out: &mut Cursor<'_>) {
        let Some((first, others)) = self.rows.split_first() else { return };
        let value = |row: &Row<'_>| self.shape.place(leaf, row.ends);
        let constant = &first.text[value(first)];
        let is_constant =
            !matches!(constant, [b'{' | b'[', ..]) && others.iter().all(|row| &row.text[value(row)] == constant);
        if !is_constant
            && constant.len() >= LONG_VALUE
            && self.rows.iter().all(|row| plain_string(&row.text[value(row)]).is_some())
        {
            return self.write_long_column(leaf, longs, out);
        }
        out.put(b",[");
        out.put(constant);
        if !is_constant {
            for row in others {
                out.put(b",");
                out.put_part(row.text, value(row));
            }
        }
        out.put(b"]");
    }

    /// Leaves the strings of a column, which are plain, beside the text.
    fn write_long_column(&self, leaf: usize, longs: &mut Longs<'a>, out: &mut Cursor<'_>) {
        out.put(format!(",{{\"at\":{},\"lengths\":[", longs.at()).as_bytes());
        for (index, row) in self.rows.iter().enumerate() {
            let value = self.shape.place(leaf, row.ends);
            let content = plain_string(&row.text[value]).unwrap_or_default();
            let separator = if index == 0 { "" } else { "," };
            out.put(format!("{separator}{}", content.len()).as_bytes());
            longs.push(content);
        }
        out.put(b"]}");
    }
}
