//! Counters, histograms and their text form. Every shard owns one set of counters and is their only writer; a scrape adds
//! them up. No registry is global, so two engines never mix.

mod counter;
mod counters;
mod histogram;
mod prometheus;
mod scrape;

pub(crate) use counter::{Counter, bump};
pub(crate) use counters::{EngineCounters, ShardCounters};
pub(crate) use histogram::{Histogram, Snapshot};
pub(crate) use prometheus::Exposition;
pub(crate) use scrape::Scrape;
