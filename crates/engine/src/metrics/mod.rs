//! Counters, histograms and their text form. Every shard owns one set of cells and is their only writer; a scrape adds
//! them up. No registry is global, so two engines never mix.

mod cells;
mod histogram;
mod prometheus;

pub(crate) use cells::{Cell, EngineCells, ShardCells, bump};
pub(crate) use histogram::{Histogram, Snapshot};
pub(crate) use prometheus::Exposition;
