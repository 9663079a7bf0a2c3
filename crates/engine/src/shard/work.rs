//! A batch of commands in work: kept by the shard, so that a turn can end in the middle of it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::mailbox::{Command, Commands};

/// A batch of commands in work.
pub(super) struct Work {
    pub(super) commands: VecDeque<Command>,
    /// What is left of the batch, for the mailbox to use again.
    pub(super) batch: Commands,
    pub(super) began: Instant,
    /// Writes to sockets it took so far; what connections answer in between does not count.
    pub(super) writes: u64,
    /// The shard ends with this batch.
    pub(super) last: bool,
}
