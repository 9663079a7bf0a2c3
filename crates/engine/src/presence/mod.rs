//! Who is present: the members of a topic, what decides between two versions of one, and what all topics count together. Pure: no
//! lock, no clock, no connection; `shared::presence` holds the locks and publishes, docs/presence.md is what users read.

mod gauges;
mod members;
mod record;

use crate::config;

pub(crate) use gauges::Gauges;
pub use gauges::Refused;
pub(crate) use members::{Expired, Joined, Left, Limits, Members};
pub(crate) use record::Versions;

/// What the topics of one engine share of presence.
#[derive(Debug)]
pub(crate) struct Presence {
    config: Option<config::Presence>,
    pub(crate) versions: Versions,
    pub(crate) gauges: Gauges,
}

impl Presence {
    pub(crate) fn new(config: Option<config::Presence>) -> Self {
        Self { config, versions: Versions::new(), gauges: Gauges::default() }
    }

    /// Its limits; `None`: there is no presence.
    pub(crate) fn config(&self) -> Option<&config::Presence> {
        self.config.as_ref()
    }
}
