//! What presence counts over all topics of an engine. Changed by whoever holds a topic's lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::members::Size;
use crate::metrics::bump;

/// Why a connection is subscribed without being present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The engine has no presence.
    Off,
    /// Neither a token nor the host has named the connection's user.
    NoUser,
    /// The data are no JSON object.
    Invalid,
    /// The data are larger than [`crate::config::Presence::max_data`].
    TooLarge,
    /// The topic has [`crate::config::Presence::max_members`] members.
    Full,
    /// What is published of it would break the hard limit.
    Overloaded,
}

impl Refused {
    /// What a client is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NoUser => "no_user",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::Overloaded => "overloaded",
        }
    }
}

/// Sums over all topics.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Topics with members.
    pub(crate) topics: AtomicUsize,
    /// Members; a user on two topics counts twice.
    pub(crate) members: AtomicUsize,
    /// Those of them whose last connection has ended, and who have their grace.
    pub(crate) waiting: AtomicUsize,
    /// Bytes of memory members take.
    pub(crate) bytes: AtomicUsize,
    /// Presences of connections that have ended, not taken out yet.
    pub(crate) departing: AtomicUsize,
    pub(crate) joins: AtomicU64,
    pub(crate) updates: AtomicU64,
    pub(crate) leaves: AtomicU64,
    pub(crate) too_large: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) no_user: AtomicU64,
    pub(crate) overloaded: AtomicU64,
}

impl Gauges {
    /// A topic's members have become more or fewer.
    pub(crate) fn shift(&self, before: Size, after: Size) {
        let topics = |size: Size| usize::from(size.members > 0);
        for (gauge, before, after) in [
            (&self.topics, topics(before), topics(after)),
            (&self.members, before.members, after.members),
            (&self.waiting, before.waiting, after.waiting),
            (&self.bytes, before.bytes, after.bytes),
        ] {
            // Wrapping, as the sum of all changes of one gauge is never below zero.
            gauge.fetch_add(after.wrapping_sub(before), Relaxed);
        }
    }

    /// A connection is not present on a topic because of that.
    pub(crate) fn refused(&self, why: Refused) {
        match why {
            Refused::Off | Refused::Invalid => {}
            Refused::NoUser => bump(&self.no_user),
            Refused::TooLarge => bump(&self.too_large),
            Refused::Full => bump(&self.full),
            Refused::Overloaded => bump(&self.overloaded),
        }
    }
}
